//! The service is killed while it tells people: everything is told, and what is told again has the same id.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::{Api, Service};
use tokio::net::TcpListener;

use crate::agreement::report;

/// Devices for which the rule fires.
const DEVICES: usize = 120;
/// Calls that the receiver turns down at first.
const REFUSALS: usize = 10;
/// What a call takes: so that a kill hits some on their way.
const SLOWNESS: Duration = Duration::from_millis(100);
/// How often the service is killed.
const KILLS: usize = 3;
/// What was claimed by a killed service is claimed again a minute later, three times in the worst case.
const TOLD_MAX: Duration = Duration::from_secs(240);

/// What the receiver was told: by device, the ids, and how often it accepted each.
#[derive(Default)]
struct Told {
    calls: usize,
    accepted: HashMap<String, HashMap<String, usize>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn each_push_arrives_under_one_id() -> Result<()> {
    let mut service = Service::start()?;
    let api = service.api();
    let (told, url) = receiver().await?;
    api.call(Method::POST, "/v1/receivers", &json!({ "name": "ops", "kind": "webhook", "url": url })).await?;
    let rule = json!({ "name": "alarm", "query": "alarm:true", "title": "{device} has an alarm" });
    api.call(Method::POST, "/v1/rules", &rule).await?;
    for n in 0..DEVICES {
        report(&api, &format!("d{n}"), &json!({ "alarm": true })).await?;
    }
    for kill in 1..=KILLS {
        // Each time when it has told a few more, with others on their way.
        let enough = kill * DEVICES / (KILLS + 2);
        until(&told, TOLD_MAX, |told| told.accepted.len() >= enough).await?;
        ensure!(told.lock().expect("no panic").accepted.len() < DEVICES, "it was killed too late");
        service.kill()?;
        service.restart()?;
    }
    until(&told, TOLD_MAX, |told| told.accepted.len() >= DEVICES).await?;
    let waiting = wait_for_none(&api).await;
    let told = told.lock().expect("no panic");
    let again: usize = told.accepted.values().flat_map(HashMap::values).map(|times| times - 1).sum();
    eprintln!("{} calls, {again} of them for what had been accepted before", told.calls);
    for (device, ids) in &told.accepted {
        ensure!(ids.len() == 1, "{device} was told under {} ids", ids.len());
    }
    let ids: HashSet<&String> = told.accepted.values().flat_map(HashMap::keys).collect();
    ensure!(ids.len() == DEVICES, "{} ids for {DEVICES} devices", ids.len());
    ensure!(told.calls >= DEVICES + REFUSALS, "what was refused is told again");
    waiting
}

/// Waits until all deliveries are listed as delivered.
async fn wait_for_none(api: &Api) -> Result<()> {
    let begun = Instant::now();
    loop {
        let waiting = api.json("/v1/deliveries?state=waiting").await?;
        if waiting["items"].as_array().context("items")?.is_empty() {
            break;
        }
        ensure!(begun.elapsed() < TOLD_MAX, "still waiting: {waiting}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let dead = api.json("/v1/deliveries?state=dead").await?;
    ensure!(dead["items"] == json!([]), "{dead}");
    Ok(())
}

/// A webhook that is slow, and turns the first calls down.
async fn receiver() -> Result<(Arc<Mutex<Told>>, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hook", listener.local_addr()?);
    let told = Arc::new(Mutex::new(Told::default()));
    let take = {
        let told = told.clone();
        move |headers: HeaderMap, body: Bytes| async move {
            tokio::time::sleep(SLOWNESS).await;
            let mut told = told.lock().expect("no panic");
            told.calls += 1;
            if told.calls <= REFUSALS {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let device = body["device"].as_str().unwrap_or_default();
            *told.accepted.entry(device.to_owned()).or_default().entry(id.to_owned()).or_default() += 1;
            StatusCode::NO_CONTENT
        }
    };
    tokio::spawn(async move { drop(axum::serve(listener, Router::new().fallback(take)).await) });
    Ok((told, url))
}

async fn until(told: &Mutex<Told>, limit: Duration, holds: impl Fn(&Told) -> bool) -> Result<()> {
    let begun = Instant::now();
    while !holds(&told.lock().expect("no panic")) {
        if begun.elapsed() > limit {
            let told = told.lock().expect("no panic");
            bail!("after {limit:?} {} devices were told of, in {} calls", told.accepted.len(), told.calls);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
