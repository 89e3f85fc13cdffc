//! What devices show to be let in. Only hashes are known here: a copy of the database opens nothing.

use sqlx::Row;
use sqlx::postgres::PgRow;
use statecast_state::DeviceKey;

use crate::rows::{Columns, columns};
use crate::store::deadline;
use crate::{Store, StoreError};

/// A SHA-256.
pub type Hash = [u8; 32];

/// All that a device may show, and what it may do then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// SHA-256 of its token.
    pub token: Option<Hash>,
    /// Its password: argon2id, as a PHC string.
    pub password: Option<String>,
    /// SHA-256 of its certificates (DER). With any, no other certificate is taken for it.
    pub certificates: Vec<Hash>,
    /// The name of its policy; none for the default one.
    pub policy: Option<String>,
}

/// What is to change; none leaves it as it is, and `Some(None)` takes it away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialsChange {
    /// See [`Credentials::token`].
    pub token: Option<Option<Hash>>,
    /// See [`Credentials::password`].
    pub password: Option<Option<String>>,
    /// See [`Credentials::certificates`].
    pub certificates: Option<Vec<Hash>>,
    /// See [`Credentials::policy`].
    pub policy: Option<Option<String>>,
}

/// Who has a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The device.
    pub key: DeviceKey,
    /// The name of its policy; none for the default one.
    pub policy: Option<String>,
}

pub(crate) fn hash(bytes: &[u8]) -> Result<Hash, StoreError> {
    bytes.try_into().map_err(|_| StoreError::Corrupt("a hash that isn't 32 bytes long".to_owned()))
}

pub(crate) fn slices(hashes: &[Hash]) -> Vec<&[u8]> {
    hashes.iter().map(Hash::as_slice).collect()
}

impl Credentials {
    /// Is there anything that it may show?
    pub fn let_in(&self) -> bool {
        self.token.is_some() || self.password.is_some() || !self.certificates.is_empty()
    }

    fn read(row: &PgRow) -> Result<Self, StoreError> {
        let token: Option<&[u8]> = row.try_get("token")?;
        let certificates: Option<Vec<Vec<u8>>> = row.try_get("certificates")?;
        let certificates = certificates.unwrap_or_default();
        Ok(Self {
            token: token.map(hash).transpose()?,
            password: row.try_get("password")?,
            certificates: certificates.iter().map(|bytes| hash(bytes)).collect::<Result<_, _>>()?,
            policy: row.try_get("policy")?,
        })
    }
}

impl Store {
    /// Changes the credentials of a device; false when there is no such device.
    ///
    /// # Errors
    /// When the database can't be used; the same for all of this file.
    pub async fn change_credentials(
        &self,
        key: &DeviceKey,
        change: &CredentialsChange,
    ) -> Result<bool, StoreError> {
        // The row of the device is held, or it could be removed in between and leave its credentials behind.
        let query = sqlx::query(
            "INSERT INTO device_credentials AS c (tenant, device, token, password, certificates, policy)
             SELECT tenant, device, $4::bytea, $6::text, coalesce($7::bytea[], '{}'), $9::text
             FROM devices WHERE tenant = $1 AND device = $2 FOR KEY SHARE
             ON CONFLICT (tenant, device) DO UPDATE SET
                 token = CASE WHEN $3 THEN excluded.token ELSE c.token END,
                 password = CASE WHEN $5 THEN excluded.password ELSE c.password END,
                 certificates = CASE WHEN $7::bytea[] IS NULL THEN c.certificates ELSE excluded.certificates END,
                 policy = CASE WHEN $8 THEN excluded.policy ELSE c.policy END,
                 created_at = CASE WHEN $3 THEN now() ELSE c.created_at END",
        )
        .bind(key.tenant.as_str())
        .bind(key.device.as_str())
        .bind(change.token.is_some())
        .bind(change.token.as_ref().and_then(Option::as_ref).map(Hash::as_slice))
        .bind(change.password.is_some())
        .bind(change.password.as_ref().and_then(Option::as_deref))
        .bind(change.certificates.as_deref().map(slices))
        .bind(change.policy.is_some())
        .bind(change.policy.as_ref().and_then(Option::as_deref));
        Ok(deadline(query.execute(&self.pool)).await?.rows_affected() > 0)
    }

    /// The credentials of these devices, in the same order; none where there is no such device.
    pub async fn credentials(&self, keys: &[DeviceKey]) -> Result<Vec<Option<Credentials>>, StoreError> {
        let (tenants, devices) = columns(keys);
        let query = sqlx::query(
            "SELECT d.device IS NOT NULL AS known, c.token, c.password, c.certificates, c.policy
             FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (tenant, device, ordinal)
             LEFT JOIN devices d ON d.tenant = k.tenant AND d.device = k.device
             LEFT JOIN device_credentials c ON c.tenant = d.tenant AND c.device = d.device
             ORDER BY k.ordinal",
        )
        .bind(tenants)
        .bind(devices);
        let rows = deadline(query.fetch_all(&self.pool)).await?;
        let read =
            |row| if Row::try_get(row, "known")? { Credentials::read(row).map(Some) } else { Ok(None) };
        rows.iter().map(read).collect()
    }

    /// Who has the tokens with these hashes, in the same order.
    pub async fn holders(&self, tokens: &[Hash]) -> Result<Vec<Option<Holder>>, StoreError> {
        let query = sqlx::query(
            "SELECT d.tenant, d.device, c.policy
             FROM unnest($1::bytea[]) WITH ORDINALITY AS k (token, ordinal)
             LEFT JOIN device_credentials c ON c.token = k.token
             LEFT JOIN devices d ON d.tenant = c.tenant AND d.device = c.device
             ORDER BY k.ordinal",
        )
        .bind(slices(tokens));
        let rows = deadline(query.fetch_all(&self.pool)).await?;
        let read = |row: &PgRow| match row.try_get::<Option<&str>, _>("device")? {
            Some(_) => Ok(Some(Holder { key: row.key()?, policy: row.try_get("policy")? })),
            None => Ok(None),
        };
        rows.iter().map(read).collect()
    }
}
