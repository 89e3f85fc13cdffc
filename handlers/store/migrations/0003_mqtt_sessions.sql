-- What outlives an MQTT connection. A session has a random number that no other of its tenant ever had: what belongs to
-- it is found by that number, and an old session of the same client never mixes with a new one.

CREATE TABLE mqtt_sessions (
    tenant    text COLLATE "C" NOT NULL,
    session   bigint NOT NULL,
    -- Whom the client proved to be, and its client id.
    name      text NOT NULL,
    client_id text NOT NULL,
    -- For how long it is kept when its connection has ended.
    expiry_s  bigint NOT NULL,
    -- When its connection ended; null while it is connected.
    ended_at  timestamptz,
    PRIMARY KEY (tenant, session)
);

CREATE TABLE mqtt_subscriptions (
    tenant      text COLLATE "C" NOT NULL,
    session     bigint NOT NULL,
    filter      text COLLATE "C" NOT NULL,
    qos         smallint NOT NULL,
    no_local    boolean NOT NULL,
    keep_retain boolean NOT NULL,
    identifier  bigint,
    PRIMARY KEY (tenant, session, filter)
);

-- Messages that wait for a client, or for its acknowledgement. Rows come and go: a vacuum that comes often.
CREATE TABLE mqtt_queue (
    tenant     text COLLATE "C" NOT NULL,
    session    bigint NOT NULL,
    number     bigint NOT NULL,
    topic      text NOT NULL,
    payload    bytea NOT NULL,
    -- As MQTT 5 encodes them.
    properties bytea NOT NULL,
    qos        smallint NOT NULL,
    retain     boolean NOT NULL,
    expires_at timestamptz,
    -- The client has it, and is to be sent PUBREL.
    released   boolean NOT NULL,
    PRIMARY KEY (tenant, session, number)
) WITH (
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 1
);

-- Publishes of a client at quality 2, from their arrival to their PUBREL.
CREATE TABLE mqtt_exchanges (
    tenant    text COLLATE "C" NOT NULL,
    session   bigint NOT NULL,
    packet    integer NOT NULL,
    -- The idempotency key with which it is delivered.
    key       bigint NOT NULL,
    delivered boolean NOT NULL,
    PRIMARY KEY (tenant, session, packet)
);

CREATE TABLE mqtt_retained (
    tenant     text COLLATE "C" NOT NULL,
    topic      text COLLATE "C" NOT NULL,
    payload    bytea NOT NULL,
    properties bytea NOT NULL,
    qos        smallint NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (tenant, topic)
);
