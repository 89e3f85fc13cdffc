//! Rules that have yet to look at the fleet as it is, and the devices that they may have something to say of.

use sqlx::Row;
use sqlx::postgres::PgConnection;
use statecast_state::{DeviceId, TenantId, Timestamp};
use uuid::Uuid;

use crate::rows::{Columns, limit};
use crate::silent::Due;
use crate::store::deadline;
use crate::{Store, StoreError};

/// A rule that is new, was changed, or is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Whose.
    pub tenant: TenantId,
    /// Which rule.
    pub rule: Uuid,
    /// Another with each change.
    pub revision: Uuid,
    /// Up to which device it is done; none at the beginning.
    pub after: Option<DeviceId>,
}

/// Notes within a transaction that a rule is to be reviewed, from the beginning.
pub(crate) async fn request(
    connection: &mut PgConnection,
    tenant: &TenantId,
    rule: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO rule_reviews (tenant, rule, revision) VALUES ($1, $2, $3)
         ON CONFLICT (tenant, rule) DO UPDATE SET revision = excluded.revision, after = NULL",
    )
    .bind(tenant.as_str())
    .bind(rule)
    .bind(Uuid::now_v7())
    .execute(connection)
    .await
    .map(drop)
}

impl Store {
    /// Notes that a rule is to be reviewed, from the beginning.
    ///
    /// # Errors
    /// When the database can't be used; the same for all of this file.
    pub async fn request_review(&self, tenant: &TenantId, rule: Uuid) -> Result<(), StoreError> {
        deadline(Box::pin(async {
            let mut connection = self.pool.acquire().await?;
            request(&mut connection, tenant, rule).await
        }))
        .await
    }

    /// The review that waits longest, of all tenants; none when none waits.
    pub async fn next_review(&self) -> Result<Option<Review>, StoreError> {
        let query = sqlx::query("SELECT * FROM rule_reviews ORDER BY revision LIMIT 1");
        let Some(row) = deadline(query.fetch_optional(&self.pool)).await? else { return Ok(None) };
        let after: Option<&str> = row.try_get("after")?;
        let after = after.map(DeviceId::parse).transpose();
        Ok(Some(Review {
            tenant: row.tenant()?,
            rule: row.try_get("rule")?,
            revision: row.try_get("revision")?,
            after: after.map_err(|why| StoreError::Corrupt(why.to_string()))?,
        }))
    }

    /// Notes how far a review has come; false when it is to begin anew, because the rule was changed meanwhile.
    pub async fn advance_review(&self, review: &Review) -> Result<bool, StoreError> {
        let sql = "UPDATE rule_reviews SET after = $4 WHERE tenant = $1 AND rule = $2 AND revision = $3";
        let query = sqlx::query(sql)
            .bind(review.tenant.as_str())
            .bind(review.rule)
            .bind(review.revision)
            .bind(review.after.as_ref().map(DeviceId::as_str));
        Ok(deadline(query.execute(&self.pool)).await?.rows_affected() > 0)
    }

    /// A review is done, unless the rule was changed meanwhile.
    pub async fn end_review(&self, review: &Review) -> Result<(), StoreError> {
        let sql = "DELETE FROM rule_reviews WHERE tenant = $1 AND rule = $2 AND revision = $3";
        let query = sqlx::query(sql).bind(review.tenant.as_str()).bind(review.rule).bind(review.revision);
        deadline(query.execute(&self.pool)).await.map(drop)
    }

    /// The devices for which the alarm of a rule is active, or waits to be, in the order of their ids, after `after`,
    /// at most `rows_max`.
    pub async fn open_alarms_of(
        &self,
        tenant: &TenantId,
        rule: Uuid,
        after: Option<&DeviceId>,
        rows_max: usize,
    ) -> Result<Vec<DeviceId>, StoreError> {
        let query = sqlx::query(
            "SELECT device FROM alarms WHERE tenant = $1 AND rule = $2 AND device > $3
                 AND (active OR pending_since IS NOT NULL)
             ORDER BY device LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(rule)
        .bind(after.map_or("", DeviceId::as_str))
        .bind(limit(rows_max));
        deadline(query.fetch_all(&self.pool)).await?.iter().map(Columns::device).collect()
    }

    /// The alarms that time changes after `after` and up to `until`, of all tenants, the earliest first, at most
    /// `rows_max`: when, and of which device.
    pub async fn due_alarms(
        &self,
        after: &Due,
        until: Timestamp,
        rows_max: usize,
    ) -> Result<Vec<Due>, StoreError> {
        let sql = "SELECT due_at, tenant, device FROM alarms
             WHERE due_at IS NOT NULL AND due_at <= $4 AND (due_at, tenant, device) > ($1, $2, $3)
             ORDER BY due_at, tenant, device LIMIT $5";
        self.due(sql, after, until, rows_max).await
    }

    /// What is due of a table, by a statement that is given where to go on, until when, and how many at most.
    pub(crate) async fn due(
        &self,
        sql: &'static str,
        after: &Due,
        until: Timestamp,
        rows_max: usize,
    ) -> Result<Vec<Due>, StoreError> {
        let query = sqlx::query(sql)
            .bind(after.at.to_datetime())
            .bind(after.key.as_ref().map_or("", |key| key.tenant.as_str()))
            .bind(after.key.as_ref().map_or("", |key| key.device.as_str()))
            .bind(until.to_datetime())
            .bind(limit(rows_max));
        let rows = deadline(query.fetch_all(&self.pool)).await?;
        rows.iter().map(|row| Ok(Due { at: row.moment("due_at")?, key: Some(row.key()?) })).collect()
    }
}
