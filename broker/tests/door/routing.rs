//! What clients publish to each other, through the router.

use statecast_broker::{Config, QoS};

use crate::support::*;

/// The payload of a PUBLISH of version 3.1.1.
async fn payload(client: &mut Raw) -> String {
    String::from_utf8(client.packet().await.published().2).unwrap()
}

#[tokio::test]
async fn clients_reach_each_other() {
    let door = Door::open(config()).await;
    let mut one = door.client("one").await;
    let mut two = door.client("two").await;
    let mut stranger = door.client("other:stranger").await;
    assert_eq!(one.subscribe(&[("chat/+/room", 1), ("é/#", 0)]).await, [1, 0]);
    assert_eq!(stranger.subscribe(&[("#", 1)]).await, [1]);
    two.publish("chat/a/room", "hello", 1, 5).await;
    assert_eq!(two.ack(PUBACK).await, 5);
    let packet = one.packet().await;
    assert_eq!((packet.first, packet.published().0.as_str()), (0x32, "chat/a/room"));
    // At the lesser of both qualities, and a topic that would end rumqttd's thread if it saw it.
    two.publish("chat/a/room", "0", 0, 0).await;
    assert_eq!(one.packet().await.first, 0x30);
    two.publish("é/x", "hello", 2, 6).await;
    assert_eq!(two.ack(PUBREC).await, 6);
    let packet = one.packet().await;
    assert_eq!((packet.first, packet.published().0.as_str()), (0x30, "é/x"));
    stranger.nothing_came().await;
    one.unsubscribe("é/#").await;
    two.publish("é/x", "unheard", 1, 7).await;
    two.publish("chat/b/room", "last", 1, 8).await;
    assert_eq!(payload(&mut one).await, "last");
}

#[tokio::test]
async fn properties_of_version_5_travel_along() {
    let door = Door::open(config()).await;
    let mut one = door.client5("one").await;
    let mut two = door.client5("two").await;
    one.subscribe(&[("chat", 1)]).await;
    let mut properties = vec![0x01, 1, 0x03];
    properties.extend(text("text/plain"));
    properties.push(0x08);
    properties.extend(text("answers"));
    properties.push(0x09);
    properties.extend(text("id"));
    properties.push(0x26);
    properties.extend(text("k"));
    properties.extend(text("v"));
    let mut body = text("chat");
    body.extend([0, 1, u8::try_from(properties.len()).unwrap()]);
    body.extend(&properties);
    body.extend(b"payload");
    two.send(&packet(0x32, &body)).await;
    let (_, _, rest) = one.packet().await.published();
    assert_eq!(usize::from(rest[0]), properties.len());
    assert_eq!(&rest[1..], [&properties[..], b"payload"].concat());
}

#[tokio::test]
async fn a_filter_may_reach_own_and_routed_topics() {
    let mut door = Door::open(config()).await;
    let mut all = door.client("all").await;
    let mut other = door.client("other").await;
    all.subscribe(&[("#", 0)]).await;
    other.publish("chat", "routed", 1, 1).await;
    assert_eq!(payload(&mut all).await, "routed");
    other.publish("devices/d1/state", "own", 1, 2).await;
    door.publish().await.2.accept();
    assert_eq!(payload(&mut all).await, "own");
    door.broker.publish("r", &publication("changes/1", "service", QoS::AtMostOnce));
    assert_eq!(payload(&mut all).await, "service");
    all.unsubscribe("#").await;
    other.publish("chat", "unheard", 1, 3).await;
    all.nothing_came().await;
}

#[tokio::test]
async fn overlapping_filters_make_one_message() {
    const COUNT: u16 = 500;
    let door = Door::open(config()).await;
    let mut client = door.client("c").await;
    client.subscribe(&[("chat/x", 0), ("chat/+", 1), ("#", 0)]).await;
    let mut other = door.client("o").await;
    for number in 0..COUNT {
        other.publish("chat/x", &number.to_string(), 0, 0).await;
    }
    let mut seen = Vec::new();
    for _ in 0..COUNT {
        seen.push(payload(&mut client).await.parse::<u16>().unwrap());
    }
    assert_eq!(seen, (0..COUNT).collect::<Vec<_>>());
    client.nothing_came().await;
}

