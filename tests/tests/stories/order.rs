//! In order for each device, exactly once with an `_id`, and never undone by what comes late.

use anyhow::{Result, ensure};
use chrono::{SecondsFormat, TimeDelta, Utc};
use futures::future::try_join_all;
use serde_json::{Value, json};
use statecast_tests::{Service, Version, Wire};

/// Devices that publish at the same time.
const DEVICES: usize = 20;
/// Publishes of each, sent without waiting for acknowledgements.
const PUBLISHES: u64 = 300;

fn states(history: &[Value]) -> Vec<&Value> {
    history.iter().filter(|entry| entry["kind"] == "state").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_device_in_its_order() -> Result<()> {
    let service = Service::start()?;
    let mqtt = &service.mqtt;
    try_join_all((0..DEVICES).map(|device| publish_all(mqtt, device))).await?;
    let api = service.api();
    for device in 0..DEVICES {
        let history = api.history(&format!("d{device}")).await?;
        let versions: Vec<u64> = history.iter().filter_map(|entry| entry["version"].as_u64()).collect();
        ensure!(
            versions == (1..=history.len() as u64).collect::<Vec<_>>(),
            "versions of d{device}: {versions:?}"
        );
        let numbers: Vec<u64> =
            states(&history).iter().filter_map(|entry| entry["patch"]["n"].as_u64()).collect();
        ensure!(numbers == (1..=PUBLISHES).collect::<Vec<_>>(), "order of d{device}: {numbers:?}");
        let positions: Vec<u64> = history.iter().filter_map(|entry| entry["position"].as_u64()).collect();
        ensure!(positions.is_sorted_by(|a, b| a < b), "positions of d{device}: {positions:?}");
    }
    Ok(())
}

/// Half of them at quality 1, half at 2; all at once, then all acknowledgements, in order.
async fn publish_all(mqtt: &str, device: usize) -> Result<()> {
    let name = format!("d{device}");
    let mut wire = Wire::connect(mqtt, Version::V3, &name, &name, "").await?;
    let qos = 1 + u8::from(device % 2 == 1);
    let (topic, mut ids) = (format!("devices/{name}/state"), Vec::new());
    for n in 1..=PUBLISHES {
        let (publish, id) = wire.publication(&topic, json!({ "n": n }).to_string().as_bytes(), qos);
        wire.send(&publish).await?;
        ids.push(id);
    }
    for id in ids {
        wire.answer(if qos == 1 { 0x40 } else { 0x50 }, id).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_counts_once_and_equal_content_always() -> Result<()> {
    let mut service = Service::start()?;
    let once = br#"{"_id":"one","n":1}"#;
    for round in 0..3 {
        let mut wire = Wire::connect(&service.mqtt, Version::V5, "d", "d", "").await?;
        for qos in [1, 1, 2] {
            wire.publish("devices/d/state", once, qos).await?;
        }
        // Killed, so that nothing is remembered but what the database has.
        if round == 0 {
            service.kill()?;
            service.restart()?;
        }
    }
    let history = service.api().history("d").await?;
    ensure!(states(&history).len() == 1, "{history:?}");

    let mut wire = Wire::connect(&service.mqtt, Version::V5, "e", "e", "").await?;
    for state in [r#"{"n":1}"#, r#"{"n":1}"#, r#"{"_id":"a","n":1}"#, r#"{"_id":"b","n":1}"#] {
        wire.publish("devices/e/state", state.as_bytes(), 1).await?;
    }
    let history = service.api().history("e").await?;
    ensure!(states(&history).len() == 4, "equal content was dropped: {history:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_changes_nothing_that_is_newer() -> Result<()> {
    let service = Service::start()?;
    let at = |minutes: i64| {
        (Utc::now() + TimeDelta::minutes(minutes)).to_rfc3339_opts(SecondsFormat::Micros, true)
    };
    let mut wire = Wire::connect(&service.mqtt, Version::V5, "d", "d", "").await?;
    for state in [
        json!({ "_at": at(-1), "temperature": 20, "gone": 1 }),
        json!({ "_at": at(-1), "gone": null }),
        json!({ "_at": at(-60), "temperature": 5, "door": "open", "gone": 0 }),
        json!({ "_at": at(60), "clock": "ahead" }),
    ] {
        wire.publish("devices/d/state", state.to_string().as_bytes(), 1).await?;
    }
    let twin = service.api().json("/v1/devices/d").await?;
    let reported = json!({ "temperature": 20, "door": "open", "clock": "ahead" });
    ensure!(twin["reported"] == reported, "a newer value must stay, a deleted one stay deleted: {twin}");
    let history = service.api().history("d").await?;
    let stale: Vec<_> = states(&history).iter().map(|entry| entry["stale"] == true).collect();
    ensure!(stale == [false, false, true, false], "{history:?}");
    let last = states(&history)[3];
    ensure!(last["device_time"].is_null(), "a clock an hour ahead isn't believed: {last}");
    drop(wire);
    service.at_rest().await
}
