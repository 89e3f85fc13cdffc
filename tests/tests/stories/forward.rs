//! State passed on by configuration alone: in order, at least once, and without an alarm.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::{Api, Hook, Service, Version, Wire};

/// Reports of each device.
const REPORTS: u64 = 40;

async fn report(api: &Api, device: &str, state: Value) -> Result<()> {
    api.call(Method::POST, &format!("/v1/devices/{device}/state"), &state).await.map(drop)
}

/// A rule that passes on what devices with a value of `n` report.
async fn pass_on(api: &Api, receiver: &Value) -> Result<()> {
    let rule = json!({ "name": "pass on", "query": "has:n", "on": "change", "alarm": false,
        "title": "{device}: {n}", "receivers": [receiver["id"]] });
    api.call(Method::POST, "/v1/rules", &rule).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_webhook_in_order_whatever_happens_to_the_service() -> Result<()> {
    let mut service = Service::start()?;
    let api = service.api();
    let mut hook = Hook::start().await?;
    let receiver = json!({ "name": "plant", "kind": "webhook", "url": hook.url });
    pass_on(&api, &api.call(Method::POST, "/v1/receivers", &receiver).await?).await?;
    report(&api, "quiet", json!({ "other": 1 })).await?;
    for n in 1..=REPORTS {
        for device in ["a", "b"] {
            report(&api, device, json!({ "n": n, "same": true })).await?;
        }
        if n % 10 == 5 {
            service.kill()?;
            service.restart()?;
        }
    }
    let (mut ids, mut told) = (HashSet::new(), vec![Vec::new(), Vec::new()]);
    while told.iter().any(|one: &Vec<u64>| one.last() != Some(&REPORTS)) {
        let call = hook.next().await?;
        if !ids.insert(call.header("webhook-id").to_owned()) {
            continue;
        }
        let change = call.json()?;
        ensure!(change["type"] == "rule.change" && change["position"].is_u64(), "{change}");
        let n = change["patch"]["n"].as_u64().context("n")?;
        let before = if n == 1 { Value::Null } else { json!(n - 1) };
        ensure!(change["fields"]["n"] == json!({ "before": before, "after": n }), "{change}");
        told[usize::from(change["device"] == "b")].push(n);
    }
    let all: Vec<u64> = (1..=REPORTS).collect();
    ensure!(told == [all.clone(), all], "{told:?}");
    ensure!(api.json("/v1/alarms").await?["items"] == json!([]), "and without an alarm");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_topic_in_order() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let mut plant = Wire::connect(&service.mqtt, Version::V5, "", "plant", "any").await?;
    ensure!(plant.subscribe("plant/+/n", 1).await? == 1);
    let receiver = json!({ "name": "plant", "kind": "mqtt", "topic": "plant/{device}/n" });
    pass_on(&api, &api.call(Method::POST, "/v1/receivers", &receiver).await?).await?;
    let mut device = Wire::connect(&service.mqtt, Version::V3, "", "pump", "any").await?;
    for n in 1..=REPORTS {
        ensure!(
            device.publish("devices/pump/state", format!("{{\"n\":{n}}}").as_bytes(), 1).await?.code == 0
        );
    }
    for n in 1..=REPORTS {
        let message = plant.message().await?;
        ensure!(message.topic == "plant/pump/n", "{message:?}");
        let change: Value = serde_json::from_slice(&message.payload)?;
        ensure!(change["patch"]["n"] == n, "{change}, not {n}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_passed_on_is_found_when_it_is_saved() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let receiver = api.call(Method::POST, "/v1/receivers", &json!({ "name": "me", "kind": "live" })).await?;
    for (what, wrong) in [
        ("on", json!({ "on": "enter", "receivers": [receiver["id"]] })),
        ("receivers", json!({ "on": "change" })),
        ("people", json!({ "on": "change", "receivers": [receiver["id"]], "people": ["ada"] })),
        ("cooldown", json!({ "on": "change", "receivers": [receiver["id"]], "cooldown": "1m" })),
    ] {
        let mut rule = json!({ "name": "x", "query": "*", "title": "x", "alarm": false });
        rule.as_object_mut().context("an object")?.extend(wrong.as_object().cloned().unwrap_or_default());
        let answer = api.send(Method::POST, "/v1/rules", &rule).await?;
        ensure!(answer.status() == 400, "{rule}");
        ensure!(answer.text().await?.contains(what), "{rule}");
    }
    Ok(())
}
