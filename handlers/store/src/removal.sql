-- Removes a device with all that belongs to it, and leaves a tombstone in history for the feed, up to what follows
-- from that (told.sql). Its alarms stay: they are cleared, and go on if the device comes again.
--
-- $23 tenant, $24 device, $25 the version that it must have (0: there must be none), then the tombstone: $26 position,
-- $27 version, $28 received_at, $29 message, $30 patch, $31 inverse. Answers a row when it was removed.
WITH gone AS (
    DELETE FROM devices WHERE tenant = $23::text AND device = $24::text AND version = $25::bigint RETURNING 1
), passed AS (
    SELECT $26::bigint AS position FROM gone
    UNION ALL
    SELECT $26::bigint WHERE $25::bigint = 0
        AND NOT EXISTS (SELECT 1 FROM devices WHERE tenant = $23::text AND device = $24::text)
), without_history AS (
    DELETE FROM history WHERE tenant = $23::text AND device = $24::text AND EXISTS (SELECT 1 FROM passed)
), without_pushes AS (
    DELETE FROM pushes WHERE tenant = $23::text AND device = $24::text AND EXISTS (SELECT 1 FROM passed)
), without_requests AS (
    DELETE FROM requests WHERE tenant = $23::text AND device = $24::text AND EXISTS (SELECT 1 FROM passed)
), without_credentials AS (
    DELETE FROM device_credentials WHERE tenant = $23::text AND device = $24::text AND EXISTS (SELECT 1 FROM passed)
), tombstone AS (
    INSERT INTO history (tenant, device, position, version, received_at, message, stale, kind, patch, inverse)
    SELECT $23::text, $24::text, position, $27::bigint, $28::timestamptz, $29::bigint, false, 'removed', $30::jsonb,
        $31::jsonb
    FROM passed
)
