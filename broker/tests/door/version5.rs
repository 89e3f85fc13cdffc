//! What version 5 adds to a publish and to a connection.

use std::time::Duration;

use statecast_broker::{Config, QoS, Refused};

use crate::support::*;

/// All properties that travel with a message but its expiry: payload format, content type, response topic,
/// correlation data, two user properties with the same key.
fn travelling() -> Vec<u8> {
    let mut properties = vec![0x01, 1, 0x03];
    properties.extend(text("text/plain"));
    properties.push(0x08);
    properties.extend(text("answers"));
    properties.push(0x09);
    properties.extend(text("id"));
    for value in ["1", "2"] {
        properties.push(0x26);
        properties.extend(text("k"));
        properties.extend(text(value));
    }
    properties
}

/// Connects as version 5 with these properties, under the name `c`.
async fn connect_with(door: &Door, properties: &[u8]) -> (Raw, Packet) {
    let mut client = Raw::new(&door.broker).await;
    let connack = client.connect(Connect { v5: true, properties, ..Connect::default() }).await;
    (client, connack)
}

fn has(packet: &Packet, bytes: &[u8]) -> bool {
    packet.body.windows(bytes.len()).any(|window| window == bytes)
}

#[tokio::test]
async fn properties_travel_over_own_and_routed_topics() {
    let mut door = Door::open(config()).await;
    let mut one = door.client5("one").await;
    let mut old = door.client("old").await;
    let mut two = door.client5("two").await;
    for topic in ["chat/x", "devices/d1/state"] {
        one.subscribe(&[(topic, 1)]).await;
        old.subscribe(&[(topic, 0)]).await;
        two.publish_with(topic, "payload", &travelling(), 2, 1).await;
        if topic.starts_with("devices") {
            door.publish().await.2.accept();
        }
        assert_eq!(one.packet().await.published5(), (topic.into(), travelling(), "payload".into()));
        assert_eq!(old.packet().await.published().2, b"payload");
        assert_eq!(two.ack(PUBACK).await, 1);
    }
}

#[tokio::test]
async fn subscription_identifiers_come_with_each_message() {
    let mut door = Door::open(config()).await;
    let mut client = door.client5("c").await;
    let mut other = door.client5("o").await;
    for (one, all) in [("chat/x", "chat/#"), ("devices/d1/state", "devices/#")] {
        client.subscribe_with(&[0x0B, 1], &[(one, 1)]).await;
        client.subscribe_with(&[0x0B, 0xC8, 1], &[(all, 2)]).await;
        client.subscribe(&[("#", 0)]).await;
        other.publish(one, "x", 2, 1).await;
        if one.starts_with("devices") {
            door.publish().await.2.accept();
        }
        let packet = client.packet().await;
        assert_eq!(packet.first & 6, 4, "once, at the highest quality");
        let (_, properties, _) = packet.published5();
        assert_eq!(properties.len(), 5);
        assert!(properties.ends_with(&[0x0B, 0xC8, 1]) || properties.starts_with(&[0x0B, 0xC8, 1]));
        assert!(properties.ends_with(&[0x0B, 1]) || properties.starts_with(&[0x0B, 1]));
        client.nothing_came().await;
        // Subscribed again without an identifier, it has none any more.
        client.unsubscribe(all).await;
        client.subscribe(&[(one, 0)]).await;
        assert_eq!(other.ack(PUBREC).await, 1);
        other.send(&[0x62, 2, 0, 1]).await;
        assert_eq!(other.ack(PUBCOMP).await, 1);
        other.publish(one, "x", 0, 0).await;
        if one.starts_with("devices") {
            door.publish().await.2.accept();
        }
        assert_eq!(client.packet().await.published5().1, Vec::<u8>::new());
    }
}

#[tokio::test]
async fn what_comes_first_has_the_subscription_identifier() {
    let door = Door::open(config()).await;
    *door.house.first.lock() = vec![publication("devices/d1/desired", "first", QoS::AtMostOnce)];
    let mut publisher = door.client5("p").await;
    publisher.publish_with("chat/a", "kept", &[], 3, 1).await;
    assert_eq!(publisher.ack(PUBACK).await, 1);
    let mut client = door.client5("c").await;
    client.subscribe_with(&[0x0B, 7], &[("chat/+", 0), ("devices/d1/desired", 0)]).await;
    for payload in ["kept", "first"] {
        let (_, properties, found) = client.packet().await.published5();
        assert_eq!((properties, found.as_str()), (vec![0x0B, 7], payload));
    }
}

