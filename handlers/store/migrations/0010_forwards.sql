-- What only passes changes on waits for what came before it: those of one device for one receiver, in order.
CREATE INDEX pushes_forwards ON pushes (tenant, device, receiver, position)
    WHERE state = 'waiting' AND push_kind = 'forward';
