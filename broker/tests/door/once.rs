//! What happens once, whatever is repeated, refused or lost on the way.

use statecast_broker::{QoS, Refused};

use crate::support::*;

/// An acknowledgement of this kind for this packet id.
async fn acknowledge(client: &mut Raw, first: u8, id: u16) {
    let [high, low] = id.to_be_bytes();
    client.send(&[first, 2, high, low]).await;
}

#[tokio::test]
async fn several_at_quality_2_are_released_in_order() {
    let door = Door::open(config()).await;
    let mut client = door.client5("c").await;
    client.subscribe(&[("changes/#", 2)]).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        door.broker.publish("r", &publication("changes/1", &number.to_string(), QoS::ExactlyOnce));
        let packet = client.packet().await;
        assert_eq!(packet.first, 0x34, "no repetition");
        ids.push(packet.published().1);
    }
    let mut distinct = ids.clone();
    distinct.dedup();
    assert_eq!((distinct.len(), distinct.contains(&0)), (5, false));
    // In the order of the PUBRECs, whatever that of the messages was.
    ids.reverse();
    for id in &ids {
        acknowledge(&mut client, 0x50, *id).await;
    }
    for id in &ids {
        assert_eq!(client.ack(PUBREL).await, *id);
    }
    for id in ids {
        acknowledge(&mut client, 0x70, id).await;
    }
    client.nothing_came().await;
}

#[tokio::test]
async fn what_is_released_without_a_publish_is_not_found() {
    let door = Door::open(config()).await;
    let mut client = door.client5("c").await;
    acknowledge(&mut client, 0x62, 9).await;
    assert_eq!(client.packet().await, Packet { first: 0x70, body: vec![0, 9, 0x92] });
    let mut client = door.client("c").await;
    acknowledge(&mut client, 0x62, 9).await;
    assert_eq!(client.packet().await, Packet { first: 0x70, body: vec![0, 9] });
}

#[tokio::test]
async fn an_id_that_was_refused_is_a_new_message() {
    let mut door = Door::open(config()).await;
    let mut client = door.client5("c").await;
    for (qos, answer) in [(2, PUBREC), (1, PUBACK), (2, PUBREC)] {
        client.publish("devices/d1/state", "x", qos, 7).await;
        door.publish().await.2.refuse(Refused::Payload("not JSON".into()));
        let told = client.packet().await;
        assert_eq!((told.kind(), &told.body[..3]), (answer, &[0, 7, 0x99][..]));
    }
}

#[tokio::test]
async fn the_flag_of_a_repetition_is_not_passed_on() {
    let mut door = Door::open(config()).await;
    let mut watcher = door.client("w").await;
    watcher.subscribe(&[("#", 2)]).await;
    let mut client = door.client("c").await;
    for topic in ["chat", "devices/d1/state"] {
        for (flags, answer) in [(0x0A, PUBACK), (0x0C, PUBREC)] {
            let repeated = client.publish_packet(topic, b"x", flags, 1);
            client.send(&repeated).await;
            if topic != "chat" {
                door.publish().await.2.accept();
            }
            assert_eq!(watcher.packet().await.first, 0x30 | flags & 6);
            assert_eq!(client.ack(answer).await, 1);
        }
        acknowledge(&mut client, 0x62, 1).await;
        assert_eq!(client.ack(PUBCOMP).await, 1);
    }
}

#[tokio::test]
async fn what_ran_out_is_still_acknowledged() {
    let door = Door::open(config()).await;
    let mut watcher = door.client5("w").await;
    watcher.subscribe(&[("chat", 2)]).await;
    let mut client = door.client5("c").await;
    client.publish_with("chat", "over", &[0x02, 0, 0, 0, 0], 4, 1).await;
    assert_eq!(client.ack(PUBREC).await, 1);
    acknowledge(&mut client, 0x62, 1).await;
    assert_eq!(client.ack(PUBCOMP).await, 1);
    client.publish_with("chat", "over", &[0x02, 0, 0, 0, 0], 2, 2).await;
    assert_eq!(client.ack(PUBACK).await, 2);
    watcher.nothing_came().await;
}

#[tokio::test]
async fn what_a_member_was_sent_goes_to_no_other() {
    let door = Door::open(config()).await;
    for filter in ["$share/g/changes/#", "$share/g/chat"] {
        let mut members = [door.client5("one").await, door.client5("two").await];
        for member in &mut members {
            assert_eq!(member.subscribe(&[(filter, 2)]).await, [2]);
        }
        let mut publisher = door.client("p").await;
        for round in 0..4 {
            if filter.ends_with("chat") {
                publisher.publish("chat", "x", 2, 1).await;
                assert_eq!(publisher.ack(PUBREC).await, 1);
                acknowledge(&mut publisher, 0x62, 1).await;
                assert_eq!(publisher.ack(PUBCOMP).await, 1);
            } else {
                door.broker.publish("r", &publication("changes/1", "x", QoS::ExactlyOnce));
            }
            let [one, two] = &mut members;
            let (packet, member, other) = tokio::select! {
                packet = one.packet() => (packet, one, two),
                packet = two.packet() => (packet, two, one),
            };
            let [high, low] = packet.published().1.to_be_bytes();
            // Refused, or begun and never completed.
            member.send(&[0x50, 3, high, low, if round % 2 == 0 { 0x80 } else { 0 }]).await;
            if round % 2 == 1 {
                assert_eq!(member.packet().await.kind(), PUBREL);
            }
            member.nothing_came().await;
            other.nothing_came().await;
        }
        let [one, mut two] = members;
        drop(one);
        until("it is gone", || door.broker.connections() == 2).await;
        two.nothing_came().await;
        two.goodbye().await;
        two.ended(None).await;
    }
}

#[tokio::test]
async fn names_of_groups_are_checked() {
    let door = Door::open(config()).await;
    for filter in ["$share/g", "$share/g/", "$share//a", "$share/g+/a", "$share/#/a"] {
        for v5 in [false, true] {
            let mut client = if v5 { door.client5("c").await } else { door.client("c").await };
            let properties: &[u8] = if v5 { &[0] } else { &[] };
            client.send(&packet(0x82, &[&[0, 1], properties, &text(filter), &[0]].concat())).await;
            // Some are refused alone, others are a breach of the protocol.
            match client.try_packet().await {
                Some(told) if told.kind() == SUBACK => assert!(told.body.last() >= Some(&0x80), "{filter}"),
                Some(told) => assert!(v5 && told.kind() == DISCONNECT, "{filter}: {told:?}"),
                None => assert!(!v5, "{filter}: version 5 is told why"),
            }
        }
    }
}
