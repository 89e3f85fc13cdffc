//! Clients that break the protocol harm nobody but themselves.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use statecast_broker::Config;

use crate::support::*;

/// What a client may send after CONNECT, and the code that a v5 client is told; 3.1.1 clients are just closed.
fn breaches() -> Vec<(&'static str, Vec<u8>, u8)> {
    let mut truncated = text("devices/d1");
    truncated.insert(0, 1);
    truncated.insert(0, 0);
    vec![
        ("a second CONNECT", connect_packet(&Connect { v5: true, ..Connect::default() }), 0x82),
        ("CONNACK", vec![0x20, 3, 0, 0, 0], 0x82),
        ("SUBACK", vec![0x90, 4, 0, 1, 0, 0], 0x82),
        ("UNSUBACK", vec![0xB0, 4, 0, 1, 0, 0], 0x82),
        ("PINGRESP", vec![0xD0, 0], 0x82),
        ("type 0", vec![0x00, 0], 0x81),
        ("a length of five bytes", vec![0x30, 0x80, 0x80, 0x80, 0x80, 1], 0x81),
        ("quality 3", packet(0x36, &[&text("a")[..], &[0, 1, 0]].concat()), 0x81),
        ("packet id 0", packet(0x32, &[&text("a")[..], &[0, 0, 0]].concat()), 0x81),
        ("a wildcard in a topic", packet(0x30, &[&text("a/#")[..], &[0]].concat()), 0x90),
        ("NUL in a topic", packet(0x30, &[&text("a\0b")[..], &[0]].concat()), 0x90),
        ("a topic that is no UTF-8", packet(0x30, &[0, 1, 0xFF, 0]), 0x81),
        ("PUBACK of nothing", vec![0x40, 2, 0, 9], 0x82),
        ("PUBCOMP of nothing", vec![0x70, 2, 0, 9], 0x82),
        ("PUBREL for id 0", vec![0x62, 2, 0, 0], 0x81),
        ("SUBSCRIBE without options", packet(0x82, &truncated), 0x81),
        ("SUBSCRIBE of nothing", packet(0x82, &[0, 1, 0]), 0x82),
        ("longer than allowed", vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F], 0x95),
        ("a topic alias over the maximum", packet(0x30, &[&text("a")[..], &[3, 0x23, 0, 17]].concat()), 0x94),
        ("a topic alias that is not known", packet(0x30, &[0, 0, 3, 0x23, 0, 1]), 0x94),
        ("an empty topic without an alias", packet(0x30, &[0, 0, 0]), 0x82),
        ("a topic alias of 0", packet(0x30, &[&text("a")[..], &[3, 0x23, 0, 0]].concat()), 0x94),
        (
            "a subscription identifier in a publish",
            packet(0x30, &[&text("a")[..], &[2, 0x0B, 1]].concat()),
            0x82,
        ),
        (
            "a response topic with a wildcard",
            packet(0x30, &[&text("a")[..], &[6, 8, 0, 3], b"a/#"].concat()),
            0x82,
        ),
        ("a session kept by the goodbye only", vec![0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9], 0x82),
        ("AUTH", vec![0xF0, 0], 0x82),
    ]
}

#[tokio::test]
async fn breaches_close_one_connection_with_the_right_code() {
    let door = Door::open(config()).await;
    let mut witness = door.client("witness").await;
    for (name, bytes, code) in breaches() {
        for v5 in [true, false] {
            let mut client = Raw::new(&door.broker).await;
            client.connect(Connect { id: name, v5, ..Connect::default() }).await;
            client.send(&bytes).await;
            if v5 {
                let told = client.packet().await;
                assert_eq!(told.kind(), DISCONNECT, "{name}");
                assert!(
                    told.body[0] == code || code == 0x81 && told.body[0] == 0x82,
                    "{name}: {:x}",
                    told.body[0]
                );
                client.ended(None).await;
            } else if !name.contains("alias") && !name.contains("response") && !name.contains("in a publish")
            {
                client.ended(None).await;
            }
        }
        witness.nothing_came().await;
    }
    until("only the witness is left", || door.broker.connections() == 1).await;
    until("nothing is in flight", || door.broker.bytes_in_flight() == 0).await;
}

#[tokio::test]
async fn pubrel_before_pubrec_is_a_breach() {
    let mut door = Door::open(config()).await;
    let mut client = door.client5("c").await;
    client.publish("devices/d1/state", "x", 2, 1).await;
    let _held = door.publish().await;
    client.send(&[0x62, 2, 0, 1]).await;
    client.ended(Some(0x82)).await;
}

#[tokio::test]
async fn before_connect_nothing_else_is_heard() {
    let door = Door::open(config()).await;
    for bytes in [
        vec![0xC0, 0],
        vec![0x30, 3, 0, 1, b'a'],
        vec![0x10, 0xFF, 0xFF, 0xFF, 0x7F],
        vec![0x10, 0x80, 0x80, 0x80, 0x80, 1],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        packet(0x10, &[0; 3]),
        packet(0x10, &vec![0; 9000]),
    ] {
        let mut client = Raw::new(&door.broker).await;
        client.send(&bytes).await;
        client.ended(None).await;
    }
    assert_eq!(door.broker.connections(), 0);
}

