//! Sessions that outlast their connections, and brokers.

use std::time::Duration;

use statecast_broker::{Config, Kept, QoS};

use crate::support::*;

/// A session expiry of an hour, as a v5 property.
const HOUR: [u8; 5] = [0x11, 0, 0, 0x0E, 0x10];

/// Connects with a session that is kept, and says whether it was there.
async fn come(door: &Door, id: &str, v5: bool) -> (Raw, bool) {
    let mut client = Raw::new(&door.broker).await;
    let properties: &[u8] = if v5 { &HOUR } else { &[] };
    let connack =
        client.connect(Connect { v5, id, name: id, clean: false, properties, ..Connect::default() });
    let present = connack.await.body[0] == 1;
    (client, present)
}

/// Publishes at quality 1, and waits for the acknowledgement.
async fn publish(client: &mut Raw, topic: &str, payload: &str) {
    client.publish(topic, payload, 1, 1).await;
    assert_eq!(client.ack(PUBACK).await, 1);
}

/// The payload of the next PUBLISH of either version, with its first byte and packet id.
async fn message(client: &mut Raw) -> (String, u8, u16) {
    let packet = client.packet().await;
    let first = packet.first;
    let (_, id, rest) = packet.published();
    let payload = if client.v5 { &rest[1 + usize::from(rest[0])..] } else { &rest[..] };
    (String::from_utf8(payload.to_vec()).unwrap(), first, id)
}

async fn gone(door: &Door, connections: usize) {
    until("the connection is gone", || door.broker.connections() == connections).await;
}

#[tokio::test]
async fn a_session_goes_on_on_the_next_connection() {
    for v5 in [false, true] {
        let mut door = Door::open(config()).await;
        let (mut client, present) = come(&door, "c", v5).await;
        assert!(!present, "it is new");
        client.subscribe(&[("chat/#", 1), ("changes/#", 1), ("devices/+/state", 2), ("low", 0)]).await;
        client.goodbye().await;
        drop(client);
        gone(&door, 0).await;
        let mut other = door.client("o").await;
        publish(&mut other, "chat/x", "routed").await;
        door.broker.publish("r", &publication("changes/1", "service", QoS::AtLeastOnce));
        other.publish("devices/d/state", "own", 1, 2).await;
        door.publish().await.2.accept();
        assert_eq!(other.ack(PUBACK).await, 2);
        other.publish("chat/x", "nothing at quality 0", 0, 0).await;
        publish(&mut other, "low", "nothing for who subscribed at quality 0").await;
        let (mut client, present) = come(&door, "c", v5).await;
        assert!(present);
        for payload in ["routed", "service", "own"] {
            let (found, first, id) = message(&mut client).await;
            assert_eq!((found.as_str(), first), (payload, 0x32), "for the first time");
            client.send(&[0x40, 2, (id >> 8) as u8, id as u8]).await;
        }
        publish(&mut other, "chat/x", "live").await;
        assert_eq!(message(&mut client).await.0, "live");
        other.publish("chat/x", "live, at quality 0", 0, 0).await;
        assert_eq!(message(&mut client).await.1, 0x30);
    }
}

#[tokio::test]
async fn what_is_not_acknowledged_is_sent_again_first_with_its_packet_id() {
    for v5 in [false, true] {
        let door = Door::open(config()).await;
        let (mut client, _) = come(&door, "c", v5).await;
        client.subscribe(&[("chat", 1)]).await;
        let mut other = door.client("o").await;
        for payload in ["one", "two", "three"] {
            publish(&mut other, "chat", payload).await;
        }
        let first = message(&mut client).await;
        let second = message(&mut client).await;
        message(&mut client).await;
        client.send(&[0x40, 2, (second.2 >> 8) as u8, second.2 as u8]).await;
        client.nothing_came().await;
        drop(client);
        gone(&door, 1).await;
        publish(&mut other, "chat", "four").await;
        let (mut client, _) = come(&door, "c", v5).await;
        assert_eq!(message(&mut client).await, ("one".into(), 0x3A, first.2));
        let third = message(&mut client).await;
        assert_eq!((third.0.as_str(), third.1), ("three", 0x3A));
        let fourth = message(&mut client).await;
        assert_eq!((fourth.0.as_str(), fourth.1), ("four", 0x32));
    }
}

