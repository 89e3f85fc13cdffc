-- One batch. Every array is a column; those of one group have the same length.
--
-- $1-$13 and $44-$46 the twins, $14-$25 and $43 history, $26-$35 pushes, $36-$42 dead letters. A twin is written when it still
-- has the version that the first change rests on; history and pushes follow the twin, which they name by the
-- position of its last change. The answer is the positions of the twins that were written.
WITH twin AS (
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::jsonb[], $7::jsonb[], $8::jsonb[],
        $9::jsonb[], $10::boolean[], $11::timestamptz[], $12::text[], $13::timestamptz[], $44::bigint[],
        $45::bigint[], $46::jsonb[]
    ) AS t (
        tenant, device, version_before, version, position, reported, desired, tags,
        reported_at, online, presence_since, presence_reason, received_at, presence_epoch, presence_seq, absences
    )
), updated AS (
    UPDATE devices d
    SET version = t.version, position = t.position, reported = t.reported, desired = t.desired, tags = t.tags,
        reported_at = t.reported_at, online = t.online, presence_since = t.presence_since,
        presence_reason = t.presence_reason, received_at = t.received_at, presence_epoch = t.presence_epoch,
        presence_seq = t.presence_seq, absences = t.absences
    FROM twin t
    WHERE d.tenant = t.tenant AND d.device = t.device AND d.version = t.version_before
    RETURNING d.position
), inserted AS (
    INSERT INTO devices (
        tenant, device, version, position, reported, desired, tags,
        reported_at, online, presence_since, presence_reason, received_at, presence_epoch, presence_seq, absences
    )
    SELECT tenant, device, version, position, reported, desired, tags,
        reported_at, online, presence_since, presence_reason, received_at, presence_epoch, presence_seq, absences
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
        $14::text[], $15::text[], $16::bigint[], $17::bigint[], $18::bigint[], $19::timestamptz[],
        $20::timestamptz[], $21::bigint[], $22::boolean[], $23::text[], $24::jsonb[], $25::jsonb[], $43::boolean[]
    ) AS h (
        tenant, device, last, position, version, received_at,
        device_time, message, stale, kind, patch, inverse, ahead
    )
    -- "IS TRUE" keeps the planner from turning this into a join of two lists whose length it can't know.
    WHERE (last IN (SELECT position FROM passed)) IS TRUE
), put_pushes AS (
    INSERT INTO pushes (
        tenant, id, rule, receiver, device, position, payload, created_at, deadline, due_at
    )
    SELECT tenant, id, rule, receiver, device, position, payload, created_at, deadline, created_at
    FROM unnest(
        $26::text[], $27::bigint[], $28::uuid[], $29::uuid[], $30::uuid[], $31::text[], $32::bigint[],
        $33::jsonb[], $34::timestamptz[], $35::timestamptz[]
    ) AS p (tenant, last, id, rule, receiver, device, position, payload, created_at, deadline)
    WHERE (last IN (SELECT position FROM passed)) IS TRUE
    -- The id is made from what caused the push: the same one again is the same push.
    ON CONFLICT DO NOTHING
), put_dead_letters AS (
    INSERT INTO dead_letters (tenant, id, device, topic, payload, reason, received_at)
    SELECT * FROM unnest(
        $36::text[], $37::uuid[], $38::text[], $39::text[], $40::bytea[], $41::text[], $42::timestamptz[]
    )
)
SELECT position FROM passed
