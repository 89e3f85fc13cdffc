-- One batch, up to what follows from its changes (told.sql). Every array is a column; those of one group have the
-- same length.
--
-- $22-$36 the twins, $37-$49 history, $50-$56 dead letters. A twin is written when it still has the version that the
-- first change rests on; history follows the twin, which it names by the position of its last change. The answer is
-- the positions of the twins that were written.
WITH twin AS (
    SELECT * FROM unnest(
        $22::text[], $23::text[], $24::bigint[], $25::bigint[], $26::bigint[], $27::jsonb[], $28::jsonb[], $29::jsonb[],
        $30::jsonb[], $31::boolean[], $32::timestamptz[], $33::text[], $34::timestamptz[], $35::bigint[],
        $36::bigint[]
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
        $37::text[], $38::text[], $39::bigint[], $40::bigint[], $41::bigint[], $42::timestamptz[],
        $43::timestamptz[], $44::bigint[], $45::boolean[], $46::text[], $47::jsonb[], $48::jsonb[], $49::boolean[]
    ) AS h (
        tenant, device, last, position, version, received_at,
        device_time, message, stale, kind, patch, inverse, ahead
    )
    WHERE (last IN (SELECT position FROM passed)) IS TRUE
), put_dead_letters AS (
    INSERT INTO dead_letters (tenant, id, device, topic, payload, reason, received_at)
    SELECT * FROM unnest(
        $50::text[], $51::uuid[], $52::text[], $53::text[], $54::bytea[], $55::text[], $56::timestamptz[]
    )
)
