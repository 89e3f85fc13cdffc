//! Who acknowledges what, with which packet id, and what a topic is matched by.

use statecast_broker::QoS;

use crate::support::*;

/// An acknowledgement of this kind for this packet id, with a code in version 5 if it isn't 0.
async fn acknowledge(client: &mut Raw, first: u8, id: u16, code: u8) {
    let [high, low] = id.to_be_bytes();
    let bytes = if code == 0 { vec![first, 2, high, low] } else { vec![first, 3, high, low, code] };
    client.send(&bytes).await;
}

#[tokio::test]
async fn the_quality_is_the_lesser_of_both() {
    let door = Door::open(config()).await;
    for v5 in [false, true] {
        let mut publisher = if v5 { door.client5("p").await } else { door.client("p").await };
        for subscribed in 0..3_u8 {
            let mut client = if v5 { door.client5("c").await } else { door.client("c").await };
            assert_eq!(client.subscribe(&[("chat", subscribed)]).await, [subscribed]);
            for published in 0..3_u8 {
                publisher.publish("chat", "x", published, 1).await;
                let packet = client.packet().await;
                assert_eq!(packet.first, 0x30 | published.min(subscribed) << 1, "no DUP, no RETAIN");
                match published {
                    0 => {}
                    1 => assert_eq!(publisher.ack(PUBACK).await, 1),
                    _ => {
                        assert_eq!(publisher.ack(PUBREC).await, 1);
                        publisher.send(&[0x62, 2, 0, 1]).await;
                        assert_eq!(publisher.ack(PUBCOMP).await, 1);
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn packet_ids_of_ours_are_not_used_twice_in_a_row() {
    let door = Door::open(config()).await;
    let mut client = door.client("c").await;
    client.subscribe(&[("changes/#", 1)]).await;
    let mut seen = Vec::new();
    for _ in 0..20 {
        door.broker.publish("r", &publication("changes/1", "x", QoS::AtLeastOnce));
        let (_, id, _) = client.packet().await.published();
        acknowledge(&mut client, 0x40, id, 0).await;
        seen.push(id);
    }
    assert_eq!(seen, (1..=20).collect::<Vec<u16>>());
}

#[tokio::test]
async fn an_id_that_was_acknowledged_is_a_new_message() {
    let mut door = Door::open(config()).await;
    for v5 in [false, true] {
        let mut client = if v5 { door.client5("c").await } else { door.client("c").await };
        for dup in [0, 8] {
            for payload in ["one", "two"] {
                let bytes = client.publish_packet("devices/d1/state", payload.as_bytes(), 2 | dup, 300);
                client.send(&bytes).await;
                let (_, found, receipt) = door.publish().await;
                assert_eq!(found, payload);
                receipt.accept();
                assert_eq!(client.ack(PUBACK).await, 300);
                let bytes = client.publish_packet("devices/d1/state", payload.as_bytes(), 4 | dup, 301);
                client.send(&bytes).await;
                let (_, found, receipt) = door.publish().await;
                assert_eq!(found, payload);
                receipt.accept();
                assert_eq!(client.ack(PUBREC).await, 301);
                acknowledge(&mut client, 0x62, 301, 0).await;
                assert_eq!(client.ack(PUBCOMP).await, 301);
            }
        }
    }
}

#[tokio::test]
async fn what_a_client_refuses_is_not_sent_again() {
    let door = Door::open(config()).await;
    let mut client = Raw::new(&door.broker).await;
    client.connect(Connect { v5: true, properties: &[0x21, 0, 1], ..Connect::default() }).await;
    client.subscribe(&[("changes/#", 2)]).await;
    let qualities = [(QoS::AtLeastOnce, 0x40), (QoS::ExactlyOnce, 0x50), (QoS::AtLeastOnce, 0x40)];
    for (number, (qos, _)) in qualities.iter().enumerate() {
        door.broker.publish("r", &publication("changes/1", &number.to_string(), *qos));
    }
    for (number, (_, kind)) in qualities.into_iter().enumerate() {
        let (_, id, rest) = client.packet().await.published();
        assert!(rest.ends_with(number.to_string().as_bytes()), "each once, in order");
        client.nothing_came().await;
        acknowledge(&mut client, kind, id, 0x80).await;
    }
    client.nothing_came().await;
}

#[tokio::test]
async fn what_was_begun_is_completed_after_the_end_of_a_subscription() {
    let door = Door::open(config()).await;
    for v5 in [false, true] {
        let mut client = if v5 { door.client5("c").await } else { door.client("c").await };
        assert_eq!(client.subscribe(&[("changes/#", 2), ("chat", 0)]).await, [2, 0]);
        door.broker.publish("r", &publication("changes/1", "x", QoS::ExactlyOnce));
        let (_, id, _) = client.packet().await.published();
        let unsuback = client.unsubscribe("changes/#").await;
        assert_eq!((unsuback.kind(), unsuback.id()), (UNSUBACK, 78));
        assert_eq!(door.broker.publish("r", &publication("changes/1", "y", QoS::AtMostOnce)), 0);
        acknowledge(&mut client, 0x50, id, 0).await;
        assert_eq!(client.ack(PUBREL).await, id);
        acknowledge(&mut client, 0x70, id, 0).await;
        client.nothing_came().await;
    }
}

#[tokio::test]
async fn several_filters_end_with_one_answer_in_their_order() {
    let door = Door::open(config()).await;
    for v5 in [false, true] {
        let mut client = if v5 { door.client5("c").await } else { door.client("c").await };
        client.subscribe(&[("a/#", 0), ("devices/#", 1)]).await;
        let properties: &[u8] = if v5 { &[0] } else { &[] };
        let filters = [text("devices/#"), text("devices/+"), text("a/#")].concat();
        client.send(&packet(0xA2, &[&[1, 0], properties, &filters].concat())).await;
        let unsuback = client.packet().await;
        assert_eq!((unsuback.kind(), unsuback.id()), (UNSUBACK, 256));
        assert_eq!(unsuback.body[2..], if v5 { [0, 0, 0x11, 0][..].to_vec() } else { vec![] });
        assert!(!door.broker.has_subscriber("r", "devices/1"));
        client.publish("a/b", "x", 0, 0).await;
        client.nothing_came().await;
    }
}

#[tokio::test]
async fn a_filter_subscribed_again_replaces_the_first() {
    let door = Door::open(config()).await;
    for v5 in [false, true] {
        let mut publisher = door.client("p").await;
        let kept = publisher.publish_packet("chat/a", b"kept", 3, 1);
        publisher.send(&kept).await;
        assert_eq!(publisher.ack(PUBACK).await, 1);
        let mut client = if v5 { door.client5("c").await } else { door.client("c").await };
        for qos in [1, 0] {
            assert_eq!(client.subscribe(&[("chat/#", qos)]).await, [qos]);
            assert_eq!(client.packet().await.first, 0x31 | qos << 1, "what is kept comes again");
        }
        publisher.publish("chat/a", "x", 1, 2).await;
        assert_eq!(client.packet().await.first, 0x30, "once, at the new quality");
        assert_eq!(publisher.ack(PUBACK).await, 2);
        client.nothing_came().await;
    }
}

#[tokio::test]
async fn version_5_says_which_retained_messages_it_wants() {
    let door = Door::open(config()).await;
    let mut publisher = door.client5("p").await;
    publisher.publish_with("chat/a", "kept", &[], 3, 1).await;
    assert_eq!(publisher.ack(PUBACK).await, 1);
    let mut client = door.client5("c").await;
    let (always, when_new, never) = (0x00, 0x10, 0x20);
    for (options, comes) in
        [(never, false), (when_new, false), (always, true), (when_new, false), (never, false)]
    {
        client.subscribe(&[("chat/#", options)]).await;
        if comes {
            assert_eq!(client.payload5().await, "kept");
        }
        client.nothing_came().await;
    }
    client.unsubscribe("chat/#").await;
    client.subscribe(&[("chat/#", when_new)]).await;
    assert_eq!(client.payload5().await, "kept");
    // RETAIN as it was published, for those who are there.
    let mut keeping = door.client5("k").await;
    keeping.subscribe(&[("chat/#", 0x28)]).await;
    for (flags, first) in [(1, 0x31), (0, 0x30)] {
        publisher.publish_with("chat/a", "live", &[], flags, 0).await;
        assert_eq!((keeping.packet().await.first, client.packet().await.first), (first, 0x30));
    }
}

#[tokio::test]
async fn topics_and_filters_are_compared_as_they_are() {
    let mut door = Door::open(config()).await;
    let mut publisher = door.client("p").await;
    let filters =
        ["a/#", "a/+", "+/b", "/+", "+", "#", "A/b", "a b/c", "\u{FEFF}a", "devices/#", "devices/+/é"];
    let matching: [(&str, &[&str]); 10] = [
        ("a", &["a/#", "+", "#"]),
        ("a/b", &["a/#", "a/+", "+/b", "#"]),
        ("a/b/c", &["a/#", "#"]),
        ("a/", &["a/#", "a/+", "#"]),
        ("/b", &["/+", "+/b", "#"]),
        ("A/b", &["A/b", "+/b", "#"]),
        ("a b/c", &["a b/c", "#"]),
        ("\u{FEFF}a", &["\u{FEFF}a", "+", "#"]),
        ("devices/1/e\u{301}", &["devices/#", "#"]),
        ("devices", &["devices/#", "+", "#"]),
    ];
    for filter in filters {
        let mut client = door.client("c").await;
        client.subscribe(&[(filter, 0)]).await;
        for (topic, wanted) in matching {
            publisher.publish(topic, "x", 1, 1).await;
            if topic.starts_with("devices") {
                door.publish().await.2.accept();
            }
            assert_eq!(publisher.ack(PUBACK).await, 1);
            if wanted.contains(&filter) {
                assert_eq!(client.packet().await.published().0, topic, "{filter}");
            }
        }
        client.nothing_came().await;
    }
}
