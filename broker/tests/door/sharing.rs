//! Shared subscriptions to the service's own topics; those to routed topics are in `routing`.

use statecast_broker::{Publication, QoS};

use crate::support::*;

#[tokio::test]
async fn one_member_of_each_group_gets_a_message_on_an_own_topic() {
    let door = Door::open(config()).await;
    let (mut a, mut b) = (door.client5("a").await, door.client5("b").await);
    for member in [&mut a, &mut b] {
        assert_eq!(member.subscribe(&[("$share/g/changes/#", 1)]).await, [1]);
    }
    // Another group, another filter of the group, and a plain subscription get it besides.
    let mut other = door.client("other").await;
    other.subscribe(&[("$share/h/changes/#", 0), ("$share/g/changes/+", 0), ("changes/1", 0)]).await;
    for number in 0..10 {
        door.broker.publish("r", &publication("changes/1", &number.to_string(), QoS::AtLeastOnce));
    }
    let mut all = Vec::new();
    for member in [&mut a, &mut b] {
        for _ in 0..5 {
            all.push(member.payload5().await.parse::<u32>().unwrap());
        }
        member.nothing_came().await;
    }
    all.sort_unstable();
    assert_eq!(all, (0..10).collect::<Vec<_>>(), "each message once, in turn");
    for _ in 0..30 {
        other.packet().await.published();
    }
    other.nothing_came().await;
    // Who leaves, by unsubscribing or by going, leaves all to the others.
    a.unsubscribe("$share/g/changes/#").await;
    door.broker.publish("r", &publication("changes/1", "x", QoS::AtMostOnce));
    assert_eq!(b.payload5().await, "x");
    a.nothing_came().await;
    drop((b, other));
    until("nothing is left of the groups", || !door.broker.has_subscriber("r", "changes/1")).await;
}

#[tokio::test]
async fn a_member_that_may_not_see_a_message_leaves_it_to_others() {
    let door = Door::open(config()).await;
    let mut member = door.client("m").await;
    member.subscribe(&[("$share/g/changes/#", 0)]).await;
    assert_eq!(door.broker.publish("r", &publication("changes/secret", "x", QoS::AtMostOnce)), 0);
    member.nothing_came().await;
}

#[tokio::test]
async fn no_local_with_a_shared_subscription_is_a_breach() {
    let door = Door::open(config()).await;
    for filter in ["$share/g/changes/#", "$share/g/chat"] {
        let mut client = door.client5("c").await;
        client.send(&packet(0x82, &[&[0, 1, 0][..], &text(filter), &[0x04]].concat())).await;
        client.ended(Some(0x82)).await;
    }
}

#[tokio::test]
async fn who_shares_sees_nothing_that_was_there_before() {
    let door = Door::open(config()).await;
    let filter = "$share/g/changes/1";
    *door.house.first.lock() = vec![
        publication("changes/1", "first", QoS::AtMostOnce),
        Publication { topic: filter.into(), ..publication("changes/1", "first", QoS::AtMostOnce) },
    ];
    let mut publisher = door.client("p").await;
    let retained = publisher.publish_packet("chat", b"kept", 3, 1);
    publisher.send(&retained).await;
    assert_eq!(publisher.ack(PUBACK).await, 1);
    let mut client = door.client("c").await;
    assert_eq!(client.subscribe(&[(filter, 0), ("$share/g/chat", 0), ("$share/g/#", 1)]).await, [0, 0, 1]);
    client.nothing_came().await;
}

#[tokio::test]
async fn a_shared_subscription_has_its_identifier() {
    let door = Door::open(config()).await;
    let mut client = door.client5("c").await;
    client.subscribe_with(&[0x0B, 9], &[("$share/g/changes/#", 0)]).await;
    client.subscribe_with(&[0x0B, 8], &[("$share/g/chat", 0)]).await;
    door.broker.publish("r", &publication("changes/1", "x", QoS::AtMostOnce));
    assert_eq!(client.packet().await.published5().1, [0x0B, 9]);
    client.publish("chat", "x", 0, 0).await;
    assert_eq!(client.packet().await.published5().1, [0x0B, 8]);
}