#[tokio::test]
async fn a_crash_leaves_subscriptions_and_queue() {
    for v5 in [false, true] {
        let door = Door::open(config()).await;
        let (mut client, _) = come(&door, "c", v5).await;
        client.subscribe(&[("chat/#", 2), ("gone", 1), ("$share/g/jobs", 1)]).await;
        client.unsubscribe("gone").await;
        client.goodbye().await;
        gone(&door, 0).await;
        let mut other = door.client("o").await;
        for payload in ["one", "two"] {
            publish(&mut other, "chat/x", payload).await;
        }
        publish(&mut other, "jobs", "job").await;
        let door = Door::again(config(), &door.house.memory.crash()).await;
        let (mut client, present) = come(&door, "c", v5).await;
        assert!(present);
        for payload in ["one", "two", "job"] {
            assert_eq!(message(&mut client).await.0, payload);
        }
        let mut other = door.client("o").await;
        publish(&mut other, "gone", "unheard").await;
        publish(&mut other, "chat/y", "three").await;
        assert_eq!(message(&mut client).await.0, "three");
    }
}

#[tokio::test]
async fn the_publisher_is_answered_when_the_queue_is_durable() {
    let mut door = Door::open(config()).await;
    let (mut client, _) = come(&door, "c", true).await;
    client.subscribe(&[("chat", 1), ("devices/d/state", 1)]).await;
    let mut other = door.client("o").await;
    door.house.memory.set_away(true);
    for (id, topic) in [(1, "chat"), (2, "devices/d/state")] {
        other.publish(topic, "x", 1, id).await;
        if topic != "chat" {
            door.publish().await.2.accept();
        }
        other.nothing_came().await;
    }
    client.nothing_came().await;
    // Whoever has nothing to do with sessions doesn't wait.
    publish(&mut door.client("p").await, "elsewhere", "x").await;
    door.house.memory.set_away(false);
    assert_eq!([other.ack(PUBACK).await, other.ack(PUBACK).await], [1, 2]);
    assert_eq!((message(&mut client).await.0, message(&mut client).await.0), ("x".into(), "x".into()));
}

#[tokio::test]
async fn answers_wait_until_they_are_durable() {
    let door = Door::open(config()).await;
    let (mut client, _) = come(&door, "c", true).await;
    door.house.memory.set_away(true);
    client.send(&packet(0x82, &[&[0, 1, 0][..], &text("chat"), &[1]].concat())).await;
    client.nothing_came().await;
    door.house.memory.set_away(false);
    assert_eq!(client.ack(SUBACK).await, 1);
    door.house.memory.set_away(true);
    client.send(&packet(0xA2, &[&[0, 2, 0][..], &text("chat")].concat())).await;
    client.nothing_came().await;
    door.house.memory.set_away(false);
    assert_eq!(client.ack(UNSUBACK).await, 2);
    // A new session isn't answered either, nor one that can't be ended.
    door.house.memory.set_away(true);
    let mut waits = Raw::new(&door.broker).await;
    waits.send(&connect_packet(&Connect { id: "w", clean: false, ..Connect::default() })).await;
    client.nothing_came().await;
    let answer = tokio::time::timeout(Duration::from_millis(100), waits.packet()).await;
    assert!(answer.is_err(), "no CONNACK: {answer:?}");
    door.house.memory.set_away(false);
    assert_eq!(waits.packet().await.body[..2], [0, 0]);
}

#[tokio::test]
async fn who_starts_anew_finds_nothing_and_leaves_nothing() {
    for v5 in [false, true] {
        let door = Door::open(config()).await;
        let (mut client, _) = come(&door, "c", v5).await;
        client.subscribe(&[("chat", 1)]).await;
        drop(client);
        gone(&door, 0).await;
        let mut other = door.client("o").await;
        publish(&mut other, "chat", "x").await;
        assert_eq!(door.house.memory.kept().queued.len(), 1);
        let mut client = Raw::new(&door.broker).await;
        let connack = client.connect(Connect { v5, id: "c", name: "c", ..Connect::default() }).await;
        assert_eq!(connack.body[0], 0);
        client.nothing_came().await;
        assert_eq!(door.house.memory.kept(), Kept::default(), "durable before CONNACK");
        assert_eq!((door.broker.held().sessions, door.broker.held().queued_bytes), (0, 0));
    }
}

