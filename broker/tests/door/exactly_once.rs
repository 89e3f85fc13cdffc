//! Exactly once, across connections and crashes: each exchange is cut at each of its steps.

use statecast_broker::{Event, Refused};

use crate::support::*;

/// A session expiry of an hour, as a v5 property.
const HOUR: [u8; 5] = [0x11, 0, 0, 0x0E, 0x10];

async fn come(door: &Door, id: &str, v5: bool) -> Raw {
    let mut client = Raw::new(&door.broker).await;
    let properties: &[u8] = if v5 { &HOUR } else { &[] };
    client.connect(Connect { v5, id, name: id, clean: false, properties, ..Connect::default() }).await;
    client
}

async fn cut(door: &Door, client: Raw, connections: usize) {
    drop(client);
    until("the connection is gone", || door.broker.connections() == connections).await;
}

/// The same broker, or one that starts on what a crash left.
async fn after(door: Door, crash: bool) -> Door {
    if crash { Door::again(config(), &door.house.memory.crash()).await } else { door }
}

/// Sends a PUBLISH with DUP at quality 2.
async fn publish_again(client: &mut Raw, topic: &str, payload: &str, id: u16) {
    let bytes = client.publish_packet(topic, payload.as_bytes(), 0x0C, id);
    client.send(&bytes).await;
}

/// The next publish with the key of its exchange.
async fn delivered(door: &mut Door) -> (Option<u64>, statecast_broker::Receipt) {
    loop {
        let delivery = door.next().await;
        if let Event::Publish { exchange, .. } = delivery.event {
            return (exchange, delivery.receipt);
        }
    }
}

#[tokio::test]
async fn to_a_client_each_message_comes_once() {
    for v5 in [false, true] {
        for crash in [false, true] {
            let mut door = Door::open(config()).await;
            let mut client = come(&door, "c", v5).await;
            client.subscribe(&[("chat", 2)]).await;
            let mut other = door.client("o").await;
            other.publish("chat", "x", 2, 1).await;
            assert_eq!(other.ack(PUBREC).await, 1);
            drop(other);
            // Cut after PUBLISH: it comes again, with the same packet id.
            let packet = client.packet().await;
            let id = packet.published().1;
            assert_eq!(packet.first, 0x34);
            cut(&door, client, 0).await;
            door = after(door, crash).await;
            let mut client = come(&door, "c", v5).await;
            let packet = client.packet().await;
            assert_eq!((packet.first, packet.published().1), (0x3C, id));
            // Cut after PUBREC: the message doesn't come again, PUBREL does.
            let [high, low] = id.to_be_bytes();
            client.send(&[0x50, 2, high, low]).await;
            assert_eq!(client.ack(PUBREL).await, id);
            cut(&door, client, 0).await;
            door = after(door, crash).await;
            let mut client = come(&door, "c", v5).await;
            assert_eq!(client.ack(PUBREL).await, id);
            // Cut after PUBCOMP: nothing is left.
            client.send(&[0x70, 2, high, low]).await;
            until("nothing is kept", || door.house.memory.kept().queued.is_empty()).await;
            client.nothing_came().await;
            cut(&door, client, 0).await;
            door = after(door, crash).await;
            let mut client = come(&door, "c", v5).await;
            client.nothing_came().await;
            assert_eq!(door.broker.held().queued_bytes, 0);
        }
    }
}

#[tokio::test]
async fn pubrel_leaves_when_it_is_durable_that_the_client_has_the_message() {
    for v5 in [false, true] {
        let door = Door::open(config()).await;
        let mut client = come(&door, "c", v5).await;
        client.subscribe(&[("chat", 2)]).await;
        door.client("o").await.publish("chat", "x", 2, 1).await;
        let id = client.packet().await.published().1;
        door.house.memory.set_away(true);
        let [high, low] = id.to_be_bytes();
        client.send(&[0x50, 2, high, low]).await;
        client.nothing_came().await;
        door.house.memory.set_away(false);
        assert_eq!(client.ack(PUBREL).await, id);
    }
}

