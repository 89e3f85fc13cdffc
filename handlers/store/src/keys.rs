//! Keys of apps. Only the SHA-256 of a secret is known here.

use serde::Serialize;
use sqlx::Row;
use sqlx::postgres::PgRow;
use statecast_state::{TenantId, Timestamp};
use uuid::Uuid;

use crate::credentials::{Hash, slices};
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
    /// What it is good for, by name.
    pub scopes: Vec<String>,
    /// The name of its policy; none for that of apps.
    pub policy: Option<String>,
    /// Whose app has it; none for a key that belongs to nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is worthless, if ever.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the hour; none if never.
    pub last_used_at: Option<Timestamp>,
}

/// An API key to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// See [`ApiKey::name`].
    pub name: String,
    /// See [`ApiKey::scopes`].
    pub scopes: Vec<String>,
    /// See [`ApiKey::policy`].
    pub policy: Option<String>,
    /// See [`ApiKey::person`].
    pub person: Option<String>,
    /// See [`ApiKey::expires_at`].
    pub expires_at: Option<Timestamp>,
}

impl ApiKey {
    fn read(row: &PgRow) -> Result<Self, StoreError> {
        Ok(Self {
            tenant: row.tenant()?,
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            scopes: row.try_get("scopes")?,
            policy: row.try_get("policy")?,
            person: row.try_get("person")?,
            created_at: row.moment("created_at")?,
            expires_at: row.time("expires_at")?,
            last_used_at: row.time("last_used_at")?,
        })
    }

    /// Of an outer join.
    fn read_if_any(row: &PgRow) -> Result<Option<Self>, StoreError> {
        let found: Option<Uuid> = row.try_get("id")?;
        found.map(|_| Self::read(row)).transpose()
    }
}

impl Store {
    /// Makes an API key, by the hash of its secret.
    ///
    /// # Errors
    /// When the database can't be used; the same for all of this file.
    pub async fn create_key(
        &self,
        tenant: &TenantId,
        key: &NewKey,
        hash: &Hash,
    ) -> Result<ApiKey, StoreError> {
        let query = sqlx::query(
            "INSERT INTO api_keys (tenant, id, name, hash, scopes, policy, expires_at, person)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING *",
        )
        .bind(tenant.as_str())
        .bind(Uuid::now_v7())
        .bind(&key.name)
        .bind(hash.as_slice())
        .bind(&key.scopes)
        .bind(&key.policy)
        .bind(key.expires_at.map(Timestamp::to_datetime))
        .bind(&key.person);
        ApiKey::read(&deadline(query.fetch_one(&self.pool)).await?)
    }

    /// The API keys of a tenant, oldest first, those that have expired too.
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

    /// The valid keys whose secrets have these hashes, in the same order. Notes that they were used, once an hour.
    pub async fn use_keys(&self, hashes: &[Hash]) -> Result<Vec<Option<ApiKey>>, StoreError> {
        let query = sqlx::query(
            "WITH used AS (
                 UPDATE api_keys SET last_used_at = now()
                 WHERE hash = ANY ($1) AND (expires_at IS NULL OR expires_at > now())
                   AND (last_used_at IS NULL OR last_used_at < now() - interval '1 hour')
             )
             SELECT a.* FROM unnest($1::bytea[]) WITH ORDINALITY AS k (hash, ordinal)
             LEFT JOIN api_keys a ON a.hash = k.hash AND (a.expires_at IS NULL OR a.expires_at > now())
             ORDER BY k.ordinal",
        )
        .bind(slices(hashes));
        deadline(query.fetch_all(&self.pool)).await?.iter().map(ApiKey::read_if_any).collect()
    }

    /// The keys with these ids, in the same order; none where there is no such key, or it has expired.
    pub async fn valid_keys(&self, ids: &[(TenantId, Uuid)]) -> Result<Vec<Option<ApiKey>>, StoreError> {
        let (tenants, ids): (Vec<&str>, Vec<Uuid>) =
            ids.iter().map(|(tenant, id)| (tenant.as_str(), *id)).unzip();
        let query = sqlx::query(
            "SELECT a.* FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS k (tenant, id, ordinal)
             LEFT JOIN api_keys a ON a.tenant = k.tenant AND a.id = k.id
                 AND (a.expires_at IS NULL OR a.expires_at > now())
             ORDER BY k.ordinal",
        )
        .bind(tenants)
        .bind(ids);
        deadline(query.fetch_all(&self.pool)).await?.iter().map(ApiKey::read_if_any).collect()
    }
}
