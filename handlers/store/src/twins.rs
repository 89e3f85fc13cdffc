//! Twins, read by people and by what is derived from them.

use sqlx::{Connection, Row};
use statecast_state::{DeviceId, DeviceKey, Position, TenantId, Twin};

use crate::rows::{Columns, limit, signed};
use crate::store::deadline;
use crate::{Store, StoreError};

/// Some devices of a tenant, as of one moment.
#[derive(Debug)]
pub struct Census {
    /// Those that exist, each with the position of its last change.
    pub members: Vec<(Position, Twin)>,
    /// Those that were removed of late, and by which change; each may exist again.
    pub removed: Vec<(DeviceId, Position)>,
}

impl Store {
    /// The twin of one device.
    ///
    /// # Errors
    /// When the database can't be read; the same for all of this file.
    pub async fn twin(&self, key: &DeviceKey) -> Result<Option<Twin>, StoreError> {
        let query = sqlx::query("SELECT * FROM devices WHERE tenant = $1 AND device = $2")
            .bind(key.tenant.as_str())
            .bind(key.device.as_str());
        deadline(query.fetch_optional(&self.pool)).await?.map(|row| row.twin()).transpose()
    }

    /// The twins of a tenant in the order of their ids, after `after`, at most `rows_max`.
    pub async fn list(
        &self,
        tenant: &TenantId,
        after: Option<&DeviceId>,
        rows_max: usize,
    ) -> Result<Vec<Twin>, StoreError> {
        let sql = "SELECT * FROM devices WHERE tenant = $1 AND device > $2 ORDER BY device LIMIT $3";
        let query = sqlx::query(sql)
            .bind(tenant.as_str())
            .bind(after.map_or("", DeviceId::as_str))
            .bind(limit(rows_max));
        deadline(query.fetch_all(&self.pool)).await?.iter().map(Columns::twin).collect()
    }

    /// The twins of these devices of a tenant, in the same order; none for a device that doesn't exist.
    pub async fn by_ids(&self, tenant: &TenantId, ids: &[DeviceId]) -> Result<Vec<Option<Twin>>, StoreError> {
        let keys: Vec<_> = ids.iter().map(|id| DeviceKey::new(tenant.clone(), id.clone())).collect();
        self.twins(&keys).await
    }

    /// The twins of these devices, in the same order; none for a device that doesn't exist.
    pub async fn twins(&self, keys: &[DeviceKey]) -> Result<Vec<Option<Twin>>, StoreError> {
        let query = sqlx::query(
            "SELECT k.ordinal, d.* FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (tenant, device, ordinal)
             JOIN devices d ON d.tenant = k.tenant AND d.device = k.device",
        )
        .bind(keys.iter().map(|key| key.tenant.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.device.as_str()).collect::<Vec<_>>());
        let mut twins = vec![None; keys.len()];
        for row in deadline(query.fetch_all(&self.pool)).await? {
            let ordinal: i64 = row.try_get("ordinal")?;
            let place = usize::try_from(ordinal - 1).ok().and_then(|index| twins.get_mut(index));
            if let Some(place) = place {
                *place = Some(row.twin()?);
            }
        }
        Ok(twins)
    }

    /// The devices of a tenant after `after`, in the order of their ids, at most `rows_max`, each with the position of
    /// its last change, and those that were removed after `since`: as of one moment.
    pub async fn census(
        &self,
        tenant: &TenantId,
        after: Option<&DeviceId>,
        since: Position,
        rows_max: usize,
    ) -> Result<Census, StoreError> {
        let after = after.map_or("", DeviceId::as_str);
        let work = Box::pin(async {
            let mut connection = self.pool.acquire().await?;
            let mut moment = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
            let members = sqlx::query(
                "SELECT * FROM devices WHERE tenant = $1 AND device > $2 ORDER BY device LIMIT $3",
            )
            .bind(tenant.as_str())
            .bind(after)
            .bind(limit(rows_max))
            .fetch_all(&mut *moment)
            .await?;
            let removed = sqlx::query(
                "SELECT device, position FROM history
                 WHERE position > $1 AND tenant = $2 AND kind = 'removed' AND device > $3",
            )
            .bind(signed(since.0))
            .bind(tenant.as_str())
            .bind(after)
            .fetch_all(&mut *moment)
            .await?;
            moment.rollback().await?;
            Ok((members, removed))
        });
        let (members, removed) = deadline(work).await?;
        let members: Result<_, StoreError> =
            members.iter().map(|row| Ok((row.position()?, row.twin()?))).collect();
        let removed: Result<_, StoreError> =
            removed.iter().map(|row| Ok((row.device()?, row.position()?))).collect();
        Ok(Census { members: members?, removed: removed? })
    }

    /// All twins of all tenants in the order of their keys, after `after`, at most `rows_max`, without the times of
    /// their properties: to build anew what is derived from them.
    pub async fn scan(
        &self,
        after: Option<&DeviceKey>,
        rows_max: usize,
    ) -> Result<Vec<(DeviceKey, Twin)>, StoreError> {
        let sql = "SELECT tenant, device, version, reported, desired, tags, online, presence_since, presence_reason,
                          presence_epoch, presence_seq,
                          received_at, '{}'::jsonb AS reported_at
                   FROM devices WHERE (tenant, device) > ($1, $2) ORDER BY tenant, device LIMIT $3";
        let query = sqlx::query(sql)
            .bind(after.map_or("", |key| key.tenant.as_str()))
            .bind(after.map_or("", |key| key.device.as_str()))
            .bind(limit(rows_max));
        let rows = deadline(query.fetch_all(&self.pool)).await?;
        rows.iter().map(|row| Ok((row.key()?, row.twin()?))).collect()
    }

    /// The devices of all tenants that are said to be online, in the order of their keys, after `after`.
    pub async fn online(
        &self,
        after: Option<&DeviceKey>,
        rows_max: usize,
    ) -> Result<Vec<DeviceKey>, StoreError> {
        let sql = "SELECT tenant, device FROM devices WHERE online AND (tenant, device) > ($1, $2)
                   ORDER BY tenant, device LIMIT $3";
        let query = sqlx::query(sql)
            .bind(after.map_or("", |key| key.tenant.as_str()))
            .bind(after.map_or("", |key| key.device.as_str()))
            .bind(limit(rows_max));
        deadline(query.fetch_all(&self.pool)).await?.iter().map(Columns::key).collect()
    }

    /// How many devices there are: of one tenant, or of all.
    pub async fn count(&self, tenant: Option<&TenantId>) -> Result<u64, StoreError> {
        let query = sqlx::query_scalar("SELECT count(*) FROM devices WHERE $1::text IS NULL OR tenant = $1")
            .bind(tenant.map(TenantId::as_str));
        let count: i64 = deadline(query.fetch_one(&self.pool)).await?;
        Ok(crate::rows::unsigned(count))
    }
}
