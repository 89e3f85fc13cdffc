//! The handle of the index: what a searcher sees now, and who waits to see more.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use statecast_state::{DeviceKey, Position};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::generation::{Generation, View};
use crate::shelf::Shelf;

/// Requests to the follower that may wait at a time.
const REQUESTS_MAX: usize = 16;

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Memory for documents that aren't committed yet, in bytes; at least 15 MB.
    pub writer_heap_bytes: usize,
    /// Shortest time between two commits.
    pub commit_interval_min: Duration,
    /// Longest time between two commits while there are changes.
    pub commit_interval_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            writer_heap_bytes: 50_000_000,
            commit_interval_min: Duration::from_millis(20),
            commit_interval_max: Duration::from_secs(1),
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
    /// What searches see. The follower replaces it after each commit.
    view: watch::Sender<View>,
    /// How many wait for a position: while somebody does, the follower doesn't pause longer than it must.
    waiting: watch::Sender<usize>,
    requests: mpsc::Sender<Request>,
    /// What the follower needs; taken by the first one.
    hands: Mutex<Option<Hands>>,
}

/// What only the follower has: the right to write.
pub(crate) struct Hands {
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) generation: Generation,
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
    /// Opens the index in `dir`, or makes an empty one there; blocks for as long as it takes to read its
    /// files once. One that is damaged, incomplete or of another schema is dropped, and built anew by
    /// [`crate::follow`].
    ///
    /// # Errors
    /// `InUse` when another process has it; `Io` and `Index` when an empty one can't be made either.
    pub fn open(dir: &Path, settings: Settings) -> Result<Self, SearchError> {
        let shelf = Shelf::open(dir, settings.clone())?;
        let generation = shelf.take()?;
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let view = generation.view(generation.position().unwrap_or_default());
        let hands = Hands { shelf: Arc::new(shelf), generation, requests: receiver };
        let inner = Inner {
            settings,
            view: watch::Sender::new(view),
            waiting: watch::Sender::new(0),
            requests,
            hands: Mutex::new(Some(hands)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// All changes up to here are what a search sees; 0 until the first build is complete.
    pub fn position(&self) -> Position {
        self.inner.view.borrow().position
    }

    /// How many documents a search sees, those of all tenants.
    pub fn documents(&self) -> u64 {
        self.inner.view.borrow().searcher.num_docs()
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
        let reached = tokio::time::timeout(timeout, view.wait_for(|view| view.position >= position)).await;
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

    pub(crate) fn view(&self) -> View {
        self.inner.view.borrow().clone()
    }

    pub(crate) fn show(&self, view: View) {
        self.inner.view.send_replace(view);
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
