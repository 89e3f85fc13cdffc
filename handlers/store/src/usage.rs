//! Metering: what handlers used, summed up by tenant, handler and span of time.

use serde::Serialize;
use sqlx::Row;
use statecast_state::{TenantId, Timestamp};

use crate::rows::{Columns, signed, unsigned};
use crate::store::deadline;
use crate::{Store, StoreError};

/// What one handler used for one tenant since it was last written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// Whose messages.
    pub tenant: TenantId,
    /// Which handler.
    pub handler: &'static str,
    /// When the span of time begins that it is counted for, e.g. the full minute or hour.
    pub bucket: Timestamp,
    /// Invocations, those that failed included.
    pub invocations: u64,
    /// Invocations that failed.
    pub failed: u64,
    /// Time on the clock, in microseconds.
    pub wall_us: u64,
    /// Milliseconds billed when each invocation is rounded up to 1 ms.
    pub billed_1ms: u64,
    /// Milliseconds billed when each invocation is rounded up to 100 ms.
    pub billed_100ms: u64,
}

/// What one handler used for one tenant in one span of time. See [`UsageRow`] for the fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of UsageRow")]
pub struct Usage {
    pub bucket: Timestamp,
    pub handler: String,
    pub invocations: u64,
    pub failed: u64,
    pub wall_us: u64,
    pub billed_1ms: u64,
    pub billed_100ms: u64,
}

impl Store {
    /// Adds what was used. Not part of any batch: what wasn't added yet when a process is killed is lost, and
    /// a call that fails may have added it.
    ///
    /// # Errors
    /// When the database can't be used; the same for all of this file.
    pub async fn add_usage(&self, rows: &[UsageRow]) -> Result<(), StoreError> {
        let numbers = |get: fn(&UsageRow) -> u64| rows.iter().map(|row| signed(get(row))).collect::<Vec<_>>();
        let query = sqlx::query(
            "INSERT INTO usage AS u
             SELECT tenant, bucket, handler, sum(a), sum(b), sum(c), sum(d), sum(e)
             FROM unnest($1::text[], $2::timestamptz[], $3::text[],
                 $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[]
             ) AS n (tenant, bucket, handler, a, b, c, d, e)
             GROUP BY tenant, bucket, handler ORDER BY tenant, bucket, handler
             ON CONFLICT (tenant, bucket, handler) DO UPDATE SET
                 invocations = u.invocations + excluded.invocations, failed = u.failed + excluded.failed,
                 wall_us = u.wall_us + excluded.wall_us, billed_1ms = u.billed_1ms + excluded.billed_1ms,
                 billed_100ms = u.billed_100ms + excluded.billed_100ms",
        )
        .bind(rows.iter().map(|row| row.tenant.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.bucket.to_datetime()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.handler).collect::<Vec<_>>())
        .bind(numbers(|row| row.invocations))
        .bind(numbers(|row| row.failed))
        .bind(numbers(|row| row.wall_us))
        .bind(numbers(|row| row.billed_1ms))
        .bind(numbers(|row| row.billed_100ms));
        deadline(query.execute(&self.pool)).await.map(drop)
    }

    /// What a tenant used in the spans that begin at `from` or later and before `to`, oldest first.
    pub async fn usage(
        &self,
        tenant: &TenantId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Usage>, StoreError> {
        let query = sqlx::query(
            "SELECT * FROM usage WHERE tenant = $1 AND bucket >= $2 AND bucket < $3 ORDER BY bucket, handler",
        )
        .bind(tenant.as_str())
        .bind(from.to_datetime())
        .bind(to.to_datetime());
        let rows = deadline(query.fetch_all(&self.pool)).await?;
        rows.iter()
            .map(|row| {
                Ok(Usage {
                    bucket: row.moment("bucket")?,
                    handler: row.try_get("handler")?,
                    invocations: unsigned(row.try_get("invocations")?),
                    failed: unsigned(row.try_get("failed")?),
                    wall_us: unsigned(row.try_get("wall_us")?),
                    billed_1ms: unsigned(row.try_get("billed_1ms")?),
                    billed_100ms: unsigned(row.try_get("billed_100ms")?),
                })
            })
            .collect()
    }
}
