//! A fleet: one connection a device, thousands in one process, and a ledger of all they publish.
//!
//! ```text
//! life (a task a device) ── reading ──▶ unacked ──▶ connection (rumqttc) ──▶ the service
//!        │                                 ▲                │
//!        │                                 └── PUBACK ──────┤
//!        └───────────────▶ ledger, statistics ◀─────────────┘
//! ```
//!
//! When it is told to stop, devices take no more readings; they stay, reconnecting as need be, until all that
//! they published is acknowledged, for at most [`DRAIN_MAX`]. So the ledger is final when the fleet is done.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{Api, ServiceAddress};
use crate::ledger::{Closing, Entry, Ledger, Micros};
use crate::open_files::make_room_for;
use crate::random::fresh_seed;
use crate::terminal::{say, stop_signals};

mod profile;
mod clock;
mod backoff;
mod unacked;
mod life;
mod connection;
mod registration;
mod statistics;
#[cfg(test)]
mod trial;

pub(crate) use profile::Profile;
pub(crate) use registration::register;
pub(crate) use statistics::{Statistics, milliseconds};

use clock::Clock;
use life::Life;

/// Longest wait for acknowledgements at the end.
const DRAIN_MAX: Duration = Duration::from_secs(60);
/// How often the command tells its progress.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What `fleet` is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FleetArguments {
    /// How many devices.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = positive)]
    pub(crate) devices: usize,
    /// How often a device reports, in its own time.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::duration::parse_positive)]
    pub(crate) period: Duration,
    /// How the fleet behaves as a whole.
    #[arg(long, value_enum, default_value_t = Profile::Steady)]
    pub(crate) profile: Profile,
    /// How long it runs; until Ctrl-C when it isn't given.
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    pub(crate) duration: Option<Duration>,
    /// Makes all chance repeatable; a fresh one is taken and printed when it isn't given.
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
    /// Where the ledger is written, for `verify`; an existing one is appended to.
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger: Option<PathBuf>,
    /// The MQTT address of the service.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1883")]
    pub(crate) mqtt: String,
    /// The time of the devices runs this many times faster.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    pub(crate) speed: f64,
    /// The quality of service of what is published: 1 or 2. At 0 nothing is acknowledged, so nothing is proven.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub(crate) qos: u8,
    /// Registers the devices over HTTP first, and connects with the tokens that they get.
    #[arg(long, conflicts_with = "tokens")]
    pub(crate) register: bool,
    /// The tokens of the devices: a line each, id and token separated by a space.
    #[arg(long, value_name = "FILE")]
    pub(crate) tokens: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) service: ServiceAddress,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        _ => Err("must be 1 to 1000000".into()),
    }
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (0.01..=10_000.0).contains(&factor) => Ok(factor),
        _ => Err("must be 0.01 to 10000".into()),
    }
}

/// What all devices of a fleet share.
struct World {
    arguments: FleetArguments,
    /// The name of this run, unlike that of any other.
    run: Arc<str>,
    seed: u64,
    /// Host and port of the service.
    broker: (String, u16),
    /// The token of each device that has one.
    tokens: HashMap<String, String>,
    clock: Clock,
    ledger: Ledger,
    statistics: Arc<Statistics>,
    /// No more readings: wait for what isn't acknowledged, then leave.
    stop: CancellationToken,
    /// Leave now.
    abandon: CancellationToken,
}

/// A fleet that runs.
pub(crate) struct Fleet {
    /// What it did so far.
    pub(crate) statistics: Arc<Statistics>,
    /// What its chance follows from.
    pub(crate) seed: u64,
    devices: TaskTracker,
    closing: Closing,
    stop: CancellationToken,
    abandon: CancellationToken,
}

