//! The outbox: pushes that wait, and what became of the others. Rows are written with the batches.
//!
//! States: `waiting`, also while somebody tries to deliver it; then `delivered`, `dead`, or one of those that say why it
//! wasn't worth sending any more. A claim is a lease: it moves `due_at` to its end, and who doesn't finish in time has
//! to expect that somebody else claims the push.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{Connection, Row};
use statecast_state::alarm::Severity;
use statecast_state::claim::{Hold, Stale};
use statecast_state::push::{Finished, Outcome};
use statecast_state::{DeviceId, Position, Push, PushKind, TenantId, Timestamp};
use uuid::Uuid;

use crate::explain::read_foreseen;
use crate::receivers::disable;
use crate::rows::{Columns, limit, signed, storable, unsigned};
use crate::store::deadline;
use crate::{Store, StoreError};

/// Where a push stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PushState {
    /// Waits for its first or next attempt, or is being tried.
    Waiting,
    /// Accepted.
    Delivered,
    /// Given up.
    Dead,
    /// Not sent: a later version of its alarm exists.
    Superseded,
    /// Not sent: it updates what the receiver was never told.
    Needless,
    /// Not sent: a live receiver of the person confirmed that it has the same.
    Confirmed,
    /// It went with another one.
    Grouped,
}

impl From<Stale> for PushState {
    fn from(stale: Stale) -> Self {
        match stale {
            Stale::Unreachable => Self::Dead,
            Stale::Superseded => Self::Superseded,
            Stale::Needless => Self::Needless,
            Stale::Confirmed => Self::Confirmed,
        }
    }
}

impl PushState {
    /// The name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Superseded => "superseded",
            Self::Needless => "needless",
            Self::Confirmed => "confirmed",
            Self::Grouped => "grouped",
        }
    }

    /// Reads the name back.
    fn parse(text: &str) -> Option<Self> {
        let ended = [Self::Dead, Self::Superseded, Self::Needless, Self::Confirmed, Self::Grouped];
        [Self::Waiting, Self::Delivered].into_iter().chain(ended).find(|state| state.as_str() == text)
    }
}

/// A push, and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PushRow {
    /// What is told.
    #[serde(flatten)]
    pub push: Push,
    /// Where it stands.
    pub state: PushState,
    /// Attempts that were begun.
    pub attempt: u32,
    /// What the receiver answered, as in HTTP, when it accepted.
    pub status: Option<u16>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// When it was delivered or given up.
    pub done_at: Option<Timestamp>,
    /// While it waits: what it will be when its time comes, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreseen: Option<PushState>,
    /// The one that it went with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<Uuid>,
    /// Those that went with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Uuid>,
    /// When the app said that it got it.
    pub received_at: Option<Timestamp>,
    /// When a person opened it.
    pub opened_at: Option<Timestamp>,
}

/// Which pushes to list: all that fit everything that is set.
#[derive(Debug, Clone, Copy, Default)]
pub struct PushFilter<'a> {
    /// Those that stand here.
    pub state: Option<PushState>,
    /// Those about this device.
    pub device: Option<&'a DeviceId>,
    /// Those older than the one with this position and id: the last of the page before.
    pub before: Option<(Position, Uuid)>,
}

