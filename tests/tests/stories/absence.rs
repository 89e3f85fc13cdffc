//! Rules that fire because nothing happens: once, not for who is seen, and never because of a restart.

use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::{Api, Hook, Service, wait};

use crate::agreement::report;

/// How long the devices of these stories are silent before they are absent.
const ABSENCE: Duration = Duration::from_secs(5);

/// A service with a webhook, and a rule on absence for devices with `watched:true`.
async fn watching() -> Result<(Service, Api, Hook)> {
    let service = Service::start()?;
    let api = service.api();
    let hook = Hook::start().await?;
    api.call(Method::POST, "/v1/receivers", &json!({ "name": "ops", "kind": "webhook", "url": hook.url }))
        .await?;
    let rule = json!({
        "name": "silent", "query": "watched:true", "on": "absence", "for": "5s", "title": "{device} is silent"
    });
    let rule = api.call(Method::POST, "/v1/rules", &rule).await?;
    ensure!(rule["for"] == "5s" && rule["on"] == "absence", "{rule}");
    Ok((service, api, hook))
}

/// The pushes of a device.
async fn pushes(api: &Api, device: &str) -> Result<usize> {
    let list = api.json(&format!("/v1/deliveries?device={device}")).await?;
    Ok(list["items"].as_array().map_or(0, Vec::len))
}

/// Waits until there are so many entries of absence in the history of a device.
async fn absences(api: &Api, device: &str, count: usize) -> Result<Vec<Value>> {
    wait::until("an absence in the history", || async {
        let history = api.history(device).await.ok()?;
        let found: Vec<Value> = history.into_iter().filter(|entry| entry["kind"] == "absence").collect();
        (found.len() == count).then_some(found)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_fires_once_until_the_device_is_seen_again() -> Result<()> {
    let (_service, api, mut hook) = watching().await?;
    report(&api, "pump", &json!({ "watched": true })).await?;
    report(&api, "other", &json!({ "watched": false })).await?;
    let told = hook.next().await?.json()?;
    ensure!(told["type"] == "alarm.raised" && told["title"] == "pump is silent", "{told}");
    let first = absences(&api, "pump", 1).await?;
    let twin = api.json("/v1/devices/pump").await?;
    ensure!(first[0]["patch"]["seen"] == twin["received_at"], "{first:?} {twin}");

    // A second device marks the time: when its turn has come twice, the first one had its chance.
    for n in 1..=2 {
        report(&api, "mark", &json!({ "watched": true })).await?;
        if n > 1 {
            ensure!(hook.next().await?.json()?["type"] == "alarm.cleared", "it was seen");
        }
        ensure!(hook.next().await?.json()?["device"] == "mark");
        absences(&api, "mark", n).await?;
    }
    ensure!(
        pushes(&api, "pump").await? == 1 && pushes(&api, "other").await? == 0,
        "once, and only who matches"
    );
    report(&api, "pump", &json!({ "n": 2 })).await?;
    let seen = hook.next().await?.json()?;
    ensure!(seen["type"] == "alarm.cleared" && seen["device"] == "pump", "{seen}");
    ensure!(hook.next().await?.json()?["device"] == "pump", "it was seen, and is absent again");
    absences(&api, "pump", 2).await?;

    // One that begins to match when it has been silent for long enough is told of at once.
    api.call(Method::PATCH, "/v1/devices/other/desired", &json!({ "x": 1 })).await?;
    let rule = json!({
        "name": "tagged", "query": "tags.site:lab", "on": "absence", "for": "5s", "title": "{device} in the lab"
    });
    api.call(Method::POST, "/v1/rules", &rule).await?;
    api.call(Method::PATCH, "/v1/devices/other/tags", &json!({ "site": "lab" })).await?;
    ensure!(hook.next().await?.json()?["title"] == "other in the lab");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_alarms_nobody_and_forgets_nobody() -> Result<()> {
    let (mut service, api, mut hook) = watching().await?;
    report(&api, "told", &json!({ "watched": true })).await?;
    ensure!(hook.next().await?.json()?["device"] == "told");
    report(&api, "alive", &json!({ "watched": true })).await?;
    report(&api, "silent", &json!({ "watched": true })).await?;
    service.kill()?;
    // It is the time that we are away that this is about.
    tokio::time::sleep(ABSENCE).await;
    service.restart()?;
    // While we were away, all of them were silent for long enough. Who speaks within the time isn't alarmed about.
    report(&api, "alive", &json!({ "n": 1 })).await?;
    let silent = hook.next().await?.json()?;
    ensure!(silent["device"] == "silent", "{silent}");
    absences(&api, "silent", 1).await?;
    let entry = &absences(&api, "alive", 1).await?[0];
    let spoken = api.json("/v1/devices/alive").await?["received_at"].clone();
    ensure!(entry["patch"]["seen"] == spoken, "absent since it spoke after the restart: {entry}");
    ensure!(pushes(&api, "told").await? == 1, "what had fired doesn't fire again");
    Ok(())
}
