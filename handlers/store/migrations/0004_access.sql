-- Who may do what: all that a device may show, what an API key is good for, policies, and word of every change.

-- One row a device, as what it shows also says what it may do.
ALTER TABLE device_tokens RENAME TO device_credentials;
ALTER TABLE device_credentials RENAME COLUMN hash TO token;
ALTER TABLE device_credentials
    ALTER COLUMN token DROP NOT NULL,
    -- argon2id, as a PHC string.
    ADD COLUMN password text,
    -- SHA-256 of certificates. With any, no other certificate is taken for this device.
    ADD COLUMN certificates bytea[] NOT NULL DEFAULT '{}',
    -- Null for the policy `default`.
    ADD COLUMN policy text COLLATE "C";
CREATE INDEX device_credentials_by_policy ON device_credentials (tenant, policy) WHERE policy IS NOT NULL;

ALTER TABLE api_keys
    -- The keys from before scopes could do everything.
    ADD COLUMN scopes text[] NOT NULL DEFAULT '{admin}',
    -- Null for the policy `apps`.
    ADD COLUMN policy text COLLATE "C",
    ADD COLUMN expires_at timestamptz,
    -- Coarse: written at most once an hour.
    ADD COLUMN last_used_at timestamptz;

-- What may be published and subscribed to, as topic patterns.
CREATE TABLE policies (
    tenant    text COLLATE "C" NOT NULL,
    name      text COLLATE "C" NOT NULL,
    publish   text[] NOT NULL,
    subscribe text[] NOT NULL,
    PRIMARY KEY (tenant, name)
);

-- Whatever is changed here, by whomever, the running service is told of when it is committed: what kind, whose, and
-- which one.
CREATE FUNCTION tell_of_access() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed jsonb := coalesce(to_jsonb(NEW), to_jsonb(OLD));
BEGIN
    PERFORM pg_notify('statecast_access',
        concat_ws(' ', TG_ARGV[0], changed ->> 'tenant', changed ->> TG_ARGV[1]));
    RETURN NULL;
END $$;

-- A first credential takes nothing from anybody, and a fleet that is registered isn't worth a word.
CREATE TRIGGER told_of_first AFTER INSERT ON device_credentials FOR EACH ROW
    WHEN (NEW.policy IS NOT NULL OR NEW.certificates <> '{}')
    EXECUTE FUNCTION tell_of_access('device', 'device');
CREATE TRIGGER told_of AFTER UPDATE OR DELETE ON device_credentials FOR EACH ROW
    EXECUTE FUNCTION tell_of_access('device', 'device');
CREATE TRIGGER told_of AFTER UPDATE OF hash, scopes, policy, expires_at OR DELETE ON api_keys FOR EACH ROW
    EXECUTE FUNCTION tell_of_access('key', 'id');
CREATE TRIGGER told_of AFTER INSERT OR UPDATE OR DELETE ON policies FOR EACH ROW
    EXECUTE FUNCTION tell_of_access('policy', 'name');
