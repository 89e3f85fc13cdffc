//! Pushes: devices enter a rule, all at once and then one after the other, and webhooks that take 50 to 100 ms for an answer take what comes.

use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::{Api, Service};

use crate::latency::at;
use crate::load::Load;
use crate::results::Results;
use crate::{machine, packets, stage};

/// Webhooks, each told of every device.
const RECEIVERS: usize = 16;
/// How long one of them takes, in milliseconds: like gateways far away.
const ANSWER_MS: Range<u64> = 50..100;
/// Devices that fire at once: those whose names begin like this.
const DEVICES_AT_ONCE: usize = 2_000;
const AT_ONCE: &str = "id:(bench-00* OR bench-01*)";
/// Devices that fire one after the other.
const DEVICES_STEADY: usize = 500;
/// Messages per second that bring these to where they will fire from.
const PREPARING_PER_S: u64 = 1_000;
/// How long all deliveries may take.
const DELIVERED_MAX: Duration = Duration::from_secs(60);

/// How long after its change each push came, in milliseconds.
type Seen = Arc<Mutex<Vec<f64>>>;

/// Measures deliveries per second, from the first change to the last delivery, and how late they come at half of that.
///
/// # Errors
/// When not all arrive.
pub(crate) async fn measure(service: &Service, results: &mut Results) -> Result<()> {
    machine::wait_for_quiet()?;
    let seen = Seen::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let routes = Router::new().route("/hook/{n}", post(take)).with_state(seen.clone());
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
    let api = service.api();
    let mut receivers = Vec::new();
    for n in 0..RECEIVERS {
        let receiver = json!({ "name": format!("bench {n}"), "kind": "webhook", "url": format!("http://{address}/hook/{n}") });
        receivers.push(api.call(Method::POST, "/v1/receivers", &receiver).await?["id"].clone());
    }

    // A new rule looks at the fleet as it is, and raises an alarm for each of these.
    let (begun, all) = (Instant::now(), DEVICES_AT_ONCE * RECEIVERS);
    let rule = enter(&api, AT_ONCE, &receivers).await?;
    until_seen(&seen, all).await?;
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let per_s = all as f64 / begun.elapsed().as_secs_f64();
    let means =
        "32,000 of 2,000 alarms to 16 webhooks that take 50 to 100 ms, with the alarms that caused them";
    results.add("push_deliveries_per_s", per_s, means);
    forget(&api, &rule).await?;

    // At half of that: everybody takes a few steps, and enters with the next that nobody took yet.
    let load = Load::start(&service.mqtt, DEVICES_STEADY, None)?;
    publish(&load, PREPARING_PER_S, DEVICES_STEADY).await?;
    stage::drain(&load)?;
    let next = load.acked() / DEVICES_STEADY as u64 + 2;
    // It stays above, so that the alarm stays too.
    let steady = format!("uptime:{}..{}", packets::UPTIME_FROM + next, packets::UPTIME_FROM + 1_000);
    let rule = enter(&api, &steady, &receivers).await?;
    seen.lock().expect("no panic").clear();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive rate")]
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    let firing = (per_s / 2.0 / RECEIVERS as f64) as u64;
    let all = usize::try_from(next)? * DEVICES_STEADY;
    publish(&load, firing.max(1), all).await?;
    load.stop()?;
    // They aren't quite in step.
    until_seen(&seen, DEVICES_STEADY * RECEIVERS * 9 / 10).await?;
    let mut late = std::mem::take(&mut *seen.lock().expect("no panic"));
    late.sort_by(f64::total_cmp);
    results.add("push_p50_ms_at_50", at(&late, 0.5), "from the change to the gateway, at half of that");
    results.add("push_p99_ms_at_50", at(&late, 0.99), "the same");
    forget(&api, &rule).await?;
    for receiver in &receivers {
        let path = format!("/v1/receivers/{}", receiver.as_str().unwrap_or_default());
        api.request(Method::DELETE, &path).send().await?.error_for_status()?;
    }
    serving.abort();
    Ok(())
}

/// A webhook: notes how late it is told of an alarm, and takes its time.
async fn take(State(seen): State<Seen>, body: Bytes) -> StatusCode {
    let now = DateTime::<Utc>::from(SystemTime::now());
    let told: Value = serde_json::from_slice(&body).unwrap_or_default();
    let raised = matches!(told["type"].as_str(), Some("alarm.raised" | "alarm.reraised" | "rule.enter"));
    let at = told["at"].as_str().and_then(|at| DateTime::parse_from_rfc3339(at).ok());
    if let (true, Some(at)) = (raised, at) {
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a minute")]
        let ms = (now - at.to_utc()).num_microseconds().unwrap_or(i64::MAX) as f64 / 1_000.0;
        seen.lock().expect("no panic").push(ms);
    }
    tokio::time::sleep(Duration::from_millis(rand::random_range(ANSWER_MS))).await;
    StatusCode::NO_CONTENT
}

/// A rule for devices that enter this query; gives its path.
async fn enter(api: &Api, query: &str, receivers: &[Value]) -> Result<String> {
    let rule = json!({
        "name": "bench", "query": query, "on": "enter", "title": "{device}",
        "body": "{temperature}", "receivers": receivers, "severity": "critical",
    });
    let rule = api.call(Method::POST, "/v1/rules", &rule).await?;
    Ok(format!("/v1/rules/{}", rule["id"].as_str().unwrap_or_default()))
}

async fn forget(api: &Api, rule: &str) -> Result<()> {
    api.request(Method::DELETE, rule).send().await?.error_for_status()?;
    Ok(())
}

/// Lets a load publish until so many in all are acknowledged.
async fn publish(load: &Load, per_s: u64, acked: usize) -> Result<()> {
    load.rate(per_s);
    while load.acked() < acked as u64 {
        load.check()?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    load.rate(0);
    Ok(())
}

async fn until_seen(seen: &Seen, count: usize) -> Result<()> {
    let begun = Instant::now();
    loop {
        let arrived = seen.lock().expect("no panic").len();
        if arrived >= count {
            return Ok(());
        }
        if begun.elapsed() > DELIVERED_MAX {
            bail!("{arrived} of {count} pushes arrived");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
