//! Subscriptions to the service's own topics, and what the service publishes there.

use statecast_broker::{Config, Publication, QoS};

use crate::support::*;

#[tokio::test]
async fn the_service_reaches_who_subscribed_and_may() {
    let door = Door::open(config()).await;
    let mut exact = door.client("exact").await;
    let mut wild = door.client("wild").await;
    let mut stranger = door.client("other:stranger").await;
    assert_eq!(exact.subscribe(&[("devices/d1/desired", 1)]).await, [1]);
    assert_eq!(wild.subscribe(&[("devices/+/desired", 0), ("devices/#", 2)]).await, [0, 2]);
    assert_eq!(stranger.subscribe(&[("devices/#", 1)]).await, [1]);
    assert!(door.broker.has_subscriber("r", "devices/d1/desired"));
    assert!(!door.broker.has_subscriber("r", "changes/d1"));
    assert_eq!(door.broker.publish("r", &publication("devices/d1/desired", "x", QoS::AtLeastOnce)), 2);
    let packet = exact.packet().await;
    assert_eq!((packet.first, packet.published()), (0x32, ("devices/d1/desired".into(), 1, b"x".to_vec())));
    exact.send(&[0x40, 2, 0, 1]).await;
    exact.nothing_came().await;
    // Two of its filters match: it gets one message, at the higher quality.
    assert_eq!(wild.packet().await.first, 0x32);
    wild.nothing_came().await;
    stranger.nothing_came().await;
    assert_eq!(door.broker.publish("r", &publication("devices/secret/x", "x", QoS::AtMostOnce)), 0);
    wild.nothing_came().await;
    assert_eq!(wild.unsubscribe("devices/#").await.kind(), UNSUBACK);
    assert_eq!(wild.unsubscribe("devices/+/desired").await.kind(), UNSUBACK);
    assert_eq!(door.broker.publish("r", &publication("devices/d1/desired", "y", QoS::AtMostOnce)), 1);
    drop(exact);
    until("nothing is left of it", || !door.broker.has_subscriber("r", "devices/d1/desired")).await;
}

#[tokio::test]
async fn quality_2_towards_the_client() {
    let door = Door::open(config()).await;
    let mut client = door.client5("c").await;
    client.subscribe(&[("changes/#", 2)]).await;
    door.broker.publish("r", &publication("changes/1", "x", QoS::ExactlyOnce));
    let (_, id, _) = client.packet().await.published();
    let [high, low] = id.to_be_bytes();
    client.send(&[0x50, 2, high, low]).await;
    assert_eq!(client.ack(PUBREL).await, id);
    client.send(&[0x70, 2, high, low]).await;
    client.nothing_came().await;
}

#[tokio::test]
async fn what_comes_first_follows_the_suback_and_precedes_what_is_newer() {
    let door = Door::open(config()).await;
    let first =
        |topic, payload| Publication { retain: true, ..publication(topic, payload, QoS::AtLeastOnce) };
    *door.house.first.lock() =
        vec![first("devices/d1/desired", "first"), first("devices/d2/desired", "foreign")];
    let slow = door.house.slow.lock().await;
    let mut client = door.client("d1").await;
    let mut body = vec![0, 9];
    body.extend(text("devices/d1/desired"));
    body.push(1);
    client.send(&packet(0x82, &body)).await;
    // In force already, although it isn't answered yet; and pings are.
    client.nothing_came().await;
    until("in force", || door.broker.has_subscriber("r", "devices/d1/desired")).await;
    door.broker.publish("r", &publication("devices/d1/desired", "newer", QoS::AtLeastOnce));
    client.nothing_came().await;
    drop(slow);
    assert_eq!(client.ack(SUBACK).await, 9);
    let packet = client.packet().await;
    assert_eq!((packet.first, packet.published().2), (0x33, b"first".to_vec()));
    let packet = client.packet().await;
    assert_eq!((packet.first, packet.published().2), (0x32, b"newer".to_vec()));
}

