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
/// For so long it is watched at a time ...
const WINDOW: Duration = Duration::from_secs(10);
/// ... and so often, until one goes by in which nothing happens.
const WINDOWS_MAX: usize = 5;
/// What the service may take of a processor in that time, in milliseconds: 1 %.
const SERVICE_MS_MAX: u64 = 100;
/// What all processes of its database may take, in milliseconds: they have housekeeping of their own.
const DATABASE_MS_MAX: u64 = 100;
/// Transactions in that time: the owner asks once a second whether the database is still its own.
const TRANSACTIONS_MAX: i64 = 15;

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

    // It may take a while until it is idle: the database cleans up, and tells late what was done.
    let mut database = service.database().await?;
    let mut spent = Spent::until_now(&service, &mut database).await?;
    let mut idle = Spent::default();
    for _ in 0..WINDOWS_MAX {
        tokio::time::sleep(WINDOW).await;
        let now = Spent::until_now(&service, &mut database).await?;
        idle = now.since(&spent);
        eprintln!("{idle:?} in {WINDOW:?}");
        if idle.is_next_to_nothing() {
            break;
        }
        spent = now;
    }
    ensure!(idle.is_next_to_nothing(), "it is never idle: {idle:?} in {WINDOW:?}");
    ensure!(wires.len() == DEVICES, "they stay connected to the end");
    Ok(())
}

/// Over all hours: the test may run across a full one.
fn sum(usage: &Value, handler: &str, field: &str) -> u64 {
    let items = usage["items"].as_array().into_iter().flatten();
    items.filter(|row| row["handler"] == handler).filter_map(|row| row[field].as_u64()).sum()
}

/// What was spent: milliseconds of the processors, and transactions.
#[derive(Debug, Default)]
struct Spent {
    service_ms: u64,
    database_ms: u64,
    transactions: i64,
}

impl Spent {
    async fn until_now(service: &Service, database: &mut PgConnection) -> Result<Self> {
        // Of the processes that there are; one that ended takes its time with it.
        let database_ms = service.database_pids()?.into_iter().filter_map(|pid| cpu_ms(pid).ok()).sum();
        let count = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
        let rows = sqlx::query(count).fetch_all(database).await?;
        let transactions = rows.first().context("a row")?.try_get(0)?;
        Ok(Self { service_ms: service.cpu_ms()?, database_ms, transactions })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            service_ms: self.service_ms - before.service_ms,
            database_ms: self.database_ms.saturating_sub(before.database_ms),
            transactions: self.transactions - before.transactions,
        }
    }

    fn is_next_to_nothing(&self) -> bool {
        self.service_ms <= SERVICE_MS_MAX
            && self.database_ms <= DATABASE_MS_MAX
            && self.transactions <= TRANSACTIONS_MAX
    }
}
