//! The one task that makes things durable: at once when idle, in batches when busy, in order, and again until it
//! succeeds. Who waits for something is told in the order in which it was asked for.
//!
//! What waits here is bounded by what it is about: publishes hold their bytes in flight, queued messages are bounded for
//! each session and in total, and a connection asks for one thing at a time.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use super::writes::{Write, Writes, batch};
use crate::sessions::{Batch, NotWritten, Sessions};

/// Most writes in one batch.
const BATCH: usize = 1000;
/// The longest pause between two attempts; the first is a hundredth of it.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Told when it is durable; dropped when it never will be.
type Done = Box<dyn FnOnce() + Send>;

/// What was asked for at once.
struct Job {
    writes: Writes,
    done: Done,
}

/// The writer, as all others see it.
#[derive(Default)]
pub(crate) struct Writer {
    backlog: Mutex<Backlog>,
    wake: Notify,
}

#[derive(Default)]
struct Backlog {
    jobs: VecDeque<Job>,
    /// The task has taken jobs, and isn't done with them.
    busy: bool,
}

/// Held while memory changes that is to be written: writes have the order of the changes.
pub(crate) struct Desk<'a> {
    backlog: MutexGuard<'a, Backlog>,
    writer: &'a Writer,
}

impl Desk<'_> {
    /// Hands writes over; `done` is called when they are durable, or right away where there are none to wait for.
    pub(crate) fn enter(mut self, writes: Writes, done: impl FnOnce() + Send + 'static) {
        if writes.list.is_empty() && (!writes.waits || self.backlog.jobs.is_empty() && !self.backlog.busy) {
            drop(self);
            return done();
        }
        self.backlog.jobs.push_back(Job { writes, done: Box::new(done) });
        self.writer.wake.notify_one();
    }

    /// The same, for who waits in a future. The receiver fails when it never will be durable.
    pub(crate) fn enter_waiting(self, writes: Writes) -> oneshot::Receiver<()> {
        let (sender, durable) = oneshot::channel();
        self.enter(writes, move || {
            // Who has gone needn't hear it.
            sender.send(()).ok();
        });
        durable
    }
}

impl Writer {
    /// Begins a change of memory that is to be written.
    pub(crate) fn desk(&self) -> Desk<'_> {
        Desk { backlog: self.backlog.lock(), writer: self }
    }

    /// Hands over writes whose order to others' doesn't matter, and waits for nothing.
    pub(crate) fn note(&self, write: Write) {
        self.desk().enter(Writes { list: vec![write], ..Writes::default() }, || ());
    }

    /// How many jobs wait.
    pub(crate) fn backlog(&self) -> usize {
        self.backlog.lock().jobs.len()
    }

    /// Waits until nothing is left to be written.
    pub(crate) async fn written(&self) {
        let desk = self.desk();
        let durable = desk.enter_waiting(Writes { waits: true, ..Writes::default() });
        durable.await.ok();
    }

    /// Gives up what isn't written: whoever waits for it learns that it won't be.
    pub(crate) fn give_up(&self) {
        let jobs = std::mem::take(&mut self.backlog.lock().jobs);
        drop(jobs);
    }

    /// Writes for ever.
    pub(crate) async fn run(&self, sessions: &dyn Sessions) {
        loop {
            let mut jobs = self.take();
            if jobs.is_empty() {
                self.wake.notified().await;
                continue;
            }
            write(sessions, &mut jobs).await;
            for Job { writes, done } in jobs {
                for (session, number) in writes.queued {
                    session.stored(number);
                }
                done();
            }
        }
    }

    /// The next jobs, about a batch of them.
    fn take(&self) -> Vec<Job> {
        let mut backlog = self.backlog.lock();
        let (mut jobs, mut count) = (Vec::new(), 0);
        while count < BATCH
            && let Some(job) = backlog.jobs.pop_front()
        {
            count += job.writes.list.len();
            jobs.push(job);
        }
        backlog.busy = !jobs.is_empty();
        jobs
    }
}

/// Writes jobs until they are durable. One that is refused for what it holds is left out, and those who wait for it are
/// told that it never will be.
async fn write(sessions: &dyn Sessions, jobs: &mut Vec<Job>) {
    let mut from = 0;
    let mut to = jobs.len();
    while from < jobs.len() {
        let batch = batch(jobs[from..to].iter().flat_map(|job| &job.writes.list));
        match attempt(sessions, &batch).await {
            Ok(()) => (from, to) = (to, jobs.len()),
            Err(why) if to - from == 1 => {
                tracing::error!(why, "a session can't be written");
                metrics::counter!("statecast_mqtt_sessions_refused_total").increment(1);
                for (session, number) in jobs.remove(from).writes.queued {
                    session.discard(number);
                }
                to = jobs.len();
            }
            Err(_) => to = from + (to - from) / 2,
        }
    }
}

/// Writes a batch, however long it takes; fails with the reason when it is refused.
async fn attempt(sessions: &dyn Sessions, batch: &Batch) -> Result<(), String> {
    if *batch == Batch::default() {
        return Ok(());
    }
    let mut pause = PAUSE_MAX / 100;
    loop {
        match sessions.write(batch).await {
            Ok(()) => return Ok(()),
            Err(NotWritten::Refused(why)) => return Err(why),
            Err(NotWritten::Later(why)) => {
                tracing::warn!(why, "write sessions: trying again");
                metrics::counter!("statecast_mqtt_sessions_retries_total").increment(1);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}
