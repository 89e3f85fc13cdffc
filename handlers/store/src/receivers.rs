//! The receivers of each tenant: where pushes go.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::types::Json;
use sqlx::{Connection, Row};
use statecast_state::TenantId;
use statecast_state::rule::{Receiver, ReceiverKind};
use uuid::Uuid;

use crate::rows::{Columns, Jsonb, storable};
use crate::store::deadline;
use crate::{Store, StoreError};

impl Store {
    /// Creates a receiver, or replaces the one with the same id.
    ///
    /// # Errors
    /// When the database can't be used; the same for all of this file.
    pub async fn put_receiver(&self, tenant: &TenantId, receiver: &Receiver) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO receivers (tenant, id, name, kind, enabled, disabled_reason, person)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (tenant, id) DO UPDATE SET name = excluded.name, kind = excluded.kind,
                 enabled = excluded.enabled, disabled_reason = excluded.disabled_reason,
                 person = excluded.person",
        )
        .bind(tenant.as_str())
        .bind(receiver.id)
        .bind(&receiver.name)
        .bind(Jsonb(&receiver.kind))
        .bind(receiver.enabled)
        .bind(&receiver.disabled_reason)
        .bind(&receiver.person);
        deadline(query.execute(&self.pool)).await.map(drop)
    }

    /// One receiver, with its secret.
    pub async fn receiver(&self, tenant: &TenantId, id: Uuid) -> Result<Option<Receiver>, StoreError> {
        let sql = "SELECT * FROM receivers WHERE tenant = $1 AND id = $2";
        let query = sqlx::query(sql).bind(tenant.as_str()).bind(id);
        deadline(query.fetch_optional(&self.pool)).await?.as_ref().map(read).transpose()
    }

    /// The receivers of a tenant, oldest first, with their secrets.
    pub async fn receivers(&self, tenant: &TenantId) -> Result<Vec<Receiver>, StoreError> {
        let sql = "SELECT * FROM receivers WHERE tenant = $1 ORDER BY created_at, id";
        let query = sqlx::query(sql).bind(tenant.as_str());
        deadline(query.fetch_all(&self.pool)).await?.iter().map(read).collect()
    }

    /// The receivers of a person, by name, with their secrets.
    pub async fn receivers_of(&self, tenant: &TenantId, person: &str) -> Result<Vec<Receiver>, StoreError> {
        let sql = "SELECT * FROM receivers WHERE tenant = $1 AND person = $2 ORDER BY name, id";
        let query = sqlx::query(sql).bind(tenant.as_str()).bind(person);
        deadline(query.fetch_all(&self.pool)).await?.iter().map(read).collect()
    }

    /// The receivers of all tenants, with their secrets.
    pub async fn all_receivers(&self) -> Result<Vec<(TenantId, Receiver)>, StoreError> {
        let query = sqlx::query("SELECT * FROM receivers ORDER BY tenant, created_at, id");
        let rows = deadline(query.fetch_all(&self.pool)).await?;
        rows.iter().map(|row| Ok((row.tenant()?, read(row)?))).collect()
    }

    /// Deletes a receiver; answers whether there was one. What still waits for it is given up.
    pub async fn delete_receiver(&self, tenant: &TenantId, id: Uuid) -> Result<bool, StoreError> {
        deadline(Box::pin(async {
            let mut transaction = self.pool.begin().await?;
            let sql = "DELETE FROM receivers WHERE tenant = $1 AND id = $2";
            let deleted = sqlx::query(sql).bind(tenant.as_str()).bind(id).execute(&mut *transaction).await?;
            give_up(&mut transaction, tenant, id, "the receiver was deleted").await?;
            transaction.commit().await?;
            Ok(deleted.rows_affected() > 0)
        }))
        .await
    }

    /// Disables a receiver because of what it answered; what still waits for it is given up. Answers whether
    /// there was one that was enabled.
    pub async fn disable_receiver(
        &self,
        tenant: &TenantId,
        id: Uuid,
        reason: &str,
    ) -> Result<bool, StoreError> {
        deadline(Box::pin(async {
            let mut connection = self.pool.acquire().await?;
            let mut transaction = connection.begin().await?;
            let disabled = disable(&mut transaction, tenant, id, reason).await?;
            transaction.commit().await?;
            Ok(disabled)
        }))
        .await
    }
}

/// Disables a receiver within a transaction.
pub(crate) async fn disable(
    connection: &mut PgConnection,
    tenant: &TenantId,
    id: Uuid,
    reason: &str,
) -> Result<bool, sqlx::Error> {
    let reason = storable(reason);
    let disabled = sqlx::query(
        "UPDATE receivers SET enabled = false, disabled_reason = $3
         WHERE tenant = $1 AND id = $2 AND enabled",
    )
    .bind(tenant.as_str())
    .bind(id)
    .bind(reason.as_ref())
    .execute(&mut *connection)
    .await?;
    give_up(connection, tenant, id, &reason).await?;
    Ok(disabled.rows_affected() > 0)
}

/// Gives up what waits for a receiver, within a transaction.
pub(crate) async fn give_up(
    connection: &mut PgConnection,
    tenant: &TenantId,
    receiver: Uuid,
    reason: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE pushes SET state = 'dead', error = $3, done_at = now()
         WHERE tenant = $1 AND receiver = $2 AND state = 'waiting'",
    )
    .bind(tenant.as_str())
    .bind(receiver)
    .bind(reason)
    .execute(connection)
    .await
    .map(drop)
}

fn read(row: &PgRow) -> Result<Receiver, StoreError> {
    read_prefixed(row, "")
}

/// Reads a receiver whose columns have names that begin like this.
pub(crate) fn read_prefixed(row: &PgRow, prefix: &str) -> Result<Receiver, StoreError> {
    let column = |name: &str| format!("{prefix}{name}");
    Ok(Receiver {
        id: row.try_get(column("id").as_str())?,
        name: row.try_get(column("name").as_str())?,
        kind: row.try_get::<Json<ReceiverKind>, _>(column("kind").as_str())?.0,
        enabled: row.try_get(column("enabled").as_str())?,
        disabled_reason: row.try_get(column("disabled_reason").as_str())?,
        person: row.try_get(column("person").as_str())?,
    })
}
