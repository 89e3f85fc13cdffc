//! The latency to the acknowledgement at half of what the service can do; and [`probe`], from the commit to being found.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use reqwest::Method;
use serde_json::json;
use statecast_tests::{Api, Service};

use crate::load::Load;
use crate::results::Results;
use crate::{Pace, machine, stage};

/// Probes that report and search at the same time.
const PROBES: usize = 2;
/// How often a probe searches for what it reported.
const SEARCH_EVERY: Duration = Duration::from_millis(5);
/// Between two reports of a probe, at most: each time another part of it, so that no probe keeps step with the commits.
const PROBE_PAUSE_MAX: Duration = Duration::from_millis(150);
/// The golden ratio: its multiples are spread evenly.
const SPREAD: f64 = 0.618_033_988_75;
/// A change that can't be found after this is an error.
const FOUND_MAX: Duration = Duration::from_secs(30);
/// Small writes that are timed.
const FSYNCS: usize = 500;

/// Measures with a steady load of this many messages per second.
///
/// # Errors
/// When anything fails.
pub(crate) async fn measure(pace: &Pace, per_s: f64, service: &Service, results: &mut Results) -> Result<()> {
    machine::wait_for_quiet()?;
    let fsyncs = machine::fsyncs(service.dir(), FSYNCS)?;
    results.add("fsync_p50_ms", at(&fsyncs, 0.5), "8 KiB written and made durable in the data directory");
    results.add("fsync_p99_ms", at(&fsyncs, 0.99), "the same");

    let load = Load::start(&service.mqtt, stage::DEVICES, None)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive rate")]
    load.rate(per_s as u64);
    tokio::time::sleep(pace.warm_up).await;
    drop(load.latencies_us()?);
    tokio::time::sleep(pace.latency).await;
    let puback = load.latencies_us()?;
    stage::drain(&load)?;
    load.stop()?;
    let ms = |quantile: f64| {
        #[expect(clippy::cast_precision_loss, reason = "microseconds up to a minute")]
        let us = puback.value_at_quantile(quantile) as f64;
        us / 1_000.0
    };
    results.add("puback_p50_ms_at_50", ms(0.5), "due to acknowledged, at half of the durable rate");
    results.add("puback_p99_ms_at_50", ms(0.99), "the same");
    Ok(())
}

/// The times from the commit to being found, sorted, in milliseconds, while others do what they do.
///
/// # Errors
/// When a probe isn't found.
pub(crate) async fn probe(api: &Api, time: Duration) -> Result<Vec<f64>> {
    for probe in 0..PROBES {
        api.call(Method::PUT, &format!("/v1/devices/probe-{probe}"), &json!({})).await?;
    }
    let until = Instant::now() + time;
    let mut probes = tokio::task::JoinSet::new();
    for probe in 0..PROBES {
        let api = api.clone();
        probes.spawn(async move { follow(&api, probe, until).await });
    }
    let mut searchable = Vec::new();
    while let Some(times) = probes.join_next().await {
        searchable.extend(times??);
    }
    searchable.sort_by(f64::total_cmp);
    Ok(searchable)
}

/// Reports a value over HTTP, which answers once it is committed, and searches for exactly that value until the
/// index finds it; the time between the two answers, in milliseconds, is what a reader notices.
async fn follow(api: &Api, probe: usize, until: Instant) -> Result<Vec<f64>> {
    let device = format!("probe-{probe}");
    let mut times = Vec::new();
    for serial in 1_u32.. {
        if Instant::now() > until {
            break;
        }
        stage::report(api, &device, serial.into()).await?;
        let committed = Instant::now();
        // What the query matches is decided by the index; the twin in the answer is read from the table.
        let query = format!("id:{device} serial:{serial}");
        while stage::search(api, &query).await?["total"] != 1 {
            if committed.elapsed() > FOUND_MAX {
                bail!("{query:?} isn't found after {} s", FOUND_MAX.as_secs());
            }
            tokio::time::sleep(SEARCH_EVERY).await;
        }
        times.push(committed.elapsed().as_secs_f64() * 1_000.0);
        tokio::time::sleep(PROBE_PAUSE_MAX.mul_f64((f64::from(serial) * SPREAD).fract())).await;
    }
    Ok(times)
}

/// A quantile of sorted values; the highest where there are too few.
pub(crate) fn at(sorted: &[f64], quantile: f64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let index = (sorted.len() as f64 * quantile) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
