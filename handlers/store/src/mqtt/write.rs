//! One batch as a few statements in one transaction. Every array is a column; those of one statement have the same
//! length.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection};
use statecast_state::Timestamp;

use super::{MqttBatch, MqttMessage, MqttSessionId};
use crate::rows::signed;

/// Writes a batch.
pub(super) async fn write(connection: &mut PgConnection, batch: &MqttBatch<'_>) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    keep_sessions(&mut transaction, batch).await?;
    keep_queued(&mut transaction, batch).await?;
    keep_exchanges(&mut transaction, batch).await?;
    keep_retained(&mut transaction, batch).await?;
    end(&mut transaction, &batch.ended).await?;
    transaction.commit().await
}

async fn keep_sessions(on: &mut PgConnection, batch: &MqttBatch<'_>) -> Result<(), sqlx::Error> {
    let all = &batch.kept.sessions;
    if !all.is_empty() {
        let (tenants, numbers) = ids(all.iter().map(|one| &one.id));
        sqlx::query(
            "INSERT INTO mqtt_sessions (tenant, session, name, client_id, expiry_s, ended_at)
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[])
             ON CONFLICT (tenant, session) DO UPDATE SET expiry_s = excluded.expiry_s, ended_at = excluded.ended_at",
        )
        .bind(tenants)
        .bind(numbers)
        .bind(texts(all.iter().map(|one| &one.name)))
        .bind(texts(all.iter().map(|one| &one.client_id)))
        .bind(all.iter().map(|one| i64::from(one.expiry_s)).collect::<Vec<_>>())
        .bind(times(all.iter().map(|one| one.ended_at)))
        .execute(&mut *on)
        .await?;
    }
    let all = &batch.kept.subscriptions;
    if !all.is_empty() {
        let (tenants, numbers) = ids(all.iter().map(|one| &one.session));
        sqlx::query(
            "INSERT INTO mqtt_subscriptions (tenant, session, filter, qos, no_local, keep_retain, identifier)
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::smallint[], $5::boolean[], $6::boolean[],
                 $7::bigint[])
             ON CONFLICT (tenant, session, filter) DO UPDATE SET qos = excluded.qos,
                 no_local = excluded.no_local, keep_retain = excluded.keep_retain, identifier = excluded.identifier",
        )
        .bind(tenants)
        .bind(numbers)
        .bind(texts(all.iter().map(|one| &one.filter)))
        .bind(all.iter().map(|one| i16::from(one.qos)).collect::<Vec<_>>())
        .bind(all.iter().map(|one| one.no_local).collect::<Vec<_>>())
        .bind(all.iter().map(|one| one.keep_retain).collect::<Vec<_>>())
        .bind(all.iter().map(|one| one.identifier.map(i64::from)).collect::<Vec<_>>())
        .execute(&mut *on)
        .await?;
    }
    let all = &batch.unsubscribed;
    if !all.is_empty() {
        let (tenants, numbers) = ids(all.iter().map(|(id, _)| id));
        sqlx::query(
            "DELETE FROM mqtt_subscriptions WHERE (tenant, session, filter) IN
                 (SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[]))",
        )
        .bind(tenants)
        .bind(numbers)
        .bind(texts(all.iter().map(|(_, filter)| filter)))
        .execute(&mut *on)
        .await?;
    }
    Ok(())
}

async fn keep_queued(on: &mut PgConnection, batch: &MqttBatch<'_>) -> Result<(), sqlx::Error> {
    let all = &batch.kept.queued;
    if !all.is_empty() {
        let (tenants, numbers) = ids(all.iter().map(|one| &one.session));
        let messages = Messages::of(all.iter().map(|one| &one.message));
        sqlx::query(
            "INSERT INTO mqtt_queue (tenant, session, number, topic, payload, properties, qos, retain, expires_at, released)
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::bytea[], $6::bytea[],
                 $7::smallint[], $8::boolean[], $9::timestamptz[], $10::boolean[])
             ON CONFLICT (tenant, session, number) DO UPDATE SET released = excluded.released",
        )
        .bind(tenants)
        .bind(numbers)
        .bind(all.iter().map(|one| signed(one.number)).collect::<Vec<_>>())
        .bind(messages.topics)
        .bind(messages.payloads)
        .bind(messages.properties)
        .bind(messages.qos)
        .bind(all.iter().map(|one| one.message.retain).collect::<Vec<_>>())
        .bind(messages.expires_at)
        .bind(all.iter().map(|one| one.released).collect::<Vec<_>>())
        .execute(&mut *on)
        .await?;
    }
    let released = "UPDATE mqtt_queue q SET released = true
         FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS n (tenant, session, number)
         WHERE q.tenant = n.tenant AND q.session = n.session AND q.number = n.number";
    let acknowledged = "DELETE FROM mqtt_queue WHERE (tenant, session, number) IN
         (SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[]))";
    for (statement, all) in [(released, &batch.released), (acknowledged, &batch.acknowledged)] {
        if !all.is_empty() {
            let (tenants, numbers) = ids(all.iter().map(|(id, _)| id));
            let places: Vec<i64> = all.iter().map(|(_, number)| signed(*number)).collect();
            sqlx::query(statement).bind(tenants).bind(numbers).bind(places).execute(&mut *on).await?;
        }
    }
    Ok(())
}

