//! Builds the index anew from the source, beside the one that answers.
//!
//! The watermark is noted first, then all twins are read: each is at least as new as that position. What
//! follows it in the feed is applied afterwards, until little is left; the rest comes when the new index takes
//! the place of the old one, which has been followed all the time. While a page is written the next is read.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;
use tracing::info;

use crate::follow::{COMMIT_CHANGES_MAX, Feed, Follower, blocking};
use crate::generation::Generation;
use crate::status::Progress;

/// Twins that are read at a time.
const PAGE_TWINS: usize = 2_000;
/// When a round of catching up takes less than this, the rest is left to who takes over.
const SHORT_ROUND: Duration = Duration::from_millis(500);

/// A generation that is being built. Given up when dropped.
pub(crate) struct Build {
    task: JoinHandle<anyhow::Result<Option<Generation>>>,
    _stop: DropGuard,
}

impl Build {
    /// Begins.
    pub(crate) fn start(follower: &Follower) -> Self {
        let stop = follower.stop.child_token();
        let own = Follower { stop: stop.clone(), ..follower.clone() };
        Self { task: tokio::spawn(async move { own.build().await }), _stop: stop.drop_guard() }
    }

    /// Waits for the end: a complete generation; none when it was stopped. May be asked again when the wait was
    /// given up.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<Option<Generation>> {
        (&mut self.task).await.context("build the index")?
    }
}

impl Follower {
    async fn build(&self) -> anyhow::Result<Option<Generation>> {
        let position = self.source.watermark();
        info!(%position, "the index is built anew");
        let started = Instant::now();
        let Some(total) = self.ask("count twins", || self.source.count()).await else { return Ok(None) };
        let mut progress = Progress { done: 0, total };
        self.search.progress(Some(progress));

        let shelf = self.shelf.clone();
        let filling = Arc::new(blocking(move || shelf.create()).await?);
        let (mut after, mut writing) = (None, None::<JoinHandle<_>>);
        loop {
            let Some(page) = self.ask("scan twins", || self.source.scan(after.clone(), PAGE_TWINS)).await
            else {
                return Ok(None);
            };
            if let Some(writing) = writing.take() {
                writing.await.context("write the index")??;
            }
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            progress.done += page.len() as u64;
            self.search.progress(Some(progress));
            let filling = filling.clone();
            writing = Some(tokio::task::spawn_blocking(move || filling.add(&page)));
        }
        let filling = Arc::into_inner(filling).context("somebody still writes the index")?;
        let built = blocking(move || filling.finish(position)).await?;
        info!(%position, twins = progress.done, seconds = started.elapsed().as_secs_f64(), "the index is built");
        self.catch_up(built).await
    }

    /// Brings a new generation to about where the one that answers is.
    async fn catch_up(&self, mut built: Generation) -> anyhow::Result<Option<Generation>> {
        loop {
            let (begun, mut at, mut changed) = (Instant::now(), built.position(), Vec::new());
            while at < self.search.position() && changed.len() < COMMIT_CHANGES_MAX {
                let feed = self.stop.run_until_cancelled(self.changes(at)).await;
                match feed {
                    None => return Ok(None),
                    Some(Feed::Changes(changes)) => {
                        changed.extend(changes.items);
                        at = changes.upto;
                    }
                    Some(Feed::Gone) => bail!("the feed was cut off while the index was built"),
                }
            }
            if at > built.position() {
                built = blocking(move || {
                    built.write(changed)?;
                    built.commit(at)?;
                    Ok(built)
                })
                .await?;
            }
            if begun.elapsed() < SHORT_ROUND {
                return Ok(Some(built));
            }
        }
    }
}
