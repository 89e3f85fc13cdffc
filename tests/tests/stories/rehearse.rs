//! What a rule would have done is what it did where it was there, and what it will do where it wasn't.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Row;
use statecast_tests::{Api, Service, wait};

/// Devices, and reports of each.
const DEVICES: usize = 12;
const REPORTS: usize = 10;

async fn report(api: &Api, device: &str, state: Value) -> Result<()> {
    api.call(Method::POST, &format!("/v1/devices/{device}/state"), &state).await.map(drop)
}

async fn rehearse(api: &Api, rule: &Value, from: &str) -> Result<Value> {
    api.call(Method::POST, "/v1/rules/rehearse", &json!({ "rule": rule, "from": from, "limit": 100 })).await
}

/// How often the alarms of a rule were raised, by device, as the database has it.
async fn raised(service: &Service, rule: &str) -> Result<BTreeMap<String, u64>> {
    let mut database = service.database().await?;
    let rows = sqlx::query(
        "SELECT a.device, count(*) AS raised FROM alarm_events e
         JOIN alarms a ON a.tenant = e.tenant AND a.id = e.alarm
         WHERE a.rule = $1::uuid AND e.what IN ('raised', 'reraised') GROUP BY a.device",
    )
    .bind(rule)
    .fetch_all(&mut database)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("device")?, row.try_get::<i64, _>("raised")?.unsigned_abs())))
        .collect()
}

/// The same, as the rehearsal has it.
fn by_device(rehearsed: &Value) -> Result<BTreeMap<String, u64>> {
    let items = rehearsed["by_device"].as_array().context("by_device")?;
    items
        .iter()
        .map(|item| {
            let device = item["device"].as_str().context("device")?.to_owned();
            Ok((device, item["raised"].as_u64().context("raised")?))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_rule_was_there_it_finds_exactly_what_was_raised() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    // Some devices match already when the rules come.
    for n in 0..DEVICES {
        report(&api, &format!("d{n}"), json!({ "battery": random.random_range(0..40) })).await?;
    }
    report(&api, "slow", json!({ "heat": 99 })).await?;
    let rule = |changes: Value| {
        let mut rule = json!({ "name": "low", "query": "battery:<20", "title": "{device} has {battery} %" });
        for (name, value) in changes.as_object().into_iter().flatten() {
            rule[name.as_str()] = value.clone();
        }
        rule
    };
    let rules = [
        rule(json!({})),
        rule(json!({ "on": "leave" })),
        rule(json!({ "on": "change", "levels": [{ "severity": "critical", "query": "battery:<5" }] })),
        rule(json!({ "cooldown": "1h" })),
        rule(json!({ "query": "heat:>90", "for": "2s" })),
    ];
    let mut ids = Vec::new();
    for rule in &rules {
        let saved = api.call(Method::POST, "/v1/rules", rule).await?;
        ids.push(saved["id"].as_str().context("id")?.to_owned());
    }
    // They look at the fleet as it is, one after the other; what the last one is about has to last.
    wait_until_raised(&service, &ids[4], 1).await?;
    let from = now_of(&service).await?;
    let before = raised_by_all(&service, &ids).await?;

    for _ in 0..REPORTS {
        for n in 0..DEVICES {
            report(&api, &format!("d{n}"), json!({ "battery": random.random_range(0..40) })).await?;
        }
    }
    // Cleared, not long enough, and long enough.
    for heat in [1, 99, 1, 99] {
        report(&api, "slow", json!({ "heat": heat })).await?;
    }
    wait_until_raised(&service, &ids[4], 2).await?;

    let after = raised_by_all(&service, &ids).await?;
    for (number, rule) in rules.iter().enumerate() {
        let mut expected = after[number].clone();
        for (device, count) in &before[number] {
            expected.entry(device.clone()).and_modify(|now| *now -= count);
        }
        expected.retain(|_, count| *count > 0);
        let rehearsed = rehearse(&api, rule, &from).await?;
        ensure!(by_device(&rehearsed)? == expected, "seed {seed}, {rule}: {rehearsed}, not {expected:?}");
        let total: u64 = expected.values().sum();
        ensure!(rehearsed["raised"] == total && rehearsed["cut"].is_null(), "seed {seed}: {rehearsed}");
        let over_time = rehearsed["over_time"].as_array().context("over_time")?;
        ensure!(over_time.iter().filter_map(|one| one["raised"].as_u64()).sum::<u64>() == total);
    }
    ensure!(raised_by_all(&service, &ids).await? == after, "a rehearsal raises nothing");
    Ok(())
}

/// Waits until the alarms of a rule were raised so often.
async fn wait_until_raised(service: &Service, rule: &str, count: u64) -> Result<()> {
    let look = || async {
        let counts = raised(service, rule).await.ok()?;
        (counts.values().sum::<u64>() == count).then_some(())
    };
    wait::until("the alarm is raised", look).await
}

/// Now, as the machine of the service has it.
async fn now_of(service: &Service) -> Result<String> {
    let mut database = service.database().await?;
    let now = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    Ok(sqlx::query_scalar(now).fetch_one(&mut database).await?)
}

async fn raised_by_all(service: &Service, ids: &[String]) -> Result<Vec<BTreeMap<String, u64>>> {
    let mut counts = Vec::with_capacity(ids.len());
    for id in ids {
        counts.push(raised(service, id).await?);
    }
    Ok(counts)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_says_whom_it_would_have_told_what() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let receiver = api.call(Method::POST, "/v1/receivers", &json!({ "name": "ops", "kind": "live" })).await?;
    for battery in [50, 12, 60, 7, 3] {
        report(&api, "pump", json!({ "battery": battery })).await?;
        report(&api, "other", json!({ "battery": 80 })).await?;
    }
    let rule =
        json!({ "name": "low", "query": "battery:<20", "title": "{device} is low", "body": "{battery} %" });
    let rehearsed = rehearse(&api, &rule, "2020-01-01T00:00:00Z").await?;
    ensure!(rehearsed["raised"] == 2 && rehearsed["devices_raised"] == 1, "{rehearsed}");
    ensure!(rehearsed["devices"] == 2 && rehearsed["changes"] == 10, "{rehearsed}");
    ensure!(rehearsed["events"] == json!({ "raised": 1, "reraised": 1, "cleared": 1 }), "{rehearsed}");
    let bodies: Vec<&Value> =
        rehearsed["examples"].as_array().context("examples")?.iter().map(|one| &one["body"]).collect();
    ensure!(bodies == ["12 %", "7 %"], "{rehearsed}");
    let first = &rehearsed["examples"][0];
    ensure!(first["device"] == "pump" && first["title"] == "pump is low", "{first}");
    ensure!(first["told"][0]["receiver"] == receiver["id"], "{first}");
    ensure!(api.json("/v1/deliveries").await?["items"] == json!([]), "nobody was told");
    ensure!(api.json("/v1/rules").await?["items"] == json!([]), "nothing was saved");

    for (draft, status) in [
        (json!({ "rule": rule, "from": "2030-01-01T00:00:00Z" }), 400),
        (json!({ "rule": { "name": "x", "query": "battery:<", "title": "x" } }), 400),
        (json!({ "rule": rule, "unknown": 1 }), 422),
    ] {
        let answer = api.send(Method::POST, "/v1/rules/rehearse", &draft).await?;
        ensure!(answer.status() == status, "{draft}: {}", answer.text().await?);
    }
    Ok(())
}
