-- People, what they are told by, and the keys of their apps.

CREATE TABLE people (
    tenant     text COLLATE "C" NOT NULL,
    id         text COLLATE "C" NOT NULL,
    -- As in the API.
    person     jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, id)
);

ALTER TABLE receivers
    -- Whose it is; null for one that belongs to nobody.
    ADD COLUMN person  text COLLATE "C",
    -- When it was last told something that could have been grouped: what comes soon after waits, and is.
    ADD COLUMN told_at timestamptz;
CREATE INDEX receivers_of_person ON receivers (tenant, person) WHERE person IS NOT NULL;

-- Whose app has the key; null for one that belongs to nobody.
ALTER TABLE api_keys ADD COLUMN person text COLLATE "C";
CREATE INDEX api_keys_of_person ON api_keys (tenant, person) WHERE person IS NOT NULL;

ALTER TABLE pushes
    -- Why it is, or was, held back: quiet, live or group; null when it isn't.
    ADD COLUMN hold text COLLATE "C";
-- By version, so that what is later, or only a little earlier, is found at once.
DROP INDEX pushes_of_alarm;
CREATE INDEX pushes_of_alarm ON pushes (tenant, alarm, alarm_version) WHERE alarm IS NOT NULL;

-- What the installation signs with, made once.
CREATE TABLE secrets (
    name  text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);
