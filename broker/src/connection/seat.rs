//! The place of a connection among the others. Whatever happens to its task, a panic included, nothing of it is
//! left when its seat is dropped.

use std::sync::Arc;

use crate::broker::Hub;
use crate::ending::Ending;
use crate::outbox::Outbox;
use crate::peer::Peer;
use crate::router::Feed;

/// The place of an admitted connection.
pub(super) struct Seat {
    hub: Arc<Hub>,
    peer: Arc<Peer>,
    /// The connection that this one took over from.
    predecessor: Option<Arc<Peer>>,
    /// Filters that are in force among the service's own topics.
    pub(super) own_filters: Vec<Arc<str>>,
    /// Ways from the router.
    pub(super) feeds: Vec<Arc<Feed>>,
}

impl Seat {
    /// Takes the place of a peer that was entered, and calls for the end of its predecessor.
    pub(super) fn new(hub: Arc<Hub>, peer: Arc<Peer>, predecessor: Option<Arc<Peer>>) -> Self {
        if let Some(predecessor) = &predecessor {
            predecessor.end(Ending::TakenOver);
        }
        Self { hub, peer, predecessor, own_filters: Vec::new(), feeds: Vec::new() }
    }

    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Ends all subscriptions of the connection.
    pub(super) fn leave_subscriptions(&mut self) {
        for filter in self.own_filters.drain(..) {
            self.hub.tree.unsubscribe(&filter, &self.peer);
        }
        for feed in self.feeds.drain(..) {
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
        // Receipts may keep the peer for as long as an outage lasts.
        *self.peer.outbox.lock() = Outbox::default();
        self.hub.registry.leave(&self.peer);
        self.peer.gone.cancel();
    }
}
