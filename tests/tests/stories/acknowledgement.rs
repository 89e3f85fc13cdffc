//! A PUBACK means committed: not before, in order, and whatever happens after it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use statecast_tests::{Service, VERSIONS, Version, Wire};
use tokio::time::timeout;

/// For so long nothing may come from a service whose database doesn't answer.
const SILENCE: Duration = Duration::from_secs(2);
/// Publishes that wait while the database is frozen, on one connection.
const WAITING: u64 = 60;

/// PUBACK and PUBREC.
const ANSWERS: [u8; 2] = [0x40, 0x50];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_the_database_has_it() -> Result<()> {
    let service = Service::start()?;
    for version in VERSIONS {
        for qos in [1, 2] {
            // Once with what is known of the device in memory, and once when it has to be read first.
            for known in [true, false] {
                let device = format!("{version:?}-{qos}-{known}").to_lowercase();
                waits_for_the_commit(&service, version, qos, known, &device).await.context(device)?;
            }
        }
    }
    Ok(())
}

async fn waits_for_the_commit(
    service: &Service,
    version: Version,
    qos: u8,
    known: bool,
    device: &str,
) -> Result<()> {
    let topic = format!("devices/{device}/state");
    let mut wire = Wire::connect(&service.mqtt, version, device, device, "").await?;
    if known {
        wire.publish(&topic, br#"{"n":-1}"#, 1).await?;
    }
    let frozen = service.freeze_database()?;
    let mut ids = Vec::new();
    for n in 0..WAITING {
        let (publish, id) = wire.publication(&topic, json!({ "n": n }).to_string().as_bytes(), qos);
        wire.send(&publish).await?;
        ids.push(id);
    }
    // It is read and answered, and what it published isn't: a PINGRESP comes, and nothing else.
    wire.ping().await?;
    if let Ok(packet) = timeout(SILENCE, wire.next()).await {
        anyhow::bail!("it was answered before the database had it: {packet:?}");
    }
    frozen.thaw();
    for id in ids {
        let answer = wire.answer(ANSWERS[usize::from(qos) - 1], id).await.context("in order")?;
        ensure!(answer.code == 0, "{answer:?}");
    }
    let twin = service.api().json(&format!("/v1/devices/{device}")).await?;
    ensure!(twin["reported"]["n"] == WAITING - 1, "{twin}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_right_after_the_puback_loses_nothing() -> Result<()> {
    let mut service = Service::start()?;
    for n in 1..=5 {
        let mut wire = Wire::connect(&service.mqtt, Version::V3, "d", "d", "").await?;
        let state = json!({ "n": n }).to_string();
        wire.publish("devices/d/state", state.as_bytes(), if n % 2 == 0 { 2 } else { 1 }).await?;
        service.kill()?;
        service.restart()?;
        let history = service.api().history("d").await?;
        let states: Vec<_> = history.iter().filter(|entry| entry["kind"] == "state").collect();
        ensure!(states.len() == n, "{} of {n} are there", states.len());
        ensure!(states[n - 1]["patch"]["n"] == n, "{}", states[n - 1]);
    }
    Ok(())
}
