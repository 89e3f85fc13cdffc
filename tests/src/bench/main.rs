//! `statecast-bench`: measures the service from outside and writes `target/bench/results.json`. `--quick` gives a
//! first idea in about two minutes, `--long` adds what takes an hour; a name of a part measures that part alone.
//!
//! In the order of what happens:
//! - [`machine`]: what the machine does besides
//! - [`database`], [`raw`]: the raw limit of PostgreSQL
//! - [`packets`], [`load`]: a load generator that costs little
//! - [`stage`], [`registered`], [`table`]: a service with a fleet, with registered devices, and with a large fleet whose
//!   index is built
//! - [`throughput`], [`latency`], [`connections`], [`storm`], [`burst`], [`searches`], [`rival`], [`rules`], [`pushes`], [`kills`]:
//!   what is measured
//! - [`results`]: what is told

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that tells people what it measured")]

mod machine;
mod database;
mod raw;
mod packets;
mod load;
mod stage;
mod registered;
mod table;
mod throughput;
mod latency;
mod connections;
mod storm;
mod burst;
mod searches;
mod rival;
mod pushes;
mod rules;
mod kills;
mod results;

use std::time::Duration;

use anyhow::{Result, bail};
use results::Results;

/// How long each thing is measured.
struct Pace {
    warm_up: Duration,
    flood: Duration,
    rounds: usize,
    sweep: Duration,
    raw: Duration,
    latency: Duration,
    steady: Duration,
    burst: Duration,
    searches: Duration,
    /// Devices of the fleet in which it is searched, and of the one whose index is built anew.
    searched_devices: usize,
    rebuild_devices: usize,
    /// The load in which it is killed ten times.
    kills: Duration,
}

impl Pace {
    /// The real thing, or a first idea.
    fn new(quick: bool) -> Self {
        let s = Duration::from_secs;
        if quick {
            let (warm_up, flood, rounds, sweep, raw) = (s(2), s(6), 1, Duration::from_millis(700), s(2));
            Self {
                warm_up,
                flood,
                rounds,
                sweep,
                raw,
                latency: s(8),
                steady: s(4),
                burst: s(4),
                searches: s(3),
                searched_devices: 20_000,
                rebuild_devices: 100_000,
                kills: s(60),
            }
        } else {
            let (warm_up, flood, rounds, sweep, raw) = (s(5), s(20), 3, s(2), s(5));
            Self {
                warm_up,
                flood,
                rounds,
                sweep,
                raw,
                latency: s(30),
                steady: s(20),
                burst: s(10),
                searches: s(8),
                searched_devices: 100_000,
                rebuild_devices: 1_000_000,
                kills: s(3_600),
            }
        }
    }
}

/// What is measured when nothing is said, in this order; the first needs to be, for all that depends on it.
const PARTS: [&str; 8] =
    ["throughput", "searches", "rebuild", "rules", "pushes", "connections", "storm", "burst"];

/// What is measured besides when it may take long, or is named.
const KILLS: &str = "kills";

/// For who wants to look at the service with a profiler; measures nothing.
const FLOOD: &str = "flood";

#[tokio::main]
async fn main() -> Result<()> {
    let (mut quick, mut long) = (false, false);
    let mut parts = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => quick = true,
            "--long" => long = true,
            part if part == FLOOD || part == KILLS || PARTS.contains(&part) => parts.push(argument),
            other => bail!(
                "unknown argument {other:?}: there are --quick and --long, and the parts are {PARTS:?}, {KILLS:?} and {FLOOD:?}"
            ),
        }
    }
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|named| named == part);
    let pace = Pace::new(quick);
    let mut results = Results::default();
    machine::open_many_files();

    let mut durable = 10_000.0;
    if wanted("throughput") {
        let (measured, service) = throughput::measure(&pace, &mut results).await?;
        durable = measured;
        latency::measure(&pace, durable / 2.0, &service, &mut results).await?;
    }
    if parts.iter().any(|part| part == FLOOD) {
        throughput::flood(&pace).await?;
    }
    if wanted("searches") {
        searches::measure(&pace, &mut results).await?;
    }
    if wanted("rebuild") {
        table::measure(&pace, &mut results).await?;
    }
    if wanted("rules") {
        rules::measure(&mut results)?;
    }
    if wanted("pushes") {
        pushes::measure(&stage::fleet().await?, &mut results).await?;
    }
    if wanted("connections") {
        connections::measure(&mut results).await?;
    }
    if wanted("storm") {
        storm::measure(&mut results).await?;
    }
    if wanted("burst") {
        let service = burst::measure(&pace, durable, &mut results).await?;
        drop(burst::recovery(durable, service, &mut results).await?);
    }
    if long || parts.iter().any(|part| part == KILLS) {
        kills::measure(&pace, durable, &mut results).await?;
    }
    println!("written to {}", results.write()?.display());
    Ok(())
}