async fn keep_exchanges(on: &mut PgConnection, batch: &MqttBatch<'_>) -> Result<(), sqlx::Error> {
    let all = &batch.kept.exchanges;
    if !all.is_empty() {
        let (tenants, numbers) = ids(all.iter().map(|one| &one.session));
        sqlx::query(
            "INSERT INTO mqtt_exchanges (tenant, session, packet, key, delivered)
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::integer[], $4::bigint[], $5::boolean[])
             ON CONFLICT (tenant, session, packet) DO UPDATE SET key = excluded.key, delivered = excluded.delivered",
        )
        .bind(tenants)
        .bind(numbers)
        .bind(all.iter().map(|one| i32::from(one.packet)).collect::<Vec<_>>())
        .bind(all.iter().map(|one| signed(one.key)).collect::<Vec<_>>())
        .bind(all.iter().map(|one| one.delivered).collect::<Vec<_>>())
        .execute(&mut *on)
        .await?;
    }
    let all = &batch.completed;
    if !all.is_empty() {
        let (tenants, numbers) = ids(all.iter().map(|(id, _)| id));
        sqlx::query(
            "DELETE FROM mqtt_exchanges WHERE (tenant, session, packet) IN
                 (SELECT * FROM unnest($1::text[], $2::bigint[], $3::integer[]))",
        )
        .bind(tenants)
        .bind(numbers)
        .bind(all.iter().map(|(_, packet)| i32::from(*packet)).collect::<Vec<_>>())
        .execute(&mut *on)
        .await?;
    }
    Ok(())
}

async fn keep_retained(on: &mut PgConnection, batch: &MqttBatch<'_>) -> Result<(), sqlx::Error> {
    let all = &batch.kept.retained;
    if !all.is_empty() {
        let messages = Messages::of(all.iter().map(|(_, message)| message));
        sqlx::query(
            "INSERT INTO mqtt_retained (tenant, topic, payload, properties, qos, expires_at)
             SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::smallint[], $6::timestamptz[])
             ON CONFLICT (tenant, topic) DO UPDATE SET payload = excluded.payload,
                 properties = excluded.properties, qos = excluded.qos, expires_at = excluded.expires_at",
        )
        .bind(texts(all.iter().map(|(tenant, _)| tenant)))
        .bind(messages.topics)
        .bind(messages.payloads)
        .bind(messages.properties)
        .bind(messages.qos)
        .bind(messages.expires_at)
        .execute(&mut *on)
        .await?;
    }
    let all = &batch.removed;
    if !all.is_empty() {
        sqlx::query(
            "DELETE FROM mqtt_retained WHERE (tenant, topic) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
        )
        .bind(texts(all.iter().map(|(tenant, _)| tenant)))
        .bind(texts(all.iter().map(|(_, topic)| topic)))
        .execute(&mut *on)
        .await?;
    }
    Ok(())
}

/// Ends sessions, with all that belongs to them.
async fn end(on: &mut PgConnection, all: &[MqttSessionId<'_>]) -> Result<(), sqlx::Error> {
    if all.is_empty() {
        return Ok(());
    }
    let (tenants, numbers) = ids(all.iter());
    sqlx::query(
        "WITH ended AS (SELECT * FROM unnest($1::text[], $2::bigint[]) AS e (tenant, session)),
            subscriptions AS (DELETE FROM mqtt_subscriptions WHERE (tenant, session) IN (SELECT * FROM ended)),
            queue AS (DELETE FROM mqtt_queue WHERE (tenant, session) IN (SELECT * FROM ended)),
            exchanges AS (DELETE FROM mqtt_exchanges WHERE (tenant, session) IN (SELECT * FROM ended))
         DELETE FROM mqtt_sessions WHERE (tenant, session) IN (SELECT * FROM ended)",
    )
    .bind(tenants)
    .bind(numbers)
    .execute(on)
    .await?;
    Ok(())
}

/// The columns of messages.
struct Messages<'a> {
    topics: Vec<&'a str>,
    payloads: Vec<&'a [u8]>,
    properties: Vec<&'a [u8]>,
    qos: Vec<i16>,
    expires_at: Vec<Option<DateTime<Utc>>>,
}

impl<'a> Messages<'a> {
    fn of(messages: impl Iterator<Item = &'a MqttMessage<'a>> + Clone) -> Self {
        Self {
            topics: messages.clone().map(|one| &*one.topic).collect(),
            payloads: messages.clone().map(|one| &*one.payload).collect(),
            properties: messages.clone().map(|one| &*one.properties).collect(),
            qos: messages.clone().map(|one| i16::from(one.qos)).collect(),
            expires_at: times(messages.map(|one| one.expires_at)),
        }
    }
}

/// Two columns for sessions.
fn ids<'a>(ids: impl Iterator<Item = &'a MqttSessionId<'a>>) -> (Vec<&'a str>, Vec<i64>) {
    ids.map(|(tenant, number)| (&**tenant, signed(*number))).unzip()
}

fn texts<'a>(texts: impl Iterator<Item = &'a Cow<'a, str>>) -> Vec<&'a str> {
    texts.map(|text| &**text).collect()
}

fn times(times: impl Iterator<Item = Option<Timestamp>>) -> Vec<Option<DateTime<Utc>>> {
    times.map(|time| time.map(Timestamp::to_datetime)).collect()
}