#[tokio::test]
async fn an_id_of_another_name_is_another_client() {
    let door = Door::open(config()).await;
    let (mut client, _) = come(&door, "c", true).await;
    client.subscribe(&[("chat", 1)]).await;
    let mut guessed = Raw::new(&door.broker).await;
    let connack =
        guessed.connect(Connect { id: "c", name: "thief", clean: false, ..Connect::default() }).await;
    assert_eq!(connack.body[0], 0, "nothing of the other's session");
    publish(&mut guessed, "chat", "x").await;
    assert_eq!(message(&mut client).await.0, "x", "and the other is still there");
}

#[tokio::test]
async fn a_takeover_hands_the_session_over() {
    for v5 in [false, true] {
        let door = Door::open(config()).await;
        let (mut old, _) = come(&door, "c", v5).await;
        old.subscribe(&[("chat", 1)]).await;
        let mut other = door.client("o").await;
        publish(&mut other, "chat", "one").await;
        let (payload, _, id) = message(&mut old).await;
        assert_eq!(payload, "one");
        let (mut new, present) = come(&door, "c", v5).await;
        assert!(present);
        old.ended(v5.then_some(0x8E)).await;
        assert_eq!(message(&mut new).await, ("one".into(), 0x3A, id));
        publish(&mut other, "chat", "two").await;
        assert_eq!(message(&mut new).await.0, "two");
    }
}

#[tokio::test]
async fn sessions_expire_with_all_that_is_theirs() {
    let door = Door::open(config()).await;
    let mut client = Raw::new(&door.broker).await;
    let second = [0x11, 0, 0, 0, 1];
    client
        .connect(Connect { v5: true, id: "c", clean: false, properties: &second, ..Connect::default() })
        .await;
    client.subscribe(&[("chat", 1), ("changes/#", 1)]).await;
    let mut other = door.client("o").await;
    publish(&mut other, "chat", "x").await;
    drop(client);
    gone(&door, 1).await;
    assert_eq!(door.broker.held().sessions, 1);
    until("it ends", || door.broker.held().sessions == 0).await;
    assert!(!door.broker.has_subscriber("r", "changes/1"));
    assert_eq!(door.broker.held().queued_bytes, 0);
    until("nothing of it is kept", || door.house.memory.kept() == Kept::default()).await;
    // Nobody waits for it any more.
    publish(&mut other, "chat", "x").await;
    // What was over when we came back goes at once.
    let memory = door.house.memory.crash();
    let mut client = Raw::new(&door.broker).await;
    client
        .connect(Connect { v5: true, id: "c", clean: false, properties: &second, ..Connect::default() })
        .await;
    let left_connected = door.house.memory.crash();
    assert_eq!(memory.kept(), Kept::default());
    let door = Door::again(config(), &left_connected).await;
    assert_eq!(door.broker.held().sessions, 1);
    until("it ends as if it had been left at our start", || left_connected.kept() == Kept::default()).await;
    assert_eq!(door.broker.held().sessions, 0);
}

#[tokio::test]
async fn version_5_says_for_how_long() {
    let door = Door::open(Config { session_expiry_s_max: 10, ..config() }).await;
    let mut client = Raw::new(&door.broker).await;
    let connack = client.connect(Connect { v5: true, properties: &HOUR, ..Connect::default() }).await;
    assert!(
        connack.body.windows(5).any(|bytes| bytes == [0x11, 0, 0, 0, 10]),
        "told what it gets: {connack:?}"
    );
    // It may change its mind, but not from none to some.
    client.send(&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0]).await;
    client.ended(None).await;
    until("it ends with the connection", || door.broker.held().sessions == 0).await;
    let mut client = Raw::new(&door.broker).await;
    client.connect(Connect { v5: true, ..Connect::default() }).await;
    client.send(&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9]).await;
    client.ended(Some(0x82)).await;
    until("nothing of it is kept", || door.house.memory.kept() == Kept::default()).await;
}

