-- One batch, up to what follows from its changes (told.sql). Every array is a column; those of one group have the
-- same length.
--
-- $23-$37 the twins, $38-$50 history, $51-$57 dead letters. A twin is written when it still has the version that the
-- first change rests on; history follows the twin, which it names by the position of its last change. The answer is
-- the positions of the twins that were written.
WITH twin AS (
    SELECT * FROM unnest(
        $23::text[], $24::text[], $25::bigint[], $26::bigint[], $27::bigint[], $28::jsonb[], $29::jsonb[], $30::jsonb[],
        $31::jsonb[], $32::boolean[], $33::timestamptz[], $34::text[], $35::timestamptz[], $36::bigint[],
        $37::bigint[]
    ) AS t (
        tenant, device, version_before, version, position, reported, desired, tags,
        reported_at, online, presence_since, presence_reason, received_at, presence_epoch, presence_seq
    )
), updated AS (
    UPDATE devices d
    SET version = t.version, position = t.position, reported = t.reported, desired = t.desired, tags = t.tags,
        reported_at = t.reported_at, online = t.online, presence_since = t.presence_since,
        presence_reason = t.presence_reason, received_at = t.received_at, presence_epoch = t.presence_epoch,
        presence_seq = t.presence_seq
    FROM twin t
    WHERE d.tenant = t.tenant AND d.device = t.device AND d.version = t.version_before
    RETURNING d.position
), inserted AS (
    INSERT INTO devices (
        tenant, device, version, position, reported, desired, tags,
        reported_at, online, presence_since, presence_reason, received_at, presence_epoch, presence_seq
    )
    SELECT tenant, device, version, position, reported, desired, tags,
        reported_at, online, presence_since, presence_reason, received_at, presence_epoch, presence_seq
    FROM twin WHERE version_before = 0
    ON CONFLICT DO NOTHING
    RETURNING position
), passed AS (
    SELECT position FROM updated UNION ALL SELECT position FROM inserted
), put_history AS (
    INSERT INTO history (
        tenant, device, position, version, received_at, device_time, message, stale, kind, patch, inverse, ahead
    )
    SELECT tenant, device, position, version, received_at, device_time, message, stale, kind, patch, inverse, ahead
    FROM unnest(
        $38::text[], $39::text[], $40::bigint[], $41::bigint[], $42::bigint[], $43::timestamptz[],
        $44::timestamptz[], $45::bigint[], $46::boolean[], $47::text[], $48::jsonb[], $49::jsonb[], $50::boolean[]
    ) AS h (
        tenant, device, last, position, version, received_at,
        device_time, message, stale, kind, patch, inverse, ahead
    )
    WHERE (last IN (SELECT position FROM passed)) IS TRUE
), put_dead_letters AS (
    INSERT INTO dead_letters (tenant, id, device, topic, payload, reason, received_at)
    SELECT * FROM unnest(
        $51::text[], $52::uuid[], $53::text[], $54::text[], $55::bytea[], $56::text[], $57::timestamptz[]
    )
)
