//! A large fleet that was never heard: written into the table by SQL, and searchable once the index is built anew.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use reqwest::Method;
use serde_json::json;
use sqlx::{ConnectOptions, Connection};
use statecast_tests::{Api, Service};

use crate::results::Results;
use crate::{Pace, database, machine, stage};

/// How long a build may take.
const BUILD_MAX: Duration = Duration::from_secs(300);
/// Between two searches during a build.
const SEARCH_EVERY: Duration = Duration::from_millis(50);

/// The twins of the first devices of the bench, as their messages would make them; see [`crate::packets`].
const FILL: &str = "
    INSERT INTO devices (tenant, device, version, position, reported, desired, tags, reported_at, online,
                         presence_reason, received_at)
    SELECT 'default', 'bench-' || CASE WHEN n < 100000 THEN lpad(n::text, 5, '0') ELSE n::text END, 1, 0,
           jsonb_build_object(
               'type', 'thermostat', 'temperature', 10 + (n * 7 % 2000) / 100.0, 'uptime', 10000000 + n,
               'battery', n % 101, 'humidity', 48.2, 'rssi', -61, 'mode', 'heat', 'firmware', '1.2.3',
               'site', (ARRAY['north', 'south', 'east', 'west'])[n % 4 + 1]),
           '{}', '{}', '{}', false, '', now()
    FROM generate_series(0::bigint, $1 - 1) AS n";

/// A service with a fleet of so many devices, and how many seconds its index took to be built.
///
/// # Errors
/// When it doesn't come up.
pub(crate) async fn filled(devices: usize) -> Result<(Service, f64)> {
    let service = Service::start()?;
    let (_, options) = database::find(service.dir())?;
    let mut connection = options.connect().await.context("connect to the private PostgreSQL")?;
    sqlx::query(FILL)
        .bind(i64::try_from(devices)?)
        .execute(&mut connection)
        .await
        .context("fill the table")?;
    sqlx::query("VACUUM ANALYZE devices").execute(&mut connection).await?;
    connection.close().await?;
    let begun = Instant::now();
    let api = service.api();
    tokio::time::timeout(BUILD_MAX, rebuild(&api)).await.context("the index isn't built in time")??;
    let seconds = begun.elapsed().as_secs_f64();
    let found = stage::search(&api, "type:thermostat").await?;
    ensure!(found["total"] == devices, "{} of {devices} devices are in the index", found["total"]);
    Ok((service, seconds))
}

/// Builds an index anew while somebody searches in the old one.
///
/// # Errors
/// When a search fails meanwhile, or finds less than all.
pub(crate) async fn measure(pace: &Pace, results: &mut Results) -> Result<()> {
    machine::wait_for_quiet()?;
    let devices = pace.rebuild_devices;
    let (service, first) = filled(devices).await?;
    let api = service.api();
    let begun = Instant::now();
    let building = {
        let api = api.clone();
        tokio::spawn(async move { rebuild(&api).await })
    };
    let searches = search_until(&api, devices, || building.is_finished()).await?;
    building.await??;
    let second = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a count of devices")]
    let per_s = |seconds: f64| devices as f64 / seconds;
    println!("  the first build: {:.0}/s; {searches} searches during the second", per_s(first));
    let means = format!("index built anew from {devices} devices, searched every 50 ms meanwhile");
    results.add("rebuild_docs_per_s", per_s(second), &means);
    Ok(())
}

async fn rebuild(api: &Api) -> Result<()> {
    api.call(Method::POST, "/v1/index/rebuild", &json!({})).await.map(drop)
}

async fn search_until(api: &Api, devices: usize, done: impl Fn() -> bool) -> Result<usize> {
    let mut count = 0;
    while !done() {
        let found = stage::search(api, "type:thermostat").await.context("search during a build")?;
        if found["total"] != devices {
            bail!("{} of {devices} devices are found during a build", found["total"]);
        }
        count += 1;
        tokio::time::sleep(SEARCH_EVERY).await;
    }
    Ok(count)
}
