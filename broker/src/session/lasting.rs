//! One session. Who speaks to it: the connection that it has now, if any; whoever publishes what it subscribed to; the
//! writer, when something is durable; the directory, when it ends. States: connected, left, ended; an ended one takes
//! nothing more, and nothing of it is left but what still refers to it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::convert;
use super::exchange::Exchange;
use super::queue::{Next, Queue};
use super::{Write, Writes};
use crate::limits::Limit;
use crate::outbox::{Letter, Posted};
use crate::peer::Peer;
use crate::sessions::{KeptSession, KeptSubscription, QueuedMessage, SessionId};
use crate::tree::Options;
use crate::{Config, Grants, QoS};

/// A session that outlasts its connections.
pub(crate) struct Lasting {
    pub(crate) id: SessionId,
    pub(crate) name: Arc<str>,
    pub(crate) client_id: Arc<str>,
    state: Mutex<State>,
    /// Publishes at quality 2 that wait until their packet id is durable, and all behind them.
    pub(crate) delivering: AtomicUsize,
    /// Bytes in the queues of all sessions.
    total: Arc<AtomicUsize>,
}

/// What changes of a session.
pub(super) struct State {
    pub(super) expiry_s: u32,
    pub(super) ended: bool,
    pub(super) attached: Option<Arc<Peer>>,
    /// When it ends, as long as it has no connection.
    pub(super) ends_at: Option<Instant>,
    /// What its last connection was allowed; none since we started.
    grants: Option<Arc<dyn Grants>>,
    subscriptions: HashMap<Arc<str>, Options>,
    queue: Queue,
    pub(super) exchanges: HashMap<u16, Exchange>,
    due: VecDeque<Due>,
    /// It was logged that the queue is full.
    warned: bool,
}

/// An answer that had to wait until something was durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// PUBREL, that the client waits for.
    Release(u16),
    /// PUBCOMP, with whether there was something to complete.
    Complete(u16, bool),
}

impl Lasting {
    pub(super) fn new(kept: KeptSession, total: Arc<AtomicUsize>) -> Self {
        let state = State {
            expiry_s: kept.expiry_s,
            ended: false,
            attached: None,
            ends_at: None,
            grants: None,
            subscriptions: HashMap::new(),
            queue: Queue::default(),
            exchanges: HashMap::new(),
            due: VecDeque::new(),
            warned: false,
        };
        let KeptSession { id, name, client_id, .. } = kept;
        Self { id, name, client_id, state: Mutex::new(state), delivering: AtomicUsize::new(0), total }
    }

