//! Follows the feed: what is committed becomes searchable.
//!
//! One task, and one generation that it writes. It waits for changes, gathers what comes until the rest after
//! the last commit is over, writes each device once, commits, and shows the result. When there was nothing
//! for a while the first change is committed at once.
//!
//! It starts from the position in the last commit. Without one, or with one that the feed doesn't know (the
//! database was restored, or the feed no longer reaches back), it builds the index anew. When the source
//! fails it asks again. When the index fails, or panics, it is opened again, which checks it. So the task
//! ends only when it is stopped; what it gathered by then is committed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::future::BoxFuture;
use statecast_state::{DeviceKey, Position, Twin};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::generation::{Generation, Unfit};
use crate::pace;
use crate::search::{Hands, Request, Search};
use crate::shelf::Shelf;
use crate::source::{Changes, FeedGone, Source};

/// Devices that are gathered for one commit. Their twins are shared with the feed, which bounds their bytes: what it
/// no longer keeps has waited for longer than a rest.
const BATCH_DEVICES_MAX: usize = 10_000;
/// After this long without changes the segments that were merged since the last commit are taken up.
const SETTLE: Duration = Duration::from_secs(1);
/// A follower that ran for this long had no lasting trouble.
const STEADY: Duration = Duration::from_secs(60);

/// What changed, each device once.
type Batch = HashMap<DeviceKey, Option<Arc<Twin>>>;

/// Follows `source` until `stop`; returns when the index is closed.
///
/// # Errors
/// When somebody else follows with the same index.
pub async fn follow(search: Search, source: Arc<dyn Source>, stop: CancellationToken) -> anyhow::Result<()> {
    let Hands { shelf, generation, mut requests } =
        search.take_hands().context("take the index to follow")?;
    let follower = Follower { search, source, shelf, stop };
    let mut generation = Some(generation);
    let mut failures = 0;
    loop {
        let started = Instant::now();
        let opened = match generation.take() {
            Some(generation) => Ok(generation),
            None => follower.reopen().await,
        };
        let ended = match opened {
            Ok(generation) => follower.run(generation, &mut requests).await,
            Err(error) => Err(error),
        };
        let Err(error) = ended else { return Ok(()) };
        failures = if started.elapsed() > STEADY { 0 } else { failures + 1 };
        warn!(error = format!("{error:#}"), failures, "the index failed and is opened again");
        tokio::select! {
            () = follower.stop.cancelled() => return Ok(()),
            () = sleep(pace::backoff(failures)) => {}
        }
    }
}

/// What following needs beside the generation.
pub(crate) struct Follower {
    pub(crate) search: Search,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) stop: CancellationToken,
}

/// What the feed answered.
enum Feed {
    Changes(Changes),
    Gone,
}

