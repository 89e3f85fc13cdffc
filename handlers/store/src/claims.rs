//! Claims: pushes whose time has come are looked at again, and what is still worth sending is leased.
//!
//! What becomes of each is worked out by [`fates`]; it is written in the transaction that locked the rows. So are the
//! members of a group: a push that goes for others is the same when it is repeated after a crash.

use std::collections::HashSet;
use std::time::Duration;

use metrics::counter;
use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::types::Json;
use statecast_state::claim::{Due, Fate, Hold, Stale, fates, group};
use statecast_state::push::Claimed;
use statecast_state::rule::Receiver;
use statecast_state::{Push, TenantId, Timestamp};
use uuid::Uuid;

use crate::outbox::{PushState, attempt, now, read_push};
use crate::receivers::read_prefixed;
use crate::rows::{Columns, limit, unsigned};
use crate::store::deadline;
use crate::{Store, StoreError};

/// Locks what is due, and reads what decides about it. `$1` now, `$2` rows at most.
const CLAIM: &str = concat!(
    "WITH due AS MATERIALIZED (
        SELECT * FROM pushes p WHERE state = 'waiting' AND due_at <= $1
            AND (push_kind <> 'forward' OR NOT EXISTS (
                SELECT 1 FROM pushes e WHERE e.tenant = p.tenant AND e.device = p.device AND e.receiver = p.receiver
                    AND e.state = 'waiting' AND e.push_kind = 'forward' AND e.position < p.position))
        ORDER BY due_at LIMIT $2 FOR UPDATE OF p SKIP LOCKED
    ) ",
    include_str!("facts.sql"),
    " ORDER BY d.position, d.id"
);

/// One of the rows that a claim locked.
struct Locked {
    tenant: TenantId,
    due: Due,
    /// What is sent; none when there is nobody to send it to.
    claimed: Option<Claimed>,
}

/// What is written of such a row.
struct Written<'a> {
    row: &'a Locked,
    state: PushState,
    tried: bool,
    due_at: Option<Timestamp>,
    hold: Option<Hold>,
    leader: Option<Uuid>,
    error: Option<&'static str>,
}

impl Store {
    /// Claims pushes that are due, of all tenants, for the length of the lease; at most `rows_max`. What isn't worth
    /// sending any more is given up instead, what can be grouped is sent to each receiver at most once in
    /// `group_interval`, and what is for a receiver that is disabled or gone is dead.
    ///
    /// # Errors
    /// When the database can't be used.
    pub async fn claim(
        &self,
        rows_max: usize,
        lease: Duration,
        group_interval: Duration,
    ) -> Result<Vec<Claimed>, StoreError> {
        loop {
            let (found, claimed) = Box::pin(self.claim_once(rows_max, lease, group_interval)).await?;
            // All that was due might be worth nothing, and what comes after it is due as well.
            if !claimed.is_empty() || found < rows_max {
                return Ok(claimed);
            }
        }
    }

