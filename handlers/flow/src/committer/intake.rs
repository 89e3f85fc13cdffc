//! What waits to be committed, and which of it makes the next batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use statecast_state::{Change, Kind, Position, PushKind};
use statecast_store::{Batch, DeadLetter, Fenced, Owner};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::{Verdict, weight};

/// Rows of a batch at most. The feed waits for the slowest lane: where much has piled up, larger batches bring no more
/// through, but take longer to be searchable.
const BATCH_ROWS_MAX: usize = 400;
/// Estimated bytes of a batch at most.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// While another batch is in flight, or the one before had [`BUSY_ROWS`], a lane gathers until it has this many rows ...
const GATHER_ROWS: usize = 200;
/// ... or this time has passed since the batch before was taken: a batch costs PostgreSQL about as much as 25 rows of it,
/// and each row more is cheaper than one in a batch of its own ...
const GATHER_TIME: Duration = Duration::from_millis(8);
/// ... or nothing has come for so long: then those who would send more may all be waiting.
const GATHER_GAP: Duration = Duration::from_millis(1);
/// From so many rows on, more are on their way.
const BUSY_ROWS: usize = 16;
/// Rows of a batch that nobody waits for, at most: a few milliseconds.
const QUIET_ROWS_MAX: usize = 250;
/// Rows that nobody waits for beside others in a batch, at most.
const QUIET_ROWS_BESIDE: usize = 30;
/// Estimated bytes of what nobody waits for in a batch, at most.
const QUIET_BYTES_MAX: usize = 1024 * 1024;

/// The changes of one device, to be committed together.
pub(super) struct Unit {
    pub(super) changes: Vec<Change>,
    pub(super) dead_letters: Vec<DeadLetter>,
    pub(super) verdict: oneshot::Sender<Verdict>,
}

impl Unit {
    /// Whether nobody waits for it: it only says that connections opened or closed.
    pub(super) fn is_quiet(&self) -> bool {
        self.dead_letters.is_empty() && self.changes.iter().all(|change| change.kind == Kind::Presence)
    }

    fn rows(&self) -> usize {
        self.changes.len() + self.dead_letters.len()
    }

    fn bytes(&self) -> usize {
        let dead: usize = self.dead_letters.iter().map(|letter| letter.payload.len()).sum();
        dead + self.changes.iter().map(weight).sum::<usize>()
    }
}

/// What waits, and what the next batch is to be called. Behind a lock: one lane takes at a time.
pub(super) struct Intake {
    pub(super) receiver: mpsc::Receiver<Unit>,
    /// What nobody waits for, and the right to commit a batch of only that.
    pub(super) quiet: mpsc::Receiver<Unit>,
    pub(super) quiet_turn: Arc<Semaphore>,
    pub(super) next_batch: u64,
    pub(super) last: Position,
    /// A unit that was taken but no longer fitted.
    pub(super) held: Option<Unit>,
    /// Batches under way that somebody waits for.
    pub(super) in_flight: Arc<AtomicUsize>,
    /// When the last batch that somebody waits for was taken, and how many rows it had.
    pub(super) taken: Instant,
    pub(super) rows_before: usize,
    pub(super) horizon: Arc<AtomicU64>,
}

/// A batch on its way.
pub(super) struct Work {
    pub(super) number: u64,
    pub(super) last: Position,
    pub(super) batch: Batch,
    /// Of each unit: how many changes, and who waits.
    pub(super) units: Vec<(usize, oneshot::Sender<Verdict>)>,
    /// Held by a batch that nobody waits for.
    pub(super) quiet_turn: Option<OwnedSemaphorePermit>,
}

impl Intake {
    /// Takes the next batch; none when nothing will come any more.
    pub(super) async fn next(&mut self, owner: &Owner) -> Result<Option<Work>, Fenced> {
        let Some((first, quiet_turn)) = self.first().await else { return Ok(None) };
        let units = match &quiet_turn {
            Some(_) => {
                let room = QUIET_ROWS_MAX.saturating_sub(first.rows());
                let mut units = vec![first];
                self.add_quiet(&mut units, room);
                units
            }
            None => {
                let mut units = self.gather(first).await;
                self.add_quiet(&mut units, QUIET_ROWS_BESIDE);
                self.in_flight.fetch_add(1, Ordering::Relaxed);
                units
            }
        };
        self.number(units, quiet_turn, owner).await.map(Some)
    }

    /// What waits with the first unit, and what comes soon when more is on its way.
    async fn gather(&mut self, first: Unit) -> Vec<Unit> {
        let (mut rows, mut bytes) = (first.rows(), first.bytes());
        let mut units = vec![first];
        let until = self.taken + GATHER_TIME;
        while rows < BATCH_ROWS_MAX && bytes < BATCH_BYTES_MAX {
            let unit = match self.receiver.try_recv() {
                Ok(unit) => unit,
                Err(_) if rows >= GATHER_ROWS || !self.is_busy() => break,
                Err(_) => {
                    match timeout_at(until.min(Instant::now() + GATHER_GAP), self.receiver.recv()).await {
                        Ok(Some(unit)) => unit,
                        Ok(None) | Err(_) => break,
                    }
                }
            };
            rows += unit.rows();
            bytes += unit.bytes();
            if bytes > BATCH_BYTES_MAX {
                self.held = Some(unit);
                break;
            }
            units.push(unit);
        }
        (self.taken, self.rows_before) = (Instant::now(), rows);
        units
    }

    /// Whether more is to be expected than what waits.
    fn is_busy(&self) -> bool {
        self.rows_before >= BUSY_ROWS || self.in_flight.load(Ordering::Relaxed) > 0
    }