impl Follower {
    /// Follows until it is stopped, or the index fails.
    async fn run(&self, mut generation: Generation, requests: &mut Receiver<Request>) -> anyhow::Result<()> {
        let mut at = match generation.position() {
            Some(position) if position <= self.source.watermark() => position,
            _ => match self.rebuild(generation).await? {
                Some(built) => {
                    generation = built;
                    generation.position().unwrap_or_default()
                }
                None => return Ok(()),
            },
        };
        self.search.show(generation.view(at));
        let mut due = Instant::now();
        let mut settled = true;
        loop {
            let mut batch = Batch::new();
            let mut answer = None;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(request) = requests.recv() => match request {
                    Request::Repair(keys, done) => {
                        let Some(twins) = self.ask("load twins", || self.source.twins(keys.clone())).await else {
                            break;
                        };
                        batch.extend(keys.into_iter().zip(twins));
                        answer = Some(done);
                    }
                    Request::Rebuild(done) => {
                        let Some(built) = self.rebuild(generation).await? else { return Ok(()) };
                        generation = built;
                        at = generation.position().unwrap_or_default();
                        // Who asked may have gone.
                        let _ = done.send(());
                        continue;
                    }
                },
                changes = self.changes(at) => match changes {
                    Feed::Changes(changes) => at = gather(&mut batch, changes),
                    Feed::Gone => {
                        let Some(built) = self.rebuild(generation).await? else { return Ok(()) };
                        generation = built;
                        at = generation.position().unwrap_or_default();
                        continue;
                    }
                },
                () = sleep(SETTLE), if !settled => {
                    generation = blocking(move || { generation.reload()?; Ok(generation) }).await?;
                    self.search.show(generation.view(at));
                    settled = true;
                    continue;
                }
            }
            at = self.gather_until(due, at, &mut batch).await;
            if !batch.is_empty() {
                let started = Instant::now();
                generation = blocking(move || {
                    generation.write(&batch)?;
                    generation.commit(Some(at))?;
                    Ok(generation)
                })
                .await?;
                due = Instant::now() + pace::rest(started.elapsed(), self.search.settings());
                settled = false;
            }
            self.search.show(generation.view(at));
            if let Some(done) = answer {
                let _ = done.send(());
            }
        }
        blocking(move || {
            drop(generation);
            Ok(())
        })
        .await
    }

    /// Gathers what comes until the index has rested, or somebody waits, or it is enough. Returns how far
    /// the batch reaches.
    async fn gather_until(&self, mut due: Instant, mut at: Position, batch: &mut Batch) -> Position {
        let soonest = Instant::now() + self.search.settings().commit_interval_min;
        let mut waiting = self.search.waiting();
        while batch.len() < BATCH_DEVICES_MAX && Instant::now() < due {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = sleep_until(due) => break,
                Ok(_) = waiting.wait_for(|count| *count > 0), if due > soonest => due = soonest,
                changes = self.changes(at) => match changes {
                    Feed::Changes(changes) => at = gather(batch, changes),
                    // The next round asks again, and then deals with it.
                    Feed::Gone => break,
                },
            }
        }
        at
    }

    /// The next changes; waits for them, and repeats the question when the source fails.
    async fn changes(&self, at: Position) -> Feed {
        let mut failures = 0;
        loop {
            match self.source.changes(at).await {
                Ok(changes) => return Feed::Changes(changes),
                Err(error) if error.is::<FeedGone>() => return Feed::Gone,
                Err(error) => failed("read changes", &error, &mut failures).await,
            }
        }
    }

    /// Asks the source until it answers; none when stopped.
    pub(crate) async fn ask<'a, T>(
        &self,
        what: &'static str,
        mut question: impl FnMut() -> BoxFuture<'a, anyhow::Result<T>>,
    ) -> Option<T> {
        let answer = async {
            let mut failures = 0;
            loop {
                match question().await {
                    Ok(answer) => return answer,
                    Err(error) => failed(what, &error, &mut failures).await,
                }
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            answer = answer => Some(answer),
        }
    }

    /// Opens the index again after it failed.
    async fn reopen(&self) -> anyhow::Result<Generation> {
        let shelf = self.shelf.clone();
        let generation = blocking(move || shelf.take()).await?;
        info!(position = ?generation.position(), "the index is open again");
        Ok(generation)
    }
}

/// Adds changes to a batch; returns how far it reaches now.
fn gather(batch: &mut Batch, changes: Changes) -> Position {
    batch.extend(changes.items);
    changes.upto
}

/// Logs a failed call of the source, and waits before the next.
async fn failed(what: &'static str, error: &anyhow::Error, failures: &mut u32) {
    warn!(error = format!("{error:#}"), what, failures, "the source of the index failed");
    sleep(pace::backoff(*failures)).await;
    *failures = failures.saturating_add(1);
}

/// Runs what blocks; a panic in it is an error.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Unfit> + Send + 'static,
) -> anyhow::Result<T> {
    Ok(tokio::task::spawn_blocking(work).await.context("work on the index")??)
}
