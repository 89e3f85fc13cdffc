-- The raw limit: one batch of one change for each of some devices, with the guard by version, and nothing else.
WITH change AS (
    SELECT * FROM unnest(
        $1::text[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[]
    ) AS c (device, version, position, received_at, reported, reported_at, patch, inverse)
), updated AS (
    UPDATE devices d
    SET version = c.version + 1, position = c.position, reported = c.reported::jsonb,
        reported_at = c.reported_at::jsonb, received_at = c.received_at
    FROM change c
    WHERE d.tenant = 'default' AND d.device = c.device AND d.version = c.version
    RETURNING d.position
), put AS (
    INSERT INTO history (
        tenant, device, position, version, received_at, device_time, message, stale, kind, patch, inverse
    )
    SELECT 'default', device, position, version + 1, received_at, NULL, NULL, false, 'state',
        patch::jsonb, inverse::jsonb
    FROM change
    WHERE (position IN (SELECT position FROM updated)) IS TRUE
)
SELECT count(*) FROM updated
