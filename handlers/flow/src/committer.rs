//! From changes to committed changes: batches, positions, verdicts.
//!
//! *Cast*: activations hand in units, the changes of one device; `LANES` lanes each take what waits as one batch,
//! give it positions and commit it on a connection of their own.
//! *Guarantee*: a verdict is given only when the fate of the batch is known. Positions rise in the order in which
//! batches are taken, and the feed releases them in that order, whichever lane is done first.
//! *Bound*: a batch has `BATCH_ROWS_MAX` rows and `BATCH_BYTES_MAX` bytes at most; units wait in a bounded channel.
//! *Outage*: a lane waits inside the store until the database is back; nothing is dropped.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use statecast_state::{Change, DeviceKey, Position};
use statecast_store::{Batch, DeadLetter, Fenced, Outcome, Owner};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::Feed;
use crate::cache::{document_footprint, footprint};

/// Batches in flight at most, each on a connection of its own.
const LANES: usize = 3;
/// Rows of a batch at most.
const BATCH_ROWS_MAX: usize = 1_000;
/// Estimated bytes of a batch at most.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// While another batch is in flight, a lane gathers until it has this many rows ...
const GATHER_ROWS: usize = 200;
/// ... or this time has passed.
const GATHER_TIME: Duration = Duration::from_millis(3);
/// Units that may wait in the channel.
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

/// The changes of one device, to be committed together.
struct Unit {
    changes: Vec<Change>,
    dead_letters: Vec<DeadLetter>,
    verdict: oneshot::Sender<Verdict>,
}

impl Unit {
    fn rows(&self) -> usize {
        self.changes.len() + self.dead_letters.len()
    }

    fn bytes(&self) -> usize {
        let dead: usize = self.dead_letters.iter().map(|letter| letter.payload.len()).sum();
        dead + self.changes.iter().map(weight).sum::<usize>()
    }
}

/// About how many bytes a change takes in memory. The twin before it is the twin after the change before.
pub fn weight(change: &Change) -> usize {
    let twin = change.after.as_deref().map_or(0, footprint);
    let documents = document_footprint(&change.patch) + document_footprint(&change.inverse);
    size_of::<Change>() + twin + documents + 1_024 * change.pushes.len()
}

/// A handle to the lanes. They end when the last handle is gone and nothing waits.
#[derive(Clone)]
pub struct Committer {
    units: mpsc::Sender<Unit>,
    horizon: Arc<AtomicU64>,
}

impl Committer {
    /// Starts the lanes.
    pub fn start(owner: &Arc<Owner>, feed: &Feed, tasks: &TaskTracker) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let in_flight = Arc::new(AtomicUsize::new(0));
        let last = feed.watermark();
        let horizon = Arc::new(AtomicU64::new(last.0));
        let intake = Intake {
            receiver,
            next_batch: 0,
            last,
            held: None,
            in_flight: in_flight.clone(),
            horizon: horizon.clone(),
        };
        let intake = Arc::new(Mutex::new(intake));
        for _ in 0..LANES {
            let lane = Lane {
                owner: owner.clone(),
                intake: intake.clone(),
                in_flight: in_flight.clone(),
                feed: feed.clone(),
            };
            tasks.spawn(async move {
                if let Err(fenced) = lane.run().await {
                    // The service watches the ownership itself and ends the process.
                    error!(%fenced, "commit: this process no longer owns the database");
                }
            });
        }
        Self { units: sender, horizon }
    }

    /// The last position that a change was given: everything that is acknowledged now is at or below it.
    pub fn horizon(&self) -> Position {
        Position(self.horizon.load(Ordering::Acquire))
    }

    /// Commits the changes of one device, and the dead letters. Waits as long as an outage lasts; none when this
    /// process no longer owns the database.
    pub async fn commit(&self, changes: Vec<Change>, dead_letters: Vec<DeadLetter>) -> Option<Verdict> {
        let (verdict, known) = oneshot::channel();
        self.units.send(Unit { changes, dead_letters, verdict }).await.ok()?;
        known.await.ok()
    }
}

