//! Nothing runs while nothing happens, and what ran is metered.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::PgConnection;
use statecast_tests::database::cpu_ms;
use statecast_tests::{Service, Version, Wire, wait};

use crate::agreement::metric;

/// Devices, each with one message.
const DEVICES: usize = 50;
/// How long it is watched doing nothing.
const IDLE: Duration = Duration::from_secs(10);
/// What the service may take of a processor in that time, in milliseconds: 2 %.
const SERVICE_MS_MAX: u64 = 200;
/// What all processes of its database may take, in milliseconds: they have housekeeping of their own.
const DATABASE_MS_MAX: u64 = 300;
/// Transactions in that time: the owner asks once a second whether the database is still its own.
const TRANSACTIONS_MAX: i64 = 25;

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_service_costs_nothing_and_all_else_is_metered() -> Result<()> {
    let service = Service::start()?;
    let api = service.api();
    let mut wires = Vec::new();
    for n in 0..DEVICES {
        let name = format!("d{n}");
        let mut wire = Wire::connect(&service.mqtt, Version::V3, &name, &name, "").await?;
        wire.publish(&format!("devices/{name}/state"), br#"{"n":1}"#, 1).await?;
        wires.push(wire);
    }
    // The usage is the last thing that is written.
    let usage = wait::until("the usage of all messages", || async {
        let usage = api.json("/v1/usage").await.ok()?;
        (sum(&usage, "reported", "invocations") == DEVICES as u64).then_some(usage)
    })
    .await?;
    ensure!(sum(&usage, "reported", "failed") == 0, "{usage}");
    for field in ["billed_1ms", "billed_100ms"] {
        let unit = if field == "billed_1ms" { 1 } else { 100 };
        let billed = sum(&usage, "reported", field);
        ensure!(billed >= DEVICES as u64 * unit, "each invocation is rounded up: {usage}");
        ensure!(billed >= sum(&usage, "reported", "wall_us") / 1_000, "{usage}");
    }
    wait::until("no device has anything to do", || async {
        (metric(&api, "statecast_devices_active").await.ok()? == 0.0).then_some(())
    })
    .await?;

    let mut database = service.database().await?;
    let before = spent(&service, &mut database).await?;
    tokio::time::sleep(IDLE).await;
    let after = spent(&service, &mut database).await?;
    let (service_ms, database_ms) = (after.0 - before.0, after.1.saturating_sub(before.1));
    let transactions = after.2 - before.2;
    println!(
        "idle for {IDLE:?}: service {service_ms} ms, database {database_ms} ms, {transactions} transactions"
    );
    ensure!(service_ms <= SERVICE_MS_MAX, "the service took {service_ms} ms in {IDLE:?}");
    ensure!(database_ms <= DATABASE_MS_MAX, "the database took {database_ms} ms in {IDLE:?}");
    ensure!(transactions <= TRANSACTIONS_MAX, "{transactions} transactions in {IDLE:?}");
    ensure!(wires.len() == DEVICES, "they stay connected to the end");
    Ok(())
}

/// Over all hours: the test may run across a full one.
fn sum(usage: &Value, handler: &str, field: &str) -> u64 {
    let items = usage["items"].as_array().into_iter().flatten();
    items.filter(|row| row["handler"] == handler).filter_map(|row| row[field].as_u64()).sum()
}

/// Milliseconds of the service, milliseconds of its database, transactions.
async fn spent(service: &Service, database: &mut PgConnection) -> Result<(u64, u64, i64)> {
    // The processes that there are; one that ended meanwhile takes its time with it.
    let pids = service.database_pids()?;
    let database_ms = pids.into_iter().filter_map(|pid| cpu_ms(pid).ok()).sum();
    // Backends report what they did when they are idle for a moment, at the latest after a few seconds.
    let count = "SELECT pg_stat_clear_snapshot(), xact_commit FROM pg_stat_database WHERE datname = current_database()";
    let rows = sqlx::query(count).fetch_all(database).await?;
    let transactions = rows.first().context("a row")?.try_get("xact_commit")?;
    Ok((service.cpu_ms()?, database_ms, transactions))
}
