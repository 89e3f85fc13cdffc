//! Durable messages per second through the whole service, against the raw limit of the same rows.
//!
//! Both run by turns, each on a private PostgreSQL with the same settings, so that whatever the machine does in
//! the meantime happens to both.

use std::time::Duration;

use anyhow::{Context, Result};
use statecast_tests::Service;

use crate::load::{FLOOD, Load};
use crate::raw::Raw;
use crate::results::{Results, median};
use crate::{Pace, database, machine, stage};

/// Settings of the raw loader that are measured again in each round, the best of the sweep.
const FINALISTS: usize = 2;

/// What a turn of the service brought.
struct Turn {
    per_s: f64,
    /// Microseconds of processor for each message: service, PostgreSQL, load generator.
    cost_us: [f64; 3],
}

/// Measures both; gives the durable messages per second, and the service for what comes next.
///
/// # Errors
/// When anything fails.
pub(crate) async fn measure(pace: &Pace, results: &mut Results) -> Result<(f64, Service)> {
    let mut loser = stage::fleet().await?;
    loser.kill()?;
    let (_, options) = database::find(loser.dir())?;
    let mut raw = Raw::open(options).await?;
    let service = stage::fleet().await?;

    machine::wait_for_quiet()?;
    let sweep = raw.sweep(pace.sweep).await?;
    for (setting, per_s) in &sweep {
        let (connections, batch) = (setting.connections, setting.batch);
        println!("  raw: {connections} connections, batches of {batch:>4}: {per_s:>9.0} rows/s");
    }
    let (mut limits, mut turns) = (Vec::new(), Vec::new());
    for round in 0..pace.rounds {
        machine::wait_for_quiet()?;
        let mut best = 0.0_f64;
        for (setting, _) in &sweep[..FINALISTS] {
            best = best.max(raw.run(*setting, pace.raw).await?);
        }
        let turn = turn(&service, pace, None).await?;
        println!("  round {round}: raw {best:.0}, durable {:.0}", turn.per_s);
        limits.push(best);
        turns.push(turn);
    }
    let r0 = median(limits)?;
    let durable = median(turns.iter().map(|turn| turn.per_s).collect())?;
    let best = sweep.first().context("nothing was tried")?.0;
    let means = format!("raw limit: {} connections, batches of {}", best.connections, best.batch);
    results.add("r0_msgs_per_s", r0, &means);
    results.add("durable_msgs_per_s", durable, "QoS 1 over TCP, acknowledged after the commit");
    results.add("ratio_r0", durable / r0, "durable / raw limit; at least 0.25");
    for (index, name) in ["service", "postgres", "load"].into_iter().enumerate() {
        let cost = median(turns.iter().map(|turn| turn.cost_us[index]).collect())?;
        results.add(&format!("{name}_cpu_us_per_msg"), cost, "processor time of a message");
    }
    drop(loser);
    let with_id = turn(&service, pace, Some(1)).await?;
    results.add("durable_msgs_per_s_with_id", with_id.per_s, "the same, each message with an `_id`");
    Ok((durable, service))
}

/// Keeps a service under full load, and says which processes to look at.
///
/// # Errors
/// When anything fails.
pub(crate) async fn flood(pace: &Pace) -> Result<()> {
    let service = stage::fleet().await?;
    let (postgres, _) = database::find(service.dir())?;
    println!("full load: service {}, PostgreSQL {postgres}, HTTP {}", service.pid(), service.http);
    for with_id in [None, Some(1)] {
        for _ in 0..pace.rounds {
            let turn = turn(&service, pace, with_id).await?;
            let [service_us, postgres_us, _] = turn.cost_us;
            let per_s = turn.per_s;
            println!(
                "{per_s:.0}/s, service {service_us:.1} us, PostgreSQL {postgres_us:.1} us, ids {with_id:?}"
            );
        }
    }
    Ok(())
}

async fn turn(service: &Service, pace: &Pace, id_of_run: Option<u32>) -> Result<Turn> {
    let load = Load::start(&service.mqtt, stage::DEVICES, id_of_run)?;
    load.rate(FLOOD);
    load.throughput(pace.warm_up)?;
    let (postgres, _) = database::find(service.dir())?;
    let processes = [service.pid(), postgres, std::process::id()];
    let used = || -> Result<Vec<f64>> { processes.iter().map(|pid| machine::used(*pid)).collect() };
    let (before, acked) = (used()?, load.acked());
    let per_s = load.throughput(pace.flood)?;
    #[expect(clippy::cast_precision_loss, reason = "a count of messages")]
    let messages = (load.acked() - acked) as f64;
    let after = used()?;
    let mut cost_us = [0.0; 3];
    for (index, cost) in cost_us.iter_mut().enumerate() {
        *cost = (after[index] - before[index]) * 1e6 / messages;
    }
    // The service is a child of the bench.
    cost_us[2] -= cost_us[0];
    load.stop()?;
    // What the index still has to do isn't the business of the next turn.
    let position = stage::report(&service.api(), &crate::packets::device(0), 0).await?;
    stage::indexed(service, position, Duration::from_secs(60)).await?;
    Ok(Turn { per_s, cost_us })
}
