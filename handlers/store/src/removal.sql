-- Removes a device with all that belongs to it, and leaves a tombstone in history for the feed: $1 tenant,
-- $2 device, $3 the version that it must have (0: there must be none), then the tombstone: $4 position,
-- $5 version, $6 received_at, $7 message, $8 patch, $9 inverse, and whom to tell: $10-$15, a column each.
-- Answers a row when it was removed.
WITH gone AS (
    DELETE FROM devices WHERE tenant = $1::text AND device = $2::text AND version = $3::bigint RETURNING 1
), passed AS (
    SELECT 1 FROM gone
    UNION ALL
    SELECT 1 WHERE $3::bigint = 0 AND NOT EXISTS (SELECT 1 FROM devices WHERE tenant = $1::text AND device = $2::text)
), without_history AS (
    DELETE FROM history WHERE tenant = $1::text AND device = $2::text AND EXISTS (SELECT 1 FROM passed)
), without_pushes AS (
    DELETE FROM pushes WHERE tenant = $1::text AND device = $2::text AND EXISTS (SELECT 1 FROM passed)
), without_requests AS (
    DELETE FROM requests WHERE tenant = $1::text AND device = $2::text AND EXISTS (SELECT 1 FROM passed)
), without_credentials AS (
    DELETE FROM device_credentials WHERE tenant = $1::text AND device = $2::text AND EXISTS (SELECT 1 FROM passed)
), tombstone AS (
    INSERT INTO history (tenant, device, position, version, received_at, message, stale, kind, patch, inverse)
    SELECT $1::text, $2::text, $4::bigint, $5::bigint, $6::timestamptz, $7::bigint, false, 'removed', $8::jsonb, $9::jsonb
    FROM passed
), put_pushes AS (
    INSERT INTO pushes (tenant, id, rule, receiver, device, position, payload, created_at, deadline, due_at)
    SELECT $1::text, id, rule, receiver, $2::text, $4::bigint, payload, created_at, deadline, created_at
    FROM unnest($10::uuid[], $11::uuid[], $12::uuid[], $13::jsonb[], $14::timestamptz[], $15::timestamptz[])
        AS p (id, rule, receiver, payload, created_at, deadline)
    WHERE EXISTS (SELECT 1 FROM passed)
    ON CONFLICT DO NOTHING
)
SELECT true FROM passed