#[tokio::test]
async fn too_many_sessions_are_refused_and_others_let_in() {
    let door = Door::open(Config { sessions_max: 1, ..config() }).await;
    come(&door, "one", true).await;
    for (v5, code) in [(false, 3), (true, 0x97)] {
        let mut client = Raw::new(&door.broker).await;
        let properties: &[u8] = if v5 { &HOUR } else { &[] };
        let connack = client
            .try_connect(Connect { v5, id: "two", clean: false, properties, ..Connect::default() })
            .await;
        assert_eq!(connack.body[..2], [0, code]);
    }
    door.client("clean").await.nothing_came().await;
    assert!(come(&door, "one", true).await.1, "who has one goes on with it");
}

#[tokio::test]
async fn a_full_queue_misses_what_comes_then() {
    let limits = [
        Config { session_messages_max: 2, ..config() },
        Config { session_bytes_max: 150, ..config() },
        Config { sessions_bytes_max: 150, ..config() },
    ];
    for config in limits {
        let door = Door::open(config).await;
        let (mut client, _) = come(&door, "c", false).await;
        client.subscribe(&[("chat", 1)]).await;
        drop(client);
        gone(&door, 0).await;
        let mut other = door.client("o").await;
        for payload in ["one", "two", "three"] {
            publish(&mut other, "chat", payload).await;
        }
        let (mut client, _) = come(&door, "c", false).await;
        for payload in ["one", "two"] {
            let (found, _, id) = message(&mut client).await;
            assert_eq!(found, payload);
            client.send(&[0x40, 2, (id >> 8) as u8, id as u8]).await;
        }
        client.nothing_came().await;
        publish(&mut other, "chat", "four").await;
        assert_eq!(message(&mut client).await.0, "four");
    }
}

#[tokio::test]
async fn rights_are_asked_for_again() {
    let door = Door::open(config()).await;
    let (mut client, _) = come(&door, "c", true).await;
    client.subscribe(&[("chat/a", 1), ("chat/b", 1)]).await;
    drop(client);
    gone(&door, 0).await;
    let mut other = door.client("o").await;
    for topic in ["chat/a", "chat/b"] {
        publish(&mut other, topic, "before").await;
    }
    // EMQX CVE-2026-6564: a subscription that is no longer allowed ends when the session goes on.
    *door.house.closed.lock() = Some("chat/a".into());
    door.house.revoked.store(true, std::sync::atomic::Ordering::Relaxed);
    let (mut client, present) = come(&door, "c", true).await;
    assert!(present);
    client.nothing_came().await;
    until("what was queued is dropped", || door.broker.held().queued_bytes == 0).await;
    door.house.revoked.store(false, std::sync::atomic::Ordering::Relaxed);
    publish(&mut other, "chat/a", "after").await;
    publish(&mut other, "chat/b", "after").await;
    assert_eq!(client.packet().await.published().0, "chat/b");
    until("it isn't kept", || door.house.memory.kept().subscriptions.len() == 1).await;
}

#[tokio::test]
async fn who_is_forgotten_leaves_nothing() {
    let door = Door::open(config()).await;
    let (mut here, _) = come(&door, "n", true).await;
    here.subscribe(&[("chat", 1)]).await;
    let mut away = Raw::new(&door.broker).await;
    away.connect(Connect { id: "other", name: "n", clean: false, ..Connect::default() }).await;
    drop(away);
    gone(&door, 1).await;
    let (mut another, _) = come(&door, "another", true).await;
    assert_eq!(soon("it is durable", door.broker.forget("r", "n")).await, 1);
    here.ended(Some(0x98)).await;
    assert_eq!(door.house.memory.kept().sessions.len(), 1);
    another.nothing_came().await;
    assert_eq!(door.broker.held().sessions, 1);
}

#[tokio::test]
async fn who_is_back_is_told_the_newest_and_never_what_is_old() {
    let door = Door::open(config()).await;
    let (mut client, _) = come(&door, "c", true).await;
    client.subscribe(&[("devices/d/desired", 1)]).await;
    drop(client);
    gone(&door, 0).await;
    let desired = |payload| statecast_broker::Publication {
        latest_only: true,
        ..publication("devices/d/desired", payload, QoS::AtLeastOnce)
    };
    door.broker.publish("r", &desired("old"));
    assert_eq!(door.broker.held().queued_bytes, 0);
    *door.house.first.lock() = vec![desired("newest")];
    let (mut client, _) = come(&door, "c", true).await;
    let (payload, _, id) = message(&mut client).await;
    assert_eq!(payload, "newest");
    assert!(id > 32_767, "no packet id of a queued message");
    client.nothing_came().await;
}

