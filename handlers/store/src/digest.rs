//! What a range of twins comes to, so that a copy can be compared with the table without reading all of it.

use sqlx::Row;
use statecast_state::{DeviceId, DeviceKey, Position, TenantId};

use crate::rows::{limit, signed, unsigned};
use crate::store::deadline;
use crate::{Store, StoreError};

/// A range of twins, added up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeDigest {
    /// The keys of the range, in order, of those twins that changed after the position asked for.
    pub newer: Vec<DeviceKey>,
    /// The key of the last twin of the range; none when it is empty.
    pub last: Option<DeviceKey>,
    /// All twins of the range.
    pub twins: usize,
    /// For each twin that isn't newer the first eight bytes, the highest first, of the SHA-256 of
    /// `tenant/device/version`, combined by exclusive or.
    pub sum: u64,
}

const DIGEST: &str = "
    WITH range AS (
        SELECT tenant, device, version, position FROM devices
        WHERE (tenant, device) > ($1, $2) ORDER BY tenant, device LIMIT $3
    ), summed AS (
        SELECT *, sha256(convert_to(tenant || '/' || device || '/' || version, 'UTF8')) AS hash FROM range
    )
    SELECT count(*) AS twins,
           array_agg(tenant ORDER BY tenant, device) AS tenants,
           array_agg(device ORDER BY tenant, device) AS devices,
           array_agg(position > $4 ORDER BY tenant, device) AS newer,
           bit_xor(('x' || encode(substr(hash, 1, 8), 'hex'))::bit(64)::bigint) FILTER (WHERE position <= $4) AS sum
    FROM summed";

impl Store {
    /// Adds up the twins of all tenants after the key `after`, at most `rows_max`, as they were at `upto`.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn digest(
        &self,
        after: Option<&DeviceKey>,
        rows_max: usize,
        upto: Position,
    ) -> Result<RangeDigest, StoreError> {
        let query = sqlx::query(DIGEST)
            .bind(after.map_or("", |key| key.tenant.as_str()))
            .bind(after.map_or("", |key| key.device.as_str()))
            .bind(limit(rows_max))
            .bind(signed(upto.0));
        let row = deadline(query.fetch_one(&self.pool)).await?;
        let tenants: Vec<String> = row.try_get::<Option<_>, _>("tenants")?.unwrap_or_default();
        let devices: Vec<String> = row.try_get::<Option<_>, _>("devices")?.unwrap_or_default();
        let newer: Vec<bool> = row.try_get::<Option<_>, _>("newer")?.unwrap_or_default();
        let last =
            tenants.last().zip(devices.last()).map(|(tenant, device)| key(tenant, device)).transpose()?;
        let keys = tenants.iter().zip(&devices).zip(newer).filter(|(_, newer)| *newer);
        Ok(RangeDigest {
            newer: keys.map(|((tenant, device), _)| key(tenant, device)).collect::<Result<_, _>>()?,
            last,
            twins: usize::try_from(unsigned(row.try_get("twins")?)).unwrap_or(usize::MAX),
            sum: row.try_get::<Option<i64>, _>("sum")?.unwrap_or_default().cast_unsigned(),
        })
    }
}

fn key(tenant: &str, device: &str) -> Result<DeviceKey, StoreError> {
    let tenant = TenantId::parse(tenant).map_err(|why| StoreError::Corrupt(why.to_string()))?;
    let device = DeviceId::parse(device).map_err(|why| StoreError::Corrupt(why.to_string()))?;
    Ok(DeviceKey::new(tenant, device))
}
