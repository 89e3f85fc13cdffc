//! Alarms: raised, told again, handed on and acknowledged; by the clock, whatever happens to the process.

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::{Api, Hook, Service, Version, Wire, wait};

use crate::agreement::{metric, report};

/// Devices that are there when a rule is saved.
const FLEET: usize = 2_000;

/// Saves a rule about devices with a low battery; gives its id.
async fn rule(api: &Api, changes: Value) -> Result<String> {
    let mut rule = json!({ "name": "low", "query": "battery:<20", "title": "{device} is low" });
    let (Some(rule_fields), Some(changes)) = (rule.as_object_mut(), changes.as_object()) else {
        unreachable!()
    };
    rule_fields.extend(changes.clone());
    let rule = api.call(Method::POST, "/v1/rules", &rule).await?;
    rule["id"].as_str().map(str::to_owned).context("an id")
}

async fn alarms(api: &Api, query: &str) -> Result<Vec<Value>> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.json(&format!("/v1/alarms?{query}&limit=300&cursor={cursor}")).await?;
        found.extend(page["items"].as_array().context("items")?.iter().cloned());
        page["next_cursor"].as_str().context("next_cursor")?.clone_into(&mut cursor);
        if cursor.is_empty() {
            return Ok(found);
        }
    }
}

/// The alarm of a device, once it is so.
async fn alarm_when(api: &Api, device: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    wait::until(&format!("the alarm of {device}"), || async {
        let found = alarms(api, &format!("device={device}")).await.ok()?;
        found.into_iter().find(&holds)
    })
    .await
}

/// What happened to an alarm, the first first.
async fn events(api: &Api, alarm: &Value) -> Result<Vec<String>> {
    let read = api.json(&path(alarm, "")).await?;
    let events = read["events"].as_array().context("events")?.iter().rev();
    Ok(events.filter_map(|event| event["what"].as_str().map(str::to_owned)).collect())
}

