//! A storm: most devices lose their connections at once and come back. What do the others notice?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use statecast_tests::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::packets::{PUBACK_BYTES, Publishes};
use crate::registered::Registered;
use crate::results::{Results, median};
use crate::stage;

/// Devices that lose their connections.
const LOST: usize = 10_000;
/// Devices that go on publishing.
const OTHERS: usize = 200;
/// Connections that are being opened at the same time.
const OPENING: usize = 500;
/// Between two publishes of one device: 400 a second together.
const PERIOD: Duration = Duration::from_millis(500);
/// Storms, one after the other.
const STORMS: usize = 5;
/// How long they are watched before each.
const BEFORE: Duration = Duration::from_secs(6);
/// A latency above this counts as this, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

/// What the publishing devices notice: times to the PUBACK in microseconds, before the storm and during it.
struct Noticed {
    storming: AtomicBool,
    stopping: AtomicBool,
    before: std::sync::Mutex<Histogram<u64>>,
    during: std::sync::Mutex<Histogram<u64>>,
}

impl Noticed {
    /// The 99th percentile of what was noticed since the last call.
    fn p99_ms(histogram: &std::sync::Mutex<Histogram<u64>>) -> Result<f64> {
        let mut histogram = histogram.lock().map_err(|_| anyhow::anyhow!("a publisher panicked"))?;
        ensure!(histogram.len() > 100, "only {} publishes were watched", histogram.len());
        #[expect(clippy::cast_precision_loss, reason = "microseconds up to a minute")]
        let p99 = histogram.value_at_quantile(0.99) as f64 / 1_000.0;
        histogram.reset();
        Ok(p99)
    }
}

/// Measures on a service of its own, the median of several storms.
///
/// # Errors
/// When anything fails.
pub(crate) async fn measure(results: &mut Results) -> Result<()> {
    let registered = Registered::start(LOST + OTHERS).await?;
    let mut streams = registered.connect_all(0..LOST, "", OPENING).await?;
    let others = registered.connect_all(LOST..LOST + OTHERS, "", OPENING).await?;
    let others: Vec<_> = others.into_iter().map(TcpStream::into_std).collect::<std::io::Result<_>>()?;
    let others = (LOST..).zip(others).collect();
    let online = || async {
        let found = stage::search(&registered.api, "online:true").await.ok()?;
        (found["total"] == LOST + OTHERS).then_some(())
    };
    wait::until("all devices online", online).await?;

    let histogram = || Histogram::new_with_max(LATENCY_MAX_US, 3).map(std::sync::Mutex::new);
    let noticed = Arc::new(Noticed {
        storming: AtomicBool::new(false),
        stopping: AtomicBool::new(false),
        before: histogram()?,
        during: histogram()?,
    });
    // On a thread of its own: the clients of the storm must not be what the others wait for.
    let publishing = std::thread::Builder::new().name("others".into()).spawn({
        let noticed = Arc::clone(&noticed);
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(publish_all(&noticed, others))
        }
    })?;
    let (mut lasted, mut before, mut during, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STORMS {
        tokio::time::sleep(BEFORE).await;
        noticed.storming.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        drop(streams);
        streams = registered.connect_all(0..LOST, "", OPENING).await?;
        wait::until("all devices online again", online).await?;
        lasted.push(begun.elapsed().as_secs_f64());
        noticed.storming.store(false, Ordering::Relaxed);
        before.push(Noticed::p99_ms(&noticed.before)?);
        during.push(Noticed::p99_ms(&noticed.during)?);
        ratios.push(during[during.len() - 1] / before[before.len() - 1]);
    }
    noticed.stopping.store(true, Ordering::Relaxed);
    publishing.join().map_err(|_| anyhow::anyhow!("the publishers panicked"))??;
    drop(streams);

    let means = "10,000 connections lost at once, until all are searchable as online; median of five";
    results.add("storm_s", median(lasted)?, means);
    let means = "200 other devices, 400 messages a second, before it";
    results.add("storm_puback_p99_ms_before", median(before)?, means);
    results.add("storm_puback_p99_ms", median(during)?, "the same during it");
    results.add("storm_puback_ratio", median(ratios)?, "of the two, the median of each storm's own");
    Ok(())
}

async fn publish_all(noticed: &Arc<Noticed>, others: Vec<(usize, std::net::TcpStream)>) -> Result<()> {
    let mut tasks = JoinSet::new();
    let count = u32::try_from(others.len())?;
    for (place, (number, stream)) in (0..).zip(others) {
        let stream = TcpStream::from_std(stream)?;
        let phase = PERIOD * place / count;
        tasks.spawn(publish(Arc::clone(noticed), number, stream, phase));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a publisher panicked")??;
    }
    Ok(())
}

/// Publishes for one device. A latency counts from when the message was due.
async fn publish(noticed: Arc<Noticed>, number: usize, mut stream: TcpStream, phase: Duration) -> Result<()> {
    let (mut publishes, mut out, mut packet_id) = (Publishes::new(number, None), Vec::new(), 0_u16);
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + phase, PERIOD);
    while !noticed.stopping.load(Ordering::Relaxed) {
        let due = ticks.tick().await;
        let storming = noticed.storming.load(Ordering::Relaxed);
        packet_id = packet_id.checked_add(1).unwrap_or(1);
        out.clear();
        publishes.next(packet_id, &mut out);
        stream.write_all(&out).await.context("publish")?;
        let mut answer = [0; PUBACK_BYTES];
        stream.read_exact(&mut answer).await.context("read PUBACK")?;
        ensure!(answer[2..] == packet_id.to_be_bytes(), "PUBACK {answer:02x?}");
        let times = if storming { &noticed.during } else { &noticed.before };
        let mut times = times.lock().map_err(|_| anyhow::anyhow!("another publisher panicked"))?;
        times.saturating_record(u64::try_from(due.elapsed().as_micros())?);
    }
    Ok(())
}
