//! What the one thread that speaks to the router is told, and what one router leaves to the next.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::Feed;
use crate::Receipt;

/// What the router is to do.
pub(super) enum Command {
    /// Fan a message out, then accept its receipt.
    Publish(Pending),
    /// Put a filter of a feed in force, then say so.
    Subscribe { feed: Arc<Feed>, pattern: Arc<str>, done: oneshot::Sender<()> },
    /// End a filter of a feed.
    Unsubscribe { feed: Arc<Feed>, pattern: Arc<str> },
    /// A link is no longer read.
    Left { link: u64 },
    /// Send a canary.
    Canary,
    /// The canary of this number came out of the router.
    Seen { number: u64 },
    /// Show the router what it can't stand.
    #[cfg(test)]
    Kill,
}

/// A message for the router.
pub(super) struct Pending {
    pub(super) topic: String,
    pub(super) envelope: Bytes,
    pub(super) receipt: Receipt,
    /// Its place among those that wait.
    pub(super) _place: OwnedSemaphorePermit,
    /// How many routers have died with it.
    pub(super) deaths: u8,
}

/// The commands, and what the next router is to do before them.
pub(super) struct HandBack {
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) unfinished: VecDeque<Command>,
    /// Numbers go on, so that what still comes from an old router isn't taken for news of the new one.
    pub(super) last_link: u64,
    pub(super) last_canary: u64,
}

impl HandBack {
    pub(super) fn new(commands: mpsc::UnboundedReceiver<Command>) -> Self {
        Self { commands, unfinished: VecDeque::new(), last_link: 0, last_canary: 0 }
    }
}
