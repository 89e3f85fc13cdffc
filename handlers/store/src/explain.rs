//! What was decided about an alarm: who was told, who wasn't, and why.

use sqlx::Row;
use sqlx::postgres::PgRow;
use statecast_state::alarm::{Event, Severity, What};
use statecast_state::{Decision, TenantId, Verdict};
use uuid::Uuid;

use crate::claims::{read_beside, read_due};
use crate::outbox::{PushRow, read_row};
use crate::rows::{Columns, limit, signed, unsigned};
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
            "SELECT * FROM ",
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
        let events = newest!("alarm_events WHERE tenant = $1 AND alarm = $2", "version DESC, step DESC");
        let decisions = newest!(
            "decisions WHERE tenant = $1 AND alarm = $2 AND ($5::text IS NULL OR person = $5 OR person IS NULL AND receiver IS NULL)",
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
            events: events.iter().rev().map(read_event).collect::<Result<_, _>>()?,
            decisions: decisions.iter().rev().map(read_decision).collect::<Result<_, _>>()?,
            pushes: pushes.iter().rev().map(read_foreseen).collect::<Result<_, _>>()?,
        })
    }
}

/// Reads a push, and what will become of it when its time comes, if that is known.
pub(crate) fn read_foreseen(row: &PgRow) -> Result<PushRow, StoreError> {
    let mut read = read_row(row)?;
    if read.state == crate::outbox::PushState::Waiting {
        let due = read_due(row, &read.push, read_beside(row)?.as_ref())?;
        read.foreseen = due.stale().map(Into::into);
    }
    Ok(read)
}

fn unknown(what: &str) -> StoreError {
    StoreError::Corrupt(format!("an unknown {what}"))
}

fn step(row: &PgRow) -> Result<u32, StoreError> {
    Ok(u32::try_from(row.try_get::<i32, _>("step")?).unwrap_or(0))
}

fn read_event(row: &PgRow) -> Result<Event, StoreError> {
    Ok(Event {
        alarm: row.try_get("alarm")?,
        rule: row.try_get("rule")?,
        version: unsigned(row.try_get("version")?),
        step: step(row)?,
        what: What::parse(row.try_get("what")?).ok_or_else(|| unknown("event"))?,
        severity: Severity::parse(row.try_get("severity")?).ok_or_else(|| unknown("severity"))?,
        at: row.moment("at")?,
        by: row.try_get("by")?,
        note: row.try_get("note")?,
        until: row.time("until")?,
    })
}

fn read_decision(row: &PgRow) -> Result<Decision, StoreError> {
    let verdict: &str = row.try_get("verdict")?;
    let verdict = serde_json::from_value::<Verdict>(verdict.into()).map_err(|_| unknown("verdict"))?;
    Ok(Decision {
        alarm: row.try_get("alarm")?,
        version: unsigned(row.try_get("version")?),
        step: step(row)?,
        person: row.try_get("person")?,
        receiver: row.try_get("receiver")?,
        at: row.moment("at")?,
        verdict,
        detail: row.try_get("detail")?,
    })
}
