//! The handle of the index: what a searcher sees now, and who waits to see more.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use statecast_state::{DeviceKey, Position};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::generation::{Generation, View};
use crate::schema::SCHEMA_VERSION;
use crate::shelf::Shelf;
use crate::status::{Checked, Progress, Status};

/// Requests to the follower that may wait at a time.
const REQUESTS_MAX: usize = 16;

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Shortest time between two commits while somebody waits for one.
    pub commit_interval_awaited: Duration,
    /// Shortest time between two commits otherwise: each takes some milliseconds, whatever it brings.
    pub commit_interval_min: Duration,
    /// Longest time between two commits while there are changes.
    pub commit_interval_max: Duration,
    /// The version of what is written into the index: an index with another one answers until a new one is built
    /// beside it. Only tests set another than the program's own.
    pub schema_version: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            commit_interval_awaited: Duration::from_millis(20),
            commit_interval_min: Duration::from_millis(60),
            commit_interval_max: Duration::from_secs(1),
            schema_version: SCHEMA_VERSION,
        }
    }
}

/// Why the index gave no answer.
#[derive(Debug, Error)]
pub enum SearchError {
    /// The cursor isn't one that a search with this order gave.
    #[error("the cursor doesn't belong to this search")]
    Cursor,
    /// More than is allowed, or what this query can't answer; the text says what.
    #[error("{0}")]
    Refused(&'static str),
    /// There is no complete index yet: it is being built.
    #[error("the index is being built: {0}")]
    Incomplete(Progress),
    /// Another process has the directory of the index.
    #[error("the index in {0} is in use by another process")]
    InUse(PathBuf),
    /// The directory of the index can't be read or written.
    #[error("access the directory of the index")]
    Io(#[from] std::io::Error),
    /// The index itself failed.
    #[error("use the index")]
    Index(#[from] tantivy::TantivyError),
}

/// The index didn't reach a position in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the index has reached {reached}, not yet {wanted}")]
pub struct Late {
    /// What was waited for.
    pub wanted: Position,
    /// What a searcher sees.
    pub reached: Position,
}

/// Nobody follows the feed, so nobody can do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the index follows no feed at present")]
pub struct NotFollowing;

/// The index. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Search {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    /// What searches see; none until there is a complete index. The follower replaces it after each commit.
    view: watch::Sender<Option<View>>,
    /// How far a build is, while there is one.
    progress: Mutex<Option<Progress>>,
    /// What the last comparison with the table found.
    checked: Mutex<Option<Checked>>,
    /// How many wait for a position: while somebody does, the follower doesn't pause longer than it must.
    waiting: watch::Sender<usize>,
    requests: mpsc::Sender<Request>,
    /// What the follower needs; taken by the first one.
    hands: Mutex<Option<Hands>>,
}

/// What only the follower has: the right to write.
pub(crate) struct Hands {
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) generation: Option<Generation>,
    pub(crate) requests: mpsc::Receiver<Request>,
}

/// What the follower is asked to do between two changes; it answers when it is done.
pub(crate) enum Request {
    /// Build the index anew from the source.
    Rebuild(oneshot::Sender<()>),
    /// Put these devices right: the index isn't what the source has.
    Repair(Vec<DeviceKey>, oneshot::Sender<()>),
}

impl Search {
    /// Opens the index in `dir`; blocks for as long as it takes to read its files once. Where there is none, or one
    /// that is damaged or incomplete, [`crate::follow`] builds it anew. One of another schema answers until then.
    ///
    /// # Errors
    /// `InUse` when another process has it; `Io` when the directory can't be read.
    pub fn open(dir: &Path, settings: Settings) -> Result<Self, SearchError> {
        let shelf = Shelf::open(dir, settings.clone())?;
        let generation = shelf.take()?;
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let view = generation.as_ref().map(|generation| generation.view(generation.position()));
        let hands = Hands { shelf: Arc::new(shelf), generation, requests: receiver };
        let inner = Inner {
            settings,
            view: watch::Sender::new(view),
            progress: Mutex::default(),
            checked: Mutex::default(),
            waiting: watch::Sender::new(0),
            requests,
            hands: Mutex::new(Some(hands)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// All changes up to here are what a search sees; 0 while there is no complete index.
    pub fn position(&self) -> Position {
        self.inner.view.borrow().as_ref().map(|view| view.position).unwrap_or_default()
    }

    /// How the index is: how far, how large, what is being done to it.
    pub fn status(&self) -> Status {
        let view = self.inner.view.borrow();
        Status {
            position: view.as_ref().map(|view| view.position),
            documents: view.as_ref().map_or(0, |view| view.searcher.num_docs()),
            segments: view.as_ref().map_or(0, |view| view.searcher.segment_readers().len()),
            building: *self.inner.progress.lock(),
            checked: self.inner.checked.lock().clone(),
        }
    }

    /// Waits until there is a complete index; right after a start that may take a moment.
    ///
    /// # Errors
    /// `Incomplete` when it took longer than `timeout`.
    pub async fn complete(&self, timeout: Duration) -> Result<(), SearchError> {
        let mut view = self.inner.view.subscribe();
        // Whatever the outcome, what counts is what there is afterwards.
        drop(tokio::time::timeout(timeout, view.wait_for(Option::is_some)).await);
        self.view().map(drop)
    }

    /// Waits until a search sees all changes up to `position`, and asks for a commit now.
    ///
    /// # Errors
    /// `Late` when it took longer than `timeout`.
    pub async fn wait(&self, position: Position, timeout: Duration) -> Result<(), Late> {
        if self.position() >= position {
            return Ok(());
        }
        let _hurry = Hurry::new(&self.inner.waiting);
        let mut view = self.inner.view.subscribe();
        let reached = tokio::time::timeout(
            timeout,
            view.wait_for(|view| view.as_ref().is_some_and(|view| view.position >= position)),
        )
        .await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            // The sender lives as long as this handle, so only the time can have run out.
            _ => Err(Late { wanted: position, reached: self.position() }),
        }
    }

    /// Builds the index anew from the source, and returns when searches see the new one.
    ///
    /// # Errors
    /// `NotFollowing` when no [`crate::follow`] runs, or it stops before it is done.
    pub async fn rebuild(&self) -> Result<(), NotFollowing> {
        self.ask(Request::Rebuild).await
    }

    /// Has these devices written again as the source has them, and returns when searches see that.
    pub(crate) async fn repair(&self, keys: Vec<DeviceKey>) -> Result<(), NotFollowing> {
        self.ask(|done| Request::Repair(keys, done)).await
    }

    async fn ask(&self, request: impl FnOnce(oneshot::Sender<()>) -> Request) -> Result<(), NotFollowing> {
        let _hurry = Hurry::new(&self.inner.waiting);
        let (done, answer) = oneshot::channel();
        self.inner.requests.send(request(done)).await.map_err(|_| NotFollowing)?;
        answer.await.map_err(|_| NotFollowing)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    pub(crate) fn view(&self) -> Result<View, SearchError> {
        let view = self.inner.view.borrow().clone();
        view.ok_or_else(|| SearchError::Incomplete(self.inner.progress.lock().unwrap_or_default()))
    }

    /// From now on searches see this; what they saw is never taken back.
    pub(crate) fn show(&self, view: View) {
        self.inner.view.send_if_modified(|shown| {
            let newer = shown.as_ref().is_none_or(|shown| view.position >= shown.position);
            if newer {
                *shown = Some(view);
            }
            newer
        });
    }

    /// From now on searches see nothing: what they saw never was.
    pub(crate) fn hide(&self) {
        self.inner.view.send_replace(None);
    }

    /// Waits until a search sees more than what was up to `position`.
    pub(crate) async fn moved_on(&self, position: Option<Position>) {
        let mut view = self.inner.view.subscribe();
        // The sender lives as long as this handle.
        drop(view.wait_for(|view| view.as_ref().is_some_and(|view| Some(view.position) > position)).await);
    }

    pub(crate) fn progress(&self, progress: Option<Progress>) {
        *self.inner.progress.lock() = progress;
    }

    pub(crate) fn checked(&self, checked: Checked) {
        *self.inner.checked.lock() = Some(checked);
    }

    pub(crate) fn waiting(&self) -> watch::Receiver<usize> {
        self.inner.waiting.subscribe()
    }

    /// The right to write; for the first who asks.
    pub(crate) fn take_hands(&self) -> Option<Hands> {
        self.inner.hands.lock().take()
    }
}

/// Counts one who waits, for as long as it lives.
struct Hurry<'a>(&'a watch::Sender<usize>);

impl<'a> Hurry<'a> {
    fn new(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|count| *count += 1);
        Self(waiting)
    }
}

impl Drop for Hurry<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
