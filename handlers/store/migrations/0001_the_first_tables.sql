-- The tables of Statecast. Tenant first in every key, so that a database can be split by it.

-- The twins. One row a device, rewritten with each change: room on each page (fillfactor) and no index on
-- what changes, so that an update stays on its page (HOT), and a vacuum that comes often and works fast.
CREATE TABLE devices (
    tenant          text COLLATE "C" NOT NULL,
    device          text COLLATE "C" NOT NULL,
    version         bigint NOT NULL,
    -- The place in the feed of the last change: how a writer finds out whether a batch had committed.
    position        bigint NOT NULL,
    reported        jsonb NOT NULL,
    desired         jsonb NOT NULL,
    tags            jsonb NOT NULL,
    reported_at     jsonb NOT NULL,
    online          boolean NOT NULL,
    presence_since  timestamptz,
    presence_reason text NOT NULL,
    received_at     timestamptz,
    PRIMARY KEY (tenant, device)
) WITH (
    fillfactor = 60,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.2,
    autovacuum_vacuum_cost_delay = 1
);

-- History, and the change feed. A partition a day, made ahead of time and dropped as a whole.
CREATE TABLE history (
    tenant      text COLLATE "C" NOT NULL,
    device      text COLLATE "C" NOT NULL,
    position    bigint NOT NULL,
    version     bigint NOT NULL,
    received_at timestamptz NOT NULL,
    device_time timestamptz,
    -- The idempotency key of the message; null when it had none.
    message     bigint,
    stale       boolean NOT NULL,
    -- The clock of the device was too far ahead: the time of receipt counts.
    ahead       boolean NOT NULL DEFAULT false,
    kind        text COLLATE "C" NOT NULL,
    patch       jsonb NOT NULL,
    inverse     jsonb NOT NULL
) PARTITION BY RANGE (received_at);

-- The history of a device; with what it includes, the recent messages of a device are read from it alone.
CREATE INDEX history_of_device ON history (tenant, device, position) INCLUDE (message, received_at);
-- The feed. Positions rise, so that a new one always goes to the last page.
CREATE INDEX history_feed ON history (position);

-- For clocks that jump: what belongs to no day that exists.
CREATE TABLE history_default PARTITION OF history DEFAULT;

-- Who owns the database, and which positions were given out.
CREATE TABLE owner (
    single   boolean PRIMARY KEY DEFAULT true CHECK (single),
    -- Rises by 1 with each owner: who finds another number than its own is not the owner any more.
    term     bigint NOT NULL DEFAULT 0,
    -- Positions below this one were, or may have been, given to changes.
    reserved bigint NOT NULL DEFAULT 1,
    -- Changes up to this position may have been dropped from history.
    dropped  bigint NOT NULL DEFAULT 0,
    holder   text NOT NULL DEFAULT ''
);
INSERT INTO owner DEFAULT VALUES;

-- Messages that could not be applied, for the operator.
CREATE TABLE dead_letters (
    tenant      text COLLATE "C" NOT NULL,
    -- Version 7: rises with time.
    id          uuid NOT NULL,
    device      text,
    topic       text NOT NULL,
    payload     bytea NOT NULL,
    reason      text NOT NULL,
    received_at timestamptz NOT NULL,
    -- What the row weighs, about, in bytes.
    size        integer NOT NULL GENERATED ALWAYS AS (octet_length(payload) + octet_length(topic) + octet_length(reason) + 100) STORED,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX dead_letters_by_age ON dead_letters (id) INCLUDE (size);

CREATE TABLE rules (
    tenant     text COLLATE "C" NOT NULL,
    id         uuid NOT NULL,
    rule       jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, id)
);

CREATE TABLE receivers (
    tenant          text COLLATE "C" NOT NULL,
    id              uuid NOT NULL,
    name            text NOT NULL,
    kind            jsonb NOT NULL,
    enabled         boolean NOT NULL,
    disabled_reason text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, id)
);

-- The outbox: who is to be told what. Written with the change that caused it.
CREATE TABLE pushes (
    tenant     text COLLATE "C" NOT NULL,
    id         uuid NOT NULL,
    rule       uuid NOT NULL,
    receiver   uuid NOT NULL,
    device     text COLLATE "C" NOT NULL,
    position   bigint NOT NULL,
    payload    jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    deadline   timestamptz NOT NULL,
    -- waiting, delivered or dead
    state      text COLLATE "C" NOT NULL DEFAULT 'waiting',
    -- Attempts that were begun.
    attempt    integer NOT NULL DEFAULT 0,
    -- While waiting: when the next attempt may begin; a claim moves it to the end of its lease.
    due_at     timestamptz NOT NULL,
    status     integer,
    error      text,
    done_at    timestamptz,
    PRIMARY KEY (tenant, id)
) WITH (
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 1
);
CREATE INDEX pushes_due ON pushes (due_at) WHERE state = 'waiting';
CREATE INDEX pushes_of_receiver ON pushes (tenant, receiver) WHERE state = 'waiting';
CREATE INDEX pushes_by_position ON pushes (tenant, position, id);
CREATE INDEX pushes_of_device ON pushes (tenant, device, position, id);
CREATE INDEX pushes_done ON pushes (done_at) WHERE state <> 'waiting';

-- Secrets are kept as SHA-256 only.
CREATE TABLE device_tokens (
    tenant     text COLLATE "C" NOT NULL,
    device     text COLLATE "C" NOT NULL,
    hash       bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, device)
);

CREATE TABLE api_keys (
    tenant     text COLLATE "C" NOT NULL,
    id         uuid NOT NULL,
    name       text NOT NULL,
    hash       bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, id)
);

-- What handlers used, summed up for a span of time that begins at `bucket`.
CREATE TABLE usage (
    tenant       text COLLATE "C" NOT NULL,
    bucket       timestamptz NOT NULL,
    handler      text COLLATE "C" NOT NULL,
    invocations  bigint NOT NULL,
    failed       bigint NOT NULL,
    wall_us      bigint NOT NULL,
    billed_1ms   bigint NOT NULL,
    billed_100ms bigint NOT NULL,
    PRIMARY KEY (tenant, bucket, handler)
);
