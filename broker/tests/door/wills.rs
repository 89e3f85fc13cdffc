//! Wills that wait, and what they say.

use std::time::Duration;

use crate::support::*;

/// Session expiry of 100 s, so that a will may wait.
const KEPT: &[u8] = &[0x11, 0, 0, 0, 100];

async fn with_will(door: &Door, clean: bool, delay_s: u8, properties: &[u8]) -> Raw {
    let mut client = Raw::new(&door.broker).await;
    let will_properties = &[0x18, 0, 0, 0, delay_s];
    let will = Some(("wills/x", "gone", 1));
    let connect = Connect { v5: true, clean, will, will_properties, properties, ..Connect::default() };
    client.connect(connect).await;
    client
}

/// A broker, and a watcher of the wills.
async fn open() -> (Door, Raw) {
    let door = Door::open(config()).await;
    let mut watcher = door.client5("watcher").await;
    watcher.subscribe(&[("wills/#", 0)]).await;
    (door, watcher)
}

async fn gone(door: &Door) {
    until("it is gone", || door.broker.connections() == 1).await;
}

#[tokio::test]
async fn a_delayed_will_comes_later() {
    let (door, mut watcher) = open().await;
    drop(with_will(&door, true, 1, KEPT).await);
    gone(&door).await;
    watcher.nothing_came().await;
    assert_eq!(watcher.payload5().await, "gone");
}

#[tokio::test]
async fn a_delayed_will_is_forgotten_when_the_client_is_back() {
    let (door, mut watcher) = open().await;
    drop(with_will(&door, true, 1, KEPT).await);
    gone(&door).await;
    let mut back = Raw::new(&door.broker).await;
    back.connect(Connect { v5: true, clean: false, ..Connect::default() }).await;
    // Its time itself is what is tested here.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    watcher.nothing_came().await;
    // So it is when the new connection takes over from the old one.
    let _old = with_will(&door, false, 100, KEPT).await;
    let mut new = Raw::new(&door.broker).await;
    new.connect(Connect { v5: true, clean: false, ..Connect::default() }).await;
    watcher.nothing_came().await;
}

#[tokio::test]
async fn a_new_session_ends_the_wait() {
    let (door, mut watcher) = open().await;
    drop(with_will(&door, true, 100, KEPT).await);
    gone(&door).await;
    watcher.nothing_came().await;
    let mut back = Raw::new(&door.broker).await;
    back.connect(Connect { v5: true, clean: true, ..Connect::default() }).await;
    assert_eq!(watcher.payload5().await, "gone");
    // The same by a takeover.
    let _old = with_will(&door, true, 100, KEPT).await;
    let _new = with_will(&door, true, 100, KEPT).await;
    assert_eq!(watcher.payload5().await, "gone");
}

#[tokio::test]
async fn a_will_waits_no_longer_than_the_session() {
    let (door, mut watcher) = open().await;
    drop(with_will(&door, true, 100, &[]).await);
    assert_eq!(watcher.payload5().await, "gone");
    // The goodbye may end the session at once, with the will.
    let mut client = with_will(&door, true, 100, KEPT).await;
    client.send(&packet(0xE0, &[4, 5, 0x11, 0, 0, 0, 0])).await;
    assert_eq!(watcher.payload5().await, "gone");
    // After a plain goodbye there is none.
    let mut client = with_will(&door, true, 0, &[]).await;
    client.goodbye().await;
    client.ended(None).await;
    watcher.nothing_came().await;
}

#[tokio::test]
async fn a_takeover_publishes_the_old_will_once_and_keeps_the_new_one() {
    let (door, mut watcher) = open().await;
    let connect = |payload| Connect { will: Some(("wills/x", payload, 0)), ..Connect::default() };
    let mut old = Raw::new(&door.broker).await;
    old.connect(connect("old")).await;
    let mut new = Raw::new(&door.broker).await;
    new.connect(connect("new")).await;
    assert_eq!(watcher.payload5().await, "old");
    watcher.nothing_came().await;
    drop(new);
    assert_eq!(watcher.payload5().await, "new");
    watcher.nothing_came().await;
}

#[tokio::test]
async fn a_will_has_properties_quality_and_may_be_retained() {
    let (door, mut watcher) = open().await;
    watcher.subscribe(&[("wills/#", 2)]).await;
    let mut will_properties = vec![0x01, 1, 0x02, 0, 0, 0, 60, 0x03];
    will_properties.extend(text("text/plain"));
    will_properties.push(0x26);
    will_properties.extend([text("k"), text("v")].concat());
    let mut client = Raw::new(&door.broker).await;
    let will = Some(("wills/x", "gone", 2));
    let properties = &will_properties[..];
    let connect =
        Connect { v5: true, will, will_retain: true, will_properties: properties, ..Connect::default() };
    client.connect(connect).await;
    drop(client);
    let packet = watcher.packet().await;
    assert_eq!(packet.first, 0x34, "quality 2, and live");
    let (_, found, _) = packet.published5();
    for part in [&[0x01, 1][..], b"text/plain", &[0x02, 0, 0, 0]] {
        assert!(found.windows(part.len()).any(|window| window == part), "{found:?}");
    }
    let mut late = door.client5("late").await;
    late.subscribe(&[("wills/x", 0)]).await;
    assert_eq!(late.packet().await.first, 0x31);
}

#[tokio::test]
async fn a_stop_publishes_no_will_that_waits() {
    let (mut door, _watcher) = open().await;
    let mut client = Raw::new(&door.broker).await;
    let connect = Connect {
        v5: true,
        will: Some(("devices/d1/state", "gone", 1)),
        will_properties: &[0x18, 0, 0, 0, 100],
        properties: KEPT,
        ..Connect::default()
    };
    client.connect(connect).await;
    drop(client);
    gone(&door).await;
    tokio::time::timeout(PATIENCE / 2, door.broker.stop(PATIENCE)).await.expect("it doesn't wait for wills");
    while let Ok(delivery) = door.deliveries.try_recv() {
        assert!(!matches!(delivery.event, statecast_broker::Event::Publish { .. }));
    }
}

#[tokio::test]
async fn a_will_is_retained_if_it_asks_for_it() {
    let (door, mut watcher) = open().await;
    for v5 in [false, true] {
        for (will_retain, qos) in [(true, 0), (true, 1), (true, 2), (false, 0), (false, 1)] {
            let topic = format!("wills/{v5}/{will_retain}/{qos}");
            let mut client = Raw::new(&door.broker).await;
            let will = Some((topic.as_str(), "gone", qos));
            client.connect(Connect { v5, will, will_retain, ..Connect::default() }).await;
            drop(client);
            assert_eq!(watcher.payload5().await, "gone");
            let mut late = door.client("late").await;
            late.subscribe(&[(&topic, 2)]).await;
            if will_retain {
                let kept = late.packet().await;
                assert_eq!((kept.first, kept.published().0), (0x31 | qos << 1, topic));
            }
            late.nothing_came().await;
        }
    }
    // Without a will there is none.
    drop(door.client("without").await);
    watcher.nothing_came().await;
}
