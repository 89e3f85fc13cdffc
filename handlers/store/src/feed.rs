//! The change feed of all devices, in the order of positions.

use statecast_state::{DeviceKey, Position};

use crate::history::HistoryRow;
use crate::rows::{Columns, limit, signed, unsigned};
use crate::store::deadline;
use crate::{Store, StoreError};

/// One change of the feed.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedRow {
    /// Whose twin.
    pub key: DeviceKey,
    /// What was done.
    pub row: HistoryRow,
}

impl Store {
    /// Changes after `after` and up to `upto`, in the order of positions, at most `rows_max`. `upto` must not
    /// be above the watermark: beyond it a change may still appear below one that was read already.
    ///
    /// # Errors
    /// When the database can't be read; the same for all of this file.
    pub async fn feed(
        &self,
        after: Position,
        upto: Position,
        rows_max: usize,
    ) -> Result<Vec<FeedRow>, StoreError> {
        let query = sqlx::query(
            "SELECT * FROM history WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3",
        )
        .bind(signed(after.0))
        .bind(signed(upto.0))
        .bind(limit(rows_max));
        let rows = deadline(query.fetch_all(&self.pool)).await?;
        rows.iter().map(|row| Ok(FeedRow { key: row.key()?, row: HistoryRow::read(row)? })).collect()
    }

    /// The feed is complete after this position: what was at or below it may have been dropped as too old.
    /// Who is further behind must build anew from the twins.
    pub async fn feed_floor(&self) -> Result<Position, StoreError> {
        let query = sqlx::query_scalar("SELECT dropped FROM owner");
        let dropped: i64 = deadline(query.fetch_one(&self.pool)).await?;
        Ok(Position(unsigned(dropped)))
    }

    /// The position of the last change that was committed, dropped ones included.
    pub async fn last_position(&self) -> Result<Position, StoreError> {
        let query =
            sqlx::query_scalar("SELECT greatest(dropped, (SELECT max(position) FROM history)) FROM owner");
        let last: i64 = deadline(query.fetch_one(&self.pool)).await?;
        Ok(Position(unsigned(last)))
    }
}
