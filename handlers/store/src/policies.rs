//! Policies: what may be published and subscribed to, as topic patterns. Here they are only text.

use sqlx::Row;
use sqlx::postgres::PgRow;
use statecast_state::TenantId;

use crate::rows::Columns;
use crate::store::deadline;
use crate::{Store, StoreError};

/// A policy of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRow {
    /// Whose.
    pub tenant: TenantId,
    /// Its name, unique within the tenant.
    pub name: String,
    /// Patterns of topics that may be published to.
    pub publish: Vec<String>,
    /// Patterns of topics that may be subscribed to, and received.
    pub subscribe: Vec<String>,
}

impl PolicyRow {
    fn read(row: &PgRow) -> Result<Self, StoreError> {
        Ok(Self {
            tenant: row.tenant()?,
            name: row.try_get("name")?,
            publish: row.try_get("publish")?,
            subscribe: row.try_get("subscribe")?,
        })
    }
}

impl Store {
    /// Creates a policy, or replaces the one of the same name.
    ///
    /// # Errors
    /// When the database can't be used; the same for all of this file.
    pub async fn put_policy(&self, policy: &PolicyRow) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO policies (tenant, name, publish, subscribe) VALUES ($1, $2, $3, $4)
             ON CONFLICT (tenant, name) DO UPDATE
             SET publish = excluded.publish, subscribe = excluded.subscribe",
        )
        .bind(policy.tenant.as_str())
        .bind(&policy.name)
        .bind(&policy.publish)
        .bind(&policy.subscribe);
        deadline(query.execute(&self.pool)).await.map(drop)
    }

    /// One policy.
    pub async fn policy(&self, tenant: &TenantId, name: &str) -> Result<Option<PolicyRow>, StoreError> {
        let query = sqlx::query("SELECT * FROM policies WHERE tenant = $1 AND name = $2")
            .bind(tenant.as_str())
            .bind(name);
        deadline(query.fetch_optional(&self.pool)).await?.as_ref().map(PolicyRow::read).transpose()
    }

    /// The policies of a tenant, or of all, by name.
    pub async fn policies(&self, tenant: Option<&TenantId>) -> Result<Vec<PolicyRow>, StoreError> {
        let sql = "SELECT * FROM policies WHERE $1::text IS NULL OR tenant = $1 ORDER BY tenant, name";
        let query = sqlx::query(sql).bind(tenant.map(TenantId::as_str));
        deadline(query.fetch_all(&self.pool)).await?.iter().map(PolicyRow::read).collect()
    }

    /// Does a device or a key refer to the policy?
    pub async fn policy_is_used(&self, tenant: &TenantId, name: &str) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM device_credentials WHERE tenant = $1 AND policy = $2)
                 OR EXISTS (SELECT FROM api_keys WHERE tenant = $1 AND policy = $2)",
        )
        .bind(tenant.as_str())
        .bind(name);
        deadline(query.fetch_one(&self.pool)).await
    }

    /// Deletes a policy; answers whether there was one.
    pub async fn delete_policy(&self, tenant: &TenantId, name: &str) -> Result<bool, StoreError> {
        let sql = "DELETE FROM policies WHERE tenant = $1 AND name = $2";
        let query = sqlx::query(sql).bind(tenant.as_str()).bind(name);
        Ok(deadline(query.execute(&self.pool)).await?.rows_affected() > 0)
    }
}