#[tokio::test]
async fn version_5_options_are_kept() {
    let door = Door::open(config()).await;
    *door.house.first.lock() = vec![publication("devices/d1/desired", "first", QoS::AtMostOnce)];
    let mut client = door.client5("d1").await;
    let (only_new, never) = (0x10, 0x20);
    assert_eq!(client.subscribe(&[("devices/d1/desired", never)]).await, [0]);
    client.nothing_came().await;
    assert_eq!(client.subscribe(&[("devices/d1/desired", only_new)]).await, [0]);
    client.nothing_came().await;
    client.unsubscribe("devices/d1/desired").await;
    assert_eq!(client.subscribe(&[("devices/d1/desired", only_new)]).await, [0]);
    assert!(client.packet().await.published().2.ends_with(b"first"));
    // RETAIN as published.
    client.subscribe(&[("devices/d1/desired", 0x28)]).await;
    let retained = Publication { retain: true, ..publication("devices/d1/desired", "x", QoS::AtMostOnce) };
    door.broker.publish("r", &retained);
    assert_eq!(client.packet().await.first, 0x31);
    let unsubscribed = client.unsubscribe("never/subscribed").await;
    assert_eq!(unsubscribed.body[3], 0x11);
}

#[tokio::test]
async fn an_accepted_publish_is_seen_by_subscribers() {
    let mut door = Door::open(config()).await;
    let mut device = door.client5("d1").await;
    let mut watcher = door.client("watcher").await;
    watcher.subscribe(&[("devices/+/state", 1)]).await;
    let no_local = 0x04;
    device.subscribe(&[("devices/#", no_local)]).await;
    device.publish("devices/d1/state", "refused", 1, 1).await;
    device.publish("devices/d1/state", "accepted", 1, 2).await;
    let (_, _, refused) = door.publish().await;
    let (_, _, accepted) = door.publish().await;
    watcher.nothing_came().await;
    refused.refuse(statecast_broker::Refused::NotAuthorized);
    accepted.accept();
    assert_eq!(watcher.packet().await.published().2, b"accepted");
    assert_eq!(device.ack(PUBACK).await, 1);
    assert_eq!(device.ack(PUBACK).await, 2);
    device.nothing_came().await;
}

#[tokio::test]
async fn what_may_not_be_subscribed_is_refused() {
    let door = Door::open(Config { subscriptions_max: 2, ..config() }).await;
    let mut client = door.client5("c").await;
    let filters = [("devices/forbidden", 0), ("a/#/b", 0), ("$SYS/#", 0)];
    assert_eq!(client.subscribe(&filters).await, [0x87, 0x8F, 0x87]);
    let filters = [("devices/1/x", 0), ("devices/2/x", 0), ("devices/3/x", 0), ("devices/2/x", 1)];
    assert_eq!(client.subscribe(&filters).await, [0, 0, 0x97, 1]);
    let mut old = door.client("old").await;
    assert_eq!(old.subscribe(&[("devices/forbidden", 0), ("devices/1/x", 2)]).await, [0x80, 2]);
}

#[tokio::test]
async fn a_slow_subscriber_loses_quality_0_and_is_cut_off_at_1() {
    let door = Door::open(Config { outbox_bytes_max: 10_000, ..config() }).await;
    let mut slow = door.client5("slow").await;
    let mut other = door.client("other").await;
    slow.subscribe(&[("changes/#", 1)]).await;
    other.subscribe(&[("changes/#", 0)]).await;
    let big = "x".repeat(5_000);
    // It reads nothing: kernel buffers fill, then the output, then the outbox.
    let mut sent = 0;
    while door.broker.publish("r", &publication("changes/1", &big, QoS::AtMostOnce)) > 0 && sent < 100_000 {
        tokio::task::yield_now().await;
        sent += 1;
    }
    assert!(sent < 100_000, "bounded");
    assert_eq!(door.broker.connections(), 2, "quality 0 is dropped without harm");
    for _ in 0..3 {
        door.broker.publish("r", &publication("changes/1", &big, QoS::AtLeastOnce));
    }
    until("it is cut off", || door.broker.connections() <= 1).await;
}

#[tokio::test]
async fn the_window_of_the_client_is_kept() {
    let door = Door::open(config()).await;
    let mut client = Raw::new(&door.broker).await;
    let properties = &[0x21, 0, 2];
    client.connect(Connect { v5: true, properties, ..Connect::default() }).await;
    client.subscribe(&[("changes/#", 1)]).await;
    for number in 0..5 {
        door.broker.publish("r", &publication("changes/1", &number.to_string(), QoS::AtLeastOnce));
    }
    let (_, first, _) = client.packet().await.published();
    let (_, second, _) = client.packet().await.published();
    client.nothing_came().await;
    let [high, low] = second.to_be_bytes();
    client.send(&[0x40, 2, high, low]).await;
    let (_, _, payload) = client.packet().await.published();
    assert!(payload.ends_with(b"2"));
    let [high, low] = first.to_be_bytes();
    client.send(&[0x40, 2, high, low]).await;
    assert!(client.packet().await.published().2.ends_with(b"3"));
}

