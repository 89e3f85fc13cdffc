//! A connection as the rest of the process sees it: where receipts are resolved, letters posted and the end is
//! called for. The task that serves the connection is woken, and does the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::ending::Ending;
use crate::outbox::{Letter, Outbox, Posted};
use crate::receipts::{Answer, Receipts};
use crate::{Client, QoS};

/// One connection, shared by its task and all that speak to it.
pub(crate) struct Peer {
    /// Who it is.
    pub(crate) client: Arc<Client>,
    /// Its publishes that wait for their receipts.
    pub(crate) receipts: Mutex<Receipts>,
    /// What waits to be sent to it.
    pub(crate) outbox: Mutex<Outbox>,
    /// Wakes its task; any number of wakes before it runs count as one.
    pub(crate) wake: Notify,
    /// Cancelled when all is over: the last delivery is on its way, and nothing of the connection is left.
    pub(crate) gone: CancellationToken,
    /// Why it is to end; the first reason stays.
    ending: Mutex<Option<Ending>>,
    stopping: AtomicBool,
    /// Bound of the outbox.
    outbox_bytes_max: usize,
}

impl Peer {
    pub(crate) fn new(client: Arc<Client>, outbox_bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            client,
            receipts: Mutex::default(),
            outbox: Mutex::default(),
            wake: Notify::new(),
            gone: CancellationToken::new(),
            ending: Mutex::new(None),
            stopping: AtomicBool::new(false),
            outbox_bytes_max,
        })
    }

    /// Calls for the end of the connection.
    pub(crate) fn end(&self, why: Ending) {
        self.ending.lock().get_or_insert(why);
        self.wake.notify_one();
    }

    /// Why the connection is to end, if it is.
    pub(crate) fn ending(&self) -> Option<Ending> {
        *self.ending.lock()
    }

    /// Has another connection come to take its place?
    pub(crate) fn is_replaced(&self) -> bool {
        self.ending() == Some(Ending::TakenOver)
    }

    /// Waits until another connection comes to take its place. For its task only.
    pub(crate) async fn replaced(&self) {
        while !self.is_replaced() {
            self.wake.notified().await;
        }
    }

    /// Asks the connection to read no more, and to end once its receipts are resolved and acknowledged.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Was it asked to stop?
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Resolves a slot, and wakes the task if an acknowledgement can leave.
    pub(crate) fn resolve(&self, number: u64, answer: Answer) {
        let first_in_line = self.receipts.lock().resolve(number, answer);
        if first_in_line {
            self.wake.notify_one();
        }
    }

    /// Puts an answer at the end of the line that waits for nothing but those before it.
    pub(crate) fn answer(&self, packet: u16, qos: QoS, answer: Answer) {
        let mut receipts = self.receipts.lock();
        let number = receipts.open(packet, qos);
        receipts.resolve(number, answer);
    }

    /// Posts a letter. Never blocks; a subscriber that is too slow for it is ended, or misses it, see [`Posted`].
    pub(crate) fn post(&self, letter: Letter) -> Posted {
        let posted = self.outbox.lock().push(letter, self.outbox_bytes_max);
        match posted {
            Posted::Queued => self.wake.notify_one(),
            Posted::Dropped => {
                metrics::counter!("statecast_mqtt_dropped_total", "reason" => "slow").increment(1);
            }
            Posted::Overflow => self.end(Ending::TooSlow),
        }
        posted
    }
}
