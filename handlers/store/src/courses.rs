//! What became of devices since a time, device by device: for who looks back over many of them.

use std::collections::HashMap;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};
use statecast_state::{Change, DeviceId, Kind, TenantId, Timestamp, Twin};

use crate::history::HistoryRow;
use crate::rewind::walk_back;
use crate::rows::{Columns, limit};
use crate::store::deadline;
use crate::{Store, StoreError};

/// A message may have been received a little before one that was applied before it: so much earlier rows are read, in
/// microseconds.
const OVERLAP_US: i64 = 60 * 1_000_000;

/// What became of one device.
#[derive(Debug, Clone)]
pub struct Course {
    /// Which device.
    pub device: DeviceId,
    /// Its twin before the first of these changes; none when it didn't exist.
    pub before: Option<Twin>,
    /// Its changes, oldest first, each with the twins before and after it; without `reported_at`.
    pub changes: Vec<Change>,
}

/// A page of courses.
#[derive(Debug, Default)]
pub struct Courses {
    /// In the order of their devices.
    pub items: Vec<Course>,
    /// Devices with more rows than a page may have: they are left out.
    pub too_long: Vec<DeviceId>,
    /// Rows of history that were read.
    pub rows: usize,
    /// Where the next page begins; none when there is nothing more.
    pub next: Option<DeviceId>,
}

impl Store {
    /// The courses of the devices of a tenant that exist, after the device `after`, from about a time on: what was
    /// received then or later. At most so many devices and rows of history.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn courses(
        &self,
        tenant: &TenantId,
        after: Option<&DeviceId>,
        from: Timestamp,
        devices_max: usize,
        rows_max: usize,
    ) -> Result<Courses, StoreError> {
        let work = Box::pin(async {
            let mut connection = self.pool.acquire().await?;
            // Twins and history as of one moment: then the last row of a device is what made its twin.
            let mut snapshot =
                connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
            let twins = twins(&mut snapshot, tenant, after, devices_max).await?;
            let mut devices: Vec<&str> = Vec::with_capacity(twins.len());
            for row in &twins {
                devices.push(row.try_get("device")?);
            }
            let rows = rows(&mut snapshot, tenant, &devices, from, rows_max + 1).await?;
            let mut firsts: HashMap<&str, i64> = HashMap::new();
            for row in &rows {
                firsts.insert(row.try_get("device")?, row.try_get("position")?);
            }
            let seen = seen(&mut snapshot, tenant, &firsts).await?;
            snapshot.rollback().await?;
            Ok((twins, rows, seen))
        });
        let (twins, rows, seen) = deadline(work).await?;
        let is_last = twins.len() < devices_max;
        let twins: Vec<Twin> = twins.iter().map(Columns::twin).collect::<Result<_, _>>()?;
        let read: Vec<(DeviceId, HistoryRow)> = rows
            .iter()
            .map(|row| Ok((row.device()?, HistoryRow::read(row)?)))
            .collect::<Result<_, StoreError>>()?;
        let seen: HashMap<DeviceId, Timestamp> = seen
            .iter()
            .map(|row| Ok((row.device()?, row.moment("received_at")?)))
            .collect::<Result<_, StoreError>>()?;
        Ok(courses(tenant, twins, read, &seen, is_last, rows_max))
    }
}

async fn twins(
    snapshot: &mut PgConnection,
    tenant: &TenantId,
    after: Option<&DeviceId>,
    devices_max: usize,
) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::query("SELECT * FROM devices WHERE tenant = $1 AND device > $2 ORDER BY device LIMIT $3")
        .bind(tenant.as_str())
        .bind(after.map_or("", DeviceId::as_str))
        .bind(limit(devices_max))
        .fetch_all(snapshot)
        .await
}

/// Newest first, device by device.
async fn rows(
    snapshot: &mut PgConnection,
    tenant: &TenantId,
    devices: &[&str],
    from: Timestamp,
    rows_max: usize,
) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::query(
        "SELECT * FROM history WHERE tenant = $1 AND device = ANY($2) AND received_at >= $3
         ORDER BY device, position DESC LIMIT $4",
    )
    .bind(tenant.as_str())
    .bind(devices)
    .bind(from.plus_micros(-OVERLAP_US).to_datetime())
    .bind(limit(rows_max))
    .fetch_all(snapshot)
    .await
}

/// When the last message of each device before a position was received.
async fn seen(
    snapshot: &mut PgConnection,
    tenant: &TenantId,
    firsts: &HashMap<&str, i64>,
) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::query(
        "SELECT d.device, h.received_at FROM unnest($2::text[], $3::bigint[]) AS d (device, first)
         CROSS JOIN LATERAL (
            SELECT received_at FROM history WHERE tenant = $1 AND device = d.device AND position < d.first
                AND kind IN ('state', 'rejected') ORDER BY position DESC LIMIT 1) AS h",
    )
    .bind(tenant.as_str())
    .bind(firsts.keys().copied().collect::<Vec<_>>())
    .bind(firsts.values().copied().collect::<Vec<_>>())
    .fetch_all(snapshot)
    .await
}

/// Puts a page together from what was read. When that is more rows than a page may have, the last device of them isn't
/// complete: it comes with the next page, or never if it is the first.
fn courses(
    tenant: &TenantId,
    twins: Vec<Twin>,
    rows: Vec<(DeviceId, HistoryRow)>,
    seen: &HashMap<DeviceId, Timestamp>,
    is_last: bool,
    rows_max: usize,
) -> Courses {
    let partial = (rows.len() > rows_max).then(|| rows.last().map(|(device, _)| device.clone())).flatten();
    let mut page = Courses { rows: rows.len(), ..Courses::default() };
    let mut of_device: HashMap<DeviceId, Vec<HistoryRow>> = HashMap::new();
    for (device, row) in rows {
        of_device.entry(device).or_default().push(row);
    }
    let last = twins.last().map(|twin| twin.device.clone());
    for twin in twins {
        if partial.as_ref() == Some(&twin.device) {
            if page.items.is_empty() {
                page.next = Some(twin.device.clone());
                page.too_long.push(twin.device);
            }
            return page;
        }
        let rows = contiguous(&twin, of_device.remove(&twin.device).unwrap_or_default());
        page.next = Some(twin.device.clone());
        page.items.push(course(tenant, twin, rows, seen));
    }
    page.next = last.filter(|_| !is_last);
    page
}

/// The rows that lead to a twin without a gap, oldest first. There is one where a device was removed and came again, and
/// where rows were not received in the order in which they were applied.
fn contiguous(twin: &Twin, newest_first: Vec<HistoryRow>) -> Vec<HistoryRow> {
    let versions = (0..=twin.version).rev();
    let led = newest_first.into_iter().zip(versions);
    let led = led.take_while(|(row, version)| row.version == *version && row.kind != Kind::Removed);
    let mut rows: Vec<HistoryRow> = led.map(|(row, _)| row).collect();
    rows.reverse();
    rows
}

fn course(
    tenant: &TenantId,
    twin: Twin,
    rows: Vec<HistoryRow>,
    seen: &HashMap<DeviceId, Timestamp>,
) -> Course {
    let device = twin.device.clone();
    if rows.is_empty() {
        return Course { device, before: Some(twin), changes: Vec::new() };
    }
    let rows = rows.into_iter().map(|row| (device.clone(), row)).collect();
    let changes = walk_back(tenant, rows, HashMap::from([(device.clone(), twin)]), seen);
    let before = changes.first().and_then(|change| change.before.as_deref().cloned());
    Course { device, before, changes }
}
