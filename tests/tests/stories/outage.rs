//! The database is away: it hangs for half a minute, or is killed again and again. Everybody waits, nobody loses.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::StatusCode;
use serde_json::json;
use statecast_tests::database::alive;
use statecast_tests::service::signal;
use statecast_tests::wire::packet;
use statecast_tests::{Api, Fleet, Service, Version, Wire, wait};

use crate::agreement::{index_agrees, ready};

/// How long the database hangs: longer than any deadline of a client that the service could keep by dropping it.
const OUTAGE: Duration = Duration::from_secs(30);
/// What readyz may take to answer that it isn't ready.
const TOLD_MAX: Duration = Duration::from_secs(5);
/// How often the database is killed.
const KILLS: usize = 3;
/// Devices of the fleets: about 170 messages a second together.
const FLEET: [&str; 6] = ["--devices", "500", "--period", "60s", "--speed", "20"];

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_is_waited_for() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let fleet = Fleet::start(&service, &FLEET)?;
    fleet.under_way().await?;
    let mut patient = patient(&service.mqtt).await?;
    patient.publish("devices/patient/state", br#"{"n":1}"#, 1).await?;

    api.json("/v1/search?after=now").await?;
    let frozen = service.freeze_database()?;
    let (publish, waiting) = patient.publication("devices/patient/state", br#"{"n":2}"#, 1);
    patient.send(&publish).await?;
    not_ready(&api).await?;
    // What is on its way isn't durable yet: who searches meanwhile has the device as it is, and needn't wait.
    let found = tokio::time::timeout(TOLD_MAX, api.json("/v1/search?q=id:patient")).await;
    let found = found.context("the search waits for the database")??;
    ensure!(found["items"][0]["reported"] == json!({ "n": 1 }), "{found}");
    tokio::time::sleep(OUTAGE).await;
    not_ready(&api).await?;
    frozen.thaw();

    // Its keep-alive ran out ten times over, and it said nothing, for it was waiting for us.
    patient.answer(0x40, waiting).await.context("the client that waited")?;
    patient.publish("devices/patient/state", br#"{"n":3}"#, 1).await?;
    ready(&api).await?;
    let history = api.history("patient").await?;
    let said: Vec<_> =
        history.iter().filter(|entry| entry["kind"] == "state").map(|entry| &entry["patch"]).collect();
    ensure!(
        said == [&json!({ "n": 1 }), &json!({ "n": 2 }), &json!({ "n": 3 })],
        "no will was fired: {said:?}"
    );
    let offline =
        history.iter().any(|entry| entry["kind"] == "presence" && entry["patch"]["online"] == false);
    ensure!(!offline, "it was there all the time: {history:?}");
    fleet.finish().await?;
    drop(patient);
    service.at_rest().await?;
    index_agrees(&service, 501).await
}

/// A client with a keep-alive of 2 s and a will, which sends no PINGREQ.
async fn patient(mqtt: &str) -> Result<Wire> {
    let text = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
    let mut wire = Wire::open(mqtt, Version::V3).await?;
    let flags_and_keep_alive = [4, 0x80 | 0x08 | 0x04 | 0x02, 0, 2];
    let (topic, will) = (text("devices/patient/state"), text(r#"{"will":"fired"}"#));
    let (id, user) = (text("patient"), text("patient"));
    let connect = [&text("MQTT"), &flags_and_keep_alive[..], &id, &topic, &will, &user].concat();
    wire.send(&packet(0x10, &connect)).await?;
    let connack = wire.next().await?;
    ensure!(connack.first == 0x20 && connack.body == [0, 0], "{connack:?}");
    Ok(wire)
}

/// Says soon that it isn't ready, and lives.
async fn not_ready(api: &Api) -> Result<()> {
    let answer = tokio::time::timeout(TOLD_MAX, api.get("/readyz")).await.context("readyz hangs")??;
    ensure!(answer.status() == StatusCode::SERVICE_UNAVAILABLE, "readyz: {}", answer.status());
    let answer = tokio::time::timeout(TOLD_MAX, api.get("/livez")).await.context("livez hangs")??;
    ensure!(answer.status() == StatusCode::OK, "livez: {}", answer.status());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_killed_is_started_again() -> Result<()> {
    let mut service = Service::start()?;
    let api = service.api();
    ready(&api).await?;
    let fleet = Fleet::start(&service, &FLEET)?;
    fleet.under_way().await?;
    for _ in 0..KILLS {
        let killed = service.postgres_pid()?;
        signal(killed, "KILL")?;
        wait::until("readyz says that it isn't", || async {
            (api.get("/readyz").await.ok()?.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(())
        })
        .await?;
        ensure!(api.get("/livez").await?.status() == StatusCode::OK);
        ready(&api).await?;
        ensure!(service.postgres_pid()? != killed && !alive(killed), "it is another one now");
    }
    fleet.finish().await?;
    service.at_rest().await?;
    index_agrees(&service, 500).await?;

    // Whoever starts it, stops it.
    let last = service.postgres_pid()?;
    ensure!(service.stop()?, "it stops in order");
    ensure!(!alive(last), "it left its database behind");
    Ok(())
}
