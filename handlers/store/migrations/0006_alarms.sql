-- Alarms: what people are to take note of, one for each rule and device.
CREATE TABLE alarms (
    tenant            text COLLATE "C" NOT NULL,
    device            text COLLATE "C" NOT NULL,
    rule              uuid NOT NULL,
    id                uuid NOT NULL,
    -- 0 while it was never raised, and only waits until its condition has held for long enough.
    version           bigint NOT NULL,
    raised_version    bigint NOT NULL,
    active            boolean NOT NULL,
    severity          text COLLATE "C" NOT NULL,
    count             bigint NOT NULL,
    raised_at         timestamptz,
    cleared_at        timestamptz,
    acknowledged_at   timestamptz,
    acknowledged_by   text,
    acknowledged_note text NOT NULL,
    shelved_until     timestamptz,
    repeats           integer NOT NULL,
    step              integer NOT NULL,
    pending_since     timestamptz,
    open_since        timestamptz,
    told_at           timestamptz,
    -- When time alone changes it next: the timers are these rows.
    due_at            timestamptz,
    -- The change that it is as of.
    position          bigint NOT NULL,
    PRIMARY KEY (tenant, device, rule)
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 1
);
CREATE UNIQUE INDEX alarms_by_id ON alarms (tenant, id);
CREATE INDEX alarms_of_rule ON alarms (tenant, rule, device);
CREATE INDEX alarms_newest ON alarms (tenant, raised_at, id) WHERE version > 0;
CREATE INDEX alarms_due ON alarms (due_at, tenant, device) WHERE due_at IS NOT NULL;

-- What happened to them.
CREATE TABLE alarm_events (
    tenant   text COLLATE "C" NOT NULL,
    alarm    uuid NOT NULL,
    version  bigint NOT NULL,
    step     integer NOT NULL,
    rule     uuid NOT NULL,
    what     text COLLATE "C" NOT NULL,
    severity text COLLATE "C" NOT NULL,
    at       timestamptz NOT NULL,
    by       text,
    note     text NOT NULL,
    until    timestamptz,
    position bigint NOT NULL,
    PRIMARY KEY (tenant, alarm, version, step)
);
CREATE INDEX alarm_events_feed ON alarm_events (tenant, position);

-- Who was not told, and why.
CREATE TABLE decisions (
    tenant   text COLLATE "C" NOT NULL,
    alarm    uuid NOT NULL,
    version  bigint NOT NULL,
    step     integer NOT NULL,
    person   text COLLATE "C",
    receiver uuid,
    at       timestamptz NOT NULL,
    verdict  text COLLATE "C" NOT NULL,
    detail   text NOT NULL
);
CREATE INDEX decisions_of_alarm ON decisions (tenant, alarm, version);

ALTER TABLE pushes
    -- alarm, update, outcome or forward
    ADD COLUMN push_kind     text COLLATE "C" NOT NULL DEFAULT 'alarm',
    ADD COLUMN alarm         uuid,
    ADD COLUMN alarm_version bigint NOT NULL DEFAULT 0,
    ADD COLUMN step          integer NOT NULL DEFAULT 0,
    ADD COLUMN person        text COLLATE "C",
    ADD COLUMN severity      text COLLATE "C" NOT NULL DEFAULT 'warning',
    ADD COLUMN urgent        boolean NOT NULL DEFAULT false,
    -- Of several that went out as one: the one that did, and in that one the others.
    ADD COLUMN leader        uuid,
    ADD COLUMN members       uuid[],
    -- When the app said that it got it, and when a person looked at it.
    ADD COLUMN received_at   timestamptz,
    ADD COLUMN opened_at     timestamptz;
CREATE INDEX pushes_of_alarm ON pushes (tenant, alarm) WHERE alarm IS NOT NULL;
