//! Ten times the steady load for ten seconds, and a `kill -9` in the middle of a load.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use statecast_tests::Service;

use crate::load::Load;
use crate::results::{Results, median};
use crate::{Pace, machine, packets, stage};

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// The steady load, as a part of what the service can do; a burst is ten times as much, more than it can do.
const STEADY: f64 = 0.15;
/// The load in which it is killed, as a part of what the service can do.
const KILLED: f64 = 0.25;
/// How long a restart may take.
const RECOVERY_MAX: Duration = Duration::from_secs(120);

/// Measures on a service of its own, whose memory hasn't seen a flood.
///
/// # Errors
/// When anything fails.
pub(crate) async fn measure(pace: &Pace, durable: f64, results: &mut Results) -> Result<Service> {
    let service = stage::fleet().await?;
    machine::wait_for_quiet()?;
    let load = Load::start(&service.mqtt, stage::DEVICES, None)?;
    let rate = |share: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive rate")]
        load.rate((durable * share) as u64);
    };
    rate(STEADY);
    // The feed fills its memory first.
    tokio::time::sleep(pace.steady).await;
    let steady = median(watch(&service, || false, pace.steady / 2)?)?;
    rate(10.0 * STEADY);
    let mut resident = watch(&service, || false, pace.burst)?;
    rate(0.0);
    let begun = Instant::now();
    resident.extend(watch(&service, || load.open() == 0, RECOVERY_MAX)?);
    let drained = begun.elapsed().as_secs_f64();
    stage::drain(&load)?;
    load.stop()?;
    let peak = resident.into_iter().fold(0.0, f64::max);
    let means = format!(
        "a burst of 10 x {:.0}/s for {} s: until all is acknowledged",
        durable * STEADY,
        pace.burst.as_secs()
    );
    results.add("burst_drain_s", drained, &means);
    results.add("burst_rss_ratio", peak / steady, "highest resident memory in it / in the steady load");
    results.add("steady_rss_bytes", steady, "resident memory in the steady load");
    Ok(service)
}

/// Kills it in the middle of a load of devices that connect again by themselves.
///
/// # Errors
/// When it doesn't come back.
pub(crate) async fn recovery(durable: f64, mut service: Service, results: &mut Results) -> Result<Service> {
    let load = Load::start(&service.mqtt, stage::DEVICES, None)?;
    load.reconnect();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive rate")]
    load.rate((durable * KILLED) as u64);
    load.throughput(Duration::from_secs(5))?;
    service.kill()?;
    let (killed, acked) = (Instant::now(), load.acked());
    let restart = std::thread::spawn(move || service.restart().map(|_| service));
    while load.acked() == acked {
        if killed.elapsed() > RECOVERY_MAX {
            bail!("no acknowledgement within {} s", RECOVERY_MAX.as_secs());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    results.add("recovery_s", killed.elapsed().as_secs_f64(), "kill -9 to the first acknowledgement");
    let service = restart.join().map_err(|_| anyhow::anyhow!("the restart panicked"))??;
    let position = stage::report(&service.api(), &packets::device(0), 0).await?;
    stage::indexed(&service, position, RECOVERY_MAX).await?;
    let means = "kill -9 until the index has everything that is committed by then";
    results.add("index_exact_s", killed.elapsed().as_secs_f64(), means);
    stage::drain(&load)?;
    load.stop()?;
    Ok(service)
}

/// Looks at the memory for some time, or until something is done.
fn watch(service: &Service, done: impl Fn() -> bool, time: Duration) -> Result<Vec<f64>> {
    let begun = Instant::now();
    let mut seen = Vec::new();
    while seen.is_empty() || (begun.elapsed() < time && !done()) {
        #[expect(clippy::cast_precision_loss, reason = "bytes of memory")]
        seen.push(service.resident_bytes()? as f64);
        std::thread::sleep(LOOK);
    }
    Ok(seen)
}
