//! From changes to committed changes: batches, positions, verdicts.
//!
//! *Cast*: activations hand in units, the changes of one device; `LANES` lanes each take what waits as one batch,
//! give it positions and commit it on a connection of their own.
//! *Guarantee*: a verdict is given only when the fate of the batch is known. Positions rise in the order in which
//! batches are taken, and the feed releases them in that order, whichever lane is done first.
//! *Fairness*: what nobody waits for, connections that open and close, doesn't stand in front of what devices wait
//! for: it takes one lane and small batches of its own, and a little room in those of others, so that it goes on too.
//! *Bound*: a batch is bounded in rows and bytes (see `intake`); units wait in bounded channels.
//! *Outage*: a lane waits inside the store until the database is back; nothing is dropped.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use statecast_state::{Change, DeviceKey, Position};
use statecast_store::{DeadLetter, Fenced, Outcome, Owner};
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::Feed;
use crate::cache::{Twins, document_footprint, footprint};
use intake::{Intake, Unit, Work};

mod intake;

/// Batches in flight at most, each on a connection of its own.
const LANES: usize = 3;
/// Units that may wait in each channel.
const QUEUE_MAX: usize = 8_192;

/// What became of a unit.
#[derive(Debug)]
pub enum Verdict {
    /// It is durable.
    Committed(Vec<Arc<Change>>),
    /// The twin had another version than the unit rests on; nothing of it was written.
    Lost,
    /// The database refuses what is in it; nothing of it was written.
    Poison(String),
}

/// About how many bytes a change takes in memory. The twin before it is the twin after the change before.
pub fn weight(change: &Change) -> usize {
    let twin = change.after.as_deref().map_or(0, footprint);
    let documents = document_footprint(&change.patch) + document_footprint(&change.inverse);
    // A request shares its patch with the twin.
    let alarms = change.alarms.len() + change.events.len() + change.decisions.len();
    size_of::<Change>()
        + twin
        + documents
        + 1_024 * change.pushes.len()
        + 512 * alarms
        + 256 * change.requests.len()
}

/// A handle to the lanes. They end when the last handle is gone and nothing waits.
#[derive(Clone)]
pub struct Committer {
    units: mpsc::Sender<Unit>,
    quiet: mpsc::Sender<Unit>,
    horizon: Arc<AtomicU64>,
}

impl Committer {
    /// Starts the lanes.
    pub fn start(owner: &Arc<Owner>, feed: &Feed, twins: &Twins, tasks: &TaskTracker) -> Self {
        let (units, receiver) = mpsc::channel(QUEUE_MAX);
        let (quiet, quiet_receiver) = mpsc::channel(QUEUE_MAX);
        let in_flight = Arc::new(AtomicUsize::new(0));
        let last = feed.watermark();
        let horizon = Arc::new(AtomicU64::new(last.0));
        let intake = Intake {
            receiver,
            quiet: quiet_receiver,
            quiet_turn: Arc::new(Semaphore::new(1)),
            next_batch: 0,
            last,
            held: None,
            in_flight: in_flight.clone(),
            taken: Instant::now(),
            rows_before: 0,
            horizon: horizon.clone(),
        };
        let intake = Arc::new(Mutex::new(intake));
        for _ in 0..LANES {
            let lane = Lane {
                owner: owner.clone(),
                intake: intake.clone(),
                in_flight: in_flight.clone(),
                feed: feed.clone(),
                twins: twins.clone(),
            };
            tasks.spawn(async move {
                if let Err(fenced) = lane.run().await {
                    // The service watches the ownership itself and ends the process.
                    error!(%fenced, "commit: this process no longer owns the database");
                }
            });
        }
        Self { units, quiet, horizon }
    }

    /// The last position that a change was given: everything that is acknowledged now is at or below it.
    pub fn horizon(&self) -> Position {
        Position(self.horizon.load(Ordering::Acquire))
    }

    /// Commits the changes of one device, and the dead letters. Waits as long as an outage lasts; none when this
    /// process no longer owns the database.
    pub async fn commit(&self, changes: Vec<Change>, dead_letters: Vec<DeadLetter>) -> Option<Verdict> {
        let (verdict, known) = oneshot::channel();
        let unit = Unit { changes, dead_letters, verdict };
        let queue = if unit.is_quiet() { &self.quiet } else { &self.units };
        queue.send(unit).await.ok()?;
        known.await.ok()
    }
}

struct Lane {
    owner: Arc<Owner>,
    intake: Arc<Mutex<Intake>>,
    in_flight: Arc<AtomicUsize>,
    feed: Feed,
    twins: Twins,
}

impl Lane {
    async fn run(self) -> Result<(), Fenced> {
        let mut writer = self.owner.writer();
        loop {
            let Some(work) = self.intake.lock().await.next(&self.owner).await? else { return Ok(()) };
            let outcome = writer.commit(&work.batch).await?;
            if work.quiet_turn.is_none() {
                self.in_flight.fetch_sub(1, Ordering::Relaxed);
            }
            self.resolve(work, outcome);
        }
    }

    /// Tells everyone: first those who wait for the verdict, then the feed. Before, what the cache has of these devices is
    /// taken away.
    fn resolve(&self, work: Work, outcome: Outcome) {
        drop(work.quiet_turn);
        let lost: HashSet<DeviceKey> = outcome.lost.into_iter().collect();
        let mut poison: HashMap<DeviceKey, String> = outcome.poison.into_iter().collect();
        let mut changes = work.batch.changes.into_iter();
        let mut committed = Vec::with_capacity(changes.len());
        for (count, waiting) in work.units {
            let changes: Vec<Change> = changes.by_ref().take(count).collect();
            let key = changes.first().map(|change| &change.key);
            key.inspect(|key| self.twins.forget(key));
            let verdict = if key.is_some_and(|key| lost.contains(key)) {
                Verdict::Lost
            } else if let Some(reason) = key.and_then(|key| poison.remove(key)) {
                Verdict::Poison(reason)
            } else {
                let changes: Vec<Arc<Change>> = changes.into_iter().map(Arc::new).collect();
                committed.extend(changes.iter().cloned());
                Verdict::Committed(changes)
            };
            // An activation that died left its receipts unanswered; the devices will send again.
            drop(waiting.send(verdict));
        }
        self.feed.resolved(work.number, committed, work.last, weight);
    }
}
