//! Load with `kill -9` in it, again and again; then index and table must be equal: by the checker of the service, and
//! by questions whose answers are counted in the table by SQL.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, Row};
use statecast_tests::Api;

use crate::load::Load;
use crate::results::Results;
use crate::{Pace, database, packets, stage};

/// Kills, evenly spread.
const KILLS: u32 = 10;
/// The load, as a part of what the service can do.
const LOAD: f64 = 0.25;
/// How long the index may take to have everything in the end.
const CAUGHT_UP_MAX: Duration = Duration::from_secs(120);
/// Devices that are looked at one by one.
const SAMPLES: usize = 1_000;

/// Kills and compares.
///
/// # Errors
/// When anything differs, or it doesn't come back.
pub(crate) async fn measure(pace: &Pace, durable: f64, results: &mut Results) -> Result<()> {
    let mut service = stage::fleet().await?;
    let load = Load::start(&service.mqtt, stage::DEVICES, None)?;
    load.reconnect();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive rate")]
    load.rate((durable * LOAD) as u64);
    for kill in 0..KILLS {
        load.throughput(pace.kills / KILLS)?;
        service.kill()?;
        service.restart().with_context(|| format!("start after kill {kill}"))?;
    }
    stage::drain(&load)?;
    let messages = load.acked();
    load.stop()?;
    let api = service.api();
    let position = stage::report(&api, &packets::device(0), 0).await?;
    stage::indexed(&service, position, CAUGHT_UP_MAX).await?;
    let verified = api.call(Method::POST, "/v1/index/verify", &json!({})).await?;
    for fault in ["missing", "extra", "different"] {
        ensure!(verified[fault] == 0, "after {KILLS} kills: {verified}");
    }
    // What the service itself compared meanwhile, and would have repaired.
    let log = std::fs::read_to_string(service.dir().join("test.log")).context("read the log")?;
    ensure!(log.contains("the index is equal to the table"), "nothing was compared meanwhile");
    let differed: Vec<_> = log.lines().filter(|line| line.contains("the index differed")).collect();
    ensure!(differed.is_empty(), "{differed:?}");
    let (_, options) = database::find(service.dir())?;
    let compared = compare(&api, &mut options.connect().await?).await?;
    let means =
        format!("of {KILLS} in {} s, {messages} messages; {compared} answers compared", pace.kills.as_secs());
    results.add("kills_without_a_difference", f64::from(KILLS), &means);
    Ok(())
}

/// Asks the index what the table answers too; gives how many questions that were.
async fn compare(api: &Api, table: &mut PgConnection) -> Result<usize> {
    let count = "SELECT 'type:thermostat' AS query, count(*) AS total FROM devices WHERE reported->>'type' = 'thermostat'";
    let values = "SELECT 'battery:' || (reported->>'battery') AS query, count(*) AS total FROM devices
                  WHERE reported ? 'battery' GROUP BY reported->>'battery'";
    // What changes with each message, of devices picked at random.
    let samples = "SELECT 'id:' || device || ' uptime:' || (reported->>'uptime') AS query, 1::bigint AS total
                   FROM devices WHERE reported ? 'uptime' ORDER BY random() LIMIT $1";
    let mut rows = sqlx::query(count).fetch_all(&mut *table).await?;
    rows.extend(sqlx::query(values).fetch_all(&mut *table).await?);
    rows.extend(sqlx::query(samples).bind(i64::try_from(SAMPLES)?).fetch_all(&mut *table).await?);
    for row in &rows {
        let (query, total): (String, i64) = (row.try_get("query")?, row.try_get("total")?);
        let found = stage::search(api, &query).await?;
        ensure!(found["total"] == total, "{query:?} finds {}, the table has {total}", found["total"]);
    }
    Ok(rows.len())
}
