//! Bytes that are no valid packets, by the statement that they break. Each closes its connection, and a v5 client is
//! told why.

use crate::support::*;

/// Malformed, or a breach of the protocol: where a packet is both, either code will do.
const TOLD: [u8; 3] = [0x81, 0x82, 0x90];

/// UTF-8 with a surrogate, cut short, and with U+0000.
const NO_TEXTS: [&[u8]; 3] = [b"a\xED\xA0\x80", b"a\xC3", b"a\0b"];

/// What has an id, in both versions, and the properties of version 5.
fn with_id(first: u8, id: u16, v5: bool, rest: &[u8]) -> Vec<u8> {
    let properties: &[u8] = if v5 { &[0] } else { &[] };
    packet(first, &[&id.to_be_bytes(), properties, rest].concat())
}

fn bytes_behind_len(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// Sends it on a connection of its own, which must end, and not without a word in version 5.
async fn ends(door: &Door, v5: bool, bytes: &[u8], about: &str) {
    let mut client = if v5 { door.client5("c").await } else { door.client("c").await };
    client.send(bytes).await;
    if v5 {
        let told = client.packet().await;
        assert_eq!(told.kind(), DISCONNECT, "{about}: {told:?}");
        assert!(TOLD.contains(&told.body[0]), "{about}: {told:?}");
    }
    assert_eq!(client.try_packet().await, None, "{about}, version 5: {v5}");
}

#[tokio::test]
async fn flags_that_are_reserved() {
    let door = Door::open(config()).await;
    let filter = [&text("a")[..], &[0]].concat();
    for v5 in [false, true] {
        for (about, bytes) in [
            ("a PUBLISH at quality 0 that is a repetition", packet(0x38, &[0, 1, b'a', 0])),
            ("PUBACK", with_id(0x41, 1, false, &[])),
            ("PUBREC", with_id(0x52, 1, false, &[])),
            ("PUBREL", with_id(0x60, 1, false, &[])),
            ("PUBCOMP", with_id(0x72, 1, false, &[])),
            ("SUBSCRIBE", with_id(0x80, 1, v5, &filter)),
            ("UNSUBSCRIBE", with_id(0xA0, 1, v5, &text("a"))),
            ("PINGREQ", vec![0xC1, 0]),
            ("DISCONNECT", vec![0xE1, 0]),
            ("AUTH", vec![0xF1, 0]),
        ] {
            ends(&door, v5, &bytes, about).await;
        }
    }
}

#[tokio::test]
async fn texts_that_are_no_utf8_or_hold_a_nul() {
    let door = Door::open(config()).await;
    for v5 in [false, true] {
        for bad in NO_TEXTS {
            let bad = bytes_behind_len(bad);
            ends(&door, v5, &packet(0x30, &[&bad[..], &[0]].concat()), "a topic").await;
            let filter = [&bad[..], &[0]].concat();
            ends(&door, v5, &with_id(0x82, 1, v5, &filter), "a filter").await;
            ends(&door, v5, &with_id(0xA2, 1, v5, &bad), "a filter to end").await;
        }
    }
    for value in [&b"\xFF"[..], b"a\0b"] {
        let pair = [&[0x26][..], &bytes_behind_len(value), &text("v")].concat();
        let properties = [&[u8::try_from(pair.len()).unwrap()], &pair[..]].concat();
        ends(&door, true, &packet(0x30, &[&text("a")[..], &properties].concat()), "a user property").await;
    }
}

#[tokio::test]
async fn payloads_that_are_not_what_they_must_be() {
    let door = Door::open(config()).await;
    for v5 in [false, true] {
        for (about, bytes) in [
            ("SUBSCRIBE of nothing", with_id(0x82, 1, v5, &[])),
            ("SUBSCRIBE with id 0", with_id(0x82, 0, v5, &[&text("a")[..], &[0]].concat())),
            ("quality 3", with_id(0x82, 1, v5, &[&text("a")[..], &[3]].concat())),
            ("reserved options", with_id(0x82, 1, v5, &[&text("a")[..], &[0xC0]].concat())),
            ("an empty filter", with_id(0x82, 1, v5, &[&text("")[..], &[0]].concat())),
            ("an empty filter to end", with_id(0xA2, 1, v5, &text(""))),
            ("UNSUBSCRIBE of nothing", with_id(0xA2, 1, v5, &[])),
            ("UNSUBSCRIBE with id 0", with_id(0xA2, 0, v5, &text("a"))),
        ] {
            ends(&door, v5, &bytes, about).await;
        }
    }
    for options in [0x04, 0x08, 0x10, 0x20] {
        let filter = [&text("a")[..], &[options]].concat();
        ends(&door, false, &with_id(0x82, 1, false, &filter), "options of version 5").await;
    }
    ends(&door, true, &with_id(0x82, 1, true, &[&text("a")[..], &[0x30]].concat()), "retain handling 3")
        .await;
    for (about, properties) in [
        ("a length of more bytes than it needs", &[0x80, 0][..]),
        ("a response topic with U+0000", &[5, 0x08, 0, 2, b'a', 0]),
        ("a property that no PUBLISH has", &[2, 0x17, 0]),
        ("a property that doesn't exist", &[2, 0x7F, 0]),
        ("a property twice", &[4, 0x01, 1, 0x01, 1]),
        ("a property that is cut short", &[2, 0x02, 0]),
        ("a response topic that is no UTF-8", &[4, 0x08, 0, 1, 0xFF]),
        ("a content type that is no UTF-8", &[4, 0x03, 0, 1, 0xFF]),
    ] {
        ends(&door, true, &packet(0x30, &[&text("a")[..], properties].concat()), about).await;
    }
    ends(&door, true, &[0xC0, 0x80, 0], "a packet with a length of more bytes than it needs").await;
    let filter = [&[0, 1, 0x80, 0][..], &text("a"), &[0]].concat();
    ends(&door, true, &packet(0x82, &filter), "properties with a length of more bytes than they need").await;
}

/// A CONNECT with these flags and this payload.
fn connect(v5: bool, flags: u8, payload: &[Vec<u8>]) -> Vec<u8> {
    let head: &[u8] = if v5 { &[5, flags, 0, 60, 0] } else { &[4, flags, 0, 60] };
    packet(0x10, &[&text("MQTT")[..], head, &payload.concat()].concat())
}

#[tokio::test]
async fn a_connect_that_does_not_conform() {
    let door = Door::open(config()).await;
    for v5 in [false, true] {
        let id = || text("c");
        let will = || if v5 { [vec![0], text("w")].concat() } else { text("w") };
        let bad = || bytes_behind_len(b"\xFF");
        let bad_will = if v5 { [vec![0], bad()].concat() } else { bad() };
        for (about, flags, payload) in [
            ("the reserved flag", 3, vec![id()]),
            ("quality of no will", 0x0A, vec![id()]),
            ("RETAIN of no will", 0x22, vec![id()]),
            ("a will at quality 3", 0x1E, vec![id(), will(), text("gone")]),
            ("a will that is missing", 6, vec![id()]),
            ("a will without a payload", 6, vec![id(), will()]),
            ("a will that isn't announced", 2, vec![id(), will(), text("gone")]),
            ("a user name that is missing", 0x82, vec![id()]),
            ("a user name that isn't announced", 2, vec![id(), text("n")]),
            ("a password that is missing", 0xC2, vec![id(), text("n")]),
            ("a password that isn't announced", 0x82, vec![id(), text("n"), text("p")]),
            ("no client id", 2, vec![]),
            ("a client id that is no UTF-8", 2, vec![bad()]),
            ("a will topic that is no UTF-8", 6, vec![id(), bad_will, text("gone")]),
            ("a user name that is no UTF-8", 0x82, vec![id(), bad()]),
            ("a client id with U+0000", 2, vec![text("a\0b")]),
            ("a user name with U+0000", 0x82, vec![id(), text("a\0b")]),
        ] {
            let mut client = Raw::new(&door.broker).await;
            client.send(&connect(v5, flags, &payload)).await;
            if let Some(connack) = client.try_packet().await {
                assert!(v5, "{about}: 3.1.1 closes without a CONNACK");
                assert_eq!((connack.kind(), connack.body[0]), (2, 0), "{about}");
                assert!(connack.body[1] >= 0x80, "{about}: {connack:?}");
                client.ended(None).await;
            }
        }
    }
    let mut client = Raw::new(&door.broker).await;
    client.send(&connect(false, 0x42, &[text("c"), text("p")])).await;
    client.ended(None).await;
    // The name of the protocol.
    let mut client = Raw::new(&door.broker).await;
    client.send(&packet(0x10, &[&text("HTTP")[..], &[4, 2, 0, 60], &text("c")].concat())).await;
    while let Some(connack) = client.try_packet().await {
        assert!(connack.kind() == 2 && connack.body[1] != 0, "{connack:?}");
    }
    assert_eq!(door.broker.connections(), 0);
}

#[tokio::test]
async fn what_follows_a_connect_that_is_refused_is_not_heard() {
    let mut door = Door::open(config()).await;
    for v5 in [false, true] {
        let mut client = Raw::new(&door.broker).await;
        client.v5 = v5;
        let mut bytes = connect_packet(&Connect { v5, password: "wrong", ..Connect::default() });
        bytes.extend(client.publish_packet("devices/d1/state", b"not heard", 0, 0));
        client.send(&bytes).await;
        let connack = client.packet().await;
        assert_eq!((connack.kind(), connack.body[0]), (2, 0), "no session present");
        client.ended(None).await;
    }
    let mut witness = door.client("w").await;
    witness.publish("devices/d1/state", "heard", 0, 0).await;
    assert_eq!(door.publish().await.1, "heard");
}