#[tokio::test]
async fn nobody_hears_itself_who_does_not_want_to() {
    let door = Door::open(config()).await;
    let mut client = door.client5("c").await;
    let mut other = door.client5("o").await;
    client.subscribe(&[("chat", 0x04)]).await;
    client.publish("chat", "mine", 1, 1).await;
    assert_eq!(client.ack(PUBACK).await, 1);
    other.publish("chat", "other", 1, 1).await;
    assert!(client.packet().await.published().2.ends_with(b"other"));
}

#[tokio::test]
async fn a_group_shares_what_it_subscribed_to() {
    let door = Door::open(config()).await;
    let mut members = Vec::new();
    for name in ["a", "b"] {
        let mut member = door.client(name).await;
        assert_eq!(member.subscribe(&[("$share/g/jobs/#", 0)]).await, [0]);
        members.push(member);
    }
    // The same group with another filter is another group.
    let mut other = door.client("c").await;
    other.subscribe(&[("$share/g/other", 0), ("done", 0)]).await;
    let mut publisher = door.client("p").await;
    for number in 0..100_u16 {
        publisher.publish("jobs/x", &number.to_string(), 1, number + 1).await;
        assert_eq!(publisher.ack(PUBACK).await, number + 1);
    }
    publisher.publish("other", "for c", 0, 0).await;
    assert_eq!(payload(&mut other).await, "for c");
    let [a, b] = &mut members[..] else { panic!("two") };
    let (mut got_a, mut got_b) = (Vec::new(), Vec::new());
    while got_a.len() + got_b.len() < 100 {
        tokio::select! {
            payload = payload(a) => got_a.push(payload.parse::<u16>().unwrap()),
            payload = payload(b) => got_b.push(payload.parse::<u16>().unwrap()),
        }
    }
    assert!(!got_a.is_empty() && !got_b.is_empty(), "both work: {} and {}", got_a.len(), got_b.len());
    let mut all = [got_a, got_b].concat();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>(), "each message once");
    // Who leaves the group gets nothing more, and the other gets all.
    assert_eq!(a.unsubscribe("$share/g/jobs/#").await.kind(), UNSUBACK);
    a.subscribe(&[("still/here", 0)]).await;
    for number in 0..10 {
        publisher.publish("jobs/x", &number.to_string(), 0, 0).await;
    }
    for number in 0..10 {
        assert_eq!(payload(b).await, number.to_string());
    }
    publisher.publish("still/here", "yes", 0, 0).await;
    assert_eq!(payload(a).await, "yes");
}

#[tokio::test]
async fn the_last_retained_message_is_seen_by_new_subscribers() {
    let door = Door::open(config()).await;
    let mut publisher = door.client("p").await;
    let retained =
        |publisher: &Raw, payload: &str, id| publisher.publish_packet("chat/a", payload.as_bytes(), 0x03, id);
    for (payload, id) in [("old", 1), ("new", 2)] {
        let bytes = retained(&publisher, payload, id);
        publisher.send(&bytes).await;
        assert_eq!(publisher.ack(PUBACK).await, id);
    }
    // Without the flag even an empty message removes nothing.
    publisher.publish("chat/a", "", 1, 3).await;
    assert_eq!(publisher.ack(PUBACK).await, 3);
    let mut one = door.client("one").await;
    one.subscribe(&[("chat/+", 0)]).await;
    let packet = one.packet().await;
    assert_eq!((packet.first, packet.published().2), (0x31, b"new".to_vec()));
    let bytes = retained(&publisher, "", 4);
    publisher.send(&bytes).await;
    assert_eq!(publisher.ack(PUBACK).await, 4);
    let packet = one.packet().await;
    assert_eq!(
        (packet.first, packet.published().2),
        (0x30, Vec::new()),
        "those who are there see the removal"
    );
    let mut two = door.client("two").await;
    two.subscribe(&[("chat/+", 0)]).await;
    two.nothing_came().await;
}

