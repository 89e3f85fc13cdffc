//! What became of a statement whose connection was lost before its end. Asked only when the process of the
//! server that ran it is gone, so that the answer can't change any more.

use std::collections::HashSet;

use statecast_state::Position;
use uuid::Uuid;

use crate::batch::{Group, Letter};
use crate::rows::signed;
use crate::session::Session;

/// The positions of the groups that are committed, if the statement was; none when it wasn't, or wrote nothing.
///
/// A device is in at most one batch that is under way, so its row has the position of our last change exactly
/// when the statement was committed. As a statement is committed as a whole, one row or letter tells for all.
pub(crate) async fn of_write(
    session: &mut Session,
    groups: &[Group<'_>],
    letters: &[Letter<'_>],
) -> Result<Option<HashSet<Position>>, sqlx::Error> {
    let tenants: Vec<&str> = groups.iter().map(|group| group.key().tenant.as_str()).collect();
    let devices: Vec<&str> = groups.iter().map(|group| group.key().device.as_str()).collect();
    let positions: Vec<i64> = groups.iter().map(|group| signed(group.last().position.0)).collect();
    let written: Vec<i64> = sqlx::query_scalar(
        "SELECT d.position FROM unnest($1::text[], $2::text[], $3::bigint[]) AS g (tenant, device, position)
         JOIN devices d ON d.tenant = g.tenant AND d.device = g.device AND d.position = g.position",
    )
    .bind(tenants)
    .bind(devices)
    .bind(positions)
    .fetch_all(&mut session.connection)
    .await?;

    let tenants: Vec<&str> = letters.iter().map(|letter| letter.letter.tenant.as_str()).collect();
    let ids: Vec<Uuid> = letters.iter().map(|letter| letter.id).collect();
    let letters: Vec<Uuid> = sqlx::query_scalar(
        "SELECT l.id FROM unnest($1::text[], $2::uuid[]) AS g (tenant, id)
         JOIN dead_letters l ON l.tenant = g.tenant AND l.id = g.id",
    )
    .bind(tenants)
    .bind(ids)
    .fetch_all(&mut session.connection)
    .await?;

    let committed = !written.is_empty() || !letters.is_empty();
    Ok(committed.then(|| written.into_iter().map(|position| Position(position.cast_unsigned())).collect()))
}

/// Whether a removal is committed: its tombstone is there.
pub(crate) async fn of_removal(session: &mut Session, group: Group<'_>) -> Result<bool, sqlx::Error> {
    let Some(index) = group.removal() else { return Ok(false) };
    let tombstones: Vec<i64> = sqlx::query_scalar(
        "SELECT position FROM history WHERE tenant = $1 AND device = $2 AND position = $3 AND kind = 'removed'",
    )
    .bind(group.key().tenant.as_str())
    .bind(group.key().device.as_str())
    .bind(signed(group.changes[index].position.0))
    .fetch_all(&mut session.connection)
    .await?;
    Ok(!tombstones.is_empty())
}
