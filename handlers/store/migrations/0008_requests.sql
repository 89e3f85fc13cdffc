-- Requests for desired state, from the asking to the outcome.
CREATE TABLE requests (
    tenant       text COLLATE "C" NOT NULL,
    -- Version 7: rises with time.
    id           uuid NOT NULL,
    device       text COLLATE "C" NOT NULL,
    -- The version of the twin that it made.
    version      bigint NOT NULL,
    patch        jsonb NOT NULL,
    -- Who asked: the name of a key, or of a person; who is told the outcome.
    asked_by     text NOT NULL,
    person       text COLLATE "C",
    -- requested, sent, applied, rejected, timed_out or superseded
    state        text COLLATE "C" NOT NULL,
    reason       text,
    requested_at timestamptz NOT NULL,
    sent_at      timestamptz,
    -- Null while it is open.
    ended_at     timestamptz,
    deadline     timestamptz NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX requests_of_device ON requests (tenant, device, id);
CREATE INDEX requests_open ON requests (tenant, device) WHERE ended_at IS NULL;
CREATE INDEX requests_due ON requests (deadline, tenant, device) WHERE ended_at IS NULL;
