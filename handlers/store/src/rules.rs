//! The rules of each tenant.

use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use statecast_state::TenantId;
use statecast_state::rule::Rule;
use uuid::Uuid;

use crate::reviews;
use crate::rows::{Columns, Jsonb};
use crate::store::deadline;
use crate::{Store, StoreError};

fn read(row: &PgRow) -> Result<Rule, StoreError> {
    Ok(row.try_get::<Json<Rule>, _>("rule")?.0)
}

impl Store {
    /// Creates a rule, or replaces the one with the same id. It is to be reviewed.
    ///
    /// # Errors
    /// When the database can't be used; the same for all of this file.
    pub async fn put_rule(&self, tenant: &TenantId, rule: &Rule) -> Result<(), StoreError> {
        deadline(Box::pin(async {
            let mut transaction = self.pool.begin().await?;
            sqlx::query(
                "INSERT INTO rules (tenant, id, rule) VALUES ($1, $2, $3)
                 ON CONFLICT (tenant, id) DO UPDATE SET rule = excluded.rule",
            )
            .bind(tenant.as_str())
            .bind(rule.id)
            .bind(Jsonb(rule))
            .execute(&mut *transaction)
            .await?;
            reviews::request(&mut transaction, tenant, rule.id).await?;
            transaction.commit().await
        }))
        .await
    }

    /// One rule.
    pub async fn rule(&self, tenant: &TenantId, id: Uuid) -> Result<Option<Rule>, StoreError> {
        let query = sqlx::query("SELECT rule FROM rules WHERE tenant = $1 AND id = $2")
            .bind(tenant.as_str())
            .bind(id);
        deadline(query.fetch_optional(&self.pool)).await?.as_ref().map(read).transpose()
    }

    /// The rules of a tenant, oldest first.
    pub async fn rules(&self, tenant: &TenantId) -> Result<Vec<Rule>, StoreError> {
        let query = sqlx::query("SELECT rule FROM rules WHERE tenant = $1 ORDER BY created_at, id")
            .bind(tenant.as_str());
        deadline(query.fetch_all(&self.pool)).await?.iter().map(read).collect()
    }

    /// The rules of all tenants.
    pub async fn all_rules(&self) -> Result<Vec<(TenantId, Rule)>, StoreError> {
        let query = sqlx::query("SELECT tenant, rule FROM rules ORDER BY tenant, created_at, id");
        let rows = deadline(query.fetch_all(&self.pool)).await?;
        rows.iter().map(|row| Ok((row.tenant()?, read(row)?))).collect()
    }

    /// Deletes a rule; answers whether there was one. Pushes that it caused stay; its alarms are to be cleared.
    pub async fn delete_rule(&self, tenant: &TenantId, id: Uuid) -> Result<bool, StoreError> {
        deadline(Box::pin(async {
            let mut transaction = self.pool.begin().await?;
            let sql = "DELETE FROM rules WHERE tenant = $1 AND id = $2";
            let deleted = sqlx::query(sql).bind(tenant.as_str()).bind(id).execute(&mut *transaction).await?;
            let existed = deleted.rows_affected() > 0;
            if existed {
                reviews::request(&mut transaction, tenant, id).await?;
            }
            transaction.commit().await?;
            Ok(existed)
        }))
        .await
    }
}