impl Store {
    /// Pushes of a tenant, newest first, at most `rows_max`.
    ///
    /// # Errors
    /// When the database can't be used; the same for all of this file.
    pub async fn deliveries(
        &self,
        tenant: &TenantId,
        filter: PushFilter<'_>,
        rows_max: usize,
    ) -> Result<Vec<PushRow>, StoreError> {
        let (position, id) = filter.before.map_or((i64::MAX, Uuid::max()), |(p, id)| (signed(p.0), id));
        /// The page where `$2`, the device, is used like this.
        macro_rules! page {
            ($device:literal) => {
                concat!(
                    "WITH due AS MATERIALIZED (SELECT * FROM pushes WHERE tenant = $1 AND ",
                    $device,
                    " AND (position, id) < ($4, $5) AND ($3::text IS NULL OR state = $3)
                    ORDER BY position DESC, id DESC LIMIT $6) ",
                    include_str!("facts.sql"),
                    " ORDER BY d.position DESC, d.id DESC"
                )
            };
        }
        let sql = match filter.device {
            None => page!("$2::text IS NULL"),
            Some(_) => page!("device = $2"),
        };
        let query = sqlx::query(sql)
            .bind(tenant.as_str())
            .bind(filter.device.map(DeviceId::as_str))
            .bind(filter.state.map(PushState::as_str))
            .bind(position)
            .bind(id)
            .bind(limit(rows_max));
        deadline(query.fetch_all(&self.pool)).await?.iter().map(read_foreseen).collect()
    }

    /// Pushes of a tenant for live receivers, of changes after `after` and up to `upto`, oldest first; at most
    /// about `rows_max`, but never some of a change without the others.
    pub async fn live_pushes(
        &self,
        tenant: &TenantId,
        after: Position,
        upto: Position,
        rows_max: usize,
    ) -> Result<Vec<Push>, StoreError> {
        let query = sqlx::query(
            "SELECT p.* FROM pushes p JOIN receivers r ON r.tenant = p.tenant AND r.id = p.receiver
             WHERE p.tenant = $1 AND p.position > $2 AND p.position <= $3 AND r.kind->>'kind' = 'live'
             ORDER BY p.position FETCH FIRST $4 ROWS WITH TIES",
        )
        .bind(tenant.as_str())
        .bind(signed(after.0))
        .bind(signed(upto.0))
        .bind(limit(rows_max));
        deadline(query.fetch_all(&self.pool)).await?.iter().map(read_push).collect()
    }

    /// Writes what became of pushes. One that is delivered or dead already stays as it is.
    pub async fn finish(&self, finished: &[Finished]) -> Result<(), StoreError> {
        let now = now();
        let parts: Vec<_> = finished.iter().map(|one| parts(&one.outcome, now)).collect();
        let work = Box::pin(async {
            let mut connection = self.pool.acquire().await?;
            let mut transaction = connection.begin().await?;
            let gone = finished.iter().filter_map(|one| match &one.outcome {
                Outcome::ReceiverGone { error } => Some((one, error)),
                _ => None,
            });
            for (one, error) in gone {
                let receivers: Vec<Uuid> =
                    sqlx::query_scalar("SELECT receiver FROM pushes WHERE tenant = $1 AND id = $2")
                        .bind(one.tenant.as_str())
                        .bind(one.id)
                        .fetch_all(&mut *transaction)
                        .await?;
                for receiver in receivers {
                    disable(&mut transaction, &one.tenant, receiver, error).await?;
                }
            }
            // `state = 'waiting'` would say the same, and tempt the planner to read all that waits.
            sqlx::query(
                "UPDATE pushes p SET state = f.state, status = f.status,
                    error = CASE WHEN f.tried THEN f.error ELSE coalesce(f.error, p.error) END,
                    attempt = p.attempt - CASE WHEN f.tried THEN 0 ELSE 1 END,
                    due_at = coalesce(f.at, p.due_at), done_at = CASE WHEN f.state <> 'waiting' THEN $7 END
                 FROM unnest($1::text[], $2::uuid[], $3::text[], $4::integer[], $5::text[], $6::timestamptz[],
                    $8::boolean[]) AS f (tenant, id, state, status, error, at, tried)
                 WHERE p.tenant = f.tenant AND p.id = f.id AND p.done_at IS NULL",
            )
            .bind(finished.iter().map(|one| one.tenant.as_str()).collect::<Vec<_>>())
            .bind(finished.iter().map(|one| one.id).collect::<Vec<_>>())
            .bind(parts.iter().map(|part| part.0.as_str()).collect::<Vec<_>>())
            .bind(parts.iter().map(|part| part.1).collect::<Vec<_>>())
            .bind(parts.iter().map(|part| part.2.as_deref()).collect::<Vec<_>>())
            .bind(parts.iter().map(|part| part.3.map(Timestamp::to_datetime)).collect::<Vec<_>>())
            .bind(now.to_datetime())
            .bind(
                finished
                    .iter()
                    .map(|one| !matches!(one.outcome, Outcome::Postponed { .. }))
                    .collect::<Vec<_>>(),
            )
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await
        });
        deadline(work).await
    }

    /// When the next push can be claimed; none when none waits.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT due_at FROM pushes p WHERE state = 'waiting'
                     AND (push_kind <> 'forward' OR NOT EXISTS (
                        SELECT 1 FROM pushes e WHERE e.tenant = p.tenant AND e.device = p.device
                            AND e.receiver = p.receiver AND e.state = 'waiting' AND e.push_kind = 'forward'
                            AND e.position < p.position))
                     ORDER BY due_at LIMIT 1";
        let row = deadline(sqlx::query(sql).fetch_optional(&self.pool)).await?;
        row.map(|row| row.moment("due_at")).transpose()
    }

    /// Deletes pushes that were delivered or given up before `time`; answers how many.
    pub async fn trim_pushes(&self, time: Timestamp) -> Result<u64, StoreError> {
        let query = sqlx::query("DELETE FROM pushes WHERE state <> 'waiting' AND done_at < $1")
            .bind(time.to_datetime());
        Ok(deadline(query.execute(&self.pool)).await?.rows_affected())
    }
}