#[tokio::test]
async fn from_a_client_each_routed_message_goes_once() {
    for v5 in [false, true] {
        for crash in [false, true] {
            let mut door = Door::open(config()).await;
            let mut reader = come(&door, "reader", v5).await;
            reader.subscribe(&[("chat", 2)]).await;
            cut(&door, reader, 0).await;
            let mut client = come(&door, "c", v5).await;
            // Cut before PUBREC: published again, it is one message all the same.
            door.house.memory.set_away(true);
            client.publish("chat", "x", 2, 7).await;
            client.nothing_came().await;
            drop(client);
            if crash {
                // Nothing of it was durable.
                door = after(door, true).await;
            } else {
                door.house.memory.set_away(false);
                until("the connection is gone", || door.broker.connections() == 0).await;
            }
            let mut client = come(&door, "c", v5).await;
            publish_again(&mut client, "chat", "x", 7).await;
            assert_eq!(client.ack(PUBREC).await, 7);
            // Cut after PUBREC: published again, it is known.
            cut(&door, client, 0).await;
            door = after(door, crash).await;
            let mut client = come(&door, "c", v5).await;
            publish_again(&mut client, "chat", "x", 7).await;
            assert_eq!(client.ack(PUBREC).await, 7);
            // Cut after PUBREL, before PUBCOMP.
            door.house.memory.set_away(true);
            client.send(&[0x62, 2, 0, 7]).await;
            client.nothing_came().await;
            drop(client);
            if crash {
                door = after(door, true).await;
            } else {
                door.house.memory.set_away(false);
                until("the connection is gone", || door.broker.connections() == 0).await;
            }
            let mut client = come(&door, "c", v5).await;
            client.send(&[0x62, 2, 0, 7]).await;
            assert_eq!(client.ack(PUBCOMP).await, 7);
            // The packet id is free: the next message with it is another one.
            client.publish("chat", "y", 2, 7).await;
            assert_eq!(client.ack(PUBREC).await, 7);
            let mut reader = come(&door, "reader", v5).await;
            for payload in [b"x", b"y"] {
                let packet = reader.packet().await;
                assert!(packet.published().2.ends_with(payload), "{packet:?}");
            }
            reader.nothing_came().await;
        }
    }
}

#[tokio::test]
async fn what_is_delivered_again_has_the_same_key() {
    for v5 in [false, true] {
        for crash in [false, true] {
            let mut door = Door::open(config()).await;
            let mut reader = come(&door, "reader", v5).await;
            reader.subscribe(&[("devices/#", 2)]).await;
            cut(&door, reader, 0).await;
            let mut client = come(&door, "c", v5).await;
            client.publish("devices/d/state", "x", 2, 3).await;
            let (key, receipt) = delivered(&mut door).await;
            assert!(key.is_some());
            // Cut before anybody knows what became of it.
            drop(client);
            drop(receipt);
            until("the connection is gone", || door.broker.connections() == 0).await;
            door = after(door, crash).await;
            let mut client = come(&door, "c", v5).await;
            publish_again(&mut client, "devices/d/state", "x", 3).await;
            let (again, receipt) = delivered(&mut door).await;
            assert_eq!(again, key, "the same exchange");
            receipt.accept();
            assert_eq!(client.ack(PUBREC).await, 3);
            // Now it is known, and isn't delivered again.
            cut(&door, client, 0).await;
            door = after(door, crash).await;
            let mut client = come(&door, "c", v5).await;
            publish_again(&mut client, "devices/d/state", "x", 3).await;
            assert_eq!(client.ack(PUBREC).await, 3);
            client.send(&[0x62, 2, 0, 3]).await;
            assert_eq!(client.ack(PUBCOMP).await, 3);
            client.publish("devices/d/state", "y", 2, 3).await;
            let (other, receipt) = delivered(&mut door).await;
            assert_ne!(other, key, "another exchange");
            receipt.accept();
            assert_eq!(client.ack(PUBREC).await, 3);
            // Who subscribed to it got each once.
            let mut reader = come(&door, "reader", v5).await;
            for payload in [b"x", b"y"] {
                assert!(reader.packet().await.published().2.ends_with(payload));
            }
            reader.nothing_came().await;
        }
    }
}

#[tokio::test]
async fn two_deliveries_of_one_exchange_are_echoed_once() {
    let mut door = Door::open(config()).await;
    let mut reader = come(&door, "reader", true).await;
    reader.subscribe(&[("devices/#", 2)]).await;
    let mut client = come(&door, "c", true).await;
    client.publish("devices/d/state", "x", 2, 3).await;
    let (key, slow) = delivered(&mut door).await;
    cut(&door, client, 1).await;
    let mut client = come(&door, "c", true).await;
    publish_again(&mut client, "devices/d/state", "x", 3).await;
    let (again, receipt) = delivered(&mut door).await;
    assert_eq!(again, key);
    // The first is done at last, for a connection that is gone.
    slow.accept();
    receipt.accept();
    assert_eq!(client.ack(PUBREC).await, 3);
    assert!(reader.packet().await.published().2.ends_with(b"x"));
    reader.nothing_came().await;
}

