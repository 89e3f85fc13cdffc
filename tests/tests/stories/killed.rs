//! `kill -9` of the service, twenty times in mid-load: what was acknowledged is there, once, and in order.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use statecast_tests::{Fleet, Service};

use crate::agreement::index_agrees;

/// How often the service is killed.
const KILLS: usize = 20;
/// Devices of the fleet; each reports every 6 s, about 330 messages a second together.
const DEVICES: usize = 2_000;
/// How long the service lives before it is killed, in seconds. It is the moment that is to be random: long enough
/// for the fleet to be back, or too short for that.
const LIFE_S: std::ops::Range<f64> = 0.5..4.5;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_lose_nothing() -> Result<()> {
    // The moments can be repeated: STATECAST_SEED=…
    let seed =
        std::env::var("STATECAST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("seed {seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let mut service = Service::start()?;
    let devices = DEVICES.to_string();
    let fleet = Fleet::start(&service, &["--devices", &devices, "--period", "60s", "--speed", "10"])?;
    fleet.under_way().await?;
    let mut longest = Duration::ZERO;
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_secs_f64(chance.random_range(LIFE_S))).await;
        service.kill()?;
        longest = longest.max(service.restart()?);
    }
    eprintln!("the longest of {KILLS} starts took {longest:?}");
    let tally = fleet.finish().await?;
    ensure!(tally.redelivered > 0, "no kill hit a message on its way: this proves nothing");
    ensure!(tally.acked > 5_000, "too little was published to prove anything: {tally:?}");
    service.at_rest().await?;
    index_agrees(&service, DEVICES).await
}
