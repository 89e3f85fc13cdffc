//! The saved queries of each tenant.

use sqlx::Row;
use sqlx::postgres::PgRow;
use statecast_state::TenantId;
use statecast_state::query::SavedQuery;
use uuid::Uuid;

use crate::store::deadline;
use crate::{Store, StoreError};

fn read(row: &PgRow) -> Result<SavedQuery, StoreError> {
    Ok(SavedQuery { id: row.try_get("id")?, name: row.try_get("name")?, query: row.try_get("query")? })
}

impl Store {
    /// Saves a query, or replaces the one with the same id.
    ///
    /// # Errors
    /// When the database can't be used; the same for all of this file.
    pub async fn put_query(&self, tenant: &TenantId, saved: &SavedQuery) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO saved_queries (tenant, id, name, query) VALUES ($1, $2, $3, $4)
             ON CONFLICT (tenant, id) DO UPDATE SET name = excluded.name, query = excluded.query",
        )
        .bind(tenant.as_str())
        .bind(saved.id)
        .bind(&saved.name)
        .bind(&saved.query);
        deadline(query.execute(&self.pool)).await.map(drop)
    }

    /// The saved queries of a tenant, oldest first.
    pub async fn queries(&self, tenant: &TenantId) -> Result<Vec<SavedQuery>, StoreError> {
        let query = sqlx::query("SELECT id, name, query FROM saved_queries WHERE tenant = $1 ORDER BY id")
            .bind(tenant.as_str());
        deadline(query.fetch_all(&self.pool)).await?.iter().map(read).collect()
    }

    /// Deletes a saved query; answers whether there was one.
    pub async fn delete_query(&self, tenant: &TenantId, id: Uuid) -> Result<bool, StoreError> {
        let sql = "DELETE FROM saved_queries WHERE tenant = $1 AND id = $2";
        let query = sqlx::query(sql).bind(tenant.as_str()).bind(id);
        Ok(deadline(query.execute(&self.pool)).await?.rows_affected() > 0)
    }
}
