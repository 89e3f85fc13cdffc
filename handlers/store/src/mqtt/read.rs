//! Reads all that is kept, once, at start.

use std::borrow::Cow;

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{MqttExchange, MqttKept, MqttMessage, MqttQueued, MqttSession, MqttSessionId, MqttSubscription};
use crate::rows::{Columns, unsigned};
use crate::store::deadline;
use crate::{Store, StoreError};

impl Store {
    /// All that outlives MQTT connections, of all tenants: for the owner, before it writes.
    ///
    /// # Errors
    /// When the database can't be used.
    pub async fn mqtt_kept(&self) -> Result<MqttKept<'static>, StoreError> {
        Ok(MqttKept {
            sessions: self.all("SELECT * FROM mqtt_sessions ORDER BY tenant, session", session).await?,
            subscriptions: self.all("SELECT * FROM mqtt_subscriptions", subscription).await?,
            queued: self.all("SELECT * FROM mqtt_queue ORDER BY tenant, session, number", queued).await?,
            exchanges: self.all("SELECT * FROM mqtt_exchanges", exchange).await?,
            retained: self.all("SELECT *, true AS retain FROM mqtt_retained", retained).await?,
        })
    }

    async fn all<T>(
        &self,
        statement: &'static str,
        read: fn(&PgRow) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        deadline(sqlx::query(statement).fetch_all(&self.pool)).await?.iter().map(read).collect()
    }
}

fn session(row: &PgRow) -> Result<MqttSession<'static>, StoreError> {
    Ok(MqttSession {
        id: id(row)?,
        name: text(row, "name")?,
        client_id: text(row, "client_id")?,
        expiry_s: u32::try_from(row.try_get::<i64, _>("expiry_s")?).unwrap_or(0),
        ended_at: row.time("ended_at")?,
    })
}

fn subscription(row: &PgRow) -> Result<MqttSubscription<'static>, StoreError> {
    let identifier: Option<i64> = row.try_get("identifier")?;
    Ok(MqttSubscription {
        session: id(row)?,
        filter: text(row, "filter")?,
        qos: qos(row)?,
        no_local: row.try_get("no_local")?,
        keep_retain: row.try_get("keep_retain")?,
        identifier: identifier.and_then(|number| u32::try_from(number).ok()),
    })
}

fn queued(row: &PgRow) -> Result<MqttQueued<'static>, StoreError> {
    let number = unsigned(row.try_get("number")?);
    Ok(MqttQueued { session: id(row)?, number, message: message(row)?, released: row.try_get("released")? })
}

fn exchange(row: &PgRow) -> Result<MqttExchange<'static>, StoreError> {
    Ok(MqttExchange {
        session: id(row)?,
        packet: u16::try_from(row.try_get::<i32, _>("packet")?)
            .map_err(|_| StoreError::Corrupt("packet id".into()))?,
        key: unsigned(row.try_get("key")?),
        delivered: row.try_get("delivered")?,
    })
}

fn retained(row: &PgRow) -> Result<(Cow<'static, str>, MqttMessage<'static>), StoreError> {
    Ok((text(row, "tenant")?, message(row)?))
}

fn message(row: &PgRow) -> Result<MqttMessage<'static>, StoreError> {
    Ok(MqttMessage {
        topic: text(row, "topic")?,
        payload: Cow::Owned(row.try_get("payload")?),
        properties: Cow::Owned(row.try_get("properties")?),
        qos: qos(row)?,
        retain: row.try_get("retain")?,
        expires_at: row.time("expires_at")?,
    })
}

fn id(row: &PgRow) -> Result<MqttSessionId<'static>, StoreError> {
    Ok((text(row, "tenant")?, unsigned(row.try_get("session")?)))
}

fn qos(row: &PgRow) -> Result<u8, StoreError> {
    u8::try_from(row.try_get::<i16, _>("qos")?).map_err(|_| StoreError::Corrupt("qos".into()))
}

fn text(row: &PgRow, column: &str) -> Result<Cow<'static, str>, StoreError> {
    Ok(Cow::Owned(row.try_get(column)?))
}
