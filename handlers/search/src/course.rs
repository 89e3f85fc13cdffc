//! The course of following: one generation that is written, and at times one that is built beside it.
//!
//! Waits for changes, writes what comes until the rest after the last commit is over, commits, and shows the result.
//! When there was nothing for a while the first change is committed at once. Every few seconds, and when nothing comes
//! any more, the disk is brought to the last commit.
//!
//! Another generation is built when there is none, when the one there is was written by another version of the
//! program, when the feed doesn't reach back to it, when its files are gone, or when somebody asks. It takes
//! the place of the old one, which answers and follows until then, as far as it can.

use std::sync::Arc;
use std::time::Duration;

use statecast_state::{DeviceKey, Position, Twin};
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use crate::follow::{COMMIT_CHANGES_MAX, Feed, Follower, blocking};
use crate::generation::Generation;
use crate::pace;
use crate::rebuild::Build;
use crate::search::Request;
use crate::source::Changes;

/// After this long without changes the segments that were merged since the last commit are taken up, and all is
/// saved.
const SETTLE: Duration = Duration::from_secs(1);
/// While there are changes the disk is brought up to date this often: what a kill loses comes again from the feed.
const SAVE_EVERY: Duration = Duration::from_secs(2);

/// Where following is.
pub(crate) struct Course<'a> {
    follower: &'a Follower,
    /// What is written; none until the first one is built.
    current: Option<Generation>,
    /// Changes up to here are written.
    at: Position,
    /// Whether the feed reaches back to `at`.
    connected: bool,
    /// When the next commit may be.
    due: Instant,
    /// Whether nothing is left to do when no changes come.
    settled: bool,
    saved: Instant,
    saving: Option<JoinHandle<std::io::Result<()>>>,
    build: Option<Build>,
    /// From when on another generation may be built, if one is needed.
    wanted: Option<Instant>,
    /// Builds that failed, one after the other.
    failures: u32,
    /// Who asked for a new generation, and who waits until the one that was built is seen.
    asked: Vec<oneshot::Sender<()>>,
    owed: Vec<oneshot::Sender<()>>,
}

impl<'a> Course<'a> {
    /// Begins with what was opened.
    pub(crate) fn new(follower: &'a Follower, current: Option<Generation>) -> Self {
        let now = Instant::now();
        Self {
            follower,
            at: current.as_ref().map(Generation::position).unwrap_or_default(),
            current,
            connected: true,
            due: now,
            settled: true,
            saved: now,
            saving: None,
            build: None,
            wanted: None,
            failures: 0,
            asked: Vec::new(),
            owed: Vec::new(),
        }
    }

    /// Follows until it is stopped, or the index fails.
    pub(crate) async fn run(mut self, requests: &mut Receiver<Request>) -> anyhow::Result<()> {
        if !self.look_at_what_was_opened().await {
            return Ok(());
        }
        let follower = self.follower;
        loop {
            if self.build.is_none() && self.wanted.is_some_and(|from| Instant::now() >= from) {
                self.build = Some(Build::start(follower));
            }
            let mut answer = None;
            tokio::select! {
                biased;
                () = follower.stop.cancelled() => break,
                Some(request) = requests.recv() => match request {
                    Request::Rebuild(done) => {
                        self.asked.push(done);
                        self.wanted = Some(Instant::now());
                        continue;
                    }
                    Request::Repair(keys, done) => {
                        let twins = follower.ask("load twins", || follower.source.twins(keys.clone())).await;
                        let Some(twins) = twins else { break };
                        self.write(keys.into_iter().zip(twins).collect()).await?;
                        answer = Some(done);
                    }
                },
                built = ended(&mut self.build), if self.build.is_some() => {
                    self.take_over(built).await?;
                    continue;
                }
                () = sleep_until(self.wanted.unwrap_or(self.due)), if self.wanted.is_some() && self.build.is_none() => {
                    continue;
                }
                feed = follower.changes(self.at), if self.current.is_some() && self.connected => match feed {
                    Feed::Changes(changes) => self.take_in(changes).await?,
                    Feed::Gone => {
                        self.connected = false;
                        self.want("the feed no longer reaches back to it");
                        continue;
                    }
                },
                () = sleep(SETTLE), if !self.settled => {
                    self.settle().await?;
                    continue;
                }
            }
            self.write_until_due().await?;
            self.commit().await?;
            if let (Some(answer), Some(_)) = (answer, &self.current) {
                // Who asked may have gone.
                let _ = answer.send(());
            }
        }
        self.settle().await
    }

    /// False when it was stopped.
    async fn look_at_what_was_opened(&mut self) -> bool {
        let follower = self.follower;
        let committed = follower.ask("read the last position", || follower.source.committed()).await;
        let Some(committed) = committed else { return false };
        match &self.current {
            None => self.want("there is none"),
            Some(current) if current.newest() > committed => {
                // The database was restored: what is in the index never was.
                follower.search.hide();
                self.current = None;
                self.want("it is ahead of the table");
            }
            Some(current) => {
                if current.schema() != follower.search.settings().schema_version {
                    self.want("it was written by another version");
                }
                self.show();
            }
        }
        true
    }

