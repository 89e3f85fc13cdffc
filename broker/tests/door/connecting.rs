//! Who is let in, and how connections end.

use statecast_broker::{Config, QoS, Rate};

use crate::support::*;

#[tokio::test]
async fn refusals_have_the_right_code() {
    let door = Door::open(config()).await;
    let cases = [("wrong", 4, 0x86), ("banned", 5, 0x87), ("later", 3, 0x88), ("crowd", 3, 0x89)];
    for (password, old, new) in cases {
        for (v5, code) in [(false, old), (true, new)] {
            let mut raw = Raw::new(&door.broker).await;
            let connack = raw.try_connect(Connect { v5, password, ..Connect::default() }).await;
            assert_eq!(connack.body[1], code, "{password} {v5}");
            raw.ended(None).await;
        }
    }
    assert_eq!(door.broker.connections(), 0);
}

#[tokio::test]
async fn a_panic_ends_one_connection_only() {
    let mut door = Door::open(config()).await;
    let mut other = door.client("other").await;
    assert_eq!(door.presence().await, "other connected");
    let mut raw = Raw::new(&door.broker).await;
    raw.send(&connect_packet(&Connect { password: "panic", ..Connect::default() })).await;
    raw.ended(None).await;
    let mut raw = door.client5("c").await;
    raw.subscribe(&[("devices/c/desired", 0)]).await;
    raw.publish("devices/panic", "x", 1, 1).await;
    raw.ended(Some(0x80)).await;
    assert_eq!(door.presence().await, "c connected");
    assert_eq!(door.presence().await, "c failed");
    other.nothing_came().await;
    assert_eq!((door.broker.connections(), door.broker.bytes_in_flight()), (1, 0));
    assert!(!door.broker.has_subscriber("r", "devices/c/desired"));
}

#[tokio::test]
async fn who_comes_and_goes_is_told_in_order() {
    let mut door = Door::open(config()).await;
    let mut client = door.client("d1").await;
    assert_eq!(door.presence().await, "d1 connected");
    client.goodbye().await;
    assert_eq!(door.presence().await, "d1 disconnect");
    drop(door.client("d2").await);
    assert_eq!(door.presence().await, "d2 connected");
    assert_eq!(door.presence().await, "d2 closed");
    until("all are gone", || door.broker.connections() == 0).await;
}

#[tokio::test]
async fn a_new_connection_takes_over() {
    let mut door = Door::open(config()).await;
    let mut old = Raw::new(&door.broker).await;
    old.connect(Connect { id: "same", v5: true, ..Connect::default() }).await;
    let mut new = Raw::new(&door.broker).await;
    new.connect(Connect { id: "same", ..Connect::default() }).await;
    old.ended(Some(0x8E)).await;
    assert_eq!(door.presence().await, "n connected");
    assert_eq!(door.presence().await, "n taken over");
    assert_eq!(door.presence().await, "n connected");
    // The same id in another realm is another client.
    let mut other = Raw::new(&door.broker).await;
    other.connect(Connect { id: "same", name: "elsewhere:x", ..Connect::default() }).await;
    new.nothing_came().await;
    assert_eq!(door.broker.connections(), 2);
}

/// Many are lost at once, and go one after the other: who is back before its turn was never away.
#[tokio::test]
async fn who_is_back_before_its_turn_to_go_takes_over() {
    let turnover = Rate::per_second(10, 1);
    let mut door = Door::open(Config { turnover, ..config() }).await;
    let names: Vec<String> = (0..10).map(|n| format!("d{n}")).collect();
    let mut lost = Vec::new();
    for name in &names {
        lost.push(door.client(name).await);
        assert_eq!(door.presence().await, format!("{name} connected"));
    }
    drop(lost);
    let _back = door.client("d9").await;
    let mut told = Vec::new();
    while told.len() < names.len() + 1 {
        told.push(door.presence().await);
    }
    let of_d9: Vec<_> = told.iter().filter(|told| told.starts_with("d9")).collect();
    assert_eq!(of_d9, ["d9 taken over", "d9 connected"]);
    assert_eq!(told.iter().filter(|told| told.ends_with("closed")).count(), 9);
    assert!(told.last() != Some(&"d9 connected".to_owned()), "nobody waited for all that went: {told:?}");
}

#[tokio::test]
async fn a_review_ends_only_who_is_not_kept() {
    let door = Door::open(config()).await;
    let connect = async |name: &str, id: &str| {
        let mut raw = Raw::new(&door.broker).await;
        raw.connect(Connect { id, name, v5: true, ..Connect::default() }).await;
        raw
    };
    let (mut first, mut second) = (connect("d", "first").await, connect("d", "second").await);
    let (mut other, mut elsewhere) = (connect("e", "other").await, connect("elsewhere:d", "first").await);
    assert_eq!(*door.house.entered.lock(), ["first", "second", "other", "first"]);
    assert_eq!(door.broker.clients().len(), 4);
    assert_eq!(door.broker.review("r", "d", |client| &*client.client_id != "first"), 1);
    first.ended(Some(0x98)).await;
    for kept in [&mut second, &mut other, &mut elsewhere] {
        kept.nothing_came().await;
    }
}

#[tokio::test]
async fn keep_alive_runs_out_for_the_silent() {
    let mut door = Door::open(config()).await;
    let mut raw = Raw::new(&door.broker).await;
    raw.connect(Connect { v5: true, keep_alive_s: 1, ..Connect::default() }).await;
    raw.ended(Some(0x8D)).await;
    assert_eq!(door.presence().await, "n connected");
    assert_eq!(door.presence().await, "n keep-alive");
}

#[tokio::test]
async fn ids_of_letters_and_digits_are_allowed() {
    let door = Door::open(config()).await;
    for id in ["0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ", "1"] {
        for v5 in [false, true] {
            let mut raw = Raw::new(&door.broker).await;
            let connack = raw.connect(Connect { id, v5, ..Connect::default() }).await;
            assert_eq!(connack.body[..2], [0, 0], "{id}");
        }
    }
}

#[tokio::test]
async fn a_clean_start_begins_with_nothing() {
    let door = Door::open(config()).await;
    for v5 in [false, true] {
        let expiry: &[u8] = &[0x11, 0, 0, 0, 60];
        let before = Connect { v5, clean: false, properties: expiry, ..Connect::default() };
        let mut raw = Raw::new(&door.broker).await;
        raw.connect(before).await;
        raw.subscribe(&[("changes/#", 1), ("chat", 1)]).await;
        drop(raw);
        until("it is gone", || door.broker.connections() == 0).await;
        let mut raw = Raw::new(&door.broker).await;
        let connack = raw.connect(Connect { v5, ..Connect::default() }).await;
        assert_eq!(connack.body[0], 0, "no session, and the reserved bits are 0");
        assert_eq!(door.broker.publish("r", &publication("changes/1", "x", QoS::AtLeastOnce)), 0);
        raw.publish("chat", "x", 0, 0).await;
        raw.nothing_came().await;
        raw.goodbye().await;
        raw.ended(None).await;
    }
}