#[tokio::test]
async fn a_message_longer_than_the_client_takes_is_left_out() {
    let door = Door::open(config()).await;
    let mut client = Raw::new(&door.broker).await;
    let properties = &[0x27, 0, 0, 0, 100];
    client.connect(Connect { v5: true, properties, ..Connect::default() }).await;
    client.subscribe(&[("changes/#", 1)]).await;
    door.broker.publish("r", &publication("changes/1", &"x".repeat(200), QoS::AtLeastOnce));
    door.broker.publish("r", &publication("changes/1", "short", QoS::AtLeastOnce));
    assert!(client.packet().await.published().2.ends_with(b"short"));
}

#[tokio::test]
async fn only_the_latest_waits_for_a_slow_client() {
    let door = Door::open(config()).await;
    let mut client = Raw::new(&door.broker).await;
    let properties = &[0x21, 0, 1];
    client.connect(Connect { v5: true, properties, ..Connect::default() }).await;
    client.subscribe(&[("changes/#", 1)]).await;
    let latest =
        |payload| Publication { latest_only: true, ..publication("changes/1", payload, QoS::AtLeastOnce) };
    door.broker.publish("r", &latest("1"));
    let (_, id, _) = client.packet().await.published();
    for payload in ["2", "3", "4"] {
        door.broker.publish("r", &latest(payload));
    }
    let [high, low] = id.to_be_bytes();
    client.send(&[0x40, 2, high, low]).await;
    assert!(client.packet().await.published().2.ends_with(b"4"));
    client.nothing_came().await;
}

#[tokio::test]
async fn disconnecting_a_name_ends_all_its_connections() {
    let mut door = Door::open(config()).await;
    let mut one = Raw::new(&door.broker).await;
    one.connect(Connect { id: "1", name: "d1", v5: true, ..Connect::default() }).await;
    let mut two = Raw::new(&door.broker).await;
    two.connect(Connect { id: "2", name: "d1", ..Connect::default() }).await;
    let mut other = door.client("d2").await;
    assert_eq!(door.broker.disconnect("r", "d1"), 2);
    one.ended(Some(0x98)).await;
    two.ended(None).await;
    other.nothing_came().await;
    for expected in ["d1 connected", "d1 connected", "d2 connected", "d1 administrative", "d1 administrative"]
    {
        assert_eq!(door.presence().await, expected);
    }
}

#[tokio::test]
async fn what_has_a_mark_is_told_back_when_a_client_has_it() {
    let door = Door::open(config()).await;
    let mut client = Raw::new(&door.broker).await;
    client.connect(Connect { id: "c", v5: true, ..Connect::default() }).await;
    client.subscribe(&[("devices/d/desired", 1)]).await;
    let mut careless = door.client("careless").await;
    careless.subscribe(&[("devices/d/desired", 0)]).await;
    let mut ids = Vec::new();
    for mark in [Some(1), None, Some(3), Some(4)] {
        let marked = Publication { mark, ..publication("devices/d/desired", "x", QoS::AtLeastOnce) };
        assert_eq!(door.broker.publish("r", &marked), 2);
        careless.packet().await;
        ids.push(client.packet().await.published().1.to_be_bytes());
    }
    // Twice the first, the second without a mark, the third refused (0x83), and the last.
    for [high, low] in [ids[0], ids[1]] {
        client.send(&[0x40, 2, high, low]).await;
    }
    client.send(&[0x40, 3, ids[2][0], ids[2][1], 0x83]).await;
    client.send(&[0x40, 2, ids[3][0], ids[3][1]]).await;
    until("both are told back", || door.house.received.lock().len() >= 2).await;
    let told = |mark| ("c".to_owned(), "devices/d/desired".to_owned(), mark);
    assert_eq!(*door.house.received.lock(), [told(1), told(4)]);
}