#[tokio::test]
async fn a_packet_id_is_durable_before_its_publish_is_delivered() {
    let mut door = Door::open(config()).await;
    let mut client = come(&door, "c", true).await;
    door.house.memory.set_away(true);
    client.publish("devices/d/state", "first", 2, 1).await;
    // What comes behind it stays behind it, whatever its quality.
    client.publish("devices/d/state", "second", 1, 2).await;
    client.publish("devices/d/state", "third", 0, 0).await;
    client.nothing_came().await;
    assert!(matches!(door.next().await.event, Event::Connected));
    assert!(door.deliveries.is_empty());
    door.house.memory.set_away(false);
    for payload in ["first", "second", "third"] {
        let (_, found, receipt) = door.publish().await;
        assert_eq!(found, payload);
        receipt.accept();
    }
    assert_eq!((client.ack(PUBREC).await, client.ack(PUBACK).await), (1, 2));
}

#[tokio::test]
async fn a_refusal_ends_the_exchange_of_version_5() {
    for crash in [false, true] {
        let mut door = Door::open(config()).await;
        let mut client = come(&door, "c", true).await;
        client.publish("devices/d/state", "bad", 2, 1).await;
        let (key, receipt) = delivered(&mut door).await;
        receipt.refuse(Refused::Payload("no".into()));
        let pubrec = client.packet().await;
        assert_eq!((pubrec.kind(), pubrec.body[2]), (PUBREC, 0x99));
        assert!(door.house.memory.kept().exchanges.is_empty(), "durable before PUBREC");
        door = after(door, crash).await;
        let mut client = come(&door, "c", true).await;
        client.publish("devices/d/state", "good", 2, 1).await;
        let (other, receipt) = delivered(&mut door).await;
        assert_ne!(other, key);
        receipt.accept();
        assert_eq!(client.ack(PUBREC).await, 1);
    }
}

/// EMQX CVE-2026-8741: the exchanges of a session while one connection takes over from another.
#[tokio::test]
async fn cve_2026_8741_exchanges_survive_takeovers_in_a_row() {
    let door = Door::open(config()).await;
    let mut reader = come(&door, "reader", true).await;
    reader.subscribe(&[("chat", 2)]).await;
    for number in 0..20 {
        let mut client = come(&door, "c", true).await;
        client.publish("chat", &number.to_string(), 2, 5).await;
        // Taken over while it is on its way.
        let mut client = come(&door, "c", true).await;
        publish_again(&mut client, "chat", &number.to_string(), 5).await;
        assert_eq!(client.ack(PUBREC).await, 5);
        client.send(&[0x62, 2, 0, 5]).await;
        let mut client = come(&door, "c", true).await;
        client.send(&[0x62, 2, 0, 5]).await;
        assert_eq!(client.ack(PUBCOMP).await, 5);
        let packet = reader.packet().await;
        let (_, id, rest) = packet.published();
        assert!(rest.ends_with(number.to_string().as_bytes()), "{number}: {packet:?}");
        let [high, low] = id.to_be_bytes();
        reader.send(&[0x50, 2, high, low]).await;
        assert_eq!(reader.ack(PUBREL).await, id);
        reader.send(&[0x70, 2, high, low]).await;
    }
    reader.nothing_came().await;
}

/// CVE-2023-28366: publishes at quality 2 that are never released, over as many connections as one likes.
#[tokio::test]
async fn cve_2023_28366_what_is_never_released_is_bounded() {
    let door = Door::open(statecast_broker::Config { unacknowledged_max: 2, ..config() }).await;
    let mut id = 0;
    for _ in 0..4 {
        let mut client = come(&door, "c", true).await;
        for _ in 0..2 {
            id += 1;
            client.publish("chat", "x", 2, id).await;
            assert_eq!(client.ack(PUBREC).await, id);
        }
    }
    let mut client = come(&door, "c", true).await;
    client.publish("chat", "x", 2, 99).await;
    client.ended(Some(0x93)).await;
    assert_eq!(door.house.memory.kept().exchanges.len(), 8);
}
