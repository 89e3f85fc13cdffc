//! A lean load generator: QoS 1 publishes over TCP from pre-encoded packets, on a thread of its own.
//!
//! *Cast*: [`Load`] is the handle; each connection is a task that publishes for its share of the devices in turn,
//! with up to `WINDOW` unacknowledged.
//! *Guarantee*: acknowledgements are checked to arrive in the order of the publishes. A latency counts from when
//! the message was due, so that what waits for room in the window is counted too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::packets::{CONNACK, PUBACK_BYTES, Publishes, connect};

/// Unacknowledged publishes of a connection at most: what the service allows.
const WINDOW: usize = 100;
/// Connections of a load.
pub(crate) const CONNECTIONS: usize = 100;
/// How often a connection looks what is due.
const TICK: Duration = Duration::from_millis(10);
/// Room in a connection for acknowledgements.
const READ_BYTES: usize = 1_024;
/// A latency above this counts as this, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;
/// How long a connection may take to be accepted, restarts of the service included.
const CONNECT_MAX: Duration = Duration::from_secs(60);

/// As fast as it goes.
pub(crate) const FLOOD: u64 = u64::MAX;

/// What the connections share with whoever steers them.
struct Shared {
    address: String,
    /// Messages per second, all connections together; 0 pauses.
    rate: AtomicU64,
    acked: AtomicU64,
    /// Messages that were due, those still waiting included.
    due: AtomicU64,
    stopping: AtomicBool,
    latencies_us: std::sync::Mutex<Histogram<u64>>,
    /// Connect again after a loss, as devices do, instead of failing.
    reconnect: AtomicBool,
}

/// A running load.
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<()>>,
}

impl Load {
    /// Connects, and waits for a rate to be set. Publishes for the devices `0..devices`.
    pub(crate) fn start(address: &str, devices: usize, id_of_run: Option<u32>) -> Result<Self> {
        let shared = Arc::new(Shared {
            address: address.to_owned(),
            rate: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            due: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            latencies_us: std::sync::Mutex::new(histogram()?),
            reconnect: AtomicBool::new(false),
        });
        let thread = std::thread::Builder::new().name("load".into()).spawn({
            let shared = shared.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(run(shared, devices, id_of_run))
            }
        })?;
        Ok(Self { shared, thread })
    }

    /// Messages per second from now on; [`FLOOD`] for as many as get acknowledged.
    pub(crate) fn rate(&self, per_second: u64) {
        self.shared.rate.store(per_second, Ordering::Relaxed);
    }

    /// Publishes acknowledged so far.
    pub(crate) fn acked(&self) -> u64 {
        self.shared.acked.load(Ordering::Relaxed)
    }

    /// Messages that are due and not yet acknowledged.
    pub(crate) fn open(&self) -> u64 {
        self.shared.due.load(Ordering::Relaxed).saturating_sub(self.acked())
    }

    /// From now on a lost connection is made again.
    pub(crate) fn reconnect(&self) {
        self.shared.reconnect.store(true, Ordering::Relaxed);
    }

    /// What was measured since the last call, in microseconds.
    pub(crate) fn latencies_us(&self) -> Result<Histogram<u64>> {
        let mut latencies =
            self.shared.latencies_us.lock().map_err(|_| anyhow::anyhow!("a load panicked"))?;
        Ok(std::mem::replace(&mut *latencies, histogram()?))
    }

    /// Acknowledged per second over this time.
    ///
    /// # Errors
    /// When a connection failed.
    pub(crate) fn throughput(&self, time: Duration) -> Result<f64> {
        let (before, begun) = (self.acked(), Instant::now());
        std::thread::sleep(time);
        self.check()?;
        #[expect(clippy::cast_precision_loss, reason = "a count of messages")]
        Ok((self.acked() - before) as f64 / begun.elapsed().as_secs_f64())
    }

    /// Whether it still runs.
    pub(crate) fn check(&self) -> Result<()> {
        if self.thread.is_finished() {
            bail!("the load ended early");
        }
        Ok(())
    }

    /// Ends it; what is due is still sent and acknowledged.
    ///
    /// # Errors
    /// The first thing that went wrong on any connection.
    pub(crate) fn stop(self) -> Result<()> {
        self.shared.rate.store(0, Ordering::Relaxed);
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the load panicked"))?
    }
}

fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(LATENCY_MAX_US, 3)?)
}

