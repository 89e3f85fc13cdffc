//! Limits on who comes, how often, and how fast: what is over one is told so, and nobody else notices.

use std::time::{Duration, Instant};

use futures::future::join_all;
use statecast_broker::{Config, Rate};

use crate::support::*;

/// Code and reason of a CONNACK of version 5, or the code alone of 3.1.1.
async fn answer(door: &Door, connect: Connect<'_>) -> (u8, String) {
    let mut client = Raw::new(&door.broker).await;
    let connack = client.try_connect(connect).await;
    assert_eq!(connack.first, 0x20);
    (connack.body[1], String::from_utf8_lossy(connack.body.get(3..).unwrap_or_default()).into_owned())
}

fn v5() -> Connect<'static> {
    Connect { v5: true, ..Connect::default() }
}

#[tokio::test]
async fn the_cap_on_connections_is_told_and_recovered_from() {
    let door = Door::open(Config { connections_max: 20, ..config() }).await;
    for _ in 0..3 {
        let ids: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let storm = ids.iter().map(async |id| {
            let mut client = Raw::new(&door.broker).await;
            let connack = client.try_connect(Connect { id, ..v5() }).await;
            (connack.body[1], client, id)
        });
        let came = join_all(storm).await;
        let (admitted, refused): (Vec<_>, Vec<_>) = came.into_iter().partition(|(code, ..)| *code == 0);
        assert_eq!((admitted.len(), door.broker.connections()), (20, 20));
        assert!(refused.iter().all(|(code, ..)| *code == 0x89));
        // Who comes back before its old connection is given up isn't one too many.
        assert_eq!(answer(&door, Connect { id: admitted[0].2, ..v5() }).await.0, 0);
        drop((admitted, refused));
        until("there is room again", || door.broker.connections() == 0).await;
    }
}

#[tokio::test]
async fn an_address_has_so_many_connections() {
    let door = Door::open(Config { connections_per_address_max: 2, ..config() }).await;
    let (one, _two) = (door.client("one").await, door.client("two").await);
    let (code, reason) = answer(&door, v5()).await;
    assert_eq!(code, 0x97);
    assert!(reason.contains("too many connections from your address"), "{reason}");
    assert_eq!(answer(&door, Connect::default()).await.0, 3);
    let mut elsewhere = door.from("[2001:db8::1]:1");
    elsewhere.connect(Connect { id: "elsewhere", ..v5() }).await;
    drop(one);
    soon("there is room", async { while answer(&door, v5()).await.0 != 0 {} }).await;
}

#[tokio::test]
async fn an_address_connects_so_often() {
    let door = Door::open(Config { connects_per_address: Rate::per_second(2, 3), ..config() }).await;
    let begun = Instant::now();
    for _ in 0..3 {
        assert_eq!(answer(&door, v5()).await.0, 0);
    }
    let (code, reason) = answer(&door, v5()).await;
    if begun.elapsed() < Duration::from_millis(500) {
        assert_eq!(code, 0x9F);
        assert!(reason.contains("your address connects too often"), "{reason}");
        assert_eq!(answer(&door, Connect::default()).await.0, 3);
    }
    door.from("192.0.2.1:1").connect(v5()).await;
    soon("it may again", async { while answer(&door, v5()).await.0 != 0 {} }).await;
}

#[tokio::test]
async fn all_together_connect_so_often() {
    let door = Door::open(Config { connects: Rate::per_second(1, 2), ..config() }).await;
    let codes = [answer(&door, v5()).await.0, answer(&door, v5()).await.0, answer(&door, v5()).await.0];
    assert_eq!(codes[..2], [0, 0]);
    assert!(codes[2] == 0x9F || codes[2] == 0, "on a machine that was asleep it may be late enough");
    soon("it may again", async { while answer(&door, v5()).await.0 != 0 {} }).await;
}

#[tokio::test]
async fn a_connect_is_so_long() {
    let door = Door::open(Config { connect_bytes_max: 200, ..config() }).await;
    let long = "x".repeat(200);
    assert_eq!(answer(&door, Connect { password: &long, ..v5() }).await.0, 0x95);
    let mut old = Raw::new(&door.broker).await;
    old.send(&connect_packet(&Connect { password: &long, ..Connect::default() })).await;
    old.ended(None).await;
    assert_eq!(answer(&door, v5()).await.0, 0);
}

