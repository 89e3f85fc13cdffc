-- The end of a statement that writes changes: what follows from them. `passed` has the positions that were written;
-- what names one of these as `last` goes with it.
--
-- $1-$19 pushes, a column each; $20 alarms, $21 their events, $22 decisions: rows as JSON, as there are few.
, put_pushes AS (
    INSERT INTO pushes (
        tenant, id, rule, receiver, device, position, payload, created_at, deadline, due_at,
        push_kind, alarm, alarm_version, step, person, severity, urgent, hold
    )
    SELECT tenant, id, rule, receiver, device, position, payload, created_at, deadline, due_at,
        push_kind, alarm, alarm_version, step, person, severity, urgent, hold
    FROM unnest(
        $1::text[], $2::bigint[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::bigint[], $8::jsonb[],
        $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::text[], $13::uuid[], $14::bigint[],
        $15::integer[], $16::text[], $17::text[], $18::boolean[], $19::text[]
    ) AS p (
        tenant, last, id, rule, receiver, device, position, payload, created_at, deadline, due_at,
        push_kind, alarm, alarm_version, step, person, severity, urgent, hold
    )
    -- "IS TRUE" keeps the planner from turning this into a join of two lists whose length it can't know.
    WHERE (last IN (SELECT position FROM passed)) IS TRUE
    -- The id is made from what caused the push: the same one again is the same push.
    ON CONFLICT DO NOTHING
), put_alarms AS (
    INSERT INTO alarms (
        tenant, device, rule, id, version, raised_version, active, severity, count, raised_at, cleared_at,
        acknowledged_at, acknowledged_by, acknowledged_note, shelved_until, repeats, step, pending_since, open_since,
        told_at, due_at, position
    )
    SELECT tenant, device, rule, id, version, raised_version, active, severity, count, raised_at, cleared_at,
        acknowledged_at, acknowledged_by, acknowledged_note, shelved_until, repeats, step, pending_since, open_since,
        told_at, due_at, position
    FROM jsonb_to_recordset($20::jsonb) AS a (
        last bigint, tenant text, device text, rule uuid, id uuid, version bigint, raised_version bigint,
        active boolean, severity text, count bigint, raised_at timestamptz, cleared_at timestamptz,
        acknowledged_at timestamptz, acknowledged_by text, acknowledged_note text, shelved_until timestamptz,
        repeats integer, step integer, pending_since timestamptz, open_since timestamptz, told_at timestamptz,
        due_at timestamptz, position bigint
    )
    WHERE (last IN (SELECT position FROM passed)) IS TRUE
    ON CONFLICT (tenant, device, rule) DO UPDATE SET
        version = excluded.version, raised_version = excluded.raised_version, active = excluded.active,
        severity = excluded.severity, count = excluded.count, raised_at = excluded.raised_at,
        cleared_at = excluded.cleared_at, acknowledged_at = excluded.acknowledged_at,
        acknowledged_by = excluded.acknowledged_by, acknowledged_note = excluded.acknowledged_note,
        shelved_until = excluded.shelved_until, repeats = excluded.repeats, step = excluded.step,
        pending_since = excluded.pending_since, open_since = excluded.open_since, told_at = excluded.told_at,
        due_at = excluded.due_at, position = excluded.position
), put_events AS (
    INSERT INTO alarm_events (tenant, alarm, version, step, rule, what, severity, at, by, note, until, position)
    SELECT tenant, alarm, version, step, rule, what, severity, at, by, note, until, position
    FROM jsonb_to_recordset($21::jsonb) AS e (
        last bigint, tenant text, alarm uuid, version bigint, step integer, rule uuid, what text, severity text,
        at timestamptz, by text, note text, until timestamptz, position bigint
    )
    WHERE (last IN (SELECT position FROM passed)) IS TRUE
), put_decisions AS (
    INSERT INTO decisions (tenant, alarm, version, step, person, receiver, at, verdict, detail)
    SELECT tenant, alarm, version, step, person, receiver, at, verdict, detail
    FROM jsonb_to_recordset($22::jsonb) AS d (
        last bigint, tenant text, alarm uuid, version bigint, step integer, person text, receiver uuid,
        at timestamptz, verdict text, detail text
    )
    WHERE (last IN (SELECT position FROM passed)) IS TRUE
)
SELECT position FROM passed
