//! Slow and hostile clients: they are bounded, told, and cut off, and others don't notice. That nothing of them is
//! left is looked at when the [`Door`] of each test closes.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use statecast_broker::{Config, Event, QoS};
use tokio::io::AsyncWriteExt as _;

use crate::support::*;

#[tokio::test]
async fn a_connect_byte_by_byte_has_a_deadline() {
    let door = Door::open(Config { connect_timeout: Duration::from_millis(300), ..config() }).await;
    let mut slow = Raw::new(&door.broker).await;
    let payload = "x".repeat(2_000);
    let bytes = connect_packet(&Connect { will: Some(("a", &payload, 0)), ..Connect::default() });
    let dripping = async {
        for byte in bytes {
            if slow.stream.write_all(&[byte]).await.is_err() {
                return;
            }
            // The pace of the client is what is tested.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it was heard out");
    };
    let others = async { door.client("other").await.nothing_came().await };
    soon("it is cut off", async { tokio::join!(dripping, others) }).await;
}

/// Who comes again and again with one client id: one owner at any time, and the will of each exactly once.
#[tokio::test]
async fn flapping_has_one_owner_and_each_will_once() {
    const TIMES: usize = 100;
    let mut door = Door::open(config()).await;
    let mut other = door.client("other").await;
    let begun = Instant::now();
    let mut flapping = Vec::new();
    for number in 0..TIMES {
        let mut client = Raw::new(&door.broker).await;
        let will = Some(("devices/flap/state", &*number.to_string(), 1));
        client.send(&connect_packet(&Connect { id: "flap", name: "flap", will, ..Connect::default() })).await;
        flapping.push(client);
    }
    other.nothing_came().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "100 a second: {:?}", begun.elapsed());
    let (mut owner, mut came, mut gone, mut wills) = (None, 0, 0, HashSet::new());
    while gone < TIMES {
        let delivery = door.next().await;
        if &*delivery.client.name != "flap" {
            continue;
        }
        match delivery.event {
            Event::Connected => {
                assert_eq!(owner.replace(delivery.client.connection), None, "one owner");
                came += 1;
            }
            Event::Publish { payload, .. } => {
                assert_eq!(owner, Some(delivery.client.connection), "before its departure");
                assert!(wills.insert(payload), "once");
            }
            Event::Disconnected { .. } => {
                assert_eq!(owner.take(), Some(delivery.client.connection));
                gone += 1;
            }
        }
        if came == TIMES {
            // The last one goes by itself.
            flapping.clear();
        }
    }
    assert_eq!((came, wills.len()), (TIMES, TIMES));
}

#[tokio::test]
async fn a_subscriber_that_never_reads_is_cut_off_and_others_get_all() {
    const MESSAGES: usize = 200;
    let mut door = Door::open(config()).await;
    let mut stuck = door.client5("stuck").await;
    stuck.subscribe(&[("devices/x", 1)]).await;
    let mut reader = door.client5("reader").await;
    reader.subscribe(&[("devices/x", 1)]).await;
    let payload = "x".repeat(100_000);
    for number in 0..MESSAGES {
        door.broker.publish("r", &publication("devices/x", &payload, QoS::AtLeastOnce));
        let (_, id, _) = reader.packet().await.published();
        reader.send(&packet(0x40, &id.to_be_bytes())).await;
        assert!(number < MESSAGES);
    }
    for expected in ["stuck connected", "reader connected", "stuck too slow"] {
        assert_eq!(door.presence().await, expected);
    }
    reader.nothing_came().await;
    assert_eq!(door.broker.connections(), 1);
}

#[tokio::test]
async fn a_flood_of_filters_and_topics_is_bounded_and_the_connection_lives() {
    let limits = Config { subscriptions_max: 10, router_topics_max: 100, router_filters_max: 50, ..config() };
    let door = Door::open(limits).await;
    let mut witness = door.client("witness").await;
    assert_eq!(witness.subscribe(&[("known", 1)]).await, [1]);
    let mut flood = door.client5("flood").await;
    for number in 0..300_u16 {
        flood.subscribe(&[(&format!("flood/{number}"), 0)]).await;
        flood.subscribe(&[(&format!("devices/{number}"), 0)]).await;
        assert!(door.broker.held().subscriptions <= 11);
        let filter = format!("flood/{number}");
        flood.unsubscribe(&filter).await;
        flood.publish(&format!("topic/{number}"), "x", 1, 1).await;
        flood.ack(PUBACK).await;
    }
    // What was known before the flood goes on.
    let mut publisher = door.client("publisher").await;
    witness.nothing_came().await;
    publisher.publish("topic/0", "x", 1, 1).await;
    assert_eq!(publisher.ack(PUBACK).await, 1);
    flood.nothing_came().await;
}

/// Whatever a client holds when it breaks the protocol is given back, at once.
#[tokio::test]
async fn a_breach_frees_all_that_the_client_held() {
    let mut door = Door::open(config()).await;
    let mut witness = door.client("witness").await;
    let before = door.broker.held();
    let mut client = door.client5("c").await;
    client.subscribe(&[("devices/#", 1), ("chat/#", 1), ("$share/g/jobs", 1), ("#", 0)]).await;
    for id in 1..=10 {
        client.publish("devices/d1/state", "x", 1, id).await;
    }
    client.publish("devices/d1/state", "x", 2, 11).await;
    until("all of it is held", || door.broker.held().bytes_in_flight > 0).await;
    // A packet that is half sent, and would be larger than allowed behind it.
    let half = client.publish_packet("devices/d1/state", &[b'x'; 200_000], 2, 12);
    client.send(&half[..100_000]).await;
    until("half a packet is held", || door.broker.held().partial_bytes > 0).await;
    let held = door.broker.held();
    assert_eq!((held.connections, held.subscriptions, held.router_links), (2, 5, 1));
    client.send(&half[100_000..]).await;
    client.send(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]).await;
    client.ended(Some(0x95)).await;
    drop(client);
    for _ in 0..12 {
        door.publish().await.2.accept();
    }
    until("all is given back", || door.broker.held() == before).await;
    witness.nothing_came().await;
}
