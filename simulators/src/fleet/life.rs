//! The life of one device: a task that takes readings when they are due, keeps what isn't acknowledged, and
//! connects again for ever.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::Rng;
use rand::rngs::StdRng;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use super::connection::{self, End};
use super::statistics::Count;
use super::unacked::Unacked;
use super::{World, backoff};
use crate::device::{Device, Document, state_message};
use crate::ledger::hash::Hash;
use crate::ledger::{Entry, Micros};
use crate::random::{self, Purpose};

/// Most publishes of a device that may be unacknowledged; beyond it readings are skipped, as a device with
/// little memory would. The service allows 100 on a connection, and remembers the last 200 ids.
pub(super) const UNACKED_MAX: usize = 32;
/// New devices a second while a fleet connects for the first time.
const CONNECTS_PER_SECOND: f64 = 1_000.0;
/// How many readings apart a restless device loses its connection, on average.
const READINGS_PER_BREAK: f64 = 10.0;

/// One device, and all that it waits for.
pub(super) struct Life {
    pub(super) world: Arc<World>,
    pub(super) device: Device,
    pub(super) unacked: Unacked<Message>,
    /// The service has admitted it before.
    pub(super) was_connected: bool,
    chance: StdRng,
    /// The number of its last state message.
    seq: u64,
    connect_at: Instant,
    next_reading: Duration,
    next_break: Option<Duration>,
    next_storm: Option<Duration>,
    /// What it was told to be, and when it answers.
    order: Option<(Instant, Desired)>,
    rejected_version: Option<u64>,
}

/// A publish of a device.
pub(super) struct Message {
    pub(super) payload: Vec<u8>,
    pub(super) about: About,
}

/// What a publish is about.
#[derive(Clone, Copy)]
pub(super) enum About {
    /// State, which the ledger knows by its number.
    State { seq: u64, hash: Hash, first_sent: Option<Instant> },
    /// The device refuses what it should be.
    Rejection,
}

/// What the service tells a device to be.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Desired {
    version: u64,
    desired: Document,
}

/// What a device does to its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whim {
    /// Nothing.
    Stay,
    /// Drops it without a word: its will is published.
    Break,
    /// Leaves in order.
    Leave,
}

impl Life {
    /// Device `index` of this world, before it connects for the first time.
    pub(super) fn new(world: Arc<World>, index: usize) -> Self {
        let device = Device::new(world.seed, index);
        let mut chance = random::sequence(world.seed, index, Purpose::Timing);
        let ramp_s = (world.arguments.devices as f64 / CONNECTS_PER_SECOND)
            .min(world.arguments.period.as_secs_f64() / world.arguments.speed);
        let first =
            world.clock.moment(Duration::ZERO) + Duration::from_secs_f64(ramp_s * chance.random::<f64>());
        let next_reading = world.clock.at(first);
        let mut life = Self {
            unacked: Unacked::new(),
            was_connected: false,
            seq: 0,
            connect_at: first,
            next_reading,
            next_break: None,
            next_storm: world.arguments.profile.next_storm(next_reading),
            order: None,
            rejected_version: None,
            chance,
            device,
            world,
        };
        life.plan_break(next_reading);
        life
    }

    /// Lives until the fleet stops and all is acknowledged, or is abandoned.
    pub(super) async fn run(mut self) {
        self.rest_until(self.connect_at).await;
        let mut failures = 0;
        while !self.is_done() {
            let end = connection::serve(&mut self).await;
            self.unacked.connection_lost();
            let pause = match end {
                End::Done => return,
                End::Left => {
                    failures = 0;
                    Duration::ZERO
                }
                End::Lost { progress } => {
                    failures = if progress { 1 } else { failures + 1 };
                    backoff::wait(failures, &mut self.chance)
                }
            };
            self.rest_until(Instant::now() + pause).await;
        }
    }

    /// No more readings are taken.
    pub(super) fn is_stopping(&self) -> bool {
        self.world.stop.is_cancelled()
    }

    /// There is nothing left to do.
    fn is_done(&self) -> bool {
        self.world.abandon.is_cancelled() || (self.is_stopping() && self.unacked.len() == 0)
    }

    /// Takes readings without a connection until this moment, or until there is nothing left to do.
    async fn rest_until(&mut self, moment: Instant) {
        let (stop, abandon) = (self.world.stop.clone(), self.world.abandon.clone());
        while Instant::now() < moment && !self.is_done() {
            let stopping = self.is_stopping();
            tokio::select! {
                () = sleep_until(moment) => return,
                () = sleep_until(self.next_wake()), if !stopping => { self.act().await; }
                () = stop.cancelled(), if !stopping => {}
                () = abandon.cancelled() => return,
            }
        }
    }

    /// When it next has something to do. Meaningless once it is stopping.
    pub(super) fn next_wake(&self) -> Instant {
        let planned = [Some(self.next_reading), self.next_break, self.next_storm];
        let planned = planned.into_iter().flatten().min().unwrap_or_default();
        let planned = self.world.clock.moment(planned);
        self.order.as_ref().map_or(planned, |(due, _)| planned.min(*due))
    }

