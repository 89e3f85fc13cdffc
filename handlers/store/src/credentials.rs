//! Tokens of devices and keys of apps. Only their SHA-256 is known here: a copy of the database opens nothing.

use serde::Serialize;
use sqlx::Row;
use sqlx::postgres::PgRow;
use statecast_state::{DeviceKey, TenantId, Timestamp};
use uuid::Uuid;

use crate::rows::Columns;
use crate::store::deadline;
use crate::{Store, StoreError};

/// An API key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiKey {
    /// Whose.
    pub tenant: TenantId,
    /// Names it, e.g. to revoke it.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl ApiKey {
    fn read(row: &PgRow) -> Result<Self, StoreError> {
        Ok(Self {
            tenant: row.tenant()?,
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            created_at: row.moment("created_at")?,
        })
    }
}

impl Store {
    /// Sets the token of a device, by its hash; the one before is no longer valid.
    ///
    /// # Errors
    /// When the database can't be used; the same for all of this file.
    pub async fn set_device_token(&self, key: &DeviceKey, hash: &[u8; 32]) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO device_tokens (tenant, device, hash) VALUES ($1, $2, $3)
             ON CONFLICT (tenant, device) DO UPDATE SET hash = excluded.hash, created_at = now()",
        )
        .bind(key.tenant.as_str())
        .bind(key.device.as_str())
        .bind(hash.as_slice());
        deadline(query.execute(&self.pool)).await.map(drop)
    }

    /// Whether the device has a token.
    pub async fn has_device_token(&self, key: &DeviceKey) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT FROM device_tokens WHERE tenant = $1 AND device = $2)";
        let query = sqlx::query_scalar(sql).bind(key.tenant.as_str()).bind(key.device.as_str());
        deadline(query.fetch_one(&self.pool)).await
    }

    /// The device that has the token with this hash.
    pub async fn device_by_token(&self, hash: &[u8; 32]) -> Result<Option<DeviceKey>, StoreError> {
        let sql = "SELECT tenant, device FROM device_tokens WHERE hash = $1";
        let query = sqlx::query(sql).bind(hash.as_slice());
        deadline(query.fetch_optional(&self.pool)).await?.map(|row| row.key()).transpose()
    }

    /// Makes an API key, by the hash of its secret.
    pub async fn create_key(
        &self,
        tenant: &TenantId,
        name: &str,
        hash: &[u8; 32],
    ) -> Result<ApiKey, StoreError> {
        let query =
            sqlx::query("INSERT INTO api_keys (tenant, id, name, hash) VALUES ($1, $2, $3, $4) RETURNING *")
                .bind(tenant.as_str())
                .bind(Uuid::now_v7())
                .bind(name)
                .bind(hash.as_slice());
        ApiKey::read(&deadline(query.fetch_one(&self.pool)).await?)
    }

    /// The API keys of a tenant, oldest first.
    pub async fn keys(&self, tenant: &TenantId) -> Result<Vec<ApiKey>, StoreError> {
        let query = sqlx::query("SELECT * FROM api_keys WHERE tenant = $1 ORDER BY id").bind(tenant.as_str());
        deadline(query.fetch_all(&self.pool)).await?.iter().map(ApiKey::read).collect()
    }

    /// Revokes an API key; answers whether there was one.
    pub async fn revoke_key(&self, tenant: &TenantId, id: Uuid) -> Result<bool, StoreError> {
        let sql = "DELETE FROM api_keys WHERE tenant = $1 AND id = $2";
        let query = sqlx::query(sql).bind(tenant.as_str()).bind(id);
        Ok(deadline(query.execute(&self.pool)).await?.rows_affected() > 0)
    }

    /// The API key whose secret has this hash.
    pub async fn key_by_hash(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        let query = sqlx::query("SELECT * FROM api_keys WHERE hash = $1").bind(hash.as_slice());
        deadline(query.fetch_optional(&self.pool)).await?.as_ref().map(ApiKey::read).transpose()
    }
}
