//! What clients publish to each other, on any topic that isn't the service's own: fanned out by rumqttd's
//! router, which runs in a thread of its own, behind links.
//!
//! - [`envelope`]: what crosses the router, and under which name: a realm never sees another
//! - [`command`], [`pump`]: the one thread that speaks to the router, since all its calls block
//! - [`feeder`]: one task for each link, from the router to the outbox of a subscriber, with [`copies`]
//! - [`canary`]: starts the router, watches it, starts it again
//!
//! rumqttd is kept from what it can't stand (`é/x` as a topic, say, would end its thread): names, filters and link
//! ids are ours, all sessions are clean and nothing is shared, and the number of distinct topics and
//! filters is bounded, because it forgets neither. Quality of service towards a subscriber, retained messages
//! and what a v5 publisher adds are not its business: they travel in the envelope.

mod envelope;
mod command;
mod pump;
mod feeder;
mod copies;
mod canary;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::command::{Command, Pending};
use crate::peer::Peer;
use crate::tree::Options;
use crate::{Config, Receipt};

pub(crate) use self::canary::watch;
pub(crate) use self::envelope::Message;

/// Most publishes that wait for the router.
const PLACES: usize = 1024;

/// The router, as connections see it.
pub(crate) struct Router {
    commands: mpsc::UnboundedSender<Command>,
    /// Bounds the publishes among the commands; all others are bounded by the links.
    pub(crate) places: Arc<Semaphore>,
    feeds: Mutex<HashMap<u64, Arc<Feed>>>,
    last_feed: AtomicU64,
    last_message: AtomicU64,
    known: Mutex<Known>,
    limits: Limits,
    /// Cancelled when the router can't be kept alive: the process is to exit.
    pub(crate) failed: CancellationToken,
}

/// Where the commands come out, for [`watch`].
pub(crate) struct Commands(mpsc::UnboundedReceiver<Command>);

struct Limits {
    topics_max: usize,
    filters_max: usize,
    links_max: usize,
}

/// Hashes of all names that the router was shown since it was started.
#[derive(Default)]
struct Known {
    state: RandomState,
    topics: HashSet<u64>,
    filters: HashSet<u64>,
}

/// The filters of one connection, and its way from the router.
pub(crate) struct Feed {
    id: u64,
    peer: Arc<Peer>,
    patterns: Mutex<HashMap<Arc<str>, Options>>,
    /// Nothing more is wanted.
    closed: CancellationToken,
}

impl Feed {
    /// A filter as the router knows it.
    fn name(&self, pattern: &str) -> String {
        envelope::topic(&self.peer.client.realm, pattern)
    }
}

impl Router {
    pub(crate) fn new(config: &Config) -> (Self, Commands) {
        let (commands, receiver) = mpsc::unbounded_channel();
        let limits = Limits {
            topics_max: config.router_topics_max,
            filters_max: config.router_filters_max,
            links_max: config.router_links_max,
        };
        let router = Self {
            commands,
            places: Arc::new(Semaphore::new(PLACES)),
            feeds: Mutex::default(),
            last_feed: AtomicU64::new(0),
            last_message: AtomicU64::new(0),
            known: Mutex::default(),
            limits,
            failed: CancellationToken::new(),
        };
        (router, Commands(receiver))
    }

    /// May this topic be shown to the router? A new one only below the limit.
    pub(crate) fn admits_topic(&self, realm: &str, topic: &str) -> bool {
        let mut known = self.known.lock();
        let hash = known.state.hash_one((realm, topic));
        let room = known.topics.len() < self.limits.topics_max;
        known.topics.contains(&hash) || room && known.topics.insert(hash)
    }

    /// Hands a message to the router. Its receipt is accepted once the router has it.
    pub(crate) fn publish(
        &self,
        realm: &str,
        message: &Message,
        receipt: Receipt,
        place: OwnedSemaphorePermit,
    ) {
        let topic = envelope::topic(realm, &message.topic);
        let envelope = message.seal(self.last_message.fetch_add(1, Ordering::Relaxed) + 1);
        self.command(Command::Publish(Pending { topic, envelope, receipt, _place: place, deaths: 0 }));
    }

    /// Opens a way from the router to a connection, with no filters yet. None when there are too many.
    pub(crate) fn open(&self, peer: &Arc<Peer>) -> Option<Arc<Feed>> {
        let mut feeds = self.feeds.lock();
        if feeds.len() >= self.limits.links_max {
            return None;
        }
        let id = self.last_feed.fetch_add(1, Ordering::Relaxed);
        let feed = Arc::new(Feed {
            id,
            peer: Arc::clone(peer),
            patterns: Mutex::default(),
            closed: CancellationToken::new(),
        });
        feeds.insert(id, Arc::clone(&feed));
        Some(feed)
    }

    /// Adds a filter, or changes its options. The receiver hears when it is in force, or is dropped when the
    /// router is being started again: then it is in force soon. None when the router has seen too many filters.
    pub(crate) fn subscribe(
        &self,
        feed: &Arc<Feed>,
        pattern: &Arc<str>,
        options: Options,
    ) -> Option<oneshot::Receiver<()>> {
        {
            let mut known = self.known.lock();
            let hash = known.state.hash_one((&feed.peer.client.realm, pattern));
            let room = known.filters.len() < self.limits.filters_max;
            let admitted = known.filters.contains(&hash) || room && known.filters.insert(hash);
            if !admitted {
                return None;
            }
        }
        feed.patterns.lock().insert(Arc::clone(pattern), options);
        let (done, in_force) = oneshot::channel();
        self.command(Command::Subscribe { feed: Arc::clone(feed), pattern: Arc::clone(pattern), done });
        Some(in_force)
    }

    /// Ends one filter of a feed.
    pub(crate) fn unsubscribe(&self, feed: &Arc<Feed>, pattern: &str) {
        feed.patterns.lock().remove(pattern);
        self.command(Command::Unsubscribe { feed: Arc::clone(feed), pattern: pattern.into() });
    }

    /// Ends a feed with all its filters.
    pub(crate) fn close(&self, feed: &Feed) {
        self.feeds.lock().remove(&feed.id);
        feed.closed.cancel();
    }

    /// How many ways from the router are open, and how many filters are in force on them.
    pub(crate) fn open_feeds(&self) -> (usize, usize) {
        let feeds = self.feeds.lock();
        (feeds.len(), feeds.values().map(|feed| feed.patterns.lock().len()).sum())
    }

    fn command(&self, command: Command) {
        // Without a receiver the router has failed for good: a receipt in the command is dropped, and the client
        // of it told to send again.
        self.commands.send(command).ok();
    }

    /// The router is new: it knows nothing but the filters in force.
    fn forget(&self) -> Vec<Arc<Feed>> {
        let feeds: Vec<Arc<Feed>> = self.feeds.lock().values().cloned().collect();
        let mut known = self.known.lock();
        known.topics.clear();
        known.filters.clear();
        for feed in &feeds {
            for pattern in feed.patterns.lock().keys() {
                let hash = known.state.hash_one((&feed.peer.client.realm, pattern));
                known.filters.insert(hash);
            }
        }
        feeds
    }
}
