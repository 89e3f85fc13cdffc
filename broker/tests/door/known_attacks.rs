//! What was found in other brokers, by CVE, and what ends rumqttd, each by a test of its name. Those that need
//! persistent sessions (FlashMQ 2025-62723, EMQX 2026-8741 and 2026-6564), a file of access rules or of passwords
//! (2018-12550, -12551, 2017-7652), the provisioning of devices (ThingsBoard 2026-9568) or TLS aren't here.

use std::sync::atomic::Ordering;
use std::time::Duration;

use statecast_broker::{Config, QoS};

use crate::support::*;

#[tokio::test]
async fn cve_2023_0809_and_2017_7651_a_huge_length_before_connect() {
    let door = Door::open(config()).await;
    let mut client = Raw::new(&door.broker).await;
    client.send(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]).await;
    client.ended(None).await;
}

#[tokio::test]
async fn cve_2023_28366_the_same_packet_id_at_quality_2_over_and_over() {
    let mut door = Door::open(config()).await;
    let mut client = door.client("c").await;
    for _ in 0..1000 {
        client.publish("devices/d1/state", "x", 2, 1).await;
    }
    client.nothing_came().await;
    let (_, _, receipt) = door.publish().await;
    assert!(door.deliveries.try_recv().is_err(), "one message");
    assert!(door.broker.bytes_in_flight() < 100);
    receipt.accept();
    assert_eq!(client.ack(PUBREC).await, 1);
    assert_eq!(door.broker.bytes_in_flight(), 0);
}

#[tokio::test]
async fn cve_2023_3592_a_will_with_an_invalid_property() {
    let door = Door::open(config()).await;
    let twice = [0x18, 0, 0, 0, 1, 0x18, 0, 0, 0, 1];
    let response_to_all = [8, 0, 3, b'a', b'/', b'#'];
    for will_properties in [&[0x23, 0, 1][..], &[0x01, 2], &twice, &[0x7F, 0], &[0x0B, 1], &response_to_all] {
        let mut client = Raw::new(&door.broker).await;
        let will = Some(("a", "x", 0));
        let connack =
            client.try_connect(Connect { v5: true, will, will_properties, ..Connect::default() }).await;
        assert!(connack.kind() == 2 && connack.body[1] >= 0x80, "{connack:?}");
        client.ended(None).await;
    }
    assert_eq!(door.broker.connections(), 0);
}

/// Broker-killer 4 of rumqttd as well: the slot of the connection must not leak.
#[tokio::test]
async fn cve_2021_28166_a_client_that_sends_connack() {
    let door = Door::open(Config { connections_max: 2, ..config() }).await;
    for _ in 0..5 {
        for bytes in [&[0x20, 3, 0, 0, 0][..], &[0xB0, 4, 0, 1, 0, 0]] {
            let mut client = door.client5("c").await;
            client.send(bytes).await;
            client.ended(Some(0x82)).await;
            until("its place is free", || door.broker.connections() == 0).await;
        }
    }
}

#[tokio::test]
async fn cve_2021_34432_an_empty_topic() {
    let door = Door::open(config()).await;
    for v5 in [false, true] {
        let mut client = if v5 { door.client5("c").await } else { door.client("c").await };
        client.publish("", "x", 0, 0).await;
        let told = client.try_packet().await.map(|packet| packet.kind());
        assert_eq!(told, v5.then_some(DISCONNECT));
    }
}

#[tokio::test]
async fn cve_2021_34434_and_2018_12546_rights_that_were_taken_away() {
    let door = Door::open(config()).await;
    let mut publisher = door.client("p").await;
    let retained = publisher.publish_packet("chat", b"kept", 3, 1);
    publisher.send(&retained).await;
    assert_eq!(publisher.ack(PUBACK).await, 1);
    let mut client = door.client("c").await;
    client.subscribe(&[("chat", 0x00), ("changes/#", 0)]).await;
    assert_eq!(client.packet().await.published().2, b"kept");
    door.house.revoked.store(true, Ordering::Relaxed);
    // Neither by the subscriptions that are there, nor as what is kept.
    assert_eq!(door.broker.publish("r", &publication("changes/1", "x", QoS::AtMostOnce)), 0);
    publisher.publish("chat", "x", 1, 2).await;
    assert_eq!(publisher.ack(PUBACK).await, 2);
    client.subscribe(&[("chat", 0)]).await;
    client.nothing_came().await;
}

#[tokio::test]
async fn cve_2018_12543_a_topic_that_begins_with_a_dollar() {
    let door = Door::open(config()).await;
    let mut client = door.client5("c").await;
    for (topic, id) in [("$foo", 1), ("$", 2), ("$share/g/a", 3), ("$SYS/broker", 4)] {
        client.publish(topic, "x", 1, id).await;
        let puback = client.packet().await;
        assert_eq!((puback.id(), puback.body[2]), (id, 0x87), "{topic}");
    }
    client.nothing_came().await;
}