    /// Does what is due, and answers what it does to its connection.
    pub(super) async fn act(&mut self) -> Whim {
        let moment = Instant::now();
        let now = self.world.clock.at(moment);
        if let Some((_, desired)) = self.order.take_if(|(due, _)| *due <= moment) {
            self.answer(&desired);
        }
        if self.next_reading <= now {
            self.take_reading(now);
        }
        if self.next_storm.is_some_and(|storm| storm <= now) {
            self.next_storm = self.world.arguments.profile.next_storm(now);
            return Whim::Break;
        }
        if self.next_break.is_some_and(|due| due <= now) {
            self.plan_break(now);
            return if self.chance.random_bool(0.5) { Whim::Break } else { Whim::Leave };
        }
        Whim::Stay
    }

    /// A reading that was due: taken, or skipped when there is no room for it.
    fn take_reading(&mut self, now: Duration) {
        let due = self.next_reading;
        let period = self.world.arguments.period;
        // The second comes at any time within the period, so that the phases of a fleet are spread.
        let share = if self.seq == 0 { self.chance.random() } else { self.chance.random_range(0.9..1.1) };
        let interval = period.mul_f64(share);
        // Who is more than a period late doesn't catch up.
        let from = if now > due + period { now } else { due };
        self.next_reading = self.world.arguments.profile.next_reading(from, interval);
        let patch = if self.seq == 0 { self.device.introduce() } else { self.device.read(due) };
        self.report(patch);
    }

    /// Publishes state, unless there is no room for it.
    pub(super) fn report(&mut self, patch: Document) {
        if self.unacked.len() >= UNACKED_MAX {
            self.world.statistics.count(Count::Skipped);
            return;
        }
        self.seq += 1;
        let message = state_message(self.device.kind, &self.world.run, self.seq, SystemTime::now(), patch);
        let about = About::State { seq: self.seq, hash: message.hash, first_sent: None };
        self.unacked.push(Message { payload: message.payload, about });
    }

    /// It was told what it should be: it answers after a moment.
    pub(super) fn told(&mut self, payload: &[u8]) {
        let Ok(desired) = serde_json::from_slice::<Desired>(payload) else {
            self.world.statistics.trouble(format!("{} was told something that isn't JSON", self.device.id));
            return;
        };
        if desired.desired.is_empty() || self.rejected_version == Some(desired.version) {
            self.order = None;
            return;
        }
        let moment = Duration::from_secs_f64(self.chance.random_range(0.3..2.0) / self.world.arguments.speed);
        self.order = Some((Instant::now() + moment, desired));
    }

    fn answer(&mut self, order: &Desired) {
        match self.device.obey(&order.desired) {
            Ok(report) => {
                self.world.statistics.count(Count::Obeyed);
                self.report(report);
            }
            Err(_) if self.unacked.len() >= UNACKED_MAX => {}
            Err(reason) => {
                self.world.statistics.count(Count::Rejected);
                self.rejected_version = Some(order.version);
                let payload = serde_json::json!({ "version": order.version, "reason": reason });
                let payload = payload.to_string().into_bytes();
                self.unacked.push(Message { payload, about: About::Rejection });
            }
        }
    }

    /// A restless device plans when it loses its connection next.
    fn plan_break(&mut self, now: Duration) {
        if self.device.restless {
            let readings = self.chance.random_range(0.2..1.8) * READINGS_PER_BREAK;
            self.next_break = Some(now + self.world.arguments.period.mul_f64(readings));
        }
    }

    /// The client wrote the oldest message that it was handed to the socket, with this packet id.
    pub(super) async fn written(&mut self, packet_id: u16) {
        let Some(message) = self.unacked.written(packet_id) else { return };
        let About::State { seq, hash, first_sent } = &mut message.about else { return };
        let (device, seq, at) = (Arc::clone(&self.device.id), *seq, Micros::now());
        let again = first_sent.is_some();
        first_sent.get_or_insert_with(Instant::now);
        let entry = if again {
            Entry::SentAgain { device, seq, at }
        } else {
            Entry::Sent { device, seq, hash: *hash, at }
        };
        self.world.statistics.count(if again { Count::Resent } else { Count::Sent });
        self.record(entry).await;
    }

    /// The message with this packet id was acknowledged. False: there is no such message.
    pub(super) async fn acknowledged(&mut self, packet_id: u16) -> bool {
        let Some(message) = self.unacked.acknowledged(packet_id) else { return false };
        if let About::State { seq, first_sent: Some(first_sent), .. } = message.about {
            self.world.statistics.acknowledge(first_sent.elapsed());
            let device = Arc::clone(&self.device.id);
            self.record(Entry::Acknowledged { device, seq, at: Micros::now() }).await;
        }
        true
    }

    /// Without its ledger a fleet proves nothing: then it ends.
    async fn record(&self, entry: Entry) {
        if !self.world.ledger.record(entry).await {
            self.world.stop.cancel();
            self.world.abandon.cancel();
        }
    }
}