impl Fleet {
    /// Starts all devices. `stop` ends their readings, `abandon` their waiting for acknowledgements.
    pub(crate) async fn start(
        arguments: FleetArguments,
        tokens: HashMap<String, String>,
        stop: CancellationToken,
        abandon: CancellationToken,
    ) -> anyhow::Result<Self> {
        make_room_for(arguments.devices);
        let (ledger, closing) = match &arguments.ledger {
            Some(path) => Ledger::open(path)?,
            None => Ledger::nowhere(),
        };
        let now = Micros::now();
        let world = Arc::new(World {
            run: format!("{:x}", now.0).into(),
            seed: arguments.seed.unwrap_or_else(fresh_seed),
            broker: broker_address(&arguments.mqtt)?,
            clock: Clock::start(arguments.speed),
            statistics: Arc::default(),
            stop: stop.clone(),
            abandon: abandon.clone(),
            arguments,
            tokens,
            ledger,
        });
        let (run, seed) = (Arc::clone(&world.run), world.seed);
        world.ledger.record(Entry::Run { run, seed, at: now }).await;
        let devices = TaskTracker::new();
        for index in 0..world.arguments.devices {
            devices.spawn(Life::new(Arc::clone(&world), index).run());
        }
        devices.close();
        Ok(Self { statistics: Arc::clone(&world.statistics), seed, devices, closing, stop, abandon })
    }

    /// Waits until the fleet was told to stop and all is acknowledged or given up, and the ledger is written.
    /// Answers how many publishes were given up.
    ///
    /// # Errors
    /// When the ledger couldn't be written: it proves nothing then.
    pub(crate) async fn finish(self) -> anyhow::Result<u64> {
        let drained = async {
            self.stop.cancelled().await;
            tokio::time::sleep(DRAIN_MAX).await;
        };
        tokio::select! {
            () = self.devices.wait() => {}
            () = drained => self.abandon.cancel(),
        }
        self.devices.wait().await;
        self.closing.finish().await?;
        Ok(self.statistics.in_flight())
    }
}

/// Runs a fleet, tells its progress each second, and its latencies at the end. False: nothing that it
/// published was ever acknowledged.
pub(crate) async fn command(arguments: FleetArguments) -> anyhow::Result<bool> {
    let (stop, abandon) = stop_signals()?;
    let tokens = tokens(&arguments).await?;
    let duration = arguments.duration;
    say(&format!(
        "{} devices, each {:?} at speed {}, {:?}, to {}",
        arguments.devices, arguments.period, arguments.speed, arguments.profile, arguments.mqtt
    ));
    let fleet = Fleet::start(arguments, tokens, stop.clone(), abandon).await?;
    say(&format!("seed {}", fleet.seed));
    let statistics = Arc::clone(&fleet.statistics);
    let told = CancellationToken::new();
    let telling = tokio::spawn(tell(Arc::clone(&statistics), told.clone()));
    if let Some(duration) = duration {
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(duration).await;
            stop.cancel();
        });
    }
    let given_up = fleet.finish().await?;
    told.cancel();
    telling.await.context("tell the progress")?;
    say(&statistics.snapshot().line());
    say(&statistics.latency_line());
    if given_up > 0 {
        say(&format!("{given_up} publishes were never acknowledged"));
    }
    Ok(statistics.acknowledged() > 0)
}

async fn tell(statistics: Arc<Statistics>, told: CancellationToken) {
    while told.run_until_cancelled(tokio::time::sleep(TELL_EVERY)).await.is_some() {
        say(&statistics.snapshot().line());
    }
}

async fn tokens(arguments: &FleetArguments) -> anyhow::Result<HashMap<String, String>> {
    if arguments.register {
        let api = Api::new(arguments.service.clone())?;
        return register(&api, arguments.devices).await;
    }
    match &arguments.tokens {
        Some(path) => {
            let text = tokio::fs::read_to_string(path).await;
            registration::read_tokens(&text.with_context(|| format!("read {}", path.display()))?)
        }
        None => Ok(HashMap::new()),
    }
}

/// Host and port; the port is 1883 where none is given.
fn broker_address(text: &str) -> anyhow::Result<(String, u16)> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() => {
            let port = port.parse().with_context(|| format!("{port:?} isn't a port"))?;
            Ok((host.to_owned(), port))
        }
        _ => Ok((text.trim_matches(':').to_owned(), 1_883)),
    }
}

#[cfg(test)]
mod tests {
    use super::broker_address;

    #[test]
    fn addresses_are_read() {
        assert_eq!(broker_address("127.0.0.1:1884").ok(), Some(("127.0.0.1".into(), 1_884)));
        assert_eq!(broker_address("[::1]:1884").ok(), Some(("[::1]".into(), 1_884)));
        assert_eq!(broker_address("broker").ok(), Some(("broker".into(), 1_883)));
        assert!(broker_address("broker:x").is_err());
    }
}
