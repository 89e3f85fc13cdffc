//! The one statement that writes a batch, and the rare one that removes a device.

use std::collections::HashSet;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};
use statecast_state::{Change, Document, Position, Push, Timestamp, Twin};

use crate::batch::{Group, Letter};
use crate::requests;
use crate::rows::{Jsonb, signed, storable};
use crate::told;

/// Writes the groups whose guard holds, each as a whole, and the letters; answers the positions of the last
/// change of each group that was written.
///
/// Returns only when the server has said that the transaction is committed: the answer is read to its end.
pub(crate) async fn write(
    connection: &mut PgConnection,
    groups: &[Group<'_>],
    letters: &[Letter<'_>],
) -> Result<HashSet<Position>, sqlx::Error> {
    if !requests::any(groups) {
        return write_at_once(connection, groups, letters).await;
    }
    let mut transaction = connection.begin().await?;
    let written = write_at_once(&mut transaction, groups, letters).await?;
    requests::put(&mut transaction, groups, &written).await?;
    transaction.commit().await?;
    Ok(written)
}

/// All of it but requests, as one statement.
async fn write_at_once(
    connection: &mut PgConnection,
    groups: &[Group<'_>],
    letters: &[Letter<'_>],
) -> Result<HashSet<Position>, sqlx::Error> {
    // Each column is bound as soon as it is made, in the order of the numbers in the statement.
    let twins: Vec<(&Group<'_>, &Twin)> =
        groups.iter().filter_map(|group| Some((group, group.last().after.as_deref()?))).collect();
    let changes: Vec<(i64, &Change)> = groups
        .iter()
        .flat_map(|group| group.changes.iter().map(|change| (signed(group.last().position.0), change)))
        .collect();
    let pushes: Vec<(i64, &Change, &Push)> = changes
        .iter()
        .flat_map(|(last, change)| change.pushes.iter().map(|push| (*last, *change, push)))
        .collect();

    let query = sqlx::query(concat!(include_str!("statement.sql"), include_str!("told.sql")));
    let query = told::bind(query, &changes, &pushes)
        .bind(column(&twins, |(group, _)| group.key().tenant.as_str()))
        .bind(column(&twins, |(group, _)| group.key().device.as_str()))
        .bind(column(&twins, |(group, _)| signed(group.first().version_before())))
        .bind(column(&twins, |(_, twin)| signed(twin.version)))
        .bind(column(&twins, |(group, _)| signed(group.last().position.0)))
        .bind(column(&twins, |(_, twin)| Jsonb(&twin.reported)))
        .bind(column(&twins, |(_, twin)| Jsonb(&twin.desired)))
        .bind(column(&twins, |(_, twin)| Jsonb(&twin.tags)))
        .bind(column(&twins, |(_, twin)| Jsonb(&twin.reported_at.0)))
        .bind(column(&twins, |(_, twin)| twin.presence.online))
        .bind(column(&twins, |(_, twin)| twin.presence.since.map(Timestamp::to_datetime)))
        .bind(column(&twins, |(_, twin)| twin.presence.reason.as_str()))
        .bind(column(&twins, |(_, twin)| twin.received_at.map(Timestamp::to_datetime)))
        .bind(column(&twins, |(_, twin)| signed(twin.presence.epoch)))
        .bind(column(&twins, |(_, twin)| signed(twin.presence.seq)));
    let query = query
        .bind(column(&changes, |(_, change)| change.key.tenant.as_str()))
        .bind(column(&changes, |(_, change)| change.key.device.as_str()))
        .bind(column(&changes, |(last, _)| *last))
        .bind(column(&changes, |(_, change)| signed(change.position.0)))
        .bind(column(&changes, |(_, change)| signed(change.version())))
        .bind(column(&changes, |(_, change)| change.received_at.to_datetime()))
        .bind(column(&changes, |(_, change)| change.device_time.map(Timestamp::to_datetime)))
        .bind(column(&changes, |(_, change)| message(change)))
        .bind(column(&changes, |(_, change)| change.stale))
        .bind(column(&changes, |(_, change)| change.kind.as_str()))
        .bind(column(&changes, |(_, change)| Jsonb(&change.patch)))
        .bind(column(&changes, |(_, change)| Jsonb(&change.inverse)))
        .bind(column(&changes, |(_, change)| change.ahead));
    let query = query
        .bind(column(letters, |letter| letter.letter.tenant.as_str()))
        .bind(column(letters, |letter| letter.id))
        .bind(column(letters, |letter| letter.letter.device.as_deref().map(storable)))
        .bind(column(letters, |letter| storable(&letter.letter.topic)))
        .bind(column(letters, |letter| letter.letter.payload.as_ref()))
        .bind(column(letters, |letter| storable(&letter.letter.reason)))
        .bind(column(letters, |letter| letter.letter.received_at.to_datetime()));
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(position).collect()
}

/// Removes a device, and writes what came after its removal, as one transaction. Answers whether the guard
/// held; when it didn't, nothing is written.
pub(crate) async fn remove(connection: &mut PgConnection, group: Group<'_>) -> Result<bool, sqlx::Error> {
    let Some(index) = group.removal() else { return Ok(false) };
    let (removal, rest) = (&group.changes[index], &group.changes[index + 1..]);
    let mut transaction = connection.begin().await?;
    // What was to be told before goes with the device; what happened to its alarms stays.
    let last = signed(removal.position.0);
    let changes: Vec<(i64, &Change)> = group.changes[..=index].iter().map(|change| (last, change)).collect();
    let pushes: Vec<(i64, &Change, &Push)> =
        removal.pushes.iter().map(|push| (last, removal, push)).collect();
    let query = sqlx::query(concat!(include_str!("removal.sql"), include_str!("told.sql")));
    let passed = told::bind(query, &changes, &pushes)
        .bind(removal.key.tenant.as_str())
        .bind(removal.key.device.as_str())
        .bind(signed(group.first().version_before()))
        .bind(last)
        .bind(signed(removal.version()))
        .bind(removal.received_at.to_datetime())
        .bind(message(removal))
        .bind(Jsonb::<Document>(&removal.patch))
        .bind(Jsonb::<Document>(&removal.inverse))
        .fetch_all(&mut *transaction)
        .await?;
    let mut written = !passed.is_empty();
    if written && !rest.is_empty() {
        written = write(&mut transaction, &[Group { changes: rest }], &[]).await?.len() == 1;
    }
    if written {
        transaction.commit().await?;
    } else {
        transaction.rollback().await?;
    }
    Ok(written)
}

/// One column of a table whose rows are these.
pub(crate) fn column<'a, Item, T>(items: &'a [Item], get: impl Fn(&'a Item) -> T) -> Vec<T> {
    items.iter().map(get).collect()
}

/// The 64 bits of the message id, as PostgreSQL has no unsigned numbers.
fn message(change: &Change) -> Option<i64> {
    change.message.map(|id| id.0.cast_signed())
}

fn position(row: &PgRow) -> Result<Position, sqlx::Error> {
    row.try_get(0).map(|position: i64| Position(position.cast_unsigned()))
}