#[tokio::test]
async fn nanomq_2026_21888_a_length_of_five_bytes_before_connect() {
    let door = Door::open(config()).await;
    let mut client = Raw::new(&door.broker).await;
    client.send(&[0x10, 0x80, 0x80, 0x80, 0x80, 0x01]).await;
    client.ended(None).await;
}

#[tokio::test]
async fn nanomq_2025_59946_subscriptions_that_come_and_go_under_load() {
    let door = Door::open(config()).await;
    let mut client = door.client("c").await;
    let mut publisher = door.client("p").await;
    for round in 0..200_u16 {
        let filter = if round % 2 == 0 { "devices/#" } else { "chat/#" };
        let mut body = vec![0, 1];
        body.extend(text(filter));
        body.push(1);
        client.send(&packet(0x82, &body)).await;
        door.broker.publish("r", &publication("devices/1/x", "x", QoS::AtMostOnce));
        publisher.publish("chat/x", "x", 0, 0).await;
        body.pop();
        client.send(&packet(0xA2, &body)).await;
    }
    let mut unsubscribed = 0;
    while unsubscribed < 200 {
        unsubscribed += u32::from(client.packet().await.kind() == UNSUBACK);
    }
    assert!(!door.broker.has_subscriber("r", "devices/1/x"));
    publisher.nothing_came().await;
}

#[tokio::test]
async fn mochi_501_a_subscribe_without_options() {
    let door = Door::open(config()).await;
    let mut client = door.client5("c").await;
    client.send(&packet(0x82, &[&[0, 1, 0][..], &text("a")].concat())).await;
    assert_eq!(client.packet().await.kind(), DISCONNECT);
    client.ended(None).await;
}

#[tokio::test]
async fn rumqttd_killer_1_a_topic_or_will_that_begins_beyond_ascii() {
    let mut door = Door::open(config()).await;
    let mut watcher = door.client("watcher").await;
    watcher.subscribe(&[("é/#", 0), ("#", 0)]).await;
    assert_eq!(door.presence().await, "watcher connected");
    let mut client = Raw::new(&door.broker).await;
    client.connect(Connect { will: Some(("é/will", "gone", 0)), ..Connect::default() }).await;
    client.publish("é/x", "x", 0, 0).await;
    assert_eq!(watcher.packet().await.published().0, "é/x");
    drop(client);
    assert_eq!(watcher.packet().await.published().0, "é/will");
}

#[tokio::test]
async fn rumqttd_killer_2_the_only_member_of_a_group_goes_with_a_message_unacknowledged() {
    let door = Door::open(config()).await;
    let mut publisher = door.client("p").await;
    for id in ["a", "b", "c", "d", "e"] {
        let mut member = Raw::new(&door.broker).await;
        member.connect(Connect { id, clean: false, ..Connect::default() }).await;
        member.subscribe(&[("$share/g/jobs", 1)]).await;
        publisher.publish("jobs", "x", 1, 1).await;
        assert_eq!(publisher.ack(PUBACK).await, 1);
        assert_eq!(member.packet().await.kind(), 3);
        drop(member);
        until("it is gone", || door.broker.connections() == 1).await;
    }
}

#[tokio::test]
async fn rumqttd_killer_3_odd_client_ids_twice_and_reconnects_at_the_limit() {
    let door = Door::open(Config { connections_max: 2, ..config() }).await;
    for id in ["a+b", "$share", "x#", "a/b"] {
        let mut one = Raw::new(&door.broker).await;
        one.connect(Connect { id, ..Connect::default() }).await;
        let mut two = Raw::new(&door.broker).await;
        two.connect(Connect { id, ..Connect::default() }).await;
        one.ended(None).await;
        two.nothing_came().await;
        drop(two);
        until("it is gone", || door.broker.connections() == 0).await;
    }
    let one = door.client("one").await;
    let _two = door.client("two").await;
    for _ in 0..20 {
        let mut more = Raw::new(&door.broker).await;
        assert_eq!(more.try_connect(Connect { v5: true, ..Connect::default() }).await.body[1], 0x89);
    }
    drop(one);
    until("there is room", || door.broker.connections() == 1).await;
    door.client("again").await.nothing_came().await;
}

/// The same for TCP; over TLS the listener must not wait either.
#[tokio::test]
async fn rumqttd_killer_5_connections_that_say_nothing() {
    let door = Door::open(Config { connect_timeout: Duration::from_millis(500), ..config() }).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(Raw::new(&door.broker).await);
    }
    door.client("c").await.nothing_came().await;
    for mut one in silent {
        one.ended(None).await;
    }
}
