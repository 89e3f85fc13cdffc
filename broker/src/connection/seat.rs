//! The place of a connection among the others. Whatever happens to its task, a panic included, nothing of it is
//! left when its seat is dropped.

use std::sync::Arc;

use crate::broker::Hub;
use crate::ending::Ending;
use crate::outbox::Outbox;
use crate::peer::Peer;
use crate::router::Feed;
use crate::session::Lasting;
use crate::tree::Subscriber;

/// The place of an admitted connection.
pub(super) struct Seat {
    hub: Arc<Hub>,
    peer: Arc<Peer>,
    /// The connection that this one took over from.
    predecessor: Option<Arc<Peer>>,
    /// The session that it has, if that outlasts it.
    pub(super) lasting: Option<Arc<Lasting>>,
    /// Filters that are in force and not those of a session, and not at the router alone.
    pub(super) filters: Vec<Arc<str>>,
    /// The way from the router, if any filter needs it.
    pub(super) feed: Option<Arc<Feed>>,
}

impl Seat {
    /// Takes the place of a peer that was entered, and calls for the end of its predecessor.
    pub(super) fn new(hub: Arc<Hub>, peer: Arc<Peer>, predecessor: Option<Arc<Peer>>) -> Self {
        if let Some(predecessor) = &predecessor {
            predecessor.end(Ending::TakenOver);
        }
        Self { hub, peer, predecessor, lasting: None, filters: Vec::new(), feed: None }
    }

    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// For how long its session, if it outlasts it, is kept when it ends, in seconds.
    pub(super) fn set_session_expiry(&self, seconds: u32) {
        if let Some(lasting) = &self.lasting {
            lasting.set_expiry(seconds);
        }
    }

    /// Ends all subscriptions that the connection has and no session.
    pub(super) fn leave_subscriptions(&mut self) {
        let subscriber = Subscriber::Connection(Arc::clone(&self.peer));
        for filter in self.filters.drain(..) {
            self.hub.take_from_trees(&filter, &subscriber);
        }
        if let Some(feed) = self.feed.take() {
            self.hub.router.close(&feed);
        }
    }

    /// Waits until nothing is left of the connection that this one took over from.
    pub(super) async fn predecessor_gone(&self) {
        if let Some(predecessor) = &self.predecessor {
            predecessor.gone.cancelled().await;
        }
    }

    /// Leaves the seat empty at once, and drops it when the predecessor is gone.
    pub(super) fn vacate_later(self) {
        let tasks = self.hub.tasks.clone();
        tasks.spawn(async move {
            self.hub.abandoned.run_until_cancelled(self.predecessor_gone()).await;
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave_subscriptions();
        if let Some(lasting) = self.lasting.take() {
            self.hub.leave_session(&lasting, &self.peer);
        }
        // Receipts may keep the peer for as long as an outage lasts.
        *self.peer.outbox.lock() = Outbox::default();
        self.hub.registry.leave(&self.peer);
        self.peer.gone.cancel();
    }
}
