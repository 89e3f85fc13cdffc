//! Stopping is orderly and quick, under load too; and it is the service alone that a signal of a terminal reaches.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use statecast_tests::database::{alive, group_and_session};
use statecast_tests::service::signal;
use statecast_tests::{Fleet, Service, wait};

use crate::agreement::{index_agrees, ready};

/// What an orderly stop may take.
const STOP_MAX: Duration = Duration::from_secs(10);
/// What a start on data that is there may take.
const START_MAX: Duration = Duration::from_secs(15);
/// Devices of the fleet: about 330 messages a second together.
const DEVICES: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_is_quick_and_loses_nothing() -> Result<()> {
    let mut service = Service::start()?;
    ready(&service.api()).await?;
    let devices = DEVICES.to_string();
    let fleet = Fleet::start(&service, &["--devices", &devices, "--period", "60s", "--speed", "20"])?;
    fleet.under_way().await?;
    for round in 0..3 {
        let database = service.database_pids()?;
        let begun = Instant::now();
        ensure!(service.stop()?, "it says that something went wrong");
        let took = begun.elapsed();
        eprintln!("stopped in {took:?}");
        ensure!(took < STOP_MAX, "the stop took {took:?}");
        ensure!(!database.iter().any(|pid| alive(*pid)), "it left its database behind");
        let took = service.restart()?;
        eprintln!("started in {took:?}");
        ensure!(took < START_MAX, "the start took {took:?}");
        ready(&service.api()).await.with_context(|| format!("round {round}"))?;
    }
    fleet.finish().await?;
    service.at_rest().await?;
    index_agrees(&service, DEVICES).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_reaches_the_service_alone_and_a_second_one_ends_it_at_once() -> Result<()> {
    let mut service = Service::start()?;
    let (group, session) = group_and_session(service.pid()).context("the service runs")?;
    let database = service.database_pids()?;
    for pid in &database {
        let Some((its_group, its_session)) = group_and_session(*pid) else { continue };
        ensure!(its_group != group && its_session != session, "Ctrl-C would reach the database: {pid}");
    }
    signal(service.pid(), "INT")?;
    ensure!(service.wait()?, "it stops in order");
    ensure!(!database.iter().any(|pid| alive(*pid)), "it left its database behind");

    // With the database frozen it can't stop in order.
    service.restart()?;
    let frozen = service.freeze_database()?;
    signal(service.pid(), "INT")?;
    let api = service.api();
    wait::until("it is stopping", || async { api.get("/livez").await.is_err().then_some(()) }).await?;
    signal(service.pid(), "INT")?;
    let begun = Instant::now();
    ensure!(!service.wait()?, "it says that it didn't stop in order");
    ensure!(begun.elapsed() < STOP_MAX, "a second Ctrl-C took {:?}", begun.elapsed());
    frozen.thaw();
    service.restart()?;
    ready(&service.api()).await
}
