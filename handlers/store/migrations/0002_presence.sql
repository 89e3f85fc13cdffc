-- Presence that can be put in order, and what has fired because a device is absent.
ALTER TABLE devices
    -- The run of the service, and the number of the connection in it, see Presence.
    ADD COLUMN presence_epoch bigint NOT NULL DEFAULT 0,
    ADD COLUMN presence_seq   bigint NOT NULL DEFAULT 0,
    -- The rules of absence that have fired since the device was last seen.
    ADD COLUMN absences       jsonb NOT NULL DEFAULT '[]';