    /// As it is kept from now on.
    pub(super) fn kept(&self, ended_at: Option<SystemTime>) -> Write {
        Write::Session(KeptSession {
            id: self.id.clone(),
            name: Arc::clone(&self.name),
            client_id: Arc::clone(&self.client_id),
            expiry_s: self.state.lock().expiry_s,
            ended_at,
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The connection that it has now.
    pub(crate) fn peer(&self) -> Option<Arc<Peer>> {
        self.state.lock().attached.clone()
    }

    /// May its client be sent this, as far as is known now? It is asked again when it is sent.
    pub(crate) fn may_receive(&self, topic: &str) -> bool {
        self.state.lock().grants.as_ref().is_none_or(|grants| grants.may_receive(topic))
    }

    /// It has a connection. Nothing was sent there yet.
    pub(super) fn attach(&self, peer: &Arc<Peer>, expiry_s: u32) {
        let mut state = self.state.lock();
        state.attached = Some(Arc::clone(peer));
        state.grants = Some(Arc::clone(&peer.client.grants));
        state.expiry_s = expiry_s;
        state.due.clear();
        state.queue.rewind();
    }

    /// For how long it is kept when the connection ends, in seconds.
    pub(crate) fn set_expiry(&self, expiry_s: u32) {
        self.state.lock().expiry_s = expiry_s;
    }

    /// Takes a letter: to be kept until it is acknowledged, or only for the connection that it has now. False when it
    /// can't.
    pub(crate) fn take(self: &Arc<Self>, letter: Letter, config: &Config, writes: &mut Writes) -> bool {
        let mut state = self.state.lock();
        if letter.qos == QoS::AtMostOnce || letter.latest_only {
            let peer = state.attached.clone();
            drop(state);
            return peer.is_some_and(|peer| peer.post(letter) == Posted::Queued);
        }
        if state.ended {
            return false;
        }
        let bytes = letter.bytes();
        let limit = if state.queue.len() >= config.session_messages_max {
            Some(Limit::SessionMessages)
        } else if state.queue.bytes() + bytes > config.session_bytes_max {
            Some(Limit::SessionBytes)
        } else if self.total.load(Ordering::Relaxed) + bytes > config.sessions_bytes_max {
            Some(Limit::SessionsBytes)
        } else {
            None
        };
        if let Some(limit) = limit {
            limit.count();
            if !std::mem::replace(&mut state.warned, true) {
                let Self { id, client_id, .. } = &**self;
                tracing::warn!(realm = %id.realm, %client_id, "the queue of a session is full: it misses messages");
            }
            return false;
        }
        self.total.fetch_add(bytes, Ordering::Relaxed);
        let message = convert::keep_letter(&letter);
        let number = state.queue.push(letter);
        let session = self.id.clone();
        writes.list.push(Write::Queue(QueuedMessage { session, number, message, released: false }));
        writes.queued.push((Arc::clone(self), number));
        true
    }

    /// A queued message is durable: it may be sent.
    pub(super) fn stored(&self, number: u64) {
        let mut state = self.state.lock();
        state.queue.stored(number);
        wake(&state);
    }

    /// A queued message never will be durable.
    pub(super) fn discard(&self, number: u64) {
        self.count(&mut self.state.lock(), |queue| queue.discard(number));
    }

    /// What is to be sent next.
    pub(crate) fn next(&self) -> Option<Next> {
        self.state.lock().queue.next()
    }

    /// The client has a message and needs no more of it (PUBACK, PUBCOMP), or isn't to have it. None if there is no
    /// such message.
    pub(crate) fn acknowledged(&self, id: u16) -> Option<Write> {
        let mut state = self.state.lock();
        let number = self.count(&mut state, |queue| queue.remove(id))?;
        state.warned = false;
        Some(Write::Acknowledge(self.id.clone(), number))
    }

    /// The client has a message at quality 2 (PUBREC). Gives its number, and what is to be durable before PUBREL.
    pub(crate) fn received(&self, id: u16) -> Option<(u64, Write)> {
        let number = self.state.lock().queue.received(id)?;
        Some((number, Write::Release(self.id.clone(), number)))
    }

    /// It is durable that the client has it.
    pub(crate) fn released(&self, number: u64) {
        let mut state = self.state.lock();
        if let Some(id) = state.queue.released(number) {
            state.due.push_back(Due::Release(id));
        }
        wake(&state);
    }

    /// An answer is due on a connection, if the session still has that one: on the next one the client asks again.
    pub(crate) fn owe(&self, connection: u64, due: Due) {
        let mut state = self.state.lock();
        if state.attached.as_ref().is_some_and(|peer| peer.client.connection == connection) {
            state.due.push_back(due);
            wake(&state);
        }
    }

    /// The next answer that is due.
    pub(crate) fn next_due(&self) -> Option<Due> {
        self.state.lock().due.pop_front()
    }

    /// Does work on the queue, and keeps the total.
    fn count<T>(&self, state: &mut State, work: impl FnOnce(&mut Queue) -> T) -> T {
        let before = state.queue.bytes();
        let result = work(&mut state.queue);
        self.total.fetch_sub(before - state.queue.bytes(), Ordering::Relaxed);
        result
    }

    /// A subscription is to be in force. None when the session has ended.
    pub(crate) fn subscribe(&self, filter: &Arc<str>, options: Options) -> Option<Write> {
        let mut state = self.state.lock();
        if state.ended {
            return None;
        }
        state.subscriptions.insert(Arc::clone(filter), options);
        Some(Write::Subscribe(KeptSubscription {
            session: self.id.clone(),
            filter: Arc::clone(filter),
            qos: options.qos,
            no_local: options.no_local,
            keep_retain: options.keep_retain,
            identifier: options.identifier,
        }))
    }

    /// A subscription is no longer in force.
    pub(crate) fn unsubscribe(&self, filter: &Arc<str>) -> Write {
        self.state.lock().subscriptions.remove(filter);
        Write::Unsubscribe(self.id.clone(), Arc::clone(filter))
    }

    /// All its subscriptions.
    pub(crate) fn subscriptions(&self) -> Vec<(Arc<str>, Options)> {
        let state = self.state.lock();
        state.subscriptions.iter().map(|(filter, options)| (Arc::clone(filter), *options)).collect()
    }

    /// Takes back what was kept of it.
    pub(super) fn restore_message(&self, kept: QueuedMessage, may_be_sent: usize) {
        let mut state = self.state.lock();
        let was_sent = state.queue.len() < may_be_sent;
        let letter = convert::letter(kept.message);
        self.total.fetch_add(letter.bytes(), Ordering::Relaxed);
        state.queue.restore(kept.number, letter, kept.released, was_sent);
    }

    /// Takes nothing more, and forgets what waits. Gives the filters that were in force, and its connection.
    pub(super) fn end(&self) -> (Vec<Arc<str>>, Option<Arc<Peer>>) {
        let mut state = self.state.lock();
        state.ended = true;
        self.count(&mut state, |queue| *queue = Queue::default());
        state.exchanges = HashMap::new();
        let subscriptions = std::mem::take(&mut state.subscriptions);
        (subscriptions.into_keys().collect(), state.attached.clone())
    }
}

/// Wakes the connection, if there is one.
fn wake(state: &State) {
    if let Some(peer) = &state.attached {
        peer.wake.notify_one();
    }
}

/// A random number below 2^63, which is what a database can keep.
pub(super) fn random() -> u64 {
    rand::random::<u64>() >> 1
}
