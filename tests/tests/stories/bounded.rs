//! Bounded everywhere: who reads nothing, and who writes without end, cost no more than their bound.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde_json::json;
use statecast_tests::{Service, Version, Wire, wait};
use tokio::task::JoinHandle;

use crate::agreement::{metric, ready};

/// Bytes of each payload.
const PAYLOAD_BYTES: usize = 40_000;
/// What the memory of the service may grow by, whatever is thrown at it: its caches are part of that.
const GROWTH_BYTES_MAX: u64 = 300 * 1024 * 1024;
/// The bound of the service on what is in flight.
const IN_FLIGHT_BYTES_MAX: f64 = 64.0 * 1024.0 * 1024.0;
/// Messages to the subscribers that read nothing: 40 MB each, far more than the sockets take.
const TOLD: usize = 1_000;
/// Connections that publish into the outage, and publishes of each: 120 MB, twice the bound.
const PUBLISHERS: usize = 20;
const PUBLISHES: usize = 150;

fn payload(n: usize) -> String {
    json!({ "n": n, "blob": "x".repeat(PAYLOAD_BYTES) }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_is_let_go() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    ready(&api).await?;
    let mut subscribers = Vec::new();
    for qos in [0, 1] {
        let name = format!("reads-nothing-{qos}");
        let mut wire = Wire::connect(&service.mqtt, Version::V5, &name, &name, "").await?;
        ensure!(wire.subscribe("changes/#", qos).await? == qos);
        subscribers.push(wire);
    }
    let mut publisher = Wire::connect(&service.mqtt, Version::V3, "d", "d", "").await?;
    let before = service.resident_bytes()?;
    let mut most = before;
    for n in 0..TOLD {
        // Acknowledged as ever: a subscriber holds up nobody.
        publisher.publish("devices/d/state", payload(n).as_bytes(), 1).await?;
        most = most.max(service.resident_bytes()?);
    }
    eprintln!("{} MiB before, {} MiB at most", before >> 20, most >> 20);
    ensure!(most - before < GROWTH_BYTES_MAX, "it grew from {before} to {most} bytes");

    // At quality 0 what there is no room for is dropped, and counted; at quality 1 the subscriber is let go.
    let counted = async |name: &str| metric(&api, name).await;
    ensure!(counted("statecast_mqtt_dropped_total{reason=\"slow\"").await? > 0.0, "nothing was dropped");
    ensure!(counted("statecast_mqtt_refused_total{reason=\"too slow\"").await? >= 1.0, "nobody was let go");
    // The other one is let go too, when it has read nothing for a while.
    wait::until("only the publisher is left", || async {
        (counted("statecast_mqtt_connections").await.ok()? == 1.0).then_some(())
    })
    .await?;
    drop((subscribers, publisher));
    service.at_rest().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_under_full_load_stays_within_bounds() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    ready(&api).await?;
    let before = service.resident_bytes()?;
    let frozen = service.freeze_database()?;
    let publishing: Vec<JoinHandle<Result<()>>> =
        (0..PUBLISHERS).map(|n| tokio::spawn(publish_all(service.mqtt.clone(), n))).collect();

    // It takes what its bounds allow, and then reads no more. From then on nothing changes.
    let in_flight = async || metric(&api, "statecast_mqtt_bytes_in_flight").await;
    wait::until("the bound is reached", || async {
        (in_flight().await.ok()? > 0.9 * IN_FLIGHT_BYTES_MAX).then_some(())
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (held, most) = (in_flight().await?, service.resident_bytes()?);
    eprintln!(
        "{} MiB before, {} MiB in the outage, {} MiB in flight",
        before >> 20,
        most >> 20,
        held / 1048576.0
    );
    ensure!(held <= IN_FLIGHT_BYTES_MAX, "{held} bytes in flight");
    ensure!(most - before < GROWTH_BYTES_MAX, "it grew from {before} to {most} bytes");
    ensure!(publishing.iter().all(|one| !one.is_finished()), "somebody was acknowledged, or gave up");

    frozen.thaw();
    let mut most = most;
    while publishing.iter().any(|one| !one.is_finished()) {
        most = most.max(service.resident_bytes()?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for done in try_join_all(publishing).await? {
        done.context("all is acknowledged in the end")?;
    }
    eprintln!("{} MiB at most after it", most >> 20);
    ensure!(most - before < GROWTH_BYTES_MAX, "it grew from {before} to {most} bytes");
    for n in 0..PUBLISHERS {
        let twin = api.json(&format!("/v1/devices/p{n}")).await?;
        ensure!(twin["reported"]["n"] == PUBLISHES - 1, "p{n} isn't where it should be");
    }
    service.at_rest().await
}

async fn publish_all(mqtt: String, publisher: usize) -> Result<()> {
    let name = format!("p{publisher}");
    let mut wire = Wire::connect(&mqtt, Version::V3, &name, &name, "").await?;
    let (topic, mut ids) = (format!("devices/{name}/state"), Vec::new());
    for n in 0..PUBLISHES {
        let (publish, id) = wire.publication(&topic, payload(n).as_bytes(), 1);
        wire.send(&publish).await?;
        ids.push(id);
    }
    for id in ids {
        wire.answer(0x40, id).await?;
    }
    Ok(())
}
