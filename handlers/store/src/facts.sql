-- The pushes of `due` with what decides whether they are still worth sending. Each fact is looked up by an index for one
-- push at a time, however many there are and whatever the planner thinks of that. What was told of an alarm long ago
-- isn't looked for. (`EXISTS` would be made into a scan of all pushes.)
SELECT d.*,
    r.id AS r_id, r.name AS r_name, r.kind AS r_kind, r.enabled AS r_enabled, r.disabled_reason AS r_disabled_reason,
    r.person AS r_person, r.told_at AS told_at,
    (SELECT a.version FROM alarms a WHERE a.tenant = d.tenant AND a.id = d.alarm) AS alarm_now,
    CASE WHEN d.push_kind = 'update' THEN (
        SELECT true FROM pushes q WHERE q.tenant = d.tenant AND q.alarm = d.alarm AND q.receiver = d.receiver
            AND q.alarm_version >= d.alarm_version - 64 AND q.alarm_version < d.alarm_version AND q.attempt > 0 LIMIT 1
    ) END AS told_before,
    CASE WHEN d.hold = 'live' THEN (
        SELECT true FROM pushes q WHERE q.tenant = d.tenant AND q.alarm = d.alarm
            AND q.alarm_version = d.alarm_version AND q.person = d.person AND q.received_at IS NOT NULL LIMIT 1
    ) END AS confirmed
FROM due d
LEFT JOIN LATERAL (SELECT * FROM receivers r WHERE r.tenant = d.tenant AND r.id = d.receiver OFFSET 0) r ON true
