-- Removes a device with all that belongs to it, and leaves a tombstone in history for the feed, up to what follows
-- from that (told.sql). Its alarms stay: they are cleared, and go on if the device comes again.
--
-- $22 tenant, $23 device, $24 the version that it must have (0: there must be none), then the tombstone: $25 position,
-- $26 version, $27 received_at, $28 message, $29 patch, $30 inverse. Answers a row when it was removed.
WITH gone AS (
    DELETE FROM devices WHERE tenant = $22::text AND device = $23::text AND version = $24::bigint RETURNING 1
), passed AS (
    SELECT $25::bigint AS position FROM gone
    UNION ALL
    SELECT $25::bigint WHERE $24::bigint = 0
        AND NOT EXISTS (SELECT 1 FROM devices WHERE tenant = $22::text AND device = $23::text)
), without_history AS (
    DELETE FROM history WHERE tenant = $22::text AND device = $23::text AND EXISTS (SELECT 1 FROM passed)
), without_pushes AS (
    DELETE FROM pushes WHERE tenant = $22::text AND device = $23::text AND EXISTS (SELECT 1 FROM passed)
), without_requests AS (
    DELETE FROM requests WHERE tenant = $22::text AND device = $23::text AND EXISTS (SELECT 1 FROM passed)
), without_credentials AS (
    DELETE FROM device_credentials WHERE tenant = $22::text AND device = $23::text AND EXISTS (SELECT 1 FROM passed)
), tombstone AS (
    INSERT INTO history (tenant, device, position, version, received_at, message, stale, kind, patch, inverse)
    SELECT $22::text, $23::text, position, $26::bigint, $27::timestamptz, $28::bigint, false, 'removed', $29::jsonb,
        $30::jsonb
    FROM passed
)