fn path(alarm: &Value, action: &str) -> String {
    format!("/v1/alarms/{}{action}", alarm["id"].as_str().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_is_raised_acknowledged_and_cleared() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let levels = json!([{ "severity": "critical", "query": "battery:<5" }]);
    rule(&api, json!({ "severity": "minor", "levels": levels })).await?;
    let mut device = Wire::connect(&service.mqtt, Version::V5, "pump", "pump", "").await?;
    let mut says = async |payload: &str| device.publish("devices/pump/state", payload.as_bytes(), 1).await;
    says(r#"{"battery":50}"#).await?;
    ensure!(alarms(&api, "").await?.is_empty());
    says(r#"{"battery":10}"#).await?;
    // PUBACK has come, so it is committed: no waiting here.
    let found = alarms(&api, "state=active&severity=minor&device=pump").await?;
    let alarm = found.first().context("it is raised")?.clone();
    ensure!(alarm["version"] == 1 && alarm["count"] == 1 && alarm["severity"] == "minor", "{alarm}");
    ensure!(
        alarms(&api, "severity=major").await?.is_empty() && alarms(&api, "state=cleared").await?.is_empty()
    );

    says(r#"{"battery":3}"#).await?;
    let ack = path(&alarm, "/ack");
    let stale = api.send(Method::POST, &ack, &json!({ "version": 1 })).await?;
    ensure!(stale.status() == 409, "it became worse since: {}", stale.status());
    let said = json!({ "version": 2, "note": "on my way" });
    let answer = api.send(Method::POST, &ack, &said).await?;
    let position: u64 = answer.headers()["Statecast-Position"].to_str()?.parse()?;
    let acknowledged: Value = answer.json().await?;
    ensure!(acknowledged["version"] == 3 && acknowledged["severity"] == "critical", "{acknowledged}");
    ensure!(acknowledged["acknowledged_note"] == "on my way", "{acknowledged}");
    let again = api.call(Method::POST, &ack, &said).await?;
    ensure!(again == acknowledged, "the same again changes nothing: {again}");
    ensure!(alarms(&api, "acknowledged=false").await?.is_empty());

    says(r#"{"battery":60}"#).await?;
    let cleared = alarms(&api, "state=cleared&acknowledged=true").await?;
    ensure!(cleared.len() == 1 && cleared[0]["version"] == 4, "{cleared:?}");
    says(r#"{"battery":15}"#).await?;
    let raised = alarms(&api, "state=active&acknowledged=false").await?;
    ensure!(raised.len() == 1 && raised[0]["count"] == 2 && raised[0]["id"] == alarm["id"], "{raised:?}");
    ensure!(events(&api, &alarm).await? == ["raised", "worse", "acknowledged", "cleared", "reraised"]);
    let history = api.history("pump").await?;
    let entry = history.iter().find(|entry| entry["position"] == position).context("it is in the history")?;
    ensure!(entry["kind"] == "alarm" && entry["patch"]["events"][0]["what"] == "acknowledged", "{entry}");

    api.call(Method::DELETE, "/v1/devices/pump", &json!(null)).await?;
    ensure!(alarms(&api, "state=active").await?.is_empty(), "the device is gone");
    report(&api, "pump", &json!({ "battery": 1 })).await?;
    let back = alarm_when(&api, "pump", |alarm| alarm["state"] == "active").await?;
    ensure!(back["id"] == alarm["id"] && back["version"] == 7, "it goes on: {back}");
    let nothing =
        api.send(Method::POST, "/v1/alarms/00000000-0000-8000-8000-000000000000/ack", &said).await?;
    ensure!(nothing.status() == 404, "{}", nothing.status());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_breaks_off_raises_nothing() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    rule(&api, json!({ "for": "2s" })).await?;
    report(&api, "broken", &json!({ "battery": 10 })).await?;
    report(&api, "steady", &json!({ "battery": 10 })).await?;
    report(&api, "broken", &json!({ "battery": 50 })).await?;
    ensure!(alarms(&api, "").await?.is_empty(), "not yet");
    let steady = alarm_when(&api, "steady", |alarm| alarm["state"] == "active").await?;
    ensure!(alarms(&api, "").await? == [steady], "the other began earlier, and broke off");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_note_ends_what_is_repeated_and_escalated() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let (mut first, mut second) = (Hook::start().await?, Hook::start().await?);
    let mut receivers = Vec::new();
    for (name, hook) in [("first", &first), ("second", &second)] {
        let receiver = json!({ "name": name, "kind": "webhook", "url": hook.url });
        receivers.push(api.call(Method::POST, "/v1/receivers", &receiver).await?["id"].clone());
    }
    // The escalation is due long before a repeat, which would take its place while it waits to be sent.
    let steps = json!([{ "after": "1s", "receivers": [receivers[1]] }]);
    rule(
        &api,
        json!({ "receivers": [receivers[0]], "repeat": "4s", "repeat_max": 1000, "escalation": steps }),
    )
    .await?;
    report(&api, "pump", &json!({ "battery": 10 })).await?;
    ensure!(first.next().await?.json()?["type"] == "alarm.raised");
    let escalated = second.next().await?.json()?;
    ensure!(escalated["type"] == "alarm.escalated" && escalated["device"] == "pump", "{escalated}");
    ensure!(first.next().await?.json()?["type"] == "alarm.repeated");
    ensure!(second.next().await?.json()?["type"] == "alarm.repeated", "who was told last is reminded too");

    let alarm = alarm_when(&api, "pump", |_| true).await?;
    api.call(Method::POST, &path(&alarm, "/ack"), &json!({ "version": 1 })).await?;
    // Another device marks the time: when it was told of again, the first one had its chance.
    report(&api, "mark", &json!({ "battery": 10 })).await?;
    alarm_when(&api, "mark", |mark| mark["repeats"].as_u64() >= Some(1)).await?;
    let events = events(&api, &alarm).await?;
    ensure!(events.last().is_some_and(|last| last == "acknowledged"), "{events:?}");
    ensure!(events.iter().filter(|what| *what == "escalated").count() == 1, "{events:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shelved_alarm_is_told_again_when_the_shelf_ends() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let mut hook = Hook::start().await?;
    api.call(Method::POST, "/v1/receivers", &json!({ "name": "ops", "kind": "webhook", "url": hook.url }))
        .await?;
    rule(&api, json!({})).await?;
    report(&api, "pump", &json!({ "battery": 10 })).await?;
    ensure!(hook.next().await?.json()?["type"] == "alarm.raised");
    let alarm = alarm_when(&api, "pump", |_| true).await?;
    for wrong in [
        json!({}),
        json!({ "for": "0s" }),
        json!({ "for": "9w" }),
        json!({ "until": "2020-01-01T00:00:00Z" }),
    ] {
        let answer = api.send(Method::POST, &path(&alarm, "/shelve"), &wrong).await?;
        ensure!(answer.status() == 400, "{wrong}: {}", answer.status());
    }
    let shelved =
        api.call(Method::POST, &path(&alarm, "/shelve"), &json!({ "for": "2s", "note": "known" })).await?;
    ensure!(shelved["version"] == 2 && shelved["shelved_until"].is_string(), "{shelved}");
    // While it is shelved, what happens to it is told to nobody.
    report(&api, "pump", &json!({ "battery": 50 })).await?;
    report(&api, "pump", &json!({ "battery": 9 })).await?;
    let told = hook.next().await?.json()?;
    ensure!(told["type"] == "alarm.repeated" && told["alarm"]["version"] == 5, "{told}");
    ensure!(events(&api, &alarm).await? == ["raised", "shelved", "cleared", "reraised", "unshelved"]);
    let unshelved = api.call(Method::POST, &path(&alarm, "/unshelve"), &json!({})).await?;
    ensure!(unshelved["version"] == 5, "it isn't shelved: {unshelved}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgets_no_timer() -> Result<()> {
    let mut service = Service::start()?;
    let api = service.api();
    rule(&api, json!({ "for": "3s", "repeat": "2s" })).await?;
    rule(&api, json!({ "name": "at once", "query": "battery:<5", "repeat": "3s" })).await?;
    report(&api, "waits", &json!({ "battery": 10 })).await?;
    report(&api, "repeats", &json!({ "battery": 1 })).await?;
    service.kill()?;
    service.restart()?;
    let raised = alarm_when(&api, "waits", |alarm| alarm["state"] == "active").await?;
    ensure!(raised["count"] == 1, "{raised}");
    alarm_when(&api, "repeats", |alarm| alarm["repeats"].as_u64() >= Some(1)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_rule_looks_at_the_fleet_as_it_is() -> Result<()> {
    let mut service = Service::start()?;
    let api = service.api();
    let reports = stream::iter(0..FLEET).map(|n| {
        let api = api.clone();
        async move {
            report(&api, &format!("d{n}"), &json!({ "battery": if n % 2 == 0 { 10 } else { 50 } })).await
        }
    });
    reports.buffer_unordered(64).try_collect::<Vec<_>>().await?;
    let id = rule(&api, json!({})).await?;
    // A review that is cut off goes on where it was.
    service.kill()?;
    service.restart()?;
    let active = async || alarms(&api, &format!("rule={id}&state=active")).await.ok();
    wait::until("half of the fleet has an alarm", || async {
        active().await.filter(|all| all.len() == FLEET / 2)
    })
    .await?;

    // What it no longer matches is cleared, and all of it when the rule is gone.
    let changed = json!({ "name": "low", "query": "battery:<20 -id:d0", "title": "t" });
    api.call(Method::PUT, &format!("/v1/rules/{id}"), &changed).await?;
    wait::until("one is cleared", || async { active().await.filter(|all| all.len() == FLEET / 2 - 1) })
        .await?;
    api.send(Method::DELETE, &format!("/v1/rules/{id}"), &json!(null)).await?;
    wait::until("all are cleared", || async { active().await.filter(Vec::is_empty) }).await?;
    ensure!(metric(&api, "statecast_handler_panics_total").await? == 0.0);
    Ok(())
}
