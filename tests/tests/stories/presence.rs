//! Whether a device is online: takeover, several connections, a restart, `kill -9`, and in which order.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use statecast_tests::{Api, Service, VERSIONS, Version, Wire, wait};

/// A service with a short grace, and its file of settings.
fn service_with_grace(seconds: u32) -> Result<(Service, tempfile::NamedTempFile)> {
    let config = tempfile::Builder::new().suffix(".toml").tempfile()?;
    std::fs::write(config.path(), format!("[presence]\ngrace_s = {seconds}\n"))?;
    let path = config.path().to_str().context("a path of plain letters")?;
    let service = Service::start_with(&["--dev", "--config", path])?;
    Ok((service, config))
}

/// A connection with this client id that acts for the lamp, and has reported.
async fn lamp(service: &Service, version: Version, client: &str) -> Result<Wire> {
    let mut wire = Wire::connect(&service.mqtt, version, client, "lamp", "").await?;
    wire.publish("devices/lamp/state", br#"{"on":true}"#, 1).await?;
    Ok(wire)
}

async fn is_online(api: &Api, device: &str, online: bool) -> Result<Value> {
    let twin = api.twin_when(device, |twin| twin["presence"]["online"] == online).await?;
    Ok(twin["presence"].clone())
}

/// What the history says of the presence of a device, oldest first: online or not, each later than the one before.
async fn told(api: &Api, device: &str) -> Result<Vec<bool>> {
    let history = api.history(device).await?;
    let presences: Vec<_> = history.iter().filter(|entry| entry["kind"] == "presence").collect();
    let order = |entry: &&Value| (entry["patch"]["epoch"].as_u64(), entry["patch"]["seq"].as_u64());
    ensure!(presences.is_sorted_by(|a, b| order(a) < order(b)), "{presences:?}");
    Ok(presences.iter().map(|entry| entry["patch"]["online"] == true).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_is_no_absence() -> Result<()> {
    for version in VERSIONS {
        let service = Service::start()?;
        let api = service.api();
        let mut watcher = Wire::connect(&service.mqtt, version, "watcher", "watcher", "").await?;
        let mut old = lamp(&service, version, "same").await?;
        ensure!(watcher.subscribe("devices/lamp/presence", 1).await? == 1);
        let first: Value = serde_json::from_slice(&watcher.message().await?.payload)?;
        ensure!(first["online"] == true, "{first}");
        for _ in 0..5 {
            let new = lamp(&service, version, "same").await?;
            old.closed().await?;
            old = new;
        }
        // Whatever a takeover had caused would come before this.
        old.disconnect().await?;
        let last: Value = serde_json::from_slice(&watcher.message().await?.payload)?;
        ensure!(last["online"] == false && last["reason"] == "disconnect", "{last}");
        let order = |presence: &Value| (presence["epoch"].as_u64(), presence["seq"].as_u64());
        ensure!(order(&last) > order(&first), "{first} {last}");
        ensure!(is_online(&api, "lamp", false).await? == last, "the twin says the same");
        ensure!(told(&api, "lamp").await? == [false], "it became known while it was online");
        drop(watcher);
        service.at_rest().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_device_with_the_same_client_id_takes_nobodys_place() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let mut lamp = lamp(&service, Version::V5, "same").await?;
    let mut door = Wire::connect(&service.mqtt, Version::V5, "same", "door", "").await?;
    door.publish("devices/door/state", br#"{"open":true}"#, 1).await?;
    is_online(&api, "door", true).await?;
    // It is still served, and was never offline.
    lamp.publish("devices/lamp/state", br#"{"on":false}"#, 1).await?;
    is_online(&api, "lamp", true).await?;
    ensure!(told(&api, "lamp").await?.iter().all(|online| *online));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_online_while_one_of_its_connections_is() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let one = lamp(&service, Version::V3, "one").await?;
    let mut two = lamp(&service, Version::V5, "two").await?;
    one.disconnect().await?;
    two.publish("devices/lamp/state", br#"{"on":false}"#, 1).await?;
    is_online(&api, "lamp", true).await?;
    drop(two);
    let presence = is_online(&api, "lamp", false).await?;
    ensure!(presence["reason"] == "closed", "{presence}");
    let three = lamp(&service, Version::V5, "three").await?;
    is_online(&api, "lamp", true).await?;
    ensure!(told(&api, "lamp").await? == [false, true]);
    drop(three);
    service.at_rest().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_no_absence_for_who_comes_back() -> Result<()> {
    let (mut service, _config) = service_with_grace(3)?;
    let api = service.api();
    for killed in [false, true] {
        let mut wires = Vec::new();
        for device in ["back", "gone"] {
            let mut wire = Wire::connect(&service.mqtt, Version::V5, device, device, "").await?;
            wire.publish(&format!("devices/{device}/state"), br#"{"n":1}"#, 1).await?;
            wires.push(wire);
            is_online(&api, device, true).await?;
        }
        let before = is_online(&api, "back", true).await?;
        if killed {
            service.kill()?;
        } else {
            ensure!(service.stop()?, "an orderly stop");
        }
        service.restart()?;
        ensure!(is_online(&api, "gone", true).await?["online"] == true, "not before the grace is over");
        let mut back = Wire::connect(&service.mqtt, Version::V5, "back", "back", "").await?;
        let gone = is_online(&api, "gone", false).await?;
        ensure!(gone["reason"] == "did not come back", "{gone}");
        ensure!(gone["epoch"].as_u64() > before["epoch"].as_u64(), "{before} {gone}");
        ensure!(is_online(&api, "back", true).await? == before, "nothing happened to it");
        back.ping().await?;
        back.disconnect().await?;
        is_online(&api, "back", false).await?;
    }
    told(&api, "back").await?;
    ensure!(told(&api, "gone").await? == [false, true, false]);
    service.at_rest().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_offline_and_silent_is_found() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let here = lamp(&service, Version::V5, "here").await?;
    let mut away = Wire::connect(&service.mqtt, Version::V5, "", "away", "").await?;
    away.publish("devices/away/state", br#"{"n":1}"#, 1).await?;
    away.disconnect().await?;
    is_online(&api, "away", false).await?;
    let found = |query: &'static str, expected: &'static [&'static str]| {
        let api = api.clone();
        async move {
            wait::until(query, || async {
                let found = api.json(&format!("/v1/search?sort=id&q={query}")).await.ok()?;
                let items = found["items"].as_array()?;
                let ids: Vec<&str> = items.iter().filter_map(|item| item["device"].as_str()).collect();
                (ids == expected).then_some(())
            })
            .await
        }
    };
    found("online:false", &["away"]).await?;
    found("online:true", &["lamp"]).await?;
    found("online:false%20seen:%3C-1h", &[]).await?;
    found("online:false%20seen:%3E-1h", &["away"]).await?;
    // A second later it was seen more than a second ago: what is relative to now needs no change to be true.
    found("online:false%20seen:%3C-1s", &["away"]).await?;
    here.disconnect().await
}
