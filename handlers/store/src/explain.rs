//! What was decided about an alarm: who was told, who wasn't, and why.

use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use statecast_state::alarm::Event;
use statecast_state::{Decision, TenantId};
use uuid::Uuid;

use crate::claims::{read_beside, read_due};
use crate::outbox::{PushRow, PushState, read_row};
use crate::rows::{limit, signed};
use crate::store::deadline;
use crate::{Store, StoreError};

/// What of an alarm is to be explained.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Which alarm.
    pub alarm: Uuid,
    /// As far as it is about this person; all people and receivers without it.
    pub person: Option<&'a str>,
    /// At this version; at all without it.
    pub version: Option<u64>,
}

/// What there is to say, the oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// What happened.
    pub events: Vec<Event>,
    /// Who was not told, and why.
    pub decisions: Vec<Decision>,
    /// Who was, or is to be.
    pub pushes: Vec<PushRow>,
}

/// The newest rows of a table of which `$1`-`$4` are tenant, alarm, version and rows at most.
macro_rules! newest {
    ($from:literal, $order:literal) => {
        concat!(
            "SELECT to_jsonb(r) AS row FROM ",
            $from,
            " AND ($3::bigint IS NULL OR version = $3) ORDER BY ",
            $order,
            " LIMIT $4"
        )
    };
}

impl Store {
    /// What was decided about an alarm; of each kind the newest `rows_max` rows.
    ///
    /// # Errors
    /// When the database can't be used.
    pub async fn explain(
        &self,
        tenant: &TenantId,
        question: Question<'_>,
        rows_max: usize,
    ) -> Result<Explanation, StoreError> {
        let events = newest!("alarm_events r WHERE tenant = $1 AND alarm = $2", "version DESC, step DESC");
        let decisions = newest!(
            "decisions r WHERE tenant = $1 AND alarm = $2 AND ($5::text IS NULL OR person = $5 OR person IS NULL AND receiver IS NULL)",
            "version DESC, step DESC, person, receiver"
        );
        let pushes = concat!(
            "WITH due AS MATERIALIZED (
                SELECT * FROM pushes WHERE tenant = $1 AND alarm = $2 AND ($3::bigint IS NULL OR alarm_version = $3)
                    AND ($5::text IS NULL OR person = $5) ORDER BY alarm_version DESC, step DESC, id LIMIT $4
            ) ",
            include_str!("facts.sql"),
            " ORDER BY d.alarm_version DESC, d.step DESC, d.id"
        );
        let ask = |sql: &'static str| {
            let version = question.version.map(signed);
            sqlx::query(sql).bind(tenant.as_str()).bind(question.alarm).bind(version).bind(limit(rows_max))
        };
        let events = deadline(ask(events).fetch_all(&self.pool)).await?;
        let decisions = deadline(ask(decisions).bind(question.person).fetch_all(&self.pool)).await?;
        let pushes = deadline(ask(pushes).bind(question.person).fetch_all(&self.pool)).await?;
        Ok(Explanation {
            events: events.iter().rev().map(read_json).collect::<Result<_, _>>()?,
            decisions: decisions.iter().rev().map(read_json).collect::<Result<_, _>>()?,
            pushes: pushes.iter().rev().map(read_foreseen).collect::<Result<_, _>>()?,
        })
    }
}

/// Reads a push, and what will become of it when its time comes, if that is known.
pub(crate) fn read_foreseen(row: &PgRow) -> Result<PushRow, StoreError> {
    let mut read = read_row(row)?;
    if read.state == PushState::Waiting {
        let due = read_due(row, &read.push, read_beside(row)?.as_ref())?;
        read.foreseen = due.stale().map(Into::into);
    }
    Ok(read)
}

/// Reads what was made into JSON.
fn read_json<T: DeserializeOwned + Send + Unpin + 'static>(row: &PgRow) -> Result<T, StoreError> {
    Ok(row.try_get::<Json<T>, _>("row")?.0)
}
