//! What is in hand, from the claim to the writing of what became of it: starts what may start, and passes on
//! the results.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use parking_lot::Mutex;
use statecast_state::rule::ReceiverKind;
use statecast_state::{DeviceId, TenantId, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;
use uuid::Uuid;

use crate::channels::mqtt::Publish;
use crate::channels::{Channels, Letter};
use crate::completions::Completion;
use crate::gate::Entry as Passage;
use crate::gates::{Gates, Line};
use crate::lanes::{Bounds, Entry, Lanes, Surplus, Went};
use crate::meters;
use crate::outbox::{Claimed, Finished, Outbox, Outcome};
use crate::places::{Held, Places};
use crate::policy::{self, Answer, Blame, Retry, later, now};
use crate::settings::Settings;

/// What all tasks of a dispatcher share.
pub(crate) struct Desk {
    pub(crate) outbox: Arc<dyn Outbox>,
    pub(crate) settings: Settings,
    /// Requests under way.
    pub(crate) sends: TaskTracker,
    /// Cuts them off.
    pub(crate) cut: CancellationToken,
    pub(crate) channels: Channels,
    pub(crate) gates: Gates,
    mqtt: Arc<dyn Publish>,
    live: broadcast::Sender<Arc<Claimed>>,
    results: mpsc::Sender<Completion>,
    lanes: Mutex<Lanes<Job>>,
    /// Room for what is claimed.
    pub(crate) places: Places,
}

/// A push on its way.
struct Job {
    held: Held,
    /// The gate that it goes through.
    line: Option<Line>,
    letter: Letter,
    attempt: u32,
    created_at: Timestamp,
    deadline: Timestamp,
}

impl Desk {
    pub(crate) fn new(
        outbox: Arc<dyn Outbox>,
        settings: Settings,
        channels: Channels,
        mqtt: Arc<dyn Publish>,
        live: broadcast::Sender<Arc<Claimed>>,
        results: mpsc::Sender<Completion>,
    ) -> Arc<Self> {
        let held_max = settings.held_rows_max.max(1);
        let bounds = Bounds { sends_max: settings.sends_max.max(1), held_max };
        let gates = Gates::new(settings.gates.clone());
        Arc::new(Self {
            outbox,
            settings,
            sends: TaskTracker::new(),
            cut: CancellationToken::new(),
            channels,
            gates,
            mqtt,
            live,
            results,
            lanes: Mutex::new(Lanes::new(bounds)),
            places: Places::new(held_max),
        })
    }

    /// Takes what was claimed, each into a place of `room`; `start` is to follow.
    pub(crate) async fn take(&self, mut claimed: Vec<Claimed>, room: &mut OwnedSemaphorePermit) {
        claimed.sort_by_key(|row| row.push.position);
        for row in claimed {
            // What becomes of one that is in hand already will be written all the same.
            let Some(held) = self.places.take(&row.tenant, row.push.id, room) else { continue };
            self.give_to_channel(row, held).await;
        }
    }

    async fn give_to_channel(&self, mut row: Claimed, held: Held) {
        let channel = row.receiver.kind.as_str();
        let dead = |error: String| Outcome::Dead { error };
        if !row.receiver.enabled {
            let why = row.receiver.disabled_reason.as_deref().unwrap_or("by hand");
            let error = format!("the receiver is disabled: {}", policy::clean(why.as_bytes()));
            return self.pass_on(held, channel, dead(error)).await;
        }
        let (now, deadline) = (now(), row.push.deadline);
        if now >= deadline {
            return self.pass_on(held, channel, dead(TOO_LATE.to_owned())).await;
        }
        if row.receiver.kind == ReceiverKind::Live {
            if row.attempt <= 1 {
                meters::first_attempt(channel, row.push.created_at);
            }
            meters::accepted(channel, row.push.created_at);
            // An error only says that nobody follows: the outbox remembers for who comes later.
            let _ = self.live.send(Arc::new(row));
            return self.pass_on(held, channel, Outcome::Delivered { status: 200 }).await;
        }
        let line = Line::of(&row.tenant, &row.receiver.kind);
        if let Some((at, why)) = line.as_ref().and_then(|line| self.gates.waits(line, now)) {
            let outcome = Outcome::Postponed { at: at.min(deadline), error: Some(why) };
            return self.pass_on(held, channel, outcome).await;
        }
        let letter = match self.channels.letter(&mut row, now) {
            Ok(letter) => letter,
            Err(error) => {
                warn!(channel, tenant = %row.tenant, push = %row.push.id, "a push can't be sent: {error}");
                return self.pass_on(held, channel, dead(error)).await;
            }
        };
        if row.attempt <= 1 {
            meters::first_attempt(channel, row.push.created_at);
        }
        // Several requests at a time are for servers; a phone gets one after the other.
        let width_max = match row.receiver.kind {
            ReceiverKind::Webhook { .. } | ReceiverKind::Mqtt { .. } => {
                self.settings.sends_per_receiver_max.max(1)
            }
            _ => 1,
        };
        let job = Job { held, line, letter, attempt: row.attempt, created_at: row.push.created_at, deadline };
        let receiver = (row.tenant, row.receiver.id);
        let added = self.lanes.lock().add(Entry { receiver, device: row.push.device, width_max, job });
        if let Err(surplus) = added {
            self.postpone(surplus).await;
        }
    }

    /// Starts as many requests as the bounds allow.
    pub(crate) fn start(self: &Arc<Self>) {
        loop {
            let next = self.lanes.lock().next();
            let Some(entry) = next else { return };
            self.sends.spawn(self.clone().send(entry));
        }
    }

    async fn send(self: Arc<Self>, entry: Entry<Job>) {
        let Entry { receiver, device, job, .. } = entry;
        let (began, channel) = (Instant::now(), job.letter.to.as_str());
        let passage = match &job.line {
            _ if now() >= job.deadline => Err(Outcome::Dead { error: TOO_LATE.to_owned() }),
            None => Ok(false),
            Some(line) => match self.gates.enter(line, now()) {
                Passage::Go { probe } => Ok(probe),
                Passage::Wait { at, why } => {
                    Err(Outcome::Postponed { at: at.min(job.deadline), error: Some(why) })
                }
            },
        };
        let outcome = match passage {
            Err(outcome) => {
                self.leave(&receiver, &device, Went::Untried, began).await;
                outcome
            }
            Ok(probe) => {
                let answer = self.attempt(&job.letter).await;
                if let Some(line) = &job.line {
                    self.gates.learn(line, probe, answer.as_ref(), now());
                }
                match answer {
                    Some(answer) => {
                        self.leave(&receiver, &device, went(&answer), began).await;
                        self.judge(&job, answer)
                    }
                    None => Outcome::Retry {
                        at: now(),
                        error: "the service stopped during the attempt".to_owned(),
                    },
                }
            }
        };
        self.pass_on(job.held, channel, outcome).await;
    }

    /// What becomes of a push that was answered.
    fn judge(&self, job: &Job, answer: Answer) -> Outcome {
        let channel = job.letter.to.as_str();
        meters::answered(channel, &answer);
        match &answer {
            Answer::Accepted { .. } => meters::accepted(channel, job.created_at),
            // Nobody but us can mend that.
            Answer::Impossible { error } => {
                warn!(channel, tenant = %job.letter.tenant, push = %job.letter.id, "a push can't be sent: {error}");
            }
            _ => {}
        }
        let retry = Retry { base: self.settings.retry_base, cap: self.settings.retry_cap };
        policy::outcome(answer, job.attempt, job.deadline, now(), retry, rand::random())
    }

    /// One attempt; none when it was cut off.
    async fn attempt(&self, letter: &Letter) -> Option<Answer> {
        let attempt = AssertUnwindSafe(self.channels.send(letter, &*self.mqtt)).catch_unwind();
        let answer = self.cut.run_until_cancelled(attempt).await?;
        Some(answer.unwrap_or_else(|_panic| Answer::Failed {
            error: "sending it panicked".to_owned(),
            not_before: None,
            blame: Blame::Push,
        }))
    }

    /// A request has ended: others may start.
    async fn leave(
        self: &Arc<Self>,
        receiver: &(TenantId, Uuid),
        device: &DeviceId,
        went: Went,
        began: Instant,
    ) {
        let surplus = self.lanes.lock().done(receiver, device, went, began.elapsed());
        self.postpone(surplus).await;
        if !self.sends.is_closed() {
            self.start();
        }
    }

    /// Gives back all that waits for its turn, to be claimed at the next start.
    pub(crate) async fn give_back(&self) {
        let waiting = self.lanes.lock().drain();
        for job in waiting {
            let channel = job.letter.to.as_str();
            self.pass_on(job.held, channel, Outcome::Postponed { at: now(), error: None }).await;
        }
    }

    /// Gives back what there is no room for, spread over as long again, so that it doesn't come at once.
    async fn postpone(&self, surplus: Surplus<Job>) {
        for job in surplus.jobs {
            let pause = surplus.wait.mul_f64(1.0 + rand::random::<f64>());
            let at = later(now(), pause).min(job.deadline);
            let channel = job.letter.to.as_str();
            self.pass_on(job.held, channel, Outcome::Postponed { at, error: None }).await;
        }
    }

    async fn pass_on(&self, held: Held, channel: &'static str, outcome: Outcome) {
        let (tenant, id) = held.key.clone();
        let completion = Completion { finished: Finished { tenant, id, outcome }, channel, held };
        // An error means that the dispatcher was aborted: the row is claimed again when its lease is over.
        let _ = self.results.send(completion).await;
    }
}

/// What an attempt tells about the lane of its receiver.
fn went(answer: &Answer) -> Went {
    match answer {
        Answer::Accepted { .. } => Went::Well,
        Answer::Failed { blame: Blame::Provider | Blame::Quota, .. } => Went::Pressed,
        _ => Went::Neither,
    }
}

const TOO_LATE: &str = "its deadline passed before it was accepted";
