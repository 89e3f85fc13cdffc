//! Down to the device: what it should be reaches it, now or when it is back, until it is so.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::{Api, Service, VERSIONS, Version, Wire};

const STATE: &str = "devices/lamp/state";
const DESIRED: &str = "devices/lamp/desired";
const PRESENCE: &str = "devices/lamp/presence";
const REJECTED: &str = "devices/lamp/desired/rejected";

async fn lamp(service: &Service, version: Version) -> Result<Wire> {
    Wire::connect(&service.mqtt, version, "", "lamp", "any").await
}

async fn want(api: &Api, desired: Value) -> Result<Value> {
    api.call(Method::PATCH, "/v1/devices/lamp/desired", &desired).await
}

/// What the device is told next.
async fn told(wire: &mut Wire) -> Result<Value> {
    let message = wire.message().await?;
    ensure!(message.topic == DESIRED, "{message:?}");
    serde_json::from_slice(&message.payload).context("read desired")
}

/// Waits until a subscriber of the presence is told this.
async fn online(watcher: &mut Wire, expected: bool) -> Result<()> {
    loop {
        let message = watcher.message().await?;
        ensure!(message.topic == PRESENCE, "{message:?}");
        let presence: Value = serde_json::from_slice(&message.payload).context("read presence")?;
        if presence["online"] == expected {
            return Ok(());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_reaches_a_connected_device_until_it_is_so() -> Result<()> {
    for version in VERSIONS {
        let service = Service::start()?;
        let api = service.api();
        let mut wire = lamp(&service, version).await?;
        ensure!(wire.publish(STATE, br#"{"level":1,"colour":"red","on":true}"#, 1).await?.code == 0);
        ensure!(wire.subscribe(DESIRED, 1).await? == 1);
        ensure!(told(&mut wire).await?["desired"] == json!({}), "nothing is asked of it yet");

        let twin = want(&api, json!({ "level": 2, "colour": "red", "fade": { "ms": 100 } })).await?;
        let first = told(&mut wire).await?;
        ensure!(
            first["desired"] == json!({ "level": 2, "fade": { "ms": 100 } }),
            "only what differs: {first}"
        );
        ensure!(first["version"] == twin["version"], "{first}");
        want(&api, json!({ "level": 3, "fade": null })).await?;
        let second = told(&mut wire).await?;
        ensure!(second["desired"] == json!({ "level": 3 }), "{second}");

        ensure!(wire.publish(STATE, br#"{"level":3}"#, 1).await?.code == 0);
        // Each change of presence is followed to its end: one that is still on its way would be told instead of the
        // retained one, as the newer of the two.
        let mut watcher = Wire::connect(&service.mqtt, version, "", "watcher", "any").await?;
        ensure!(watcher.subscribe(PRESENCE, 1).await? == 1);
        online(&mut watcher, true).await?;
        wire.disconnect().await?;
        online(&mut watcher, false).await?;
        let mut wire = lamp(&service, version).await?;
        online(&mut watcher, true).await?;
        ensure!(wire.subscribe("devices/lamp/#", 1).await? == 1);
        ensure!(told(&mut wire).await?["desired"] == json!({}), "it is as it should be");
        let presence = wire.message().await?;
        ensure!(presence.topic == PRESENCE && presence.retain, "{presence:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_away_gets_the_newest_only() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let mut wire = lamp(&service, Version::V5).await?;
    ensure!(wire.publish(STATE, br#"{"level":0}"#, 1).await?.code == 0);
    ensure!(wire.subscribe(DESIRED, 1).await? == 1);
    told(&mut wire).await?;
    wire.disconnect().await?;
    api.twin_when("lamp", |twin| twin["presence"]["online"] == false).await?;
    for level in 1..=5 {
        want(&api, json!({ "level": level })).await?;
    }
    for version in VERSIONS {
        // Twice: until it reports, it is told at every reconnect.
        let mut wire = lamp(&service, version).await?;
        ensure!(wire.subscribe(DESIRED, 1).await? == 1);
        let newest = told(&mut wire).await?;
        ensure!(newest["desired"] == json!({ "level": 5 }), "{newest}");
        wire.ping().await?;
        ensure!(wire.kept() == 0, "only one message");
        wire.disconnect().await?;
    }
    // Two connections act for it: both are told.
    let (mut one, mut two) = (lamp(&service, Version::V3).await?, lamp(&service, Version::V5).await?);
    for wire in [&mut one, &mut two] {
        ensure!(wire.subscribe(DESIRED, 1).await? == 1);
        told(wire).await?;
    }
    want(&api, json!({ "level": 6 })).await?;
    for wire in [&mut one, &mut two] {
        ensure!(told(wire).await?["desired"] == json!({ "level": 6 }));
    }
    drop((one, two));
    service.at_rest().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_shows_in_the_history() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let mut wire = lamp(&service, Version::V5).await?;
    ensure!(wire.publish(STATE, br#"{"level":0}"#, 1).await?.code == 0);
    let twin = want(&api, json!({ "level": 900 })).await?;
    let refusal = json!({ "version": twin["version"], "reason": "100 is the most" });
    ensure!(wire.publish(REJECTED, refusal.to_string().as_bytes(), 1).await?.code == 0);
    let history = api.history("lamp").await?;
    let entry = history.last().context("an entry")?;
    ensure!(entry["kind"] == "rejected" && entry["patch"] == refusal, "{entry}");
    let bad = wire.publish(REJECTED, br#"{"reason":"no version"}"#, 1).await?;
    ensure!(bad.code == 0x99 && bad.reason.contains("version"), "{bad:?}");
    ensure!(api.json("/v1/devices/lamp").await?["desired"] == json!({ "level": 900 }), "it is still wanted");
    Ok(())
}
