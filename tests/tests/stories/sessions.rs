//! What a client was promised outlives its connection, and us: sessions, exactly once, retained messages.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::json;
use sqlx::Row;
use statecast_tests::command::run;
use statecast_tests::wire::packet;
use statecast_tests::{Service, VERSIONS, Version, Wire, wait};
use tokio::time::timeout;

/// For so long nothing may come from a service whose database doesn't answer.
const SILENCE: Duration = Duration::from_secs(1);

/// `kill -9`, and up again.
fn kill(service: &mut Service) -> Result<()> {
    service.kill()?;
    service.restart().map(drop)
}

/// A client that is back, to a session that is there.
async fn back(service: &Service, version: Version, id: &str) -> Result<Wire> {
    let (wire, present) = Wire::come_back(&service.mqtt, version, id).await?;
    ensure!(present, "its session is gone");
    Ok(wire)
}

/// How many rows are kept of MQTT sessions.
async fn rows(service: &Service) -> Result<i64> {
    let count = "SELECT (SELECT count(*) FROM mqtt_sessions) + (SELECT count(*) FROM mqtt_subscriptions)
        + (SELECT count(*) FROM mqtt_queue) + (SELECT count(*) FROM mqtt_exchanges)";
    Ok(sqlx::query(count).fetch_one(&mut service.database().await?).await?.try_get(0)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_survives_kill_9() -> Result<()> {
    let mut service = Service::start()?;
    for version in VERSIONS {
        let id = format!("reader-{version:?}");
        let (mut reader, present) = Wire::come_back(&service.mqtt, version, &id).await?;
        ensure!(!present, "it is new");
        for filter in ["chat/#", "devices/+/state"] {
            ensure!(reader.subscribe(filter, 1).await? == 1);
        }
        reader.disconnect().await?;
        let mut publisher = Wire::connect(&service.mqtt, Version::V3, "p", "p", "").await?;
        for n in 0..3 {
            publisher.publish("chat/x", format!("{n}").as_bytes(), 1).await?;
        }
        publisher.publish("devices/p/state", br#"{"a":1}"#, 1).await?;
        kill(&mut service)?;
        // Once more, while it is connected.
        let mut reader = back(&service, version, &id).await?;
        ensure!(reader.message().await?.payload == b"0");
        kill(&mut service)?;
        let mut reader = back(&service, version, &id).await?;
        let mut seen = Vec::new();
        while seen.last().is_none_or(|last| last != br#"{"a":1}"#) {
            seen.push(reader.message().await?.payload);
        }
        // The first may come again, as its acknowledgement needn't be durable.
        seen.retain(|payload| payload != b"0");
        ensure!(seen == [&b"1"[..], b"2", br#"{"a":1}"#], "{seen:?}");
        let mut publisher = Wire::connect(&service.mqtt, Version::V5, "p", "p", "").await?;
        publisher.publish("chat/y", b"live", 1).await?;
        ensure!(reader.message().await?.payload == b"live");
    }
    Ok(())
}

/// A PUBLISH at quality 2 to a topic, with DUP or without.
fn publish(wire: &mut Wire, topic: &str, payload: &str, id: u16, dup: bool) -> Vec<u8> {
    let (mut bytes, _) = wire.publication(topic, payload.as_bytes(), 2);
    // Behind a header of two bytes, and the topic with its length.
    bytes[4 + topic.len()..6 + topic.len()].copy_from_slice(&id.to_be_bytes());
    if dup {
        bytes[0] |= 8;
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_device_exactly_once_whenever_we_are_killed() -> Result<()> {
    let mut service = Service::start()?;
    let (topic, pubrel) = ("devices/d/state", packet(0x62, &[0, 9]));
    for version in VERSIONS {
        Wire::come_back(&service.mqtt, version, "d").await?;
        for wait_ms in [0, 3, 20] {
            let payload = json!({ "n": format!("{version:?} {wait_ms}") }).to_string();
            let mut device = back(&service, version, "d").await?;
            let bytes = publish(&mut device, topic, &payload, 9, false);
            device.send(&bytes).await?;
            // Somewhere between PUBLISH and PUBREC.
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            kill(&mut service)?;
            let mut device = back(&service, version, "d").await?;
            let bytes = publish(&mut device, topic, &payload, 9, true);
            device.send(&bytes).await?;
            device.answer(0x50, 9).await.context("PUBREC")?;
            // After PUBREC.
            kill(&mut service)?;
            let mut device = back(&service, version, "d").await?;
            device.send(&bytes).await?;
            device.answer(0x50, 9).await.context("PUBREC again")?;
            device.send(&pubrel).await?;
            // Somewhere between PUBREL and PUBCOMP.
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            kill(&mut service)?;
            let mut device = back(&service, version, "d").await?;
            device.send(&pubrel).await?;
            device.answer(0x70, 9).await.context("PUBCOMP")?;
        }
    }
    let history = service.api().history("d").await?;
    let said: Vec<String> = history
        .iter()
        .filter(|entry| entry["kind"] == "state")
        .map(|entry| entry["patch"]["n"].as_str().unwrap_or_default().to_owned())
        .collect();
    let expected = ["V3 0", "V3 3", "V3 20", "V5 0", "V5 3", "V5 20"];
    ensure!(said == expected, "each once, in order: {said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_client_exactly_once_whenever_we_are_killed() -> Result<()> {
    let mut service = Service::start()?;
    for version in VERSIONS {
        let id = format!("reader-{version:?}");
        let (mut reader, _) = Wire::come_back(&service.mqtt, version, &id).await?;
        ensure!(reader.subscribe("chat", 2).await? == 2);
        let mut publisher = Wire::connect(&service.mqtt, Version::V5, "p", "p", "").await?;
        publisher.publish("chat", b"x", 2).await?;
        let first = reader.next().await?;
        ensure!(first.first == 0x34, "{first:?}");
        kill(&mut service)?;
        let mut reader = back(&service, version, &id).await?;
        let again = reader.next().await?;
        ensure!(again.first == 0x3C && again.body == first.body, "{again:?}");
        // Behind the topic, `chat`.
        let packet_id = [again.body[6], again.body[7]];
        reader.send(&packet(0x50, &packet_id)).await?;
        let pubrel = reader.next().await?;
        ensure!(pubrel.first == 0x62 && pubrel.body.starts_with(&packet_id), "{pubrel:?}");
        kill(&mut service)?;
        let mut reader = back(&service, version, &id).await?;
        let pubrel = reader.next().await?;
        ensure!(pubrel.first == 0x62 && pubrel.body.starts_with(&packet_id), "not the message: {pubrel:?}");
        reader.send(&packet(0x70, &packet_id)).await?;
        wait::until("nothing of it is kept", || async { (rows(&service).await.ok()? == 2).then_some(()) })
            .await?;
        kill(&mut service)?;
        let mut reader = back(&service, version, &id).await?;
        reader.ping().await?;
        ensure!(reader.kept() == 0, "it came again");
        // What is left goes when the client wants none of it.
        drop(reader);
        let mut clean = Wire::open(&service.mqtt, version).await?;
        ensure!(clean.hello(&id, Some((&id, ""))).await? == 0);
        ensure!(rows(&service).await? == 0, "gone before CONNACK");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_is_answered_when_the_database_has_what_others_are_to_get() -> Result<()> {
    let service = Service::start()?;
    let (mut reader, _) = Wire::come_back(&service.mqtt, Version::V5, "reader").await?;
    reader.subscribe("chat", 1).await?;
    for version in VERSIONS {
        let mut publisher = Wire::connect(&service.mqtt, version, "p", "p", "").await?;
        let frozen = service.freeze_database()?;
        let (bytes, id) = publisher.publication("chat", b"x", 1);
        publisher.send(&bytes).await?;
        publisher.ping().await?;
        if let Ok(packet) = timeout(SILENCE, publisher.next()).await {
            anyhow::bail!("it was answered before the database had it: {packet:?}");
        }
        reader.ping().await?;
        ensure!(reader.kept() == 0, "it was sent before the database had it");
        frozen.thaw();
        publisher.answer(0x40, id).await?;
        ensure!(reader.message().await?.payload == b"x");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn retained_messages_survive_kill_9() -> Result<()> {
    let mut service = Service::start()?;
    let mut publisher = Wire::connect(&service.mqtt, Version::V5, "p", "p", "").await?;
    for (topic, payload) in [("notes/kept", "kept"), ("notes/gone", "gone"), ("notes/gone", "")] {
        let (mut bytes, id) = publisher.publication(topic, payload.as_bytes(), 1);
        bytes[0] |= 1;
        publisher.send(&bytes).await?;
        publisher.answer(0x40, id).await?;
    }
    // Without the flag even an empty message removes nothing.
    publisher.publish("notes/kept", b"", 1).await?;
    kill(&mut service)?;
    for version in VERSIONS {
        let mut reader = Wire::connect(&service.mqtt, version, "r", "r", "").await?;
        reader.subscribe("notes/#", 1).await?;
        let message = reader.message().await?;
        ensure!(message.payload == b"kept" && message.retain, "{message:?}");
        reader.ping().await?;
        ensure!(reader.kept() == 0, "only one was left");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_device_leaves_no_session() -> Result<()> {
    let service = Service::start()?;
    service.api().register("d").await?;
    let (mut device, _) = Wire::come_back(&service.mqtt, Version::V5, "d").await?;
    device.subscribe("chat", 1).await?;
    ensure!(rows(&service).await? == 2);
    let removed = service.api().send(Method::DELETE, "/v1/devices/d", &json!({})).await?;
    ensure!(removed.status().is_success(), "{}", removed.status());
    ensure!(rows(&service).await? == 0);
    ensure!(device.closed().await? == Some(0x98), "an administrative action");
    Ok(())
}

/// The same with a client that others wrote.
#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_finds_its_session_after_kill_9() -> Result<()> {
    let mut service = Service::start()?;
    for version in ["mqttv311", "mqttv5"] {
        let port = service.mqtt_port().to_string();
        let to = ["-h", "127.0.0.1", "-p", &port, "-V", version, "-q", "2", "-t", "chat"];
        let mut keep = vec!["-i", version, "-c"];
        if version == "mqttv5" {
            keep.extend(["-x", "3600"]);
        }
        run("mosquitto_sub", &[&to, &keep[..], &["-E"]].concat()).await?.ok()?;
        for message in ["one", "two"] {
            run("mosquitto_pub", &[&to, &["-m", message][..]].concat()).await?.ok()?;
        }
        kill(&mut service)?;
        let said = run("mosquitto_sub", &[&to, &keep[..], &["-C", "2", "-W", "20"]].concat()).await?.ok()?;
        ensure!(said.lines().eq(["one", "two"]), "{said}");
    }
    Ok(())
}
