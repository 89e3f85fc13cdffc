//! The people of each tenant: who can be told, and how they want it.

use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use statecast_state::TenantId;
use statecast_state::person::Person;

use crate::receivers::give_up;
use crate::rows::{Jsonb, limit};
use crate::store::deadline;
use crate::{Store, StoreError};

fn read(row: &PgRow) -> Result<Person, StoreError> {
    Ok(row.try_get::<Json<Person>, _>("person")?.0)
}

impl Store {
    /// Makes a person, or replaces the one with the same id; answers whether it is new. With more than `people_max`
    /// in the tenant a new one isn't made, and the answer is none.
    ///
    /// # Errors
    /// When the database can't be used; the same for all of this file.
    pub async fn put_person(
        &self,
        tenant: &TenantId,
        person: &Person,
        people_max: usize,
    ) -> Result<Option<bool>, StoreError> {
        // `xmax` is 0 in a row that was just inserted.
        let query = sqlx::query_scalar(
            "INSERT INTO people (tenant, id, person)
             SELECT $1, $2, $3 WHERE EXISTS (SELECT 1 FROM people WHERE tenant = $1 AND id = $2)
                 OR (SELECT count(*) FROM people WHERE tenant = $1) < $4
             ON CONFLICT (tenant, id) DO UPDATE SET person = excluded.person
             RETURNING xmax = 0",
        )
        .bind(tenant.as_str())
        .bind(&person.id)
        .bind(Jsonb(person))
        .bind(limit(people_max));
        deadline(query.fetch_optional(&self.pool)).await
    }

    /// One person.
    pub async fn person(&self, tenant: &TenantId, id: &str) -> Result<Option<Person>, StoreError> {
        let query = sqlx::query("SELECT person FROM people WHERE tenant = $1 AND id = $2")
            .bind(tenant.as_str())
            .bind(id);
        deadline(query.fetch_optional(&self.pool)).await?.as_ref().map(read).transpose()
    }

    /// The people of a tenant by id, those after `after`, at most `rows_max`.
    pub async fn people(
        &self,
        tenant: &TenantId,
        after: &str,
        rows_max: usize,
    ) -> Result<Vec<Person>, StoreError> {
        let sql = "SELECT person FROM people WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3";
        let query = sqlx::query(sql).bind(tenant.as_str()).bind(after).bind(limit(rows_max));
        deadline(query.fetch_all(&self.pool)).await?.iter().map(read).collect()
    }

    /// Removes a person with its receivers and the keys of its apps; answers whether there was one. What waits for
    /// them is given up.
    pub async fn delete_person(&self, tenant: &TenantId, id: &str) -> Result<bool, StoreError> {
        deadline(Box::pin(async {
            let mut transaction = self.pool.begin().await?;
            let delete = |sql: &'static str| sqlx::query(sql).bind(tenant.as_str()).bind(id);
            let deleted =
                delete("DELETE FROM people WHERE tenant = $1 AND id = $2").execute(&mut *transaction).await?;
            delete("DELETE FROM api_keys WHERE tenant = $1 AND person = $2")
                .execute(&mut *transaction)
                .await?;
            let receivers = delete("DELETE FROM receivers WHERE tenant = $1 AND person = $2 RETURNING id")
                .fetch_all(&mut *transaction)
                .await?;
            for row in receivers {
                give_up(&mut transaction, tenant, row.try_get("id")?, "the person was removed").await?;
            }
            transaction.commit().await?;
            Ok(deleted.rows_affected() > 0)
        }))
        .await
    }
}
