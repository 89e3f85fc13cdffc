//! Connections that somebody else accepted.

use statecast_broker::QoS;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::*;

#[tokio::test]
async fn a_stream_from_elsewhere_is_served_like_a_socket() {
    let mut door = Door::open(config()).await;
    // So narrow that no packet passes at once, either way.
    let (ours, theirs) = tokio::io::duplex(7);
    door.adopt(theirs, "192.0.2.1:1");
    let mut raw = Raw::over(ours);
    raw.connect(Connect { name: "d", id: "d", v5: true, ..Connect::default() }).await;
    assert_eq!(door.presence().await, "d connected");
    assert_eq!(raw.subscribe(&[("devices/d/desired", 1)]).await, [1]);
    raw.publish("devices/d/state", "{\"a\":1}", 1, 9).await;
    let (topic, payload, receipt) = door.publish().await;
    assert_eq!((topic.as_str(), &payload[..]), ("devices/d/state", &b"{\"a\":1}"[..]));
    receipt.accept();
    assert_eq!(raw.ack(PUBACK).await, 9);
    let long = "x".repeat(50_000);
    door.broker.publish("r", &publication("devices/d/desired", &long, QoS::AtLeastOnce));
    let (_, _, rest) = raw.packet().await.published();
    assert_eq!(rest.len(), 1 + long.len(), "no properties, and all of the payload");
    door.broker.disconnect("r", "d");
    raw.ended(Some(0x98)).await;
    until("it is gone", || door.broker.connections() == 0).await;
}

#[tokio::test]
async fn an_orderly_stop_waits_until_all_has_left() {
    let mut door = Door::open(config()).await;
    let (ours, theirs) = tokio::io::duplex(7);
    door.adopt(theirs, "192.0.2.1:1");
    let mut raw = Raw::over(ours);
    raw.connect(Connect { name: "d", id: "d", v5: true, ..Connect::default() }).await;
    door.accept_all();
    let broker = door.broker.clone();
    let stopping = tokio::spawn(async move { broker.stop(PATIENCE).await });
    raw.ended(Some(0x8B)).await;
    soon("the stop", stopping).await.unwrap();
    // Nobody is served after that.
    let (mut ours, theirs) = tokio::io::duplex(64);
    door.adopt(theirs, "192.0.2.1:2");
    ours.write_all(&connect_packet(&Connect::default())).await.ok();
    let mut rest = Vec::new();
    soon("the end", ours.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());
}
