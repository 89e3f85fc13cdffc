//! All sessions that outlast their connections. A session ends when nobody came back to it in time, when its client
//! starts anew, or when its credential is gone; what is left of it goes at that moment, in memory and where it is kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::lasting::random;
use super::{Lasting, Write, Writes};
use crate::broker::Hub;
use crate::ending::Ending;
use crate::peer::Peer;
use crate::sessions::{Kept, KeptSession, SessionId};
use crate::topics::{self, Filter};
use crate::tree::{Options, Subscriber, Subscription};

/// After a crash, so many messages of a queue may have been sent before it.
const MAY_BE_SENT: usize = crate::connection::WINDOW_MAX as usize;

/// Realm, name and client id.
type Key = (Arc<str>, Arc<str>, Arc<str>);

/// All sessions.
#[derive(Default)]
pub(crate) struct Directory {
    sessions: Mutex<HashMap<Key, Arc<Lasting>>>,
    /// Those without a connection, by when they end.
    left: Mutex<BTreeMap<(Instant, u64), Arc<Lasting>>>,
    /// One was left that ends before all others.
    sooner: Notify,
    bytes: Arc<AtomicUsize>,
}

/// Too many sessions are kept.
pub(crate) struct TooMany;

/// What a new connection finds.
#[derive(Default)]
pub(crate) struct Begun {
    /// Its session; none for one that ends with its connection.
    pub(crate) session: Option<Arc<Lasting>>,
    /// It is the session of before.
    pub(crate) present: bool,
    /// CONNACK waits for this.
    pub(crate) durable: Option<oneshot::Receiver<()>>,
}