#[tokio::test]
async fn topics_and_filters_of_the_router_are_bounded() {
    let door = Door::open(Config { router_topics_max: 2, router_filters_max: 1, ..config() }).await;
    let mut client = door.client5("c").await;
    assert_eq!(client.subscribe(&[("a", 0), ("b", 0), ("a", 1)]).await, [0, 0x97, 1]);
    for (topic, code) in [("1", 0), ("2", 0), ("3", 0x97), ("1", 0)] {
        client.publish(topic, "x", 1, 9).await;
        let puback = client.packet().await;
        assert_eq!(puback.body.get(2).copied().unwrap_or(0), code, "{topic}");
    }
}

#[tokio::test]
async fn everything_arrives_in_order() {
    const COUNT: usize = 20_000;
    let door = Door::open(config()).await;
    let mut subscriber = door.client("s").await;
    subscriber.subscribe(&[("load/#", 0)]).await;
    let mut publisher = door.client("p").await;
    let receive = async {
        for number in 0..COUNT {
            assert_eq!(payload(&mut subscriber).await, number.to_string());
        }
    };
    let send = async {
        for number in 0..COUNT {
            let id = u16::try_from(number % 1000).unwrap() + 1;
            publisher.publish("load/x", &number.to_string(), 1, id).await;
            if number % 50 == 49 {
                for _ in 0..50 {
                    publisher.ack(PUBACK).await;
                }
            }
        }
    };
    tokio::join!(send, receive);
}

#[tokio::test]
async fn a_will_is_published_unless_the_client_said_goodbye() {
    let mut door = Door::open(config()).await;
    let mut watcher = door.client("watcher").await;
    watcher.subscribe(&[("wills/#", 1)]).await;
    assert_eq!(door.presence().await, "watcher connected");
    for v5 in [false, true] {
        let will = Some(("wills/x", "routed", 1));
        let mut client = Raw::new(&door.broker).await;
        client.connect(Connect { v5, will, ..Connect::default() }).await;
        client.goodbye().await;
        client.ended(None).await;
        let mut client = Raw::new(&door.broker).await;
        client.connect(Connect { v5, will, ..Connect::default() }).await;
        drop(client);
        assert_eq!(payload(&mut watcher).await, "routed");
        for expected in ["n connected", "n disconnect", "n connected", "n closed"] {
            assert_eq!(door.presence().await, expected);
        }
    }
    // A v5 client can ask for it.
    let mut client = Raw::new(&door.broker).await;
    client.connect(Connect { v5: true, will: Some(("wills/x", "asked", 0)), ..Connect::default() }).await;
    client.send(&[0xE0, 1, 4]).await;
    assert_eq!(payload(&mut watcher).await, "asked");
    watcher.nothing_came().await;
}

#[tokio::test]
async fn the_service_publishes_like_a_client() {
    let door = Door::open(config()).await;
    let mut one = door.client("one").await;
    let mut lasting = Raw::new(&door.broker).await;
    lasting.connect(Connect { id: "lasting", name: "lasting", clean: false, ..Connect::default() }).await;
    one.subscribe(&[("alarms/#", 1)]).await;
    lasting.subscribe(&[("alarms/#", 1)]).await;
    door.broker.forward("r", &publication("alarms/pump", "hot", QoS::AtLeastOnce)).await.unwrap();
    assert_eq!(payload(&mut one).await, "hot");
    assert_eq!(payload(&mut lasting).await, "hot");
    for topic in ["devices/pump/state", "alarms/#", "", "$SYS/x"] {
        let refused = door.broker.forward("r", &publication(topic, "x", QoS::AtLeastOnce)).await;
        assert!(refused.is_err(), "{topic}");
    }
}
