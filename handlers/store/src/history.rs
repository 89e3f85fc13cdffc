//! What was done to one device, newest first.

use serde::Serialize;
use sqlx::Row;
use sqlx::postgres::PgRow;
use statecast_state::{DeviceKey, Document, Kind, Position, Timestamp};

use crate::rows::{Columns, limit, signed, unsigned};
use crate::store::deadline;
use crate::{Store, StoreError};

/// One change, as it is remembered. Serialises to the history of the public contract.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HistoryRow {
    /// Its place in the feed.
    pub position: Position,
    /// The version of the twin after it.
    pub version: u64,
    /// What was done.
    pub kind: Kind,
    /// When the message was received.
    pub received_at: Timestamp,
    /// The time that the device gave, if it gave one that could be believed.
    pub device_time: Option<Timestamp>,
    /// The merge patch as it came.
    pub patch: Document,
    /// The merge patch that undoes what was done.
    pub inverse: Document,
    /// At least one property was older than what was stored.
    pub stale: bool,
    /// The clock of the device was too far ahead to be believed.
    pub ahead: bool,
}

impl HistoryRow {
    pub(crate) fn read(row: &PgRow) -> Result<Self, StoreError> {
        Ok(Self {
            position: row.position()?,
            version: unsigned(row.try_get("version")?),
            kind: row.kind()?,
            received_at: row.moment("received_at")?,
            device_time: row.time("device_time")?,
            patch: row.document("patch")?,
            inverse: row.document("inverse")?,
            stale: row.try_get("stale")?,
            ahead: row.try_get("ahead")?,
        })
    }
}

impl Store {
    /// The history of a device, newest first: what was received at `from` or later and before `to`, with
    /// positions below `before`, at most `rows_max`. The last position of a page is `before` of the next.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn history(
        &self,
        key: &DeviceKey,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        before: Option<Position>,
        rows_max: usize,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        let earliest = Timestamp::from_micros(i64::MIN);
        let latest = Timestamp::from_micros(i64::MAX);
        let query = sqlx::query(
            "SELECT * FROM history
             WHERE tenant = $1 AND device = $2 AND received_at >= $3 AND received_at < $4 AND position < $5
             ORDER BY position DESC LIMIT $6",
        )
        .bind(key.tenant.as_str())
        .bind(key.device.as_str())
        .bind(from.unwrap_or(earliest).to_datetime())
        .bind(to.unwrap_or(latest).to_datetime())
        .bind(before.map_or(i64::MAX, |position| signed(position.0)))
        .bind(limit(rows_max));
        deadline(query.fetch_all(&self.pool)).await?.iter().map(HistoryRow::read).collect()
    }
}
