//! Devices that will have been absent for as long as a rule says, the earliest first.

use sqlx::Row;
use sqlx::types::chrono::{DateTime, Utc};
use statecast_state::{DeviceKey, TenantId, Timestamp};

use crate::rows::{Columns, limit};
use crate::store::deadline;
use crate::{Store, StoreError};

/// When a device will have been absent for long enough. Ordered by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When.
    pub at: Timestamp,
    /// Which device; none stands before all.
    pub key: Option<DeviceKey>,
}

impl Store {
    /// Of the devices of these tenants, those that become due after `after` and up to `until`, in that order, at
    /// most `rows_max`. A device is due when the length beside its tenant has passed, in microseconds, since its
    /// last message, or since `started_at` if that is later. A tenant may stand there with several lengths.
    ///
    /// Looks at each device of these tenants, because what changes with each message has no index.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn silent(
        &self,
        lengths: &[(TenantId, i64)],
        started_at: Timestamp,
        after: &Due,
        until: Timestamp,
        rows_max: usize,
    ) -> Result<Vec<Due>, StoreError> {
        let (tenants, lengths): (Vec<&str>, Vec<i64>) =
            lengths.iter().map(|(tenant, length)| (tenant.as_str(), *length)).unzip();
        let query = sqlx::query(
            "SELECT * FROM (
                 SELECT d.tenant, d.device, greatest(d.received_at, $3) + l.us * interval '1 microsecond' AS due
                 FROM unnest($1::text[], $2::bigint[]) AS l (tenant, us)
                 JOIN devices d ON d.tenant = l.tenant COLLATE \"C\"
                 WHERE d.received_at IS NOT NULL
             ) AS dues
             WHERE due <= $7 AND (due, tenant, device) > ($4, $5, $6)
             ORDER BY due, tenant, device LIMIT $8",
        )
        .bind(tenants)
        .bind(lengths)
        .bind(started_at.to_datetime())
        .bind(after.at.to_datetime())
        .bind(after.key.as_ref().map_or("", |key| key.tenant.as_str()))
        .bind(after.key.as_ref().map_or("", |key| key.device.as_str()))
        .bind(until.to_datetime())
        .bind(limit(rows_max));
        let rows = deadline(query.fetch_all(&self.pool)).await?;
        rows.iter()
            .map(|row| {
                let at = Timestamp::from(row.try_get::<DateTime<Utc>, _>("due")?);
                Ok(Due { at, key: Some(row.key()?) })
            })
            .collect()
    }
}