    /// Waits for the first unit of a batch; with the right to it when nobody waits for that batch.
    async fn first(&mut self) -> Option<(Unit, Option<OwnedSemaphorePermit>)> {
        if let Some(unit) = self.held.take() {
            return Some((unit, None));
        }
        let Self { receiver, quiet, quiet_turn, .. } = self;
        let next_quiet = async {
            let turn = Arc::clone(quiet_turn).acquire_owned().await.ok()?;
            Some((quiet.recv().await?, turn))
        };
        tokio::select! {
            biased;
            Some(unit) = receiver.recv() => Some((unit, None)),
            Some((unit, turn)) = next_quiet => Some((unit, Some(turn))),
            else => None,
        }
    }

    /// Adds what nobody waits for, up to so many rows and a little more.
    fn add_quiet(&mut self, units: &mut Vec<Unit>, rows_max: usize) {
        let (mut rows, mut bytes) = (0, 0);
        while rows < rows_max
            && bytes < QUIET_BYTES_MAX
            && let Ok(unit) = self.quiet.try_recv()
        {
            rows += unit.rows();
            bytes += unit.bytes();
            units.push(unit);
        }
    }

    /// Gives the changes their positions, in order.
    async fn number(
        &mut self,
        units: Vec<Unit>,
        quiet_turn: Option<OwnedSemaphorePermit>,
        owner: &Owner,
    ) -> Result<Work, Fenced> {
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
                    if push.kind == PushKind::Forward {
                        push.payload["position"] = position.0.into();
                    }
                }
                self.last = position;
                position.0 += 1;
            }
            self.horizon.store(self.last.0, Ordering::Release);
        }
        let number = self.next_batch;
        self.next_batch += 1;
        Ok(Work { number, last: self.last, batch, units: waiting, quiet_turn })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statecast_state::{DeviceId, DeviceKey, Document, TenantId, Timestamp};

    fn unit(kind: Kind) -> Unit {
        let change = Change {
            key: DeviceKey::new(TenantId::default(), DeviceId::parse("a").expect("valid")),
            position: Position(0),
            kind,
            before: None,
            after: None,
            patch: Document::new(),
            inverse: Document::new(),
            stale: false,
            ahead: false,
            received_at: Timestamp::from_micros(0),
            device_time: None,
            message: None,
            requests: Vec::new(),
            pushes: Vec::new(),
            decisions: Vec::new(),
            alarms: Vec::new(),
            events: Vec::new(),
        };
        Unit { changes: vec![change], dead_letters: Vec::new(), verdict: oneshot::channel().0 }
    }

    fn intake(receiver: mpsc::Receiver<Unit>, quiet: mpsc::Receiver<Unit>) -> Intake {
        Intake {
            receiver,
            quiet,
            quiet_turn: Arc::new(Semaphore::new(1)),
            next_batch: 0,
            last: Position(0),
            held: None,
            in_flight: Arc::default(),
            taken: Instant::now(),
            rows_before: 0,
            horizon: Arc::default(),
        }
    }

    #[tokio::test]
    async fn a_batch_waits_for_more_only_when_more_is_on_its_way() {
        let ((units, receiver), (_quiet, quiet_receiver)) = (mpsc::channel(9), mpsc::channel(9));
        let mut intake = intake(receiver, quiet_receiver);
        // It runs only while a batch waits.
        tokio::spawn(async move { while units.send(unit(Kind::State)).await.is_ok() {} });
        assert_eq!(intake.gather(unit(Kind::State)).await.len(), 1, "nothing else is under way");

        let later = Instant::now() + Duration::from_secs(60);
        intake.in_flight.fetch_add(1, Ordering::Relaxed);
        intake.taken = later;
        assert!(intake.gather(unit(Kind::State)).await.len() >= GATHER_ROWS, "another batch is in flight");

        intake.in_flight.fetch_sub(1, Ordering::Relaxed);
        intake.taken = later;
        assert!(intake.gather(unit(Kind::State)).await.len() >= GATHER_ROWS, "the last one was large");

        let ((_units, receiver), rows_before) = (mpsc::channel(9), BUSY_ROWS);
        (intake.receiver, intake.rows_before, intake.taken) = (receiver, rows_before, later);
        let alone = intake.gather(unit(Kind::State)).await.len();
        assert_eq!(alone, 1, "those who could send more may all be waiting");
        assert!(intake.taken < later);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_comes_last_and_one_batch_at_a_time() {
        let ((units, receiver), (quiet, quiet_receiver)) = (mpsc::channel(9), mpsc::channel(999));
        let mut intake = intake(receiver, quiet_receiver);
        let presence = unit(Kind::Presence);
        assert!(presence.is_quiet() && !unit(Kind::State).is_quiet());
        for _ in 0..500 {
            quiet.send(unit(Kind::Presence)).await.ok();
        }
        units.send(unit(Kind::State)).await.ok();
        assert!(matches!(intake.first().await, Some((_, None))), "who waits comes first");
        let (first, turn) = intake.first().await.expect("it is not closed");
        let mut batch = vec![first];
        intake.add_quiet(&mut batch, QUIET_ROWS_MAX - 1);
        assert_eq!((batch.len(), turn.is_some()), (QUIET_ROWS_MAX, true));
        // While that one is under way, another lane waits for those who wait.
        units.send(unit(Kind::State)).await.ok();
        assert!(matches!(intake.first().await, Some((_, None))));
        drop(turn);
        assert!(matches!(intake.first().await, Some((_, Some(_)))));
        drop((units, quiet));
        intake.add_quiet(&mut batch, 999);
        assert!(intake.first().await.is_none(), "nothing will come any more");
    }
}