impl Directory {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.sessions.lock().len()
    }

    /// A session doesn't end on its own any more.
    fn stays(&self, session: &Lasting) {
        if let Some(ends_at) = session.state().ends_at.take() {
            self.left.lock().remove(&(ends_at, session.id.number));
        }
    }

    /// Bytes of all messages that wait for their clients.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Hub {
    /// Takes back all that was kept. What was connected counts as left just now.
    pub(crate) fn restore(&self, kept: Kept) {
        let now = SystemTime::now();
        let mut sessions = HashMap::new();
        for session in kept.sessions {
            let ended_at = session.ended_at.unwrap_or(now).min(now);
            let lasting = Arc::new(Lasting::new(session, Arc::clone(&self.directory.bytes)));
            sessions.insert(lasting.id.clone(), (Arc::clone(&lasting), ended_at));
            self.directory.sessions.lock().insert(key(&lasting), lasting);
        }
        for one in kept.subscriptions {
            if let Some((lasting, _)) = sessions.get(&one.session) {
                let options = Options {
                    qos: one.qos,
                    no_local: one.no_local,
                    keep_retain: one.keep_retain,
                    identifier: one.identifier,
                };
                lasting.subscribe(&one.filter, options);
                self.put_in_trees(&one.filter, Subscriber::Session(Arc::clone(lasting)), options);
            }
        }
        for one in kept.queued {
            if let Some((lasting, _)) = sessions.get(&one.session) {
                lasting.restore_message(one, MAY_BE_SENT);
            }
        }
        for one in kept.exchanges {
            if let Some((lasting, _)) = sessions.get(&one.session) {
                lasting.restore_exchange(&one);
            }
        }
        for (lasting, ended_at) in sessions.into_values() {
            self.writer.note(lasting.kept(Some(ended_at)));
            self.wait_for_end(&lasting, now.duration_since(ended_at).unwrap_or_default());
        }
        self.retained.restore(kept.retained);
    }

    /// Finds or makes the session of a connection whose predecessor is gone, and ends the one that it doesn't go on with.
    pub(crate) fn begin_session(
        &self,
        peer: &Arc<Peer>,
        starts_anew: bool,
        expiry_s: u32,
    ) -> Result<Begun, TooMany> {
        let desk = self.writer.desk();
        let mut writes = Writes::default();
        let client = &peer.client;
        let key = (Arc::clone(&client.realm), Arc::clone(&client.name), Arc::clone(&client.client_id));
        let mut sessions = self.directory.sessions.lock();
        let mut found = sessions.get(&key).cloned();
        if starts_anew && let Some(old) = found.take() {
            sessions.remove(&key);
            self.clear_session(&old, &mut writes);
        }
        let present = found.is_some();
        let session = match found {
            Some(found) => Some(found),
            None if expiry_s == 0 => None,
            None if sessions.len() >= self.config.sessions_max => {
                desk.enter(writes, || ());
                return Err(TooMany);
            }
            None => {
                let id = SessionId { realm: Arc::clone(&client.realm), number: random() };
                let (name, client_id) = (Arc::clone(&client.name), Arc::clone(&client.client_id));
                let new = KeptSession { id, name, client_id, expiry_s, ended_at: None };
                let new = Arc::new(Lasting::new(new, Arc::clone(&self.directory.bytes)));
                sessions.insert(key, Arc::clone(&new));
                Some(new)
            }
        };
        drop(sessions);
        if let Some(session) = &session {
            self.directory.stays(session);
            session.attach(peer, expiry_s);
            writes.list.push(session.kept(None));
        }
        let durable = (!writes.list.is_empty()).then(|| desk.enter_waiting(writes));
        Ok(Begun { session, present, durable })
    }

    /// A connection leaves its session, which ends now or later.
    pub(crate) fn leave_session(&self, session: &Arc<Lasting>, peer: &Peer) {
        let expiry_s = {
            let mut state = session.state();
            if state.attached.as_ref().is_none_or(|one| one.client.connection != peer.client.connection) {
                return;
            }
            state.attached = None;
            if state.ended {
                return;
            }
            state.expiry_s
        };
        if expiry_s == 0 {
            return self.end_left_session(session);
        }
        self.writer.note(session.kept(Some(SystemTime::now())));
        self.wait_for_end(session, Duration::ZERO);
    }

    /// Ends a session, unless somebody has come back to it.
    pub(crate) fn end_left_session(&self, session: &Arc<Lasting>) {
        let desk = self.writer.desk();
        let mut writes = Writes::default();
        {
            let state = session.state();
            if state.attached.is_some() || state.ended {
                return;
            }
        }
        self.directory.sessions.lock().remove(&key(session));
        self.clear_session(session, &mut writes);
        desk.enter(writes, || ());
    }

    /// Ends all sessions of a name. The receiver hears when nothing of them is kept any more.
    pub(crate) fn end_sessions_of(&self, realm: &str, name: &str) -> oneshot::Receiver<()> {
        let desk = self.writer.desk();
        let mut writes = Writes { waits: true, ..Writes::default() };
        self.directory.sessions.lock().retain(|(of, named, _), session| {
            let goes = **of == *realm && **named == *name;
            if goes {
                self.clear_session(session, &mut writes);
            }
            !goes
        });
        desk.enter_waiting(writes)
    }

    /// What is left of a session that is no longer in the directory goes.
    fn clear_session(&self, session: &Arc<Lasting>, writes: &mut Writes) {
        let (filters, peer) = session.end();
        for filter in filters {
            self.take_from_trees(&filter, &Subscriber::Session(Arc::clone(session)));
        }
        self.directory.stays(session);
        if let Some(peer) = peer {
            peer.end(Ending::Administrative);
        }
        writes.list.push(Write::End(session.id.clone()));
    }

    /// Notes when a session ends that was left so long ago.
    fn wait_for_end(&self, session: &Arc<Lasting>, ago: Duration) {
        let end = {
            let mut state = session.state();
            let expiry = Duration::from_secs(state.expiry_s.into());
            let end = Instant::now() + expiry.saturating_sub(ago);
            state.ends_at = Some(end);
            (end, session.id.number)
        };
        let mut left = self.directory.left.lock();
        left.insert(end, Arc::clone(session));
        if left.first_key_value().is_some_and(|(first, _)| *first == end) {
            self.directory.sooner.notify_one();
        }
    }

    /// Ends sessions to which nobody came back in time, and removes retained messages that have run out. Sleeps until
    /// there is one.
    pub(crate) async fn end_what_is_over(self: Arc<Self>) {
        loop {
            let session = self.directory.left.lock().first_key_value().map(|((end, _), _)| *end);
            let next = [session, self.retained.next_end()].into_iter().flatten().min();
            let sleep = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.directory.sooner.notified() => {}
                () = self.retained.sooner.notified() => {}
                () = sleep => {
                    while let Some(session) = self.next_over() {
                        self.end_left_session(&session);
                    }
                    let desk = self.writer.desk();
                    let list = self.retained.take_over();
                    desk.enter(Writes { list, ..Writes::default() }, || ());
                }
            }
        }
    }

    /// A session to which nobody came back in time.
    fn next_over(&self) -> Option<Arc<Lasting>> {
        let mut left = self.directory.left.lock();
        let first = left.first_entry().filter(|first| first.key().0 <= Instant::now())?;
        Some(first.remove())
    }

    /// Puts a subscription in force that is matched here, among own topics, routed ones, or both.
    pub(crate) fn put_in_trees(&self, filter: &str, subscriber: Subscriber, options: Options) {
        let Filter { pattern, .. } = topics::take_apart(filter);
        let reach = topics::reach(pattern, &self.config);
        let subscription = Subscription { subscriber, options };
        if reach.own {
            self.tree.subscribe(filter, subscription.clone());
        }
        if reach.routed {
            self.routed.subscribe(filter, subscription);
        }
    }

    /// Ends a subscription that is matched here.
    pub(crate) fn take_from_trees(&self, filter: &str, subscriber: &Subscriber) {
        self.tree.unsubscribe(filter, subscriber);
        self.routed.unsubscribe(filter, subscriber);
    }
}

fn key(session: &Lasting) -> Key {
    (Arc::clone(&session.id.realm), Arc::clone(&session.name), Arc::clone(&session.client_id))
}
