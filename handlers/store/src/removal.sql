-- Removes a device with all that belongs to it, and leaves a tombstone in history for the feed: $1 tenant,
-- $2 device, $3 the version that it must have (0: there must be none), then the tombstone: $4 position,
-- $5 version, $6 received_at, $7 message, $8 patch, $9 inverse. Answers a row when it was removed.
WITH gone AS (
    DELETE FROM devices WHERE tenant = $1 AND device = $2 AND version = $3 RETURNING 1
), passed AS (
    SELECT 1 FROM gone
    UNION ALL
    SELECT 1 WHERE $3 = 0 AND NOT EXISTS (SELECT 1 FROM devices WHERE tenant = $1 AND device = $2)
), without_history AS (
    DELETE FROM history WHERE tenant = $1 AND device = $2 AND EXISTS (SELECT 1 FROM passed)
), without_pushes AS (
    DELETE FROM pushes WHERE tenant = $1 AND device = $2 AND EXISTS (SELECT 1 FROM passed)
), without_token AS (
    DELETE FROM device_tokens WHERE tenant = $1 AND device = $2 AND EXISTS (SELECT 1 FROM passed)
), tombstone AS (
    INSERT INTO history (tenant, device, position, version, received_at, message, stale, kind, patch, inverse)
    SELECT $1, $2, $4::bigint, $5::bigint, $6::timestamptz, $7::bigint, false, 'removed', $8::jsonb, $9::jsonb
    FROM passed
)
SELECT true FROM passed