#[tokio::test]
async fn a_bad_subscription_identifier_is_a_breach() {
    let door = Door::open(config()).await;
    for properties in [&[2, 0x0B, 0][..], &[4, 0x0B, 1, 0x0B, 2]] {
        let mut client = door.client5("c").await;
        client.send(&packet(0x82, &[&[0, 1], properties, &text("a"), &[0]].concat())).await;
        client.ended(Some(0x82)).await;
    }
}

#[tokio::test]
async fn a_client_that_hears_itself_with_one_filter_only_gets_it_for_that_one() {
    let mut door = Door::open(config()).await;
    let mut client = door.client5("c").await;
    client.subscribe_with(&[0x0B, 1], &[("devices/#", 0x05)]).await;
    client.subscribe_with(&[0x0B, 2], &[("devices/+/state", 0)]).await;
    client.publish("devices/d1/state", "x", 0, 0).await;
    door.publish().await.2.accept();
    let packet = client.packet().await;
    assert_eq!((packet.first, packet.published5().1), (0x30, vec![0x0B, 2]));
}

#[tokio::test]
async fn a_message_that_ran_out_is_not_sent() {
    let mut door = Door::open(config()).await;
    let (mut slow, _) = connect_with(&door, &[0x21, 0, 1]).await;
    let mut other = door.client5("o").await;
    slow.subscribe(&[("devices/d1/state", 1)]).await;
    let expires_after = |seconds| [0x02, 0, 0, 0, seconds];
    for (payload, properties) in
        [("blocks", &[][..]), ("short", &expires_after(1)), ("long", &expires_after(100))]
    {
        other.publish_with("devices/d1/state", payload, properties, 0, 0).await;
        door.publish().await.2.accept();
    }
    let mut id = 0;
    for payload in ["short", "long"] {
        // Only now at quality 1, so that the first of them blocks what is behind.
        other
            .publish_with(
                "devices/d1/state",
                payload,
                &expires_after(if payload == "long" { 100 } else { 1 }),
                2,
                1,
            )
            .await;
        door.publish().await.2.accept();
        assert_eq!(other.ack(PUBACK).await, 1);
    }
    let mut seen = Vec::new();
    for _ in 0..4 {
        let packet = slow.packet().await;
        if packet.first & 6 != 0 {
            id = packet.published().1;
        }
        seen.push(packet.published5().2);
    }
    assert_eq!(seen, ["blocks", "short", "long", "short"]);
    // `long` waits for the acknowledgement; two more that won't last so long.
    for payload in ["lost", "last"] {
        let properties = expires_after(if payload == "lost" { 1 } else { 50 });
        other.publish_with("devices/d1/state", payload, &properties, 2, 1).await;
        door.publish().await.2.accept();
        assert_eq!(other.ack(PUBACK).await, 1);
    }
    // Time itself is what is tested here.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for (payload, longest) in [("long", 99), ("last", 49)] {
        let [high, low] = id.to_be_bytes();
        slow.send(&[0x40, 2, high, low]).await;
        let packet = slow.packet().await;
        id = packet.published().1;
        let (_, properties, found) = packet.published5();
        assert_eq!(found, payload);
        assert!(
            properties[0] == 0x02 && properties[4] <= longest && properties[4] > longest - 10,
            "{properties:?}"
        );
    }
}

#[tokio::test]
async fn a_routed_message_carries_what_is_left_of_its_time() {
    let door = Door::open(config()).await;
    let mut client = door.client5("c").await;
    client.subscribe(&[("chat", 0)]).await;
    let mut other = door.client5("o").await;
    other.publish_with("chat", "over", &[0x02, 0, 0, 0, 0], 0, 0).await;
    other.publish_with("chat", "valid", &[0x02, 0, 0, 0, 60], 3, 1).await;
    let (_, properties, payload) = client.packet().await.published5();
    assert_eq!(payload, "valid");
    assert!(properties.starts_with(&[0x02, 0, 0, 0]) && (50..=60).contains(&properties[4]), "{properties:?}");
    // And the retained one as well.
    let mut late = door.client5("l").await;
    late.subscribe(&[("chat", 0)]).await;
    let (_, properties, _) = late.packet().await.published5();
    assert!(properties.starts_with(&[0x02, 0, 0, 0]) && (50..=60).contains(&properties[4]), "{properties:?}");
}

