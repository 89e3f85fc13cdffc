//! Builds the index anew from the source, beside the one that answers.
//!
//! The watermark is noted first, then all twins are read: each is at least as new as that position. What
//! follows it in the feed is applied afterwards, until little is left; the rest comes when the new index takes
//! the place of the old one, which has been followed all the time. While a page is written the next is read.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use statecast_state::{DeviceKey, Position};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;
use tracing::info;

use crate::filling::Filling;
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
        let Some(total) = self.ask("count twins", || self.source.count()).await else { return Ok(None) };
        let progress = Progress { done: 0, total };
        self.search.progress(Some(progress));

        let shelf = self.shelf.clone();
        let filling = blocking(move || shelf.create()).await?;
        let path = filling.path().to_owned();
        let built = self.complete(filling, position, progress).await;
        if !matches!(built, Ok(Some(_))) {
            // The next try makes another: half an index each time would fill the disk.
            let shelf = self.shelf.clone();
            tokio::task::spawn_blocking(move || shelf.remove(&path)).await.context("remove the index")?;
        }
        built
    }

    /// Makes a generation of an empty filling; none when it was stopped.
    async fn complete(
        &self,
        filling: Filling,
        position: Position,
        mut progress: Progress,
    ) -> anyhow::Result<Option<Generation>> {
        let started = Instant::now();
        let newest = self.ask("read the last position", || self.source.committed()).await;
        let Some(newest) = newest else { return Ok(None) };
        let Some(filling) = self.fill(filling, &mut progress).await? else { return Ok(None) };
        let built = blocking(move || filling.finish(position, newest)).await?;
        info!(%position, twins = progress.done, seconds = started.elapsed().as_secs_f64(), "the index is built");
        self.catch_up(built).await
    }

    /// Writes all twins; none when it was stopped.
    async fn fill(&self, filling: Filling, progress: &mut Progress) -> anyhow::Result<Option<Filling>> {
        let filling = Arc::new(filling);
        let scan = |after: Option<DeviceKey>| {
            self.ask("scan twins", move || self.source.scan(after.clone(), PAGE_TWINS))
        };
        let mut page = scan(None).await;
        loop {
            let Some(twins) = page else { return Ok(None) };
            let Some((last, _)) = twins.last() else { break };
            let (last, count) = (last.clone(), twins.len() as u64);
            let shared = filling.clone();
            let write = tokio::task::spawn_blocking(move || shared.add(&twins));
            let (next, written) = tokio::join!(scan(Some(last)), write);
            written.context("write the index")??;
            progress.done += count;
            self.search.progress(Some(*progress));
            page = next;
        }
        Arc::into_inner(filling).context("somebody still writes the index").map(Some)
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
                        built.has(changes.newest);
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