    fn want(&mut self, why: &'static str) {
        info!(why, "another index is needed");
        self.wanted.get_or_insert_with(Instant::now);
    }

    /// Writes what comes until the index has rested, or somebody waits, or it is enough.
    async fn write_until_due(&mut self) -> anyhow::Result<()> {
        let follower = self.follower;
        let soonest = Instant::now() + follower.search.settings().commit_interval_awaited;
        let mut waiting = follower.search.waiting();
        let mut written = 0;
        while self.connected && written < COMMIT_CHANGES_MAX && Instant::now() < self.due {
            let due = self.due;
            let feed = tokio::select! {
                biased;
                () = follower.stop.cancelled() => break,
                () = sleep_until(due) => break,
                Ok(_) = waiting.wait_for(|count| *count > 0), if due > soonest => {
                    self.due = soonest;
                    continue;
                }
                feed = follower.changes(self.at) => feed,
            };
            match feed {
                Feed::Changes(changes) => {
                    written += changes.items.len();
                    self.take_in(changes).await?;
                }
                // The next round asks again, and then deals with it.
                Feed::Gone => break,
            }
        }
        Ok(())
    }

    async fn take_in(&mut self, changes: Changes) -> anyhow::Result<()> {
        self.at = changes.upto;
        if let Some(current) = &mut self.current {
            current.has(changes.newest);
        }
        self.write(changes.items).await
    }

    async fn write(&mut self, changes: Vec<(DeviceKey, Option<Arc<Twin>>)>) -> anyhow::Result<()> {
        if !changes.is_empty()
            && let Some(mut current) = self.current.take()
        {
            let written = blocking(move || current.write(changes).map(|()| current)).await?;
            self.current = Some(written);
        }
        Ok(())
    }

    async fn commit(&mut self) -> anyhow::Result<()> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        if current.is_written() {
            let (started, at) = (Instant::now(), self.at);
            current = blocking(move || current.commit(at).map(|()| current)).await?;
            self.due = Instant::now() + pace::rest(started.elapsed(), self.follower.search.settings());
            self.settled = false;
        }
        if self.saved.elapsed() >= SAVE_EVERY && self.saving.is_none() {
            let directory = current.directory().clone();
            self.saving = Some(tokio::task::spawn_blocking(move || directory.save()));
            self.saved = Instant::now();
        }
        self.current = Some(current);
        if self.saving.as_ref().is_some_and(JoinHandle::is_finished) {
            self.saving_ended().await?;
        }
        self.show();
        Ok(())
    }

    async fn saving_ended(&mut self) -> anyhow::Result<()> {
        if let Some(saving) = self.saving.take()
            && let Err(error) = saving.await?
        {
            self.damaged(&error);
        }
        Ok(())
    }

    /// What is in memory goes on; what is on disk can't be used again.
    fn damaged(&mut self, error: &dyn std::fmt::Display) {
        warn!(%error, "the index can't be saved");
        self.want("its files can't be used again");
    }

    /// Nothing comes: what merges have made is taken up, and the disk is brought up to date.
    async fn settle(&mut self) -> anyhow::Result<()> {
        self.saving_ended().await?;
        if let Some(mut current) = self.current.take() {
            let (current, saved) = blocking(move || {
                current.reload()?;
                let saved = current.save();
                Ok((current, saved))
            })
            .await?;
            self.current = Some(current);
            if let Err(error) = saved {
                self.damaged(&error);
            }
        }
        self.saved = Instant::now();
        self.settled = true;
        self.show();
        Ok(())
    }

    /// Puts what was built in the place of what was written until now; or tries again later.
    async fn take_over(&mut self, built: anyhow::Result<Option<Generation>>) -> anyhow::Result<()> {
        self.build = None;
        self.follower.search.progress(None);
        let new = match built {
            Ok(Some(new)) => new,
            Ok(None) => return Ok(()),
            Err(error) => {
                warn!(error = format!("{error:#}"), self.failures, "the index could not be built");
                self.wanted = Some(Instant::now() + pace::backoff(self.failures));
                self.failures += 1;
                return Ok(());
            }
        };
        (self.wanted, self.failures, self.connected, self.settled) = (None, 0, true, false);
        self.at = new.position();
        self.owed.append(&mut self.asked);
        // Searches that still see the old one have its files open.
        if let Some(old) = self.current.replace(new) {
            self.saving_ended().await?;
            let shelf = self.follower.shelf.clone();
            blocking(move || {
                let path = old.path().to_owned();
                drop(old);
                shelf.remove(&path);
                Ok(())
            })
            .await?;
        }
        self.show();
        Ok(())
    }

    /// Shows what is written, unless searches have seen more already: then it still has to catch up.
    fn show(&mut self) {
        let Some(current) = &self.current else { return };
        let search = &self.follower.search;
        if self.at >= search.position() {
            search.show(current.view(self.at));
            for done in self.owed.drain(..) {
                // Who asked may have gone.
                let _ = done.send(());
            }
        }
    }
}

/// The end of a build, if there is one.
async fn ended(build: &mut Option<Build>) -> anyhow::Result<Option<Generation>> {
    match build {
        Some(build) => build.ended().await,
        None => Ok(None),
    }
}
