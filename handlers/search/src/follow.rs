//! Follows the feed: what is committed becomes searchable.
//!
//! One task, which keeps on its [`crate::course`] until the index fails or panics; then the index is opened
//! again, which checks it, and built anew if need be. What searches saw last answers meanwhile. When the source
//! fails it is asked again. So the task ends only when it is stopped; what it gathered by then is committed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::future::BoxFuture;
use statecast_state::Position;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::course::Course;
use crate::generation::{Generation, Unfit};
use crate::pace;
use crate::search::{Hands, Search};
use crate::shelf::Shelf;
use crate::source::{Changes, FeedGone, Source};

/// Changes that are written for one commit, about.
pub(crate) const COMMIT_CHANGES_MAX: usize = 10_000;
/// A follower that ran for this long had no lasting trouble.
const STEADY: Duration = Duration::from_secs(60);

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
            Ok(generation) => Course::new(&follower, generation).run(&mut requests).await,
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

/// What following needs beside a generation.
#[derive(Clone)]
pub(crate) struct Follower {
    pub(crate) search: Search,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) stop: CancellationToken,
}

/// What the feed answered.
pub(crate) enum Feed {
    Changes(Changes),
    Gone,
}

impl Follower {
    /// The next changes; waits for them, and repeats the question when the source fails.
    pub(crate) async fn changes(&self, at: Position) -> Feed {
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
    async fn reopen(&self) -> anyhow::Result<Option<Generation>> {
        let shelf = self.shelf.clone();
        let generation = blocking(move || shelf.take()).await?;
        info!(position = ?generation.as_ref().map(Generation::position), "the index is open again");
        Ok(generation)
    }
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