#[tokio::test]
async fn who_fails_too_often_is_locked_out_for_a_while() {
    let lockout = Duration::from_secs(2);
    let limits = Config { login_failures_per_name_max: 3, login_lockout: lockout, ..config() };
    let door = Door::open(limits).await;
    let wrong = || Connect { password: "wrong", name: "pump", ..v5() };
    let right = || Connect { name: "pump", ..v5() };
    let mut last = Duration::ZERO;
    for _ in 0..3 {
        let begun = Instant::now();
        assert_eq!(answer(&door, wrong()).await.0, 0x86);
        last = begun.elapsed();
    }
    let locked = Instant::now();
    assert!(last >= Duration::from_millis(400), "the third is answered late: {last:?}");
    let (code, reason) = answer(&door, right()).await;
    assert_eq!(code, 0x9F, "even with the right password");
    assert!(reason.contains("too many failed logins with this name"), "{reason}");
    assert_eq!(answer(&door, Connect { name: "pump", ..Connect::default() }).await.0, 5);
    assert_eq!(answer(&door, Connect { name: "valve", ..v5() }).await.0, 0, "another name");
    // Where nobody failed, the device itself gets in.
    door.from("192.0.2.1:1").connect(right()).await;
    soon("the lockout ends", async { while answer(&door, right()).await.0 != 0 {} }).await;
    assert!(locked.elapsed() > lockout / 2);
}

#[tokio::test]
async fn an_address_that_fails_too_often_is_locked_out_for_every_name() {
    let door = Door::open(Config { login_failures_per_address_max: 2, ..config() }).await;
    for name in ["a", "b"] {
        assert_eq!(answer(&door, Connect { password: "wrong", name, ..v5() }).await.0, 0x86);
    }
    let (code, reason) = answer(&door, Connect { name: "c", ..v5() }).await;
    assert_eq!(code, 0x9F);
    assert!(reason.contains("too many failed logins from your address"), "{reason}");
    door.from("192.0.2.1:1").connect(Connect { name: "c", ..v5() }).await;
}

#[tokio::test]
async fn at_its_rate_a_client_waits_and_nothing_is_lost() {
    let mut door = Door::open(Config { publishes: Rate::per_second(40, 10), ..config() }).await;
    let mut fast = door.client5("fast").await;
    let begun = Instant::now();
    let burst: Vec<u8> =
        (0..40_u8).flat_map(|number| fast.publish_packet("devices/d1/state", &[number], 0, 0)).collect();
    fast.send(&burst).await;
    // What needs no room isn't held up.
    fast.nothing_came().await;
    let mut other = door.client("other").await;
    other.publish("devices/d2/state", "x", 1, 1).await;
    let mut numbers = Vec::new();
    while numbers.len() < 40 {
        let (topic, payload, receipt) = door.publish().await;
        receipt.accept();
        match topic.as_str() {
            "devices/d2/state" => assert!(numbers.len() < 40, "the others don't wait"),
            _ => numbers.push(payload[0]),
        }
    }
    assert_eq!(numbers, (0..40).collect::<Vec<u8>>());
    assert!(begun.elapsed() >= Duration::from_millis(700), "{:?}", begun.elapsed());
    assert_eq!(other.ack(PUBACK).await, 1);
}

#[tokio::test]
async fn the_rate_in_bytes_holds_too() {
    let limits = Config { publish_bytes: Rate::per_second(100_000, 10_000), ..config() };
    let mut door = Door::open(limits).await;
    let mut client = door.client("c").await;
    let begun = Instant::now();
    let packets = client.publish_packet("devices/d1/state", &[b'x'; 20_000], 2, 1);
    for _ in 0..4 {
        client.send(&packets).await;
        door.publish().await.2.accept();
        assert_eq!(client.ack(PUBACK).await, 1);
    }
    // Each but the first waits until the one before it is paid for.
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn refusals_say_why_unless_nobody_wants_to_know() {
    let door = Door::open(Config { subscriptions_max: 1, topic_levels_max: 3, ..config() }).await;
    for (properties, told) in [(&[][..], true), (&[0x17, 0][..], false)] {
        let mut client = Raw::new(&door.broker).await;
        client.connect(Connect { properties, ..v5() }).await;
        let filters = [&[0, 1, 0][..], &text("devices/1/x"), &[0], &text("devices/2/x"), &[0]].concat();
        client.send(&packet(0x82, &filters)).await;
        let suback = String::from_utf8_lossy(&client.packet().await.body).into_owned();
        assert_eq!(suback.contains("too many subscriptions"), told, "{suback}");
        for (topic, reason) in [("devices/a/b/c", "too many levels"), ("devices/forbidden", "not allowed")] {
            client.publish(topic, "x", 1, 1).await;
            let puback = client.packet().await;
            let text = String::from_utf8_lossy(&puback.body).into_owned();
            assert_eq!((puback.kind(), text.contains(reason)), (PUBACK, told), "{text}");
        }
    }
}
