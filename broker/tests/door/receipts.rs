//! An acknowledgement leaves when its receipt resolves, not before, and in the order of arrival.

use statecast_broker::{Config, Refused};

use crate::support::*;

#[tokio::test]
async fn puback_waits_for_the_receipt() {
    let mut door = Door::open(config()).await;
    let mut client = door.client("d1").await;
    client.publish("devices/d1/state", "{}", 1, 7).await;
    let (topic, payload, receipt) = door.publish().await;
    assert_eq!((topic.as_str(), &payload[..]), ("devices/d1/state", &b"{}"[..]));
    client.nothing_came().await;
    assert!(door.broker.bytes_in_flight() > 0);
    receipt.accept();
    assert_eq!(client.ack(PUBACK).await, 7);
    assert_eq!(door.broker.bytes_in_flight(), 0);
}

#[tokio::test]
async fn acknowledged_in_order_of_arrival() {
    let mut door = Door::open(config()).await;
    let mut client = door.client("d1").await;
    client.publish("devices/d1/state", "1", 1, 1).await;
    client.publish("devices/d1/state", "2", 2, 2).await;
    client.publish("devices/d1/state", "3", 1, 3).await;
    let (_, _, first) = door.publish().await;
    let (_, _, second) = door.publish().await;
    let (_, _, third) = door.publish().await;
    third.accept();
    second.accept();
    client.nothing_came().await;
    first.accept();
    assert_eq!(client.ack(PUBACK).await, 1);
    assert_eq!(client.ack(PUBREC).await, 2);
    assert_eq!(client.ack(PUBACK).await, 3);
}

#[tokio::test]
async fn quality_0_holds_its_bytes_and_gets_no_answer() {
    let mut door = Door::open(config()).await;
    let mut client = door.client("d1").await;
    client.publish("devices/d1/state", "x", 0, 0).await;
    let (_, _, receipt) = door.publish().await;
    assert!(door.broker.bytes_in_flight() > 0);
    drop(receipt);
    assert_eq!(door.broker.bytes_in_flight(), 0);
    client.nothing_came().await;
}

#[tokio::test]
async fn a_refusal_says_why_in_version_5_only() {
    let mut door = Door::open(config()).await;
    let mut old = door.client("old").await;
    let mut new = door.client5("new").await;
    old.publish("devices/old/state", "x", 1, 1).await;
    door.publish().await.2.refuse(Refused::Payload("not JSON".into()));
    assert_eq!(old.packet().await.body, [0, 1]);
    new.publish("devices/new/state", "x", 1, 2).await;
    door.publish().await.2.refuse(Refused::Payload("not JSON".into()));
    let puback = new.packet().await;
    assert_eq!((puback.id(), puback.body[2]), (2, 0x99));
    assert!(puback.body.ends_with(b"not JSON"));
    for (why, code) in [
        (Refused::NotAuthorized, 0x87),
        (Refused::Quota("too much".into()), 0x97),
        (Refused::Other("broken".into()), 0x83),
    ] {
        new.publish("devices/new/state", "x", 2, 3).await;
        door.publish().await.2.refuse(why);
        let pubrec = new.packet().await;
        assert_eq!((pubrec.kind(), pubrec.id(), pubrec.body[2]), (PUBREC, 3, code));
    }
}

#[tokio::test]
async fn a_dropped_receipt_closes_the_connection() {
    let mut door = Door::open(config()).await;
    let mut client = door.client5("d1").await;
    client.publish("devices/d1/state", "x", 1, 1).await;
    drop(door.publish().await);
    client.ended(Some(0x83)).await;
    assert_eq!(door.presence().await, "d1 not stored");
}

