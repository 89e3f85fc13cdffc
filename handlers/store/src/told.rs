//! What follows from changes, bound to the statement that writes them: pushes, alarms, their events, decisions.

use std::collections::HashSet;

use serde::Serialize;
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use statecast_state::alarm::{Alarm, Event};
use statecast_state::claim::Hold;
use statecast_state::{Change, Decision, Push};
use uuid::Uuid;

use crate::rows::{Jsonb, signed};
use crate::statement::column;

/// A row of one of the tables that are written as JSON.
#[derive(Serialize)]
struct Row<'a, T> {
    /// The position of the last change of the device in the batch: the row is written if that one is.
    last: i64,
    tenant: &'a str,
    device: &'a str,
    position: i64,
    #[serde(flatten)]
    row: &'a T,
}

impl<'a, T> Row<'a, T> {
    fn new((last, change): &(i64, &'a Change), row: &'a T) -> Self {
        let (tenant, device) = (change.key.tenant.as_str(), change.key.device.as_str());
        Self { last: *last, tenant, device, position: signed(change.position.0), row }
    }
}

/// Binds `$1` to `$22`. Each change stands beside the last position of its device; `pushes` are of some of them.
pub(crate) fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    changes: &[(i64, &Change)],
    pushes: &[(i64, &Change, &Push)],
) -> Query<'q, Postgres, PgArguments> {
    let events: Vec<Row<'_, Event>> = changes
        .iter()
        .flat_map(|change| change.1.events.iter().map(|event| Row::new(change, event)))
        .collect();
    let decisions: Vec<Row<'_, Decision>> = changes
        .iter()
        .flat_map(|change| change.1.decisions.iter().map(|decision| Row::new(change, decision)))
        .collect();
    query
        .bind(column(pushes, |(_, change, _)| change.key.tenant.as_str()))
        .bind(column(pushes, |(last, ..)| *last))
        .bind(column(pushes, |(.., push)| push.id))
        .bind(column(pushes, |(.., push)| push.rule))
        .bind(column(pushes, |(.., push)| push.receiver))
        .bind(column(pushes, |(.., push)| push.device.as_str()))
        .bind(column(pushes, |(_, change, _)| signed(change.position.0)))
        .bind(column(pushes, |(.., push)| Jsonb(&push.payload)))
        .bind(column(pushes, |(.., push)| push.created_at.to_datetime()))
        .bind(column(pushes, |(.., push)| push.deadline.to_datetime()))
        .bind(column(pushes, |(.., push)| push.due_at.to_datetime()))
        .bind(column(pushes, |(.., push)| push.kind.as_str()))
        .bind(column(pushes, |(.., push)| push.alarm))
        .bind(column(pushes, |(.., push)| signed(push.alarm_version)))
        .bind(column(pushes, |(.., push)| i32::try_from(push.step).unwrap_or(i32::MAX)))
        .bind(column(pushes, |(.., push)| push.person.as_deref()))
        .bind(column(pushes, |(.., push)| push.severity.as_str()))
        .bind(column(pushes, |(.., push)| push.urgent))
        .bind(column(pushes, |(.., push)| push.hold.map(Hold::as_str)))
        .bind(Jsonb(&alarms(changes)))
        .bind(Jsonb(&events))
        .bind(Jsonb(&decisions))
}

/// Each alarm as its last change left it: a statement may write a row only once.
fn alarms<'a>(changes: &[(i64, &'a Change)]) -> Vec<Row<'a, Alarm>> {
    let mut known: HashSet<Uuid> = HashSet::new();
    let newest_first = changes.iter().rev();
    newest_first
        .flat_map(|change| change.1.alarms.iter().map(move |alarm| (change, alarm)))
        .filter(|(_, alarm)| known.insert(alarm.id))
        .map(|(change, alarm)| Row::new(change, alarm))
        .collect()
}