/// Leases and retries are counted by the clock of this process, as the times of retries are made here.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

type Parts = (PushState, Option<i32>, Option<String>, Option<Timestamp>);

/// State, status, error and time of the next attempt.
fn parts(outcome: &Outcome, now: Timestamp) -> Parts {
    match outcome {
        Outcome::Delivered { status } => (PushState::Delivered, Some(i32::from(*status)), None, None),
        Outcome::Retry { at, error } => {
            (PushState::Waiting, None, Some(storable(error).into_owned()), Some((*at).max(now)))
        }
        Outcome::Postponed { at, error } => {
            let error = error.as_deref().map(|error| storable(error).into_owned());
            (PushState::Waiting, None, error, Some((*at).max(now)))
        }
        Outcome::Dead { error } | Outcome::ReceiverGone { error } => {
            (PushState::Dead, None, Some(storable(error).into_owned()), None)
        }
    }
}

pub(crate) fn attempt(row: &PgRow) -> Result<u32, StoreError> {
    Ok(u32::try_from(row.try_get::<i32, _>("attempt")?).unwrap_or(0))
}

pub(crate) fn read_push(row: &PgRow) -> Result<Push, StoreError> {
    Ok(Push {
        id: row.try_get("id")?,
        rule: row.try_get("rule")?,
        receiver: row.try_get("receiver")?,
        device: row.device()?,
        position: row.position()?,
        payload: row.try_get::<Json<serde_json::Value>, _>("payload")?.0,
        created_at: row.moment("created_at")?,
        deadline: row.moment("deadline")?,
        due_at: row.moment("due_at")?,
        kind: PushKind::parse(row.try_get("push_kind")?)
            .ok_or_else(|| StoreError::Corrupt("an unknown kind of push".into()))?,
        alarm: row.try_get("alarm")?,
        alarm_version: unsigned(row.try_get("alarm_version")?),
        step: u32::try_from(row.try_get::<i32, _>("step")?).unwrap_or(0),
        person: row.try_get("person")?,
        severity: Severity::parse(row.try_get("severity")?)
            .ok_or_else(|| StoreError::Corrupt("an unknown severity".into()))?,
        urgent: row.try_get("urgent")?,
        hold: row.try_get::<Option<&str>, _>("hold")?.and_then(Hold::parse),
    })
}

pub(crate) fn read_row(row: &PgRow) -> Result<PushRow, StoreError> {
    let state: &str = row.try_get("state")?;
    let state = PushState::parse(state);
    Ok(PushRow {
        push: read_push(row)?,
        state: state.ok_or_else(|| StoreError::Corrupt("an unknown state of a push".into()))?,
        attempt: attempt(row)?,
        status: row.try_get::<Option<i32>, _>("status")?.and_then(|status| u16::try_from(status).ok()),
        error: row.try_get("error")?,
        done_at: row.time("done_at")?,
        foreseen: None,
        leader: row.try_get("leader")?,
        members: row.try_get::<Option<Vec<Uuid>>, _>("members")?.unwrap_or_default(),
        received_at: row.time("received_at")?,
        opened_at: row.time("opened_at")?,
    })
}