#[tokio::test]
async fn what_may_not_be_published_is_refused() {
    let door = Door::open(config()).await;
    let mut new = door.client5("new").await;
    new.publish("devices/forbidden", "x", 1, 1).await;
    assert_eq!(new.packet().await.body[2], 0x87);
    new.publish("$SYS/x", "x", 1, 2).await;
    assert_eq!(new.packet().await.body[2], 0x87);
    new.publish(&"x/".repeat(20), "x", 1, 3).await;
    assert_eq!(new.packet().await.body[2], 0x97);
    let mut old = door.client("old").await;
    old.publish("devices/forbidden", "x", 1, 1).await;
    assert_eq!(old.ack(PUBACK).await, 1);
}

#[tokio::test]
async fn at_quality_2_each_publish_is_delivered_once() {
    let mut door = Door::open(config()).await;
    let mut client = door.client("d1").await;
    client.publish("devices/d1/state", "once", 2, 5).await;
    let (_, _, receipt) = door.publish().await;
    let again = client.publish_packet("devices/d1/state", b"once", 0b1100, 5);
    client.send(&again).await;
    client.nothing_came().await;
    receipt.accept();
    assert_eq!(client.ack(PUBREC).await, 5);
    client.send(&again).await;
    assert_eq!(client.ack(PUBREC).await, 5);
    client.send(&[0x62, 2, 0, 5]).await;
    assert_eq!(client.ack(PUBCOMP).await, 5);
    assert!(door.deliveries.try_recv().is_err(), "delivered once");
    // The packet id is free again: this is another message.
    client.publish("devices/d1/state", "another", 2, 5).await;
    assert_eq!(&door.publish().await.1[..], b"another");
}

#[tokio::test]
async fn a_client_at_quality_2_can_finish_at_the_bound() {
    let mut door = Door::open(Config { unacknowledged_max: 2, ..config() }).await;
    let mut client = door.client("d1").await;
    client.publish("devices/d1/state", "1", 2, 1).await;
    door.publish().await.2.accept();
    assert_eq!(client.ack(PUBREC).await, 1);
    for id in 2..=5 {
        client.publish("devices/d1/state", "more", 2, id).await;
    }
    let (_, _, second) = door.publish().await;
    let (_, _, third) = door.publish().await;
    // At the bound: the rest isn't accepted, but what needs no slot is answered.
    client.send(&[0x62, 2, 0, 1]).await;
    assert_eq!(client.ack(PUBCOMP).await, 1);
    client.nothing_came().await;
    assert!(door.deliveries.try_recv().is_err(), "the bound holds");
    second.accept();
    third.accept();
    assert_eq!(client.ack(PUBREC).await, 2);
    assert_eq!(client.ack(PUBREC).await, 3);
    for id in [4, 5] {
        door.publish().await.2.accept();
        assert_eq!(client.ack(PUBREC).await, id);
    }
}

#[tokio::test]
async fn bytes_in_flight_are_bounded_over_all_connections() {
    let mut door = Door::open(Config { bytes_in_flight_max: 3000, ..config() }).await;
    let mut one = door.client("d1").await;
    let mut two = door.client("d2").await;
    let big = "x".repeat(2000);
    one.publish("devices/d1/state", &big, 1, 1).await;
    let (_, _, receipt) = door.publish().await;
    two.publish("devices/d2/state", &big, 1, 1).await;
    two.nothing_came().await;
    assert!(door.deliveries.try_recv().is_err(), "the publish of d2 waits");
    receipt.accept();
    assert_eq!(one.ack(PUBACK).await, 1);
    door.publish().await.2.accept();
    assert_eq!(two.ack(PUBACK).await, 1);
}

#[tokio::test]
async fn a_full_channel_holds_publishes_back_in_order() {
    let mut door = Door::with_channel(config(), 1).await;
    let mut client = door.client("d1").await;
    for id in 1..=50 {
        client.publish("devices/d1/state", &id.to_string(), 1, id).await;
    }
    client.nothing_came().await;
    for id in 1..=50_u16 {
        let (_, payload, receipt) = door.publish().await;
        assert_eq!(payload, id.to_string());
        receipt.accept();
        assert_eq!(client.ack(PUBACK).await, id);
    }
}
