//! Between the nouns of `state` and the rows of PostgreSQL.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgRow, PgTypeInfo};
use sqlx::types::Json;
use sqlx::types::chrono::{DateTime, Utc};
use sqlx::{Encode, Postgres, Row, Type};
use statecast_state::{
    DeviceId, DeviceKey, Document, Kind, Position, Presence, Stamps, TenantId, Timestamp, Twin,
};

use crate::StoreError;

/// A document on its way to PostgreSQL. Unlike `sqlx::types::Json` it is always `jsonb`, so that nothing has
/// to be patched once the type is known: that costs more than the document.
pub(crate) struct Jsonb<'a, T>(pub(crate) &'a T);

impl<T> Type<Postgres> for Jsonb<'_, T> {
    fn type_info() -> PgTypeInfo {
        <Json<()> as Type<Postgres>>::type_info()
    }
}

impl<T> PgHasArrayType for Jsonb<'_, T> {
    fn array_type_info() -> PgTypeInfo {
        <Json<()> as PgHasArrayType>::array_type_info()
    }
}

impl<T: serde::Serialize> Encode<'_, Postgres> for Jsonb<'_, T> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.push(1); // the version of the binary form of jsonb
        serde_json::to_writer(&mut **buffer, self.0)?;
        Ok(IsNull::No)
    }
}

/// Text of a message as PostgreSQL can store it: it has no zero character.
pub(crate) fn storable(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// Positions and versions stay below 2^53, so nothing is cut off.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The way back.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// At most this many rows, as PostgreSQL wants it.
pub(crate) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// Two columns for the keys, in their order.
pub(crate) fn columns(keys: &[DeviceKey]) -> (Vec<&str>, Vec<&str>) {
    keys.iter().map(|key| (key.tenant.as_str(), key.device.as_str())).unzip()
}

/// Reads columns by name, with what is checked when it comes from outside.
pub(crate) trait Columns {
    fn document(&self, column: &str) -> Result<Document, StoreError>;
    fn time(&self, column: &str) -> Result<Option<Timestamp>, StoreError>;
    fn tenant(&self) -> Result<TenantId, StoreError>;
    fn device(&self) -> Result<DeviceId, StoreError>;
    fn key(&self) -> Result<DeviceKey, StoreError>;
    fn position(&self) -> Result<Position, StoreError>;
    fn kind(&self) -> Result<Kind, StoreError>;
    fn twin(&self) -> Result<Twin, StoreError>;
    /// A time that is never null.
    fn moment(&self, column: &str) -> Result<Timestamp, StoreError>;
}

impl Columns for PgRow {
    fn document(&self, column: &str) -> Result<Document, StoreError> {
        Ok(self.try_get::<Json<Document>, _>(column)?.0)
    }

    fn time(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.try_get::<Option<DateTime<Utc>>, _>(column)?.map(Timestamp::from))
    }

    fn moment(&self, column: &str) -> Result<Timestamp, StoreError> {
        Ok(self.try_get::<DateTime<Utc>, _>(column)?.into())
    }

    fn tenant(&self) -> Result<TenantId, StoreError> {
        TenantId::parse(self.try_get("tenant")?).map_err(|why| StoreError::Corrupt(why.to_string()))
    }

    fn device(&self) -> Result<DeviceId, StoreError> {
        DeviceId::parse(self.try_get("device")?).map_err(|why| StoreError::Corrupt(why.to_string()))
    }

    fn key(&self) -> Result<DeviceKey, StoreError> {
        Ok(DeviceKey::new(self.tenant()?, self.device()?))
    }

    fn position(&self) -> Result<Position, StoreError> {
        Ok(Position(unsigned(self.try_get("position")?)))
    }

    fn kind(&self) -> Result<Kind, StoreError> {
        let text: &str = self.try_get("kind")?;
        Kind::parse(text).ok_or_else(|| StoreError::Corrupt(format!("no kind of change is named {text:?}")))
    }

    fn twin(&self) -> Result<Twin, StoreError> {
        Ok(Twin {
            device: self.device()?,
            version: unsigned(self.try_get("version")?),
            reported: self.document("reported")?,
            desired: self.document("desired")?,
            tags: self.document("tags")?,
            reported_at: Stamps(self.document("reported_at")?),
            presence: Presence {
                online: self.try_get("online")?,
                since: self.time("presence_since")?,
                reason: self.try_get("presence_reason")?,
                epoch: unsigned(self.try_get("presence_epoch")?),
                seq: unsigned(self.try_get("presence_seq")?),
            },
            received_at: self.time("received_at")?,
            requests: Vec::new(),
            alarms: Vec::new(),
        })
    }
}