#[tokio::test]
async fn of_a_group_who_is_connected_comes_first() {
    let door = Door::open(config()).await;
    let (mut away, _) = come(&door, "away", true).await;
    for topic in ["jobs", "changes/1"] {
        away.subscribe(&[(&format!("$share/g/{topic}"), 1)]).await;
    }
    drop(away);
    gone(&door, 0).await;
    let mut other = door.client("o").await;
    let mut here = door.client("here").await;
    here.subscribe(&[("$share/g/jobs", 1)]).await;
    for number in 0..4 {
        publish(&mut other, "jobs", &number.to_string()).await;
        assert_eq!(message(&mut here).await.0, number.to_string());
    }
    drop(here);
    gone(&door, 1).await;
    publish(&mut other, "jobs", "kept").await;
    door.broker.publish("r", &publication("changes/1", "kept too", QoS::AtLeastOnce));
    let (mut away, _) = come(&door, "away", true).await;
    assert_eq!(message(&mut away).await.0, "kept");
    assert_eq!(message(&mut away).await.0, "kept too");
    away.nothing_came().await;
}

#[tokio::test]
async fn properties_and_what_is_left_of_the_time_are_kept() {
    let door = Door::open(config()).await;
    let (mut client, _) = come(&door, "c", true).await;
    client.subscribe_with(&[0x0B, 7], &[("chat", 1)]).await;
    client.goodbye().await;
    gone(&door, 0).await;
    let mut other = door.client5("o").await;
    let content_type = [&[0x03][..], &text("text")].concat();
    let expiry = |seconds: u8| [&[0x02, 0, 0, 0, seconds][..], &content_type].concat();
    other.publish_with("chat", "short", &expiry(1), 2, 1).await;
    other.publish_with("chat", "long", &expiry(100), 2, 2).await;
    assert_eq!([other.ack(PUBACK).await, other.ack(PUBACK).await], [1, 2]);
    let door = Door::again(config(), &door.house.memory.crash()).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (mut client, _) = come(&door, "c", true).await;
    let (_, properties, payload) = client.packet().await.published5();
    assert_eq!(payload, "long");
    assert_eq!(properties[..content_type.len()], content_type);
    assert!(properties.ends_with(&[0x0B, 7]));
    let left = properties[content_type.len() + 4];
    assert!((90..100).contains(&left), "{left} s are left of 100");
}

#[tokio::test]
async fn retained_messages_survive_a_crash() {
    let mut door = Door::open(config()).await;
    let mut publisher = door.client5("p").await;
    let expiry = [0x02, 0, 0, 0, 1];
    for (id, topic, properties) in [(1, "kept", &[][..]), (2, "removed", &[]), (3, "short", &expiry)] {
        publisher.publish_with(topic, topic, properties, 3, id).await;
        assert_eq!(publisher.ack(PUBACK).await, id);
    }
    publisher.publish_with("removed", "", &[], 3, 4).await;
    assert_eq!(publisher.ack(PUBACK).await, 4);
    publisher.publish_with("kept", "", &[], 2, 5).await;
    assert_eq!(publisher.ack(PUBACK).await, 5);
    // Not acknowledged before it is durable.
    door.house.memory.set_away(true);
    publisher.publish_with("late", "late", &[], 3, 6).await;
    publisher.nothing_came().await;
    door.house.memory.set_away(false);
    assert_eq!(publisher.ack(PUBACK).await, 6);
    let memory = door.house.memory.crash();
    door = Door::again(config(), &memory).await;
    until("what has run out goes", || memory.kept().retained.len() == 2).await;
    let mut client = door.client("c").await;
    client.subscribe(&[("#", 0)]).await;
    let mut found = [message(&mut client).await, message(&mut client).await];
    found.sort();
    assert_eq!(
        found.map(|(payload, first, _)| (payload, first)),
        [("kept".into(), 0x31), ("late".into(), 0x31)]
    );
    client.nothing_came().await;
}
