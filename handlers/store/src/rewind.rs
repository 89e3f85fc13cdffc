//! Changes as they were, with the twins before and after each, from the history: for who follows a query and was
//! away for a while.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};
use statecast_state::undo::undo;
use statecast_state::{Change, DeviceId, DeviceKey, Kind, Position, TenantId, Timestamp, Twin};

use crate::history::HistoryRow;
use crate::rows::{Columns, limit, signed, unsigned};
use crate::store::deadline;
use crate::{Store, StoreError};

/// Twins by device.
type Twins = HashMap<DeviceId, Twin>;

impl Store {
    /// The changes of a tenant after a position and up to another, in order, with the twins before and after each;
    /// none when there are more than `rows_max` up to now, or the history doesn't reach back that far. `upto` must
    /// not be above the watermark.
    ///
    /// Of a device that was removed only its removal is left, with neither twin. Twins are without `reported_at`.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn rewind(
        &self,
        tenant: &TenantId,
        after: Position,
        upto: Position,
        rows_max: usize,
    ) -> Result<Option<Vec<Change>>, StoreError> {
        let work = Box::pin(async {
            let mut connection = self.pool.acquire().await?;
            // Twins and history as of one moment: then the last row of a device is what made its twin.
            let mut snapshot =
                connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
            let dropped: i64 =
                sqlx::query_scalar("SELECT dropped FROM owner").fetch_one(&mut *snapshot).await?;
            if unsigned(dropped) > after.0 {
                return Ok(None);
            }
            let rows = rows(&mut snapshot, tenant, after, rows_max + 1).await?;
            if rows.len() > rows_max {
                return Ok(None);
            }
            let mut devices: Vec<&str> = Vec::with_capacity(rows.len());
            for row in &rows {
                devices.push(row.try_get("device")?);
            }
            devices.sort_unstable();
            devices.dedup();
            let twins = twins(&mut snapshot, tenant, &devices).await?;
            let seen = seen(&mut snapshot, tenant, &devices, after).await?;
            snapshot.rollback().await?;
            Ok(Some((rows, twins, seen)))
        });
        let Some((rows, twins, seen)) = deadline(work).await? else { return Ok(None) };
        let twins: Result<Twins, StoreError> =
            twins.iter().map(|row| Ok((row.device()?, row.twin()?))).collect();
        let seen: Result<HashMap<DeviceId, Timestamp>, StoreError> =
            seen.iter().map(|row| Ok((row.device()?, row.moment("received_at")?))).collect();
        let rows: Result<Vec<_>, StoreError> =
            rows.iter().map(|row| Ok((row.device()?, HistoryRow::read(row)?))).collect();
        let mut changes = walk_back(tenant, rows?, twins?, &seen?);
        changes.retain(|change| change.position <= upto);
        Ok(Some(changes))
    }
}

async fn rows(
    snapshot: &mut PgConnection,
    tenant: &TenantId,
    after: Position,
    rows_max: usize,
) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::query("SELECT * FROM history WHERE position > $1 AND tenant = $2 ORDER BY position LIMIT $3")
        .bind(signed(after.0))
        .bind(tenant.as_str())
        .bind(limit(rows_max))
        .fetch_all(snapshot)
        .await
}

async fn twins(
    snapshot: &mut PgConnection,
    tenant: &TenantId,
    devices: &[&str],
) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::query("SELECT * FROM devices WHERE tenant = $1 AND device = ANY($2)")
        .bind(tenant.as_str())
        .bind(devices)
        .fetch_all(snapshot)
        .await
}

/// When the last message of each device up to a position was received.
async fn seen(
    snapshot: &mut PgConnection,
    tenant: &TenantId,
    devices: &[&str],
    upto: Position,
) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::query(
        "SELECT d.device, h.received_at FROM unnest($2::text[]) AS d (device) CROSS JOIN LATERAL (
            SELECT received_at FROM history WHERE tenant = $1 AND device = d.device AND position <= $3
                AND kind IN ('state', 'rejected') ORDER BY position DESC LIMIT 1) AS h",
    )
    .bind(tenant.as_str())
    .bind(devices)
    .bind(signed(upto.0))
    .fetch_all(snapshot)
    .await
}

/// From the newest row to the oldest, undoing each. `twins` are as the last row of each left them.
pub(crate) fn walk_back(
    tenant: &TenantId,
    rows: Vec<(DeviceId, HistoryRow)>,
    twins: Twins,
    seen: &HashMap<DeviceId, Timestamp>,
) -> Vec<Change> {
    // When the message before each row was received: one pass forward.
    let mut last_seen = seen.clone();
    let seen_before: Vec<Option<Timestamp>> = rows
        .iter()
        .map(|(device, row)| match row.kind {
            Kind::State | Kind::Rejected => {
                let before = last_seen.get(device).copied();
                let newest = before.map_or(row.received_at, |before| before.max(row.received_at));
                last_seen.insert(device.clone(), newest);
                before
            }
            _ => None,
        })
        .collect();
    let mut twins: HashMap<DeviceId, Arc<Twin>> =
        twins.into_iter().map(|(device, twin)| (device, Arc::new(twin))).collect();
    let mut changes: Vec<Change> = rows
        .into_iter()
        .zip(seen_before)
        .rev()
        .map(|((device, row), seen)| {
            let after = if row.kind == Kind::Removed { None } else { twins.remove(&device) };
            let before =
                after.as_ref().and_then(|after| undo(after, row.kind, &row.inverse, seen)).map(Arc::new);
            if let Some(before) = &before {
                twins.insert(device.clone(), before.clone());
            }
            let key = DeviceKey::new(tenant.clone(), device);
            let HistoryRow { position, kind, received_at, device_time, patch, inverse, stale, ahead, .. } =
                row;
            Change {
                key,
                position,
                kind,
                before,
                after,
                patch,
                inverse,
                stale,
                ahead,
                received_at,
                device_time,
                message: None,
                requests: Vec::new(),
                pushes: Vec::new(),
                decisions: Vec::new(),
                alarms: Vec::new(),
                events: Vec::new(),
            }
        })
        .collect();
    changes.reverse();
    changes
}
