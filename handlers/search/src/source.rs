//! Where the index gets its truth from: implemented by the service, over the store and the feed.

use std::sync::Arc;

use futures::future::BoxFuture;
use statecast_state::{DeviceKey, Position, Twin};
use thiserror::Error;

/// Some twins, in the order of a scan.
pub type Page = Vec<(DeviceKey, Arc<Twin>)>;

/// The twins, and the changes of them. A call that fails is repeated, with growing pauses; the future of any
/// call may be dropped at any time.
pub trait Source: Send + Sync + 'static {
    /// Up to `limit` twins, those after the key `after` in an order of keys that never changes; an empty
    /// page is the end.
    fn scan(&self, after: Option<DeviceKey>, limit: usize) -> BoxFuture<'_, anyhow::Result<Page>>;

    /// The twins of these devices as they are now, in the order asked for; none for a device that isn't.
    fn twins(&self, keys: Vec<DeviceKey>) -> BoxFuture<'_, anyhow::Result<Vec<Option<Arc<Twin>>>>>;

    /// The position up to which all changes are resolved: committed, or never to be.
    fn watermark(&self) -> Position;

    /// The changes after `after`, at most a few thousand: at once when there are some, else as soon as there
    /// are. Fails with [`FeedGone`] when the feed no longer reaches back that far.
    fn changes(&self, after: Position) -> BoxFuture<'_, anyhow::Result<Changes>>;
}

/// What changed, oldest first.
#[derive(Debug, Clone)]
pub struct Changes {
    /// The device and its twin afterwards, none when it was removed. Earlier changes of a device may be left
    /// out, and a twin may be newer than the change that it stands for.
    pub items: Vec<(DeviceKey, Option<Arc<Twin>>)>,
    /// All changes up to here are among them, or were before.
    pub upto: Position,
}

/// The feed no longer reaches back to the position that was asked for: the index is built anew.
#[derive(Debug, Clone, Copy, Error)]
#[error("the feed no longer reaches back to {0}")]
pub struct FeedGone(pub Position);