async fn run(shared: Arc<Shared>, devices: usize, id_of_run: Option<u32>) -> Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..CONNECTIONS.min(devices) {
        let share = (number..devices).step_by(CONNECTIONS).map(|device| Publishes::new(device, id_of_run));
        let mut connection = Connection::new(shared.clone(), number, share.collect());
        tasks.spawn(async move {
            loop {
                match connection.work().await {
                    Err(_) if connection.shared.reconnect.load(Ordering::Relaxed) => connection.lost(),
                    ended => return ended,
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a connection panicked")??;
    }
    Ok(())
}

struct Connection {
    shared: Arc<Shared>,
    number: usize,
    devices: Vec<Publishes>,
    next_device: usize,
    /// When each message that waits for room in the window was due.
    waiting: VecDeque<Instant>,
    /// When each unacknowledged message was due, and its packet id.
    unacked: VecDeque<(Instant, u16)>,
    packet_id: u16,
    /// Parts of a message that are due already.
    credit: f64,
    looked: Instant,
}

impl Connection {
    fn new(shared: Arc<Shared>, number: usize, devices: Vec<Publishes>) -> Self {
        Self {
            shared,
            number,
            devices,
            next_device: 0,
            waiting: VecDeque::new(),
            unacked: VecDeque::new(),
            packet_id: 0,
            // Connections aren't in step.
            #[expect(clippy::cast_precision_loss, reason = "a small count")]
            credit: number as f64 / CONNECTIONS as f64,
            looked: Instant::now(),
        }
    }

    /// Connects and publishes until it is told to stop.
    async fn work(&mut self) -> Result<()> {
        let mut stream = open(&self.shared.address, &format!("load-{}", self.number), "", "").await?;
        let (mut out, mut input) = (Vec::new(), Vec::with_capacity(READ_BYTES));
        // Spread over the tick, so that the connections don't all send at once.
        let phase = TICK * u32::try_from(self.number % CONNECTIONS)? / u32::try_from(CONNECTIONS)?;
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + phase, TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            self.fall_due();
            self.encode(&mut out);
            if !out.is_empty() {
                stream.write_all(&out).await.context("publish")?;
                out.clear();
            }
            let idle = self.waiting.is_empty() && self.unacked.is_empty();
            if idle && self.shared.stopping.load(Ordering::Relaxed) {
                return Ok(());
            }
            tokio::select! {
                read = stream.read_buf(&mut input) => {
                    if read.context("read acknowledgements")? == 0 {
                        bail!("the service closed a connection of the load");
                    }
                    self.acknowledged(&mut input)?;
                }
                _ = ticks.tick() => {}
            }
        }
    }

    /// What became due since the last look.
    fn fall_due(&mut self) {
        let now = Instant::now();
        let elapsed = now - std::mem::replace(&mut self.looked, now);
        let rate = self.shared.rate.load(Ordering::Relaxed);
        let count = if rate == FLOOD {
            WINDOW.saturating_sub(self.unacked.len() + self.waiting.len())
        } else {
            #[expect(clippy::cast_precision_loss, reason = "a rate")]
            let share = rate as f64 / CONNECTIONS as f64;
            self.credit += share * elapsed.as_secs_f64();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a small positive count"
            )]
            let whole = self.credit as usize;
            #[expect(clippy::cast_precision_loss, reason = "a small count")]
            {
                self.credit -= whole as f64;
            }
            whole
        };
        self.waiting.extend(std::iter::repeat_n(now, count));
        self.shared.due.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn encode(&mut self, out: &mut Vec<u8>) {
        while self.unacked.len() < WINDOW {
            let Some(due) = self.waiting.pop_front() else { break };
            self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
            self.unacked.push_back((due, self.packet_id));
            self.devices[self.next_device].next(self.packet_id, out);
            self.next_device = (self.next_device + 1) % self.devices.len();
        }
    }

    fn acknowledged(&mut self, input: &mut Vec<u8>) -> Result<()> {
        let whole = input.len() / PUBACK_BYTES * PUBACK_BYTES;
        let now = Instant::now();
        let mut latencies =
            self.shared.latencies_us.lock().map_err(|_| anyhow::anyhow!("another connection panicked"))?;
        for puback in input[..whole].chunks_exact(PUBACK_BYTES) {
            let (due, packet_id) = self.unacked.pop_front().context("an acknowledgement of nothing")?;
            let [high, low] = packet_id.to_be_bytes();
            if puback != [0x40, 2, high, low] {
                bail!("expected PUBACK {packet_id}, got {puback:02x?}");
            }
            latencies.saturating_record(u64::try_from((now - due).as_micros())?);
        }
        self.shared.acked.fetch_add((whole / PUBACK_BYTES) as u64, Ordering::Relaxed);
        input.drain(..whole);
        Ok(())
    }

    /// The connection is gone: what wasn't acknowledged is due again.
    fn lost(&mut self) {
        for (due, _) in self.unacked.drain(..).rev() {
            self.waiting.push_front(due);
        }
    }
}

/// An open MQTT connection. Tries again while nobody listens.
///
/// # Errors
/// When it isn't admitted in time.
pub(crate) async fn open(address: &str, client: &str, user: &str, password: &str) -> Result<TcpStream> {
    let trying = async {
        loop {
            match handshake(address, client, user, password).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(TICK).await,
            }
        }
    };
    tokio::time::timeout(CONNECT_MAX, trying).await.context("connect over MQTT")
}

async fn handshake(address: &str, client: &str, user: &str, password: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&connect(client, user, password)).await?;
    let mut answer = [0; CONNACK.len()];
    stream.read_exact(&mut answer).await?;
    if answer != CONNACK {
        bail!("CONNACK {answer:02x?}");
    }
    Ok(stream)
}
