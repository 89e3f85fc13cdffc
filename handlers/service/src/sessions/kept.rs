//! What outlives connections, as rows and back.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use statecast_broker::{
    Batch, Kept, KeptExchange, KeptMessage, KeptSession, KeptSubscription, QoS, QueuedMessage,
    RetainedMessage, SessionId,
};
use statecast_state::Timestamp;
use statecast_store::mqtt::{
    MqttBatch, MqttExchange, MqttKept, MqttMessage, MqttQueued, MqttSession, MqttSessionId, MqttSubscription,
};

/// A batch, as rows.
pub(super) fn to_rows(batch: &Batch) -> MqttBatch<'_> {
    let Batch { kept, unsubscribed, released, acknowledged, completed, removed, ended } = batch;
    MqttBatch {
        kept: MqttKept {
            sessions: kept.sessions.iter().map(session_row).collect(),
            subscriptions: kept.subscriptions.iter().map(subscription_row).collect(),
            queued: kept.queued.iter().map(queued_row).collect(),
            exchanges: kept.exchanges.iter().map(exchange_row).collect(),
            retained: kept.retained.iter().map(|one| (text(&one.realm), message_row(&one.message))).collect(),
        },
        unsubscribed: unsubscribed.iter().map(|(session, filter)| (id_row(session), text(filter))).collect(),
        released: released.iter().map(|(session, number)| (id_row(session), *number)).collect(),
        acknowledged: acknowledged.iter().map(|(session, number)| (id_row(session), *number)).collect(),
        completed: completed.iter().map(|(session, packet)| (id_row(session), *packet)).collect(),
        removed: removed.iter().map(|(realm, topic)| (text(realm), text(topic))).collect(),
        ended: ended.iter().map(id_row).collect(),
    }
}

fn session_row(one: &KeptSession) -> MqttSession<'_> {
    MqttSession {
        id: id_row(&one.id),
        name: text(&one.name),
        client_id: text(&one.client_id),
        expiry_s: one.expiry_s,
        ended_at: one.ended_at.map(Timestamp::from),
    }
}

fn subscription_row(one: &KeptSubscription) -> MqttSubscription<'_> {
    MqttSubscription {
        session: id_row(&one.session),
        filter: text(&one.filter),
        qos: one.qos as u8,
        no_local: one.no_local,
        keep_retain: one.keep_retain,
        identifier: one.identifier,
    }
}

fn queued_row(one: &QueuedMessage) -> MqttQueued<'_> {
    MqttQueued {
        session: id_row(&one.session),
        number: one.number,
        message: message_row(&one.message),
        released: one.released,
    }
}

fn exchange_row(one: &KeptExchange) -> MqttExchange<'_> {
    MqttExchange { session: id_row(&one.session), packet: one.packet, key: one.key, delivered: one.delivered }
}

fn message_row(one: &KeptMessage) -> MqttMessage<'_> {
    MqttMessage {
        topic: text(&one.topic),
        payload: Cow::Borrowed(&one.payload),
        properties: Cow::Borrowed(&one.properties),
        qos: one.qos as u8,
        retain: one.retain,
        expires_at: one.expires_at.map(Timestamp::from),
    }
}

fn id_row(id: &SessionId) -> MqttSessionId<'_> {
    (text(&id.realm), id.number)
}

fn text(text: &Arc<str>) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

/// Rows, as the broker knows them.
pub(super) fn from_rows(rows: MqttKept<'_>) -> Kept {
    let MqttKept { sessions, subscriptions, queued, exchanges, retained } = rows;
    Kept {
        sessions: sessions.into_iter().map(session).collect(),
        subscriptions: subscriptions.into_iter().map(subscription).collect(),
        queued: queued.into_iter().map(queue).collect(),
        exchanges: exchanges.into_iter().map(exchange).collect(),
        retained: retained
            .into_iter()
            .map(|(realm, one)| RetainedMessage { realm: realm.into(), message: message(one) })
            .collect(),
    }
}

fn session(row: MqttSession<'_>) -> KeptSession {
    KeptSession {
        id: id(row.id),
        name: row.name.into(),
        client_id: row.client_id.into(),
        expiry_s: row.expiry_s,
        ended_at: row.ended_at.map(time),
    }
}

fn subscription(row: MqttSubscription<'_>) -> KeptSubscription {
    KeptSubscription {
        session: id(row.session),
        filter: row.filter.into(),
        qos: quality(row.qos),
        no_local: row.no_local,
        keep_retain: row.keep_retain,
        identifier: row.identifier,
    }
}

fn queue(row: MqttQueued<'_>) -> QueuedMessage {
    QueuedMessage {
        session: id(row.session),
        number: row.number,
        message: message(row.message),
        released: row.released,
    }
}

fn exchange(row: MqttExchange<'_>) -> KeptExchange {
    KeptExchange { session: id(row.session), packet: row.packet, key: row.key, delivered: row.delivered }
}

fn message(row: MqttMessage<'_>) -> KeptMessage {
    KeptMessage {
        topic: row.topic.into(),
        payload: row.payload.into_owned().into(),
        properties: row.properties.into_owned().into(),
        qos: quality(row.qos),
        retain: row.retain,
        expires_at: row.expires_at.map(time),
    }
}

fn id((realm, number): MqttSessionId<'_>) -> SessionId {
    SessionId { realm: realm.into(), number }
}

fn quality(qos: u8) -> QoS {
    match qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

/// A moment since 1970: no other is ever kept.
fn time(time: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(time.as_micros().try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found() {
        let session = SessionId { realm: "r".into(), number: 7 };
        // Whole microseconds, as the database keeps them.
        let at = Some(UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_001));
        let message = KeptMessage {
            topic: "t".into(),
            payload: vec![0, 255].into(),
            properties: vec![3, 0, 1, b'x'].into(),
            qos: QoS::ExactlyOnce,
            retain: true,
            expires_at: at,
        };
        let kept = Kept {
            sessions: vec![KeptSession {
                id: session.clone(),
                name: "n".into(),
                client_id: "c".into(),
                expiry_s: u32::MAX,
                ended_at: at,
            }],
            subscriptions: vec![KeptSubscription {
                session: session.clone(),
                filter: "$share/g/#".into(),
                qos: QoS::AtLeastOnce,
                no_local: true,
                keep_retain: false,
                identifier: Some(9),
            }],
            queued: vec![QueuedMessage {
                session: session.clone(),
                number: 3,
                message: message.clone(),
                released: true,
            }],
            exchanges: vec![KeptExchange { session, packet: 65_535, key: u64::MAX >> 1, delivered: true }],
            retained: vec![RetainedMessage { realm: "r".into(), message }],
        };
        let batch = Batch { kept: kept.clone(), ..Batch::default() };
        assert_eq!(from_rows(to_rows(&batch).kept), kept);
    }
}