#[tokio::test]
async fn topic_aliases_of_a_client() {
    let mut door = Door::with_channel(config(), 1).await;
    let (mut client, connack) = connect_with(&door, &[]).await;
    assert!(has(&connack, &[0x22, 0, 16]), "announced");
    client.publish_with("devices/d1/state", "own", &[0x23, 0, 1], 2, 1).await;
    client.publish_with("chat", "routed", &[0x23, 0, 16], 2, 2).await;
    client.publish_with("", "own again", &[0x23, 0, 1], 2, 3).await;
    client.publish_with("devices/d2/state", "renamed", &[0x23, 0, 1], 2, 4).await;
    client.publish_with("", "at last", &[0x23, 0, 1], 2, 5).await;
    for (topic, payload) in [("d1", "own"), ("d1", "own again"), ("d2", "renamed"), ("d2", "at last")] {
        // The channel takes one at a time: those with an alias wait as well.
        let (found, found_payload, receipt) = door.publish().await;
        assert_eq!((found, &found_payload[..]), (format!("devices/{topic}/state"), payload.as_bytes()));
        receipt.accept();
    }
    for id in 1..=5 {
        assert_eq!(client.ack(PUBACK).await, id);
    }
    // Another connection doesn't know them.
    let mut other = door.client5("other").await;
    door.accept_all();
    other.publish_with("", "x", &[0x23, 0, 1], 0, 0).await;
    other.ended(Some(0x94)).await;
    client.publish_with("chat", "x", &[0x23, 0, 0], 0, 0).await;
    client.ended(Some(0x94)).await;
}

#[tokio::test]
async fn topic_aliases_towards_a_client() {
    let door = Door::open(config()).await;
    let (mut client, _) = connect_with(&door, &[0x22, 0, 2]).await;
    client.subscribe(&[("changes/#", 1)]).await;
    for (topic, name, properties) in [
        ("changes/1", "changes/1", &[0x23, 0, 1][..]),
        ("changes/1", "", &[0x23, 0, 1]),
        ("changes/2", "changes/2", &[0x23, 0, 2]),
        ("changes/3", "changes/3", &[]),
        ("changes/2", "", &[0x23, 0, 2]),
    ] {
        door.broker.publish("r", &publication(topic, "x", QoS::AtLeastOnce));
        let (found_name, found, _) = client.packet().await.published5();
        assert_eq!((found_name.as_str(), &found[..]), (name, properties));
    }
    for properties in [&[0x22, 0, 0][..], &[], &[0x17, 0, 0x22, 0, 0, 0x26, 0, 1, b'k', 0, 1, b'v']] {
        let (mut client, _) = connect_with(&door, properties).await;
        client.subscribe(&[("changes/#", 0)]).await;
        for _ in 0..2 {
            door.broker.publish("r", &publication("changes/1", "x", QoS::AtMostOnce));
            assert_eq!(client.packet().await.published5(), ("changes/1".into(), vec![], "x".into()));
        }
    }
}

#[tokio::test]
async fn an_alias_never_makes_a_message_too_long() {
    let door = Door::open(config()).await;
    let (mut client, _) = connect_with(&door, &[0x22, 0, 2, 0x27, 0, 0, 0, 100]).await;
    client.subscribe(&[("changes/#", 0)]).await;
    let payload = "x".repeat(100 - 2 - 2 - "changes/1".len() - 1);
    for _ in 0..2 {
        door.broker.publish("r", &publication("changes/1", &payload, QoS::AtMostOnce));
        assert_eq!(client.packet().await.published5(), ("changes/1".into(), vec![], payload.clone()));
    }
    door.broker.publish("r", &publication("changes/1", &format!("{payload}x"), QoS::AtMostOnce));
    client.nothing_came().await;
}

#[tokio::test]
async fn more_than_the_receive_maximum_is_a_breach() {
    let mut door = Door::open(Config { unacknowledged_max: 2, ..config() }).await;
    let (mut client, connack) = connect_with(&door, &[]).await;
    assert!(has(&connack, &[0x21, 0, 2]), "announced");
    // One is released only by its PUBREL.
    client.publish("devices/d1/state", "1", 2, 1).await;
    door.publish().await.2.accept();
    assert_eq!(client.ack(PUBREC).await, 1);
    client.publish("devices/d1/state", "2", 1, 2).await;
    let (_, _, held) = door.publish().await;
    client.publish("devices/d1/state", "0", 0, 0).await;
    client.send(&[0x62, 2, 0, 1]).await;
    assert_eq!(client.ack(PUBCOMP).await, 1);
    client.publish("devices/d1/state", "3", 1, 3).await;
    client.nothing_came().await;
    client.publish("devices/d1/state", "4", 1, 4).await;
    client.ended(Some(0x93)).await;
    drop(held);
}