    async fn claim_once(
        &self,
        rows_max: usize,
        lease: Duration,
        group_interval: Duration,
    ) -> Result<(usize, Vec<Claimed>), StoreError> {
        let now = now();
        let mut transaction = Box::pin(deadline(self.pool.begin())).await?;
        let query = sqlx::query(CLAIM).bind(now.to_datetime()).bind(limit(rows_max));
        let rows = deadline(query.fetch_all(&mut *transaction)).await?;
        if rows.is_empty() {
            return Ok((0, Vec::new()));
        }
        let rows: Vec<Locked> = rows.iter().map(read_locked).collect::<Result<_, _>>()?;
        let dues: Vec<Due> = rows.iter().map(|row| row.due.clone()).collect();
        let fates = fates(&dues, now, micros(group_interval));
        let leased = now.plus_micros(micros(lease));
        let written: Vec<Written<'_>> =
            rows.iter().zip(&fates).map(|(row, fate)| Written::of(row, *fate, leased)).collect();
        write(&mut transaction, &written, now).await?;
        write_groups(&mut transaction, &written, now).await?;
        let leaders: HashSet<Uuid> = written.iter().filter_map(|one| one.leader).collect();

        let found = rows.len();
        let sent = rows.into_iter().zip(fates).filter(|(_, fate)| *fate == Fate::Send);
        let (mut claimed, mut leading) = (Vec::new(), Vec::new());
        for (row, _) in sent {
            let Some(one) = row.claimed else { continue };
            if row.due.leads || leaders.contains(&row.due.id) {
                leading.push(claimed.len());
            }
            claimed.push(one);
        }
        if !leading.is_empty() {
            speak_for_others(&mut transaction, &mut claimed, &leading).await?;
        }
        deadline(transaction.commit()).await?;
        Ok((found, claimed))
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

impl<'a> Written<'a> {
    fn of(row: &'a Locked, fate: Fate, leased: Timestamp) -> Self {
        let still = Self {
            row,
            state: PushState::Waiting,
            tried: false,
            due_at: None,
            hold: None,
            leader: None,
            error: None,
        };
        let (name, written) = match fate {
            Fate::Send => ("sent", Self { tried: true, due_at: Some(leased), ..still }),
            Fate::Wait(until) => ("held", Self { due_at: Some(until), hold: Some(Hold::Group), ..still }),
            Fate::Join(leader) => {
                let state = PushState::Grouped;
                ("grouped", Self { state, tried: true, leader: Some(leader), ..still })
            }
            Fate::Drop(stale) => {
                let state = PushState::from(stale);
                let error = (stale == Stale::Unreachable).then_some("the receiver is disabled or gone");
                (state.as_str(), Self { state, error, ..still })
            }
        };
        counter!("statecast_push_fates_total", "fate" => name).increment(1);
        written
    }
}

async fn write(
    connection: &mut PgConnection,
    written: &[Written<'_>],
    now: Timestamp,
) -> Result<(), StoreError> {
    fn column<'a, T>(written: &'a [Written<'a>], get: impl Fn(&'a Written<'a>) -> T) -> Vec<T> {
        written.iter().map(get).collect()
    }
    let query = sqlx::query(
        "UPDATE pushes p SET state = f.state, attempt = p.attempt + CASE WHEN f.tried THEN 1 ELSE 0 END,
             due_at = coalesce(f.due_at, p.due_at), hold = coalesce(f.hold, p.hold), leader = f.leader,
             error = coalesce(f.error, p.error), done_at = CASE WHEN f.state <> 'waiting' THEN $9 END
         FROM unnest($1::text[], $2::uuid[], $3::text[], $4::boolean[], $5::timestamptz[], $6::text[], $7::uuid[],
             $8::text[]) AS f (tenant, id, state, tried, due_at, hold, leader, error)
         WHERE p.tenant = f.tenant AND p.id = f.id",
    )
    .bind(column(written, |one| one.row.tenant.as_str()))
    .bind(column(written, |one| one.row.due.id))
    .bind(column(written, |one| one.state.as_str()))
    .bind(column(written, |one| one.tried))
    .bind(column(written, |one| one.due_at.map(Timestamp::to_datetime)))
    .bind(column(written, |one| one.hold.map(Hold::as_str)))
    .bind(column(written, |one| one.leader))
    .bind(column(written, |one| one.error))
    .bind(now.to_datetime());
    deadline(query.execute(connection)).await.map(drop)
}

/// Names the members in each that leads, and notes when receivers of people were told.
async fn write_groups(
    connection: &mut PgConnection,
    written: &[Written<'_>],
    now: Timestamp,
) -> Result<(), StoreError> {
    let members = || written.iter().filter_map(|one| Some((one, one.leader?)));
    if members().next().is_some() {
        let query = sqlx::query(
            "UPDATE pushes p SET members = g.members
             FROM (SELECT tenant, leader, array_agg(id ORDER BY number) AS members
                   FROM unnest($1::text[], $2::uuid[], $3::uuid[]) WITH ORDINALITY AS m (tenant, leader, id, number)
                   GROUP BY tenant, leader) g
             WHERE p.tenant = g.tenant AND p.id = g.leader",
        )
        .bind(members().map(|(one, _)| one.row.tenant.as_str()).collect::<Vec<_>>())
        .bind(members().map(|(_, leader)| leader).collect::<Vec<_>>())
        .bind(members().map(|(one, _)| one.row.due.id).collect::<Vec<_>>());
        deadline(query.execute(&mut *connection)).await?;
    }
    let told = || {
        let sent = written.iter().filter(|one| one.tried && one.leader.is_none());
        sent.filter(|one| one.row.due.may_join().is_some())
    };
    if told().next().is_some() {
        let query = sqlx::query(
            "UPDATE receivers r SET told_at = $3 FROM unnest($1::text[], $2::uuid[]) AS t (tenant, id)
             WHERE r.tenant = t.tenant AND r.id = t.id",
        )
        .bind(told().map(|one| one.row.tenant.as_str()).collect::<Vec<_>>())
        .bind(told().filter_map(|one| Some(one.row.due.groups_at.as_ref()?.1)).collect::<Vec<_>>())
        .bind(now.to_datetime());
        deadline(query.execute(connection)).await?;
    }
    Ok(())
}

/// Gives those that lead, by their places, the payload for all.
async fn speak_for_others(
    connection: &mut PgConnection,
    claimed: &mut [Claimed],
    leading: &[usize],
) -> Result<(), StoreError> {
    let query = sqlx::query(
        "SELECT k.number, cardinality(l.members) AS members, o.payloads
         FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS k (tenant, id, number)
         JOIN pushes l ON l.tenant = k.tenant AND l.id = k.id
         CROSS JOIN LATERAL (
             SELECT coalesce(jsonb_agg(m.payload ORDER BY n.number), '[]') AS payloads
             FROM unnest(l.members[1:$3]) WITH ORDINALITY AS n (id, number)
             JOIN pushes m ON m.tenant = l.tenant AND m.id = n.id
         ) o",
    )
    .bind(leading.iter().map(|place| claimed[*place].tenant.as_str()).collect::<Vec<_>>())
    .bind(leading.iter().map(|place| claimed[*place].push.id).collect::<Vec<_>>())
    .bind(i32::try_from(group::NAMED_MAX).unwrap_or(i32::MAX));
    for row in deadline(query.fetch_all(connection)).await? {
        let number: i64 = row.try_get("number")?;
        let Some(place) = usize::try_from(number - 1).ok().and_then(|n| leading.get(n)) else { continue };
        let members = usize::try_from(row.try_get::<Option<i32>, _>("members")?.unwrap_or(0)).unwrap_or(0);
        let others: Json<Vec<Value>> = row.try_get("payloads")?;
        let push = &mut claimed[*place].push;
        push.payload = group::payload(&push.payload, &others, members + 1);
    }
    Ok(())
}

/// Reads a push with its facts.
pub(crate) fn read_due(row: &PgRow, push: &Push, receiver: Option<&Receiver>) -> Result<Due, StoreError> {
    let tenant = row.tenant()?;
    let groups = |receiver: &&Receiver| receiver.person.is_some() && !receiver.kind.is_followed();
    Ok(Due {
        id: push.id,
        kind: push.kind,
        urgent: push.urgent,
        attempt: attempt(row)?,
        deadline: push.deadline,
        hold: push.hold,
        reachable: receiver.is_some_and(|receiver| receiver.enabled),
        leads: row.try_get::<Option<Vec<Uuid>>, _>("members")?.is_some(),
        alarm_version: push.alarm_version,
        alarm_now: row.try_get::<Option<i64>, _>("alarm_now")?.map(unsigned),
        told_before: row.try_get::<Option<bool>, _>("told_before")?.unwrap_or(false),
        confirmed: row.try_get::<Option<bool>, _>("confirmed")?.unwrap_or(false),
        groups_at: receiver.filter(groups).map(|receiver| (tenant, receiver.id)),
        told_at: row.time("told_at")?,
    })
}

/// The receiver beside a push, if there is one.
pub(crate) fn read_beside(row: &PgRow) -> Result<Option<Receiver>, StoreError> {
    let id: Option<Uuid> = row.try_get("r_id")?;
    id.map(|_| read_prefixed(row, "r_")).transpose()
}

fn read_locked(row: &PgRow) -> Result<Locked, StoreError> {
    let (tenant, push, receiver) = (row.tenant()?, read_push(row)?, read_beside(row)?);
    let due = read_due(row, &push, receiver.as_ref())?;
    let attempt = due.attempt + 1;
    let claimed = receiver.map(|receiver| Claimed { tenant: tenant.clone(), push, receiver, attempt });
    Ok(Locked { tenant, due, claimed })
}
