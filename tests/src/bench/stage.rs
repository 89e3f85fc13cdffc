//! A service with a fleet of known devices, ready to be measured.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};
use statecast_tests::{Api, Service, wait};

use crate::load::Load;

/// Devices of a fleet.
pub(crate) const DEVICES: usize = 10_000;
/// Messages per second while a fleet registers.
const REGISTRATIONS_PER_S: u64 = 5_000;
/// How long a load may take to drain.
const DRAIN_MAX: Duration = Duration::from_secs(120);

/// Starts a service and lets every device speak twice: the second message has something to undo.
///
/// # Errors
/// When it doesn't come up.
pub(crate) async fn fleet() -> Result<Service> {
    let service = Service::start()?;
    let load = Load::start(&service.mqtt, DEVICES, None)?;
    load.rate(REGISTRATIONS_PER_S);
    while load.acked() < 2 * DEVICES as u64 {
        load.check()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    load.stop()?;
    let api = service.api();
    let all = |found: &Value| found["total"].as_u64().is_some_and(|total| total >= DEVICES as u64);
    wait::until("all devices in the index", || async {
        search(&api, "type:thermostat").await.ok().filter(|found| all(found))
    })
    .await?;
    Ok(service)
}

/// Pauses a load and waits until everything is acknowledged; gives how long that took.
///
/// # Errors
/// When it takes too long.
pub(crate) fn drain(load: &Load) -> Result<Duration> {
    load.rate(0);
    let begun = Instant::now();
    while load.open() > 0 {
        load.check()?;
        if begun.elapsed() > DRAIN_MAX {
            bail!("{} messages were not acknowledged within {} s", load.open(), DRAIN_MAX.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(begun.elapsed())
}

/// One page of a search.
///
/// # Errors
/// When there is none.
pub(crate) async fn search(api: &Api, query: &str) -> Result<Value> {
    let request = api.request(Method::GET, "/v1/search").query(&[("q", query), ("limit", "1")]);
    Ok(request.send().await?.error_for_status()?.json().await?)
}

/// Reports the state of a device over HTTP; gives the position of the committed change.
///
/// # Errors
/// When it isn't committed.
pub(crate) async fn report(api: &Api, device: &str, serial: u64) -> Result<u64> {
    let path = format!("/v1/devices/{device}/state");
    let answer = api.send(Method::POST, &path, &json!({ "serial": serial })).await?.error_for_status()?;
    let position = answer.headers().get("statecast-position").context("no position")?;
    Ok(position.to_str()?.parse()?)
}

/// Waits until the index has reached a position, without asking it to hurry.
///
/// # Errors
/// When it doesn't in time.
pub(crate) async fn indexed(service: &Service, position: u64, limit: Duration) -> Result<()> {
    let (api, begun) = (service.api(), Instant::now());
    loop {
        if search(&api, "id:none").await?["position"].as_u64() >= Some(position) {
            return Ok(());
        }
        if begun.elapsed() > limit {
            bail!("the index didn't reach {position} within {} s", limit.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
