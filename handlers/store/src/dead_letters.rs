//! Messages that could not be applied. Written with the batches; read and trimmed here.

use sqlx::Row;
use statecast_state::{TenantId, Timestamp};
use uuid::Uuid;

use crate::rows::{Columns, limit, signed};
use crate::store::deadline;
use crate::{DeadLetter, Store, StoreError};

/// A dead letter as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLetter {
    /// Rises with time.
    pub id: Uuid,
    /// What was kept.
    pub letter: DeadLetter,
}

impl Store {
    /// The dead letters of a tenant, newest first, older than `before`, at most `rows_max`. The last id of a
    /// page is `before` of the next.
    ///
    /// # Errors
    /// When the database can't be read; the same for all of this file.
    pub async fn dead_letters(
        &self,
        tenant: &TenantId,
        before: Option<Uuid>,
        rows_max: usize,
    ) -> Result<Vec<StoredLetter>, StoreError> {
        let sql = "SELECT * FROM dead_letters WHERE tenant = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
        let query =
            sqlx::query(sql).bind(tenant.as_str()).bind(before.unwrap_or(Uuid::max())).bind(limit(rows_max));
        let rows = deadline(query.fetch_all(&self.pool)).await?;
        rows.iter()
            .map(|row| {
                let received_at: Timestamp = row.moment("received_at")?;
                Ok(StoredLetter {
                    id: row.try_get("id")?,
                    letter: DeadLetter {
                        tenant: tenant.clone(),
                        device: row.try_get("device")?,
                        topic: row.try_get("topic")?,
                        payload: row.try_get::<Vec<u8>, _>("payload")?.into(),
                        reason: row.try_get("reason")?,
                        received_at,
                    },
                })
            })
            .collect()
    }

    /// Deletes the oldest dead letters, of all tenants, until the rest weighs at most `bytes_max` bytes.
    pub async fn trim_dead_letters(&self, bytes_max: u64) -> Result<u64, StoreError> {
        let query = sqlx::query(
            "DELETE FROM dead_letters WHERE id IN (
                SELECT id FROM (SELECT id, sum(size) OVER (ORDER BY id DESC) AS total FROM dead_letters) AS l
                WHERE total > $1)",
        )
        .bind(signed(bytes_max));
        Ok(deadline(query.execute(&self.pool)).await?.rows_affected())
    }
}
