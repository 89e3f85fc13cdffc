//! Slow clients, outages behind the broker, deadlines, and the orderly stop.

use std::time::Duration;

use statecast_broker::{Config, Event};
use tokio::io::AsyncWriteExt as _;

use crate::support::*;

#[tokio::test]
async fn a_will_on_an_own_topic_comes_before_the_departure() {
    let mut door = Door::open(config()).await;
    let mut client = Raw::new(&door.broker).await;
    client.connect(Connect { will: Some(("devices/d1/state", "gone", 1)), ..Connect::default() }).await;
    drop(client);
    assert_eq!(door.publish().await.1, "gone");
    assert_eq!(door.presence().await, "n closed");
    let mut client = Raw::new(&door.broker).await;
    let connack = client.try_connect(Connect {
        v5: true,
        will: Some(("devices/forbidden", "x", 1)),
        ..Connect::default()
    });
    assert_eq!(connack.await.body[1], 0x87);
}

#[tokio::test]
async fn keep_alive_does_not_run_out_while_we_owe_an_answer() {
    let mut door = Door::open(config()).await;
    let mut client = Raw::new(&door.broker).await;
    client.connect(Connect { keep_alive_s: 1, ..Connect::default() }).await;
    client.publish("devices/d1/state", "x", 1, 1).await;
    let (_, _, receipt) = door.publish().await;
    // Silent for more than twice its keep-alive, while its publish waits for the outage to end.
    tokio::time::sleep(Duration::from_millis(3500)).await;
    receipt.accept();
    assert_eq!(client.ack(PUBACK).await, 1);
    // From here on it counts again.
    client.ended(None).await;
    assert_eq!(door.presence().await, "n keep-alive");
}

#[tokio::test]
async fn keep_alive_does_not_run_out_while_we_do_not_read() {
    let mut door = Door::with_channel(config(), 1).await;
    let mut client = Raw::new(&door.broker).await;
    client.connect(Connect { keep_alive_s: 1, ..Connect::default() }).await;
    // Nobody takes deliveries; the client goes on sending, then can't.
    let burst = client.publish_packet("devices/d1/state", &[b'x'; 1000], 0, 0).repeat(40);
    client.send(&burst).await;
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(door.broker.connections(), 1, "not its fault");
    for _ in 0..40 {
        door.publish().await.2.accept();
    }
    client.nothing_came().await;
}

#[tokio::test]
async fn a_half_packet_has_a_deadline() {
    let mut door = Door::open(Config { packet_deadline: Duration::from_millis(200), ..config() }).await;
    let mut client = door.client5("c").await;
    let packet = client.publish_packet("devices/d1/state", b"payload", 2, 1);
    client.send(&packet[..10]).await;
    client.ended(Some(0x80)).await;
    assert_eq!(door.presence().await, "c connected");
    assert_eq!(door.presence().await, "c half packet");
    // A slow one within the deadline is fine, byte by byte.
    let mut client = door.client("d").await;
    for byte in &packet {
        client.send(&[*byte]).await;
    }
    assert_eq!(door.presence().await, "d connected");
}