#[tokio::test]
async fn other_versions_are_refused() {
    let door = Door::open(config()).await;
    for (body, code) in [
        ([&text("MQIsdp")[..], &[3, 2, 0, 60], &text("c")].concat(), vec![0, 1]),
        ([&text("MQTT")[..], &[6, 2, 0, 60, 0], &text("c")].concat(), vec![0, 0x84, 0]),
        ([&text("MQTT")[..], &[3, 2, 0, 60], &text("c")].concat(), vec![0, 1]),
    ] {
        let mut client = Raw::new(&door.broker).await;
        client.send(&packet(0x10, &body)).await;
        assert_eq!(client.packet().await, Packet { first: 0x20, body: code });
        client.ended(None).await;
    }
}

#[tokio::test]
async fn client_ids_are_given_and_refused() {
    let door = Door::open(config()).await;
    let mut client = Raw::new(&door.broker).await;
    let connack = client.connect(Connect { id: "", v5: true, ..Connect::default() }).await;
    assert!(connack.body.windows(5).any(|bytes| bytes == b"auto-"), "it is told its id");
    let mut client = Raw::new(&door.broker).await;
    client.connect(Connect { id: "", ..Connect::default() }).await;
    let mut client = Raw::new(&door.broker).await;
    assert_eq!(client.try_connect(Connect { id: "", clean: false, ..Connect::default() }).await.body, [0, 2]);
    let mut client = Raw::new(&door.broker).await;
    let id = "x".repeat(300);
    assert_eq!(client.try_connect(Connect { id: &id, v5: true, ..Connect::default() }).await.body[1], 0x85);
    let mut client = Raw::new(&door.broker).await;
    let properties = &[0x15, 0, 1, b'x'];
    let connack = client.try_connect(Connect { v5: true, properties, ..Connect::default() }).await;
    assert_eq!(connack.body[1], 0x8C, "other authentication");
}

/// A socket that is closed with unread input is reset, and what was sent on it is lost.
#[tokio::test]
async fn who_is_told_why_hears_it() {
    let mut door = Door::open(Config { unacknowledged_max: 1, ..config() }).await;
    let mut client = door.client5("c").await;
    client.publish("devices/d1/state", "1", 1, 1).await;
    let _held = door.publish().await;
    client.publish("devices/d1/state", "2", 1, 2).await;
    until("it has to go", || door.broker.connections() == 0).await;
    // It hasn't read that yet, and goes on.
    for id in 3..200 {
        client.publish("devices/d1/state", "more", 1, id).await;
    }
    client.ended(Some(0x93)).await;
}

/// Valid packets with bytes changed, cut and joined: whatever comes, the broker lives, other clients don't
/// notice, and nothing is left when the senders are gone.
#[tokio::test]
async fn damaged_packets_harm_nobody() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut door = Door::open(Config { unacknowledged_max: 5, ..config() }).await;
    let mut witness = door.client("witness").await;
    door.accept_all();
    for round in 0..300 {
        let mut client = Raw::new(&door.broker).await;
        let v5 = random.random();
        client.v5 = v5;
        let mut corpus = vec![
            connect_packet(&Connect { v5, will: Some(("a", "w", 1)), ..Connect::default() }),
            connect_packet(&Connect { v5, ..Connect::default() }),
            packet(0x82, &[&[0, 1][..], if v5 { &[0][..] } else { &[] }, &text("devices/#"), &[1]].concat()),
            packet(0x82, &[&[0, 2][..], if v5 { &[0][..] } else { &[] }, &text("a/#"), &[2]].concat()),
            packet(0xA2, &[&[0, 3][..], if v5 { &[0][..] } else { &[] }, &text("a/#")].concat()),
            vec![0xC0, 0],
            vec![0xE0, 0],
        ];
        for qos in 0..3 {
            corpus.push(client.publish_packet("devices/d1/state", b"{}", qos << 1, 7));
            corpus.push(client.publish_packet("a/b", b"x", qos << 1 | 1, 8));
        }
        for kind in [0x40, 0x50, 0x62, 0x70] {
            corpus.push(vec![kind, 2, 0, random.random_range(0..10)]);
        }
        let mut bytes = connect_packet(&Connect { v5, ..Connect::default() });
        for _ in 0..random.random_range(1..20) {
            let mut packet = corpus[random.random_range(0..corpus.len())].clone();
            match random.random_range(0..4) {
                0 => {
                    let at = random.random_range(0..packet.len());
                    packet[at] = random.random();
                }
                1 => packet.truncate(random.random_range(0..packet.len())),
                _ => {}
            }
            bytes.extend(packet);
        }
        client.send(&bytes).await;
        drop(client);
        if round % 20 == 0 {
            witness.nothing_came().await;
        }
    }
    until("nothing is left of them", || door.broker.connections() == 1 && door.broker.bytes_in_flight() == 0)
        .await;
    witness.nothing_came().await;
}