#[tokio::test]
async fn who_wants_no_reasons_gets_none() {
    let mut door = Door::open(config()).await;
    let (mut client, _) = connect_with(&door, &[0x17, 0]).await;
    for (qos, kind) in [(1, PUBACK), (2, PUBREC)] {
        client.publish("devices/d1/state", "x", qos, 1).await;
        door.publish().await.2.refuse(Refused::Payload("not JSON".into()));
        let answer = client.packet().await;
        assert_eq!((answer.kind(), &answer.body[..3]), (kind, &[0, 1, 0x99][..]));
        assert!(!has(&answer, b"not JSON"));
    }
    door.broker.disconnect("r", "n");
    assert!(!has(&client.packet().await, b"administrative"));
    let (mut client, _) = connect_with(&door, &[]).await;
    door.broker.disconnect("r", "n");
    assert!(has(&client.packet().await, b"administrative"));
}

#[tokio::test]
async fn a_reason_never_makes_an_answer_too_long() {
    let mut door = Door::open(config()).await;
    let (mut client, _) = connect_with(&door, &[0x27, 0, 0, 0, 100]).await;
    for (qos, kind) in [(1, PUBACK), (2, PUBREC)] {
        client.publish("devices/d1/state", "x", qos, 1).await;
        door.publish().await.2.refuse(Refused::Payload("x".repeat(150).into()));
        let answer = client.packet().await;
        assert_eq!((answer.kind(), &answer.body[..3]), (kind, &[0, 1, 0x99][..]));
        assert!(answer.body.len() < 100);
    }
    // Hardly more than the CONNACK takes.
    let (mut client, connack) = connect_with(&door, &[0x27, 0, 0, 0, 21]).await;
    let bytes_max = 21 - 2;
    assert!(connack.body.len() <= bytes_max);
    assert_eq!(client.subscribe(&[("$SYS/#", 0)]).await.len(), 1);
    door.broker.disconnect("r", "n");
    let goodbye = client.packet().await;
    assert!(goodbye.kind() == DISCONNECT && goodbye.body.len() <= bytes_max, "{goodbye:?}");
    let mut refused = Raw::new(&door.broker).await;
    let properties = &[0x27, 0, 0, 0, 10];
    let refused =
        refused.try_connect(Connect { v5: true, password: "wrong", properties, ..Connect::default() }).await;
    assert_eq!((refused.body[1], refused.body.len() <= 10 - 2), (0x86, true));
}

#[tokio::test]
async fn the_keep_alive_is_kept_in_range() {
    let door = Door::open(Config { keep_alive_s: 10..=100, ..config() }).await;
    for (asked, told) in [(0, Some(100)), (5, Some(10)), (50, None), (101, Some(100))] {
        let mut client = Raw::new(&door.broker).await;
        let connack = client.connect(Connect { v5: true, keep_alive_s: asked, ..Connect::default() }).await;
        let announced = connack.body.windows(3).find(|bytes| bytes[..2] == [0x13, 0]).map(|bytes| bytes[2]);
        assert_eq!(announced, told, "{asked}");
    }
    let mut client = Raw::new(&door.broker).await;
    let connack = client.connect(Connect { keep_alive_s: 5, ..Connect::default() }).await;
    assert_eq!(connack.body, [0, 0]);
}

#[tokio::test]
async fn the_keep_alive_that_the_client_was_told_counts() {
    let mut door = Door::open(Config { keep_alive_s: 1..=1, ..config() }).await;
    let mut client = Raw::new(&door.broker).await;
    client.connect(Connect { v5: true, keep_alive_s: 0, ..Connect::default() }).await;
    client.ended(Some(0x8D)).await;
    assert_eq!(door.presence().await, "n connected");
    assert_eq!(door.presence().await, "n keep-alive");
}

#[tokio::test]
async fn response_information_is_asked_for_in_vain() {
    let door = Door::open(config()).await;
    for wanted in [0, 1] {
        let (_, connack) = connect_with(&door, &[0x19, wanted]).await;
        assert!(!has(&connack, &[0x1A, 0]));
    }
}
