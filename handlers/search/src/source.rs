//! Where the index gets its truth from: implemented by the service, over the store and the feed.

use std::sync::Arc;

use futures::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use statecast_state::{DeviceKey, Position, Twin};
use thiserror::Error;

/// Some twins, in the order of a scan.
pub type Page = Vec<(DeviceKey, Arc<Twin>)>;

/// The twins, and the changes of them. A call that fails is repeated, with growing pauses; the future of any
/// call may be dropped at any time.
pub trait Source: Send + Sync + 'static {
    /// Up to `limit` twins, those after the key `after` in the order of keys (tenant, then device, byte by byte);
    /// an empty page is the end. What isn't searched, the times of the properties, may be left out.
    fn scan(&self, after: Option<DeviceKey>, limit: usize) -> BoxFuture<'_, anyhow::Result<Page>>;

    /// How many twins there are, about.
    fn count(&self) -> BoxFuture<'_, anyhow::Result<u64>>;

    /// A checksum over up to `limit` twins after the key `after`, as they were at the position `upto`.
    fn digest(
        &self,
        after: Option<DeviceKey>,
        limit: usize,
        upto: Position,
    ) -> BoxFuture<'_, anyhow::Result<Digest>>;

    /// The twins of these devices as they are now, in the order asked for; none for a device that isn't.
    fn twins(&self, keys: Vec<DeviceKey>) -> BoxFuture<'_, anyhow::Result<Vec<Option<Arc<Twin>>>>>;

    /// The position up to which all changes are resolved: committed, or never to be.
    fn watermark(&self) -> Position;

    /// Everything that is committed now is at or below it. It is ahead of the watermark while a change waits for one before
    /// it to be resolved.
    fn horizon(&self) -> Position;

    /// The position of the last change that was committed. It may be far below the watermark, as positions are reserved
    /// many at a time.
    fn committed(&self) -> BoxFuture<'_, anyhow::Result<Position>>;

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
    /// The newest of them; `after` when there are none.
    pub newest: Position,
    /// All changes up to here are among them, or were before.
    pub upto: Position,
}

/// What a range of twins comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digest {
    /// The key of the last twin of the range; none when the range goes on to the end.
    pub last: Option<DeviceKey>,
    /// Twins in the range, those in `newer` included.
    pub twins: usize,
    /// Those that changed after the position: they don't count in the sum.
    pub newer: Vec<DeviceKey>,
    /// All others, each with [`checksum`], combined by exclusive or.
    pub sum: u64,
}

/// The checksum of one twin: the first eight bytes, the highest first, of the SHA-256 of `tenant/device/version`.
pub fn checksum(key: &DeviceKey, version: u64) -> u64 {
    let hash = Sha256::digest(format!("{}/{}/{version}", key.tenant.as_str(), key.device.as_str()));
    hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// The feed no longer reaches back to the position that was asked for: the index is built anew.
#[derive(Debug, Clone, Copy, Error)]
#[error("the feed no longer reaches back to {0}")]
pub struct FeedGone(pub Position);