/// What waits, and what the next batch is to be called. Behind a lock: one lane takes at a time.
struct Intake {
    receiver: mpsc::Receiver<Unit>,
    next_batch: u64,
    last: Position,
    /// A unit that was taken but no longer fitted.
    held: Option<Unit>,
    in_flight: Arc<AtomicUsize>,
    horizon: Arc<AtomicU64>,
}

/// A batch on its way.
struct Work {
    number: u64,
    last: Position,
    batch: Batch,
    /// Of each unit: how many changes, and who waits.
    units: Vec<(usize, oneshot::Sender<Verdict>)>,
}

impl Intake {
    /// Takes the next batch; none when nothing will come any more.
    async fn next(&mut self, owner: &Owner) -> Result<Option<Work>, Fenced> {
        let first = match self.held.take() {
            Some(unit) => unit,
            None => match self.receiver.recv().await {
                Some(unit) => unit,
                None => return Ok(None),
            },
        };
        let (mut rows, mut bytes) = (first.rows(), first.bytes());
        let mut units = vec![first];
        let until = Instant::now() + GATHER_TIME;
        while rows < BATCH_ROWS_MAX && bytes < BATCH_BYTES_MAX {
            let unit = match self.receiver.try_recv() {
                Ok(unit) => unit,
                Err(_) if rows >= GATHER_ROWS || self.in_flight.load(Ordering::Relaxed) == 0 => break,
                Err(_) => match timeout_at(until, self.receiver.recv()).await {
                    Ok(Some(unit)) => unit,
                    Ok(None) | Err(_) => break,
                },
            };
            rows += unit.rows();
            bytes += unit.bytes();
            if bytes > BATCH_BYTES_MAX {
                self.held = Some(unit);
                break;
            }
            units.push(unit);
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.number(units, owner).await.map(Some)
    }

    /// Gives the changes their positions, in order.
    async fn number(&mut self, units: Vec<Unit>, owner: &Owner) -> Result<Work, Fenced> {
        let mut batch = Batch::default();
        let mut waiting = Vec::with_capacity(units.len());
        for unit in units {
            waiting.push((unit.changes.len(), unit.verdict));
            batch.changes.extend(unit.changes);
            batch.dead_letters.extend(unit.dead_letters);
        }
        let count = batch.changes.len() as u64;
        if count > 0 {
            let mut position = owner.reserve(count).await?;
            for change in &mut batch.changes {
                change.position = position;
                for push in &mut change.pushes {
                    push.position = position;
                }
                self.last = position;
                position.0 += 1;
            }
            self.horizon.store(self.last.0, Ordering::Release);
        }
        let number = self.next_batch;
        self.next_batch += 1;
        Ok(Work { number, last: self.last, batch, units: waiting })
    }
}

struct Lane {
    owner: Arc<Owner>,
    intake: Arc<Mutex<Intake>>,
    in_flight: Arc<AtomicUsize>,
    feed: Feed,
}

impl Lane {
    async fn run(self) -> Result<(), Fenced> {
        let mut writer = self.owner.writer();
        loop {
            let Some(work) = self.intake.lock().await.next(&self.owner).await? else { return Ok(()) };
            let outcome = writer.commit(&work.batch).await?;
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            self.resolve(work, outcome);
        }
    }

    /// Tells everyone: first those who wait for the verdict, then the feed.
    fn resolve(&self, work: Work, outcome: Outcome) {
        let lost: HashSet<DeviceKey> = outcome.lost.into_iter().collect();
        let mut poison: HashMap<DeviceKey, String> = outcome.poison.into_iter().collect();
        let mut changes = work.batch.changes.into_iter();
        let mut committed = Vec::with_capacity(changes.len());
        for (count, waiting) in work.units {
            let changes: Vec<Change> = changes.by_ref().take(count).collect();
            let key = changes.first().map(|change| &change.key);
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
