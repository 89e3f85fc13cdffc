//! What outlives MQTT connections.

use std::borrow::Cow;

use statecast_store::mqtt::{
    MqttBatch, MqttExchange, MqttKept, MqttMessage, MqttQueued, MqttSession, MqttSessionId, MqttSubscription,
};

use crate::support::{now, number, store};

fn id(tenant: &'static str, number: u64) -> MqttSessionId<'static> {
    (tenant.into(), number)
}

fn message(topic: &'static str) -> MqttMessage<'static> {
    MqttMessage {
        topic: topic.into(),
        payload: Cow::Borrowed(&[0, 255]),
        properties: Cow::Borrowed(&[3, 0, 1, b'x']),
        qos: 2,
        retain: true,
        expires_at: Some(now()),
    }
}

/// One of each, of a session.
fn kept(session: &MqttSessionId<'static>) -> MqttKept<'static> {
    let queued = |number| MqttQueued {
        session: session.clone(),
        number,
        message: MqttMessage { retain: false, expires_at: None, ..message("chat") },
        released: false,
    };
    MqttKept {
        sessions: vec![MqttSession {
            id: session.clone(),
            name: "n".into(),
            client_id: "c".into(),
            expiry_s: u32::MAX,
            ended_at: None,
        }],
        subscriptions: vec![MqttSubscription {
            session: session.clone(),
            filter: "$share/g/é/#".into(),
            qos: 1,
            no_local: true,
            keep_retain: false,
            identifier: Some(268_435_455),
        }],
        queued: vec![queued(1), queued(2)],
        exchanges: vec![MqttExchange {
            session: session.clone(),
            packet: 65_535,
            key: u64::MAX >> 1,
            delivered: false,
        }],
        retained: vec![(session.0.clone(), message("notes"))],
    }
}

#[tokio::test]
async fn what_is_written_is_read_and_twice_is_once() {
    let store = store().await;
    let owner = store.own().await.unwrap();
    let writer = owner.mqtt_writer();
    let (one, other) = (id("a", 7), id("b", 7));
    let written = kept(&one);
    let batch = MqttBatch { kept: written.clone(), ..MqttBatch::default() };
    for _ in 0..2 {
        writer.write(&batch).await.unwrap();
        let mut read = store.mqtt_kept().await.unwrap();
        // Kept to the microsecond.
        assert_eq!(read.retained[0].1.expires_at.is_some(), written.retained[0].1.expires_at.is_some());
        read.retained[0].1.expires_at = written.retained[0].1.expires_at;
        assert_eq!(read, written);
    }
    // The same number of another tenant is another session.
    writer.write(&MqttBatch { kept: kept(&other), ..MqttBatch::default() }).await.unwrap();
    writer
        .write(&MqttBatch {
            unsubscribed: vec![(one.clone(), "$share/g/é/#".into())],
            released: vec![(one.clone(), 1), (one.clone(), 99)],
            acknowledged: vec![(one.clone(), 2)],
            completed: vec![(one.clone(), 65_535)],
            removed: vec![("a".into(), "notes".into())],
            ..MqttBatch::default()
        })
        .await
        .unwrap();
    let read = store.mqtt_kept().await.unwrap();
    assert_eq!((read.sessions.len(), read.subscriptions.len(), read.exchanges.len()), (2, 1, 1));
    let queue: Vec<_> = read.queued.iter().map(|one| (&*one.session.0, one.number, one.released)).collect();
    assert_eq!(queue, [("a", 1, true), ("b", 1, false), ("b", 2, false)]);
    assert_eq!(read.retained[0].0, "b");
    writer.write(&MqttBatch { ended: vec![other], ..MqttBatch::default() }).await.unwrap();
    let read = store.mqtt_kept().await.unwrap();
    assert_eq!((read.sessions.len(), read.queued.len(), read.subscriptions.len()), (1, 1, 0));
}

#[tokio::test]
async fn what_the_database_refuses_leaves_nothing_and_stops_nothing() {
    let store = store().await;
    let owner = store.own().await.unwrap();
    let writer = owner.mqtt_writer();
    let mut bad = kept(&id("a", 1));
    bad.sessions[0].client_id = "\0".into();
    let refused = writer.write(&MqttBatch { kept: bad, ..MqttBatch::default() }).await.unwrap_err();
    assert!(!refused.is_temporary(), "{refused}");
    assert_eq!(number(store.options(), "SELECT count(*) FROM mqtt_queue").await, 0);
    writer.write(&MqttBatch { kept: kept(&id("a", 2)), ..MqttBatch::default() }).await.unwrap();
    assert_eq!(number(store.options(), "SELECT count(*) FROM mqtt_queue").await, 2);
}