#[tokio::test]
async fn half_packets_have_a_total_of_their_own() {
    let mut door = Door::open(Config { partial_bytes_max: 100_000, ..config() }).await;
    let packet = |client: &Raw| client.publish_packet("devices/d1/state", &vec![b'x'; 90_000], 2, 1);
    let mut one = door.client5("one").await;
    let bytes = packet(&one);
    one.send(&bytes[..80_000]).await;
    let mut two = door.client5("two").await;
    two.nothing_came().await;
    two.send(&bytes[..80_000]).await;
    // One of them is too much; who has little to send doesn't notice.
    until("one is cut off", || door.broker.connections() == 1).await;
    let mut small = door.client("small").await;
    small.publish("devices/d1/state", "x", 0, 0).await;
    assert_eq!(door.publish().await.1, "x");
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off() {
    let mut door = Door::open(Config { write_deadline: Duration::from_millis(300), ..config() }).await;
    let mut client = door.client("c").await;
    let pings = [0xC0, 0].repeat(50_000);
    let never_reads = async {
        // Until the broker reads no more, and then closes.
        while client.stream.write_all(&pings).await.is_ok() {}
    };
    soon("it is cut off", never_reads).await;
    assert_eq!(door.presence().await, "c connected");
    assert_eq!(door.presence().await, "c too slow");
}

#[tokio::test]
async fn what_was_sent_before_the_goodbye_is_delivered() {
    let mut door = Door::with_channel(config(), 1).await;
    let mut client = door.client("c").await;
    let mut bytes = Vec::new();
    for number in 0..20 {
        bytes.extend(client.publish_packet("devices/d1/state", number.to_string().as_bytes(), 0, 0));
    }
    bytes.extend([0xE0, 0]);
    client.send(&bytes).await;
    drop(client);
    for number in 0..20 {
        assert_eq!(door.publish().await.1, number.to_string());
    }
    assert_eq!(door.presence().await, "c disconnect");
}

#[tokio::test]
async fn an_orderly_stop_lets_acknowledgements_leave() {
    let mut door = Door::open(config()).await;
    let mut old = door.client("old").await;
    let mut new = door.client5("new").await;
    let mut idle = door.client5("idle").await;
    old.publish("devices/d1/state", "x", 1, 1).await;
    let (_, _, old_receipt) = door.publish().await;
    new.publish("devices/d1/state", "x", 2, 2).await;
    let (_, _, new_receipt) = door.publish().await;
    let broker = door.broker.clone();
    let stopping = tokio::spawn(async move { broker.stop(PATIENCE).await });
    idle.ended(Some(0x8B)).await;
    old_receipt.accept();
    assert_eq!(old.ack(PUBACK).await, 1);
    old.ended(None).await;
    new_receipt.accept();
    assert_eq!(new.ack(PUBREC).await, 2);
    new.ended(Some(0x8B)).await;
    soon("it stops", stopping).await.unwrap();
    assert_eq!((door.broker.connections(), door.broker.bytes_in_flight()), (0, 0));
    assert!(tokio::net::TcpStream::connect(door.broker.address()).await.is_err(), "nobody listens");
    let mut stopped = 0;
    while let Ok(delivery) = door.deliveries.try_recv() {
        stopped += usize::from(matches!(delivery.event, Event::Disconnected { reason: "stopping" }));
    }
    assert_eq!(stopped, 3);
}

#[tokio::test]
async fn a_stop_ends_at_its_deadline() {
    let mut door = Door::open(config()).await;
    let mut client = door.client5("c").await;
    client.publish("devices/d1/state", "x", 1, 1).await;
    let _held = door.publish().await;
    soon("it stops", door.broker.stop(Duration::from_millis(100))).await;
    client.ended(Some(0x8B)).await;
    assert_eq!(door.broker.connections(), 0);
}

#[tokio::test]
async fn takeovers_in_a_row_leave_one_owner() {
    let mut door = Door::open(config()).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::new(&door.broker).await;
        raw.send(&connect_packet(&Connect { id: "same", ..Connect::default() })).await;
        clients.push(raw);
    }
    let mut online = None;
    let mut came = 0;
    while came < 20 || online.is_none() {
        let delivery = door.next().await;
        match delivery.event {
            Event::Connected => {
                assert_eq!(online, None, "the old one is gone before the new one comes");
                online = Some(delivery.client.connection);
                came += 1;
            }
            Event::Disconnected { .. } => assert_eq!(online.take(), Some(delivery.client.connection)),
            Event::Publish { .. } => {}
        }
    }
    until("one is left", || door.broker.connections() == 1).await;
}

#[tokio::test]
async fn over_the_limit_a_client_is_told_so() {
    let door = Door::open(Config { connections_max: 1, ..config() }).await;
    let _first = door.client("first").await;
    for (v5, code) in [(false, 3), (true, 0x89)] {
        let mut second = Raw::new(&door.broker).await;
        assert_eq!(second.try_connect(Connect { v5, ..Connect::default() }).await.body[1], code);
    }
}

#[tokio::test]
async fn a_stop_waits_for_what_the_router_has() {
    let door = Door::open(config()).await;
    let mut client = door.client("c").await;
    for id in 1..=100 {
        client.publish("chat", "x", 1, id).await;
    }
    client.ack(PUBACK).await;
    tokio::time::timeout(PATIENCE / 2, door.broker.stop(PATIENCE))
        .await
        .expect("it doesn't need its deadline");
    assert_eq!(door.broker.bytes_in_flight(), 0);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_who_says_nothing() {
    let door = Door::open(config()).await;
    let mut silent = Raw::new(&door.broker).await;
    // Accepted, because this one behind it is.
    door.client("c").await.nothing_came().await;
    tokio::time::timeout(PATIENCE / 2, door.broker.stop(PATIENCE))
        .await
        .expect("it doesn't need its deadline");
    silent.ended(None).await;
}
