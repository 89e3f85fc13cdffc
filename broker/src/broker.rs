//! The handle of a running broker, and what all its connections share.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ending::Ending;
use crate::forward::forward;
use crate::held::{self, Held};
use crate::limits::{Arrivals, Logins};
use crate::meters::Meters;
use crate::outbox::{Letter, Posted};
use crate::passage::Passage;
use crate::registry::Registry;
use crate::retained::Retained;
use crate::router::{self, Message, Router};
use crate::session::{Directory, Writer, Writes};
use crate::tls::Certificates;
use crate::tree::{Found, Subscriber, Tree};
use crate::wills::Wills;
use crate::wire::Wire;
use crate::{Access, Certificate, Client, Config, Delivery, Publication, Refused, Sessions, listener};

/// How long connections may take to close once an orderly stop ran out of time.
const ABANDONED_DEADLINE: Duration = Duration::from_secs(1);

/// A running broker. Cheap to clone; it runs until [`Broker::stop`].
#[derive(Clone)]
pub struct Broker(Arc<Hub>);

impl Broker {
    /// Listens, and serves who connects. Deliveries leave through the bounded channel; while it is full, or
    /// too many bytes are in flight, no publish is accepted.
    ///
    /// # Errors
    /// When an address can't be bound, the files of TLS can't be used, or what is kept of sessions can't be read.
    pub async fn start(
        config: Config,
        access: Arc<dyn Access>,
        sessions: Arc<dyn Sessions>,
        deliveries: mpsc::Sender<Delivery>,
    ) -> std::io::Result<Self> {
        let listener = listener::bind(config.listen)?;
        let address = listener.local_addr()?;
        let tls = match &config.tls {
            Some(tls) => Some((Certificates::open(tls.clone())?, listener::bind(tls.listen)?)),
            None => None,
        };
        let tls_address = tls.as_ref().map(|(_, listener)| listener.local_addr()).transpose()?;
        let (router, commands) = Router::new(&config);
        let kept = sessions.load().await.map_err(std::io::Error::other)?;
        let retained = Retained::new(&config);
        let (arrivals, logins) = (Arrivals::new(&config), Logins::new(&config));
        let hub = Arc::new_cyclic(|this| Hub {
            this: Weak::clone(this),
            address,
            tls_address,
            bytes: Arc::new(Semaphore::new(config.bytes_in_flight_max)),
            partial_bytes: AtomicUsize::new(0),
            arrivals,
            logins,
            passage: Passage::new(config.turnover),
            config,
            access,
            sessions,
            deliveries,
            registry: Registry::default(),
            tree: Tree::default(),
            routed: Tree::default(),
            router,
            retained,
            directory: Directory::default(),
            writer: Writer::default(),
            wills: Wills::new(),
            meters: Meters::new(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            abandoned: CancellationToken::new(),
            last_connection: AtomicU64::new(0),
        });
        hub.restore(kept);
        hub.tasks.spawn(listener::accept(Arc::clone(&hub), listener, None));
        if let Some((certificates, listener)) = tls {
            hub.tasks.spawn(listener::accept(Arc::clone(&hub), listener, Some(certificates)));
        }
        // Not among the tasks that a stop waits for: the connections need it until the last of them is gone.
        tokio::spawn(router::watch(Arc::clone(&hub), commands));
        tokio::spawn(Arc::clone(&hub).write_sessions());
        hub.tasks.spawn(Arc::clone(&hub).end_what_is_over());
        hub.tasks.spawn(held::show(Arc::clone(&hub)));
        Ok(Self(hub))
    }

    #[cfg(test)]
    pub(crate) fn hub(&self) -> &Hub {
        &self.0
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Where it listens for TLS, if it does.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.0.tls_address
    }

    /// Serves a connection that somebody else accepted, e.g. over WebSocket, like one of its own: the same limits
    /// and deadlines apply from now on. `certificate` is whom a client certificate names that was verified.
    pub fn accept(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: SocketAddr,
        certificate: Option<Certificate>,
    ) {
        listener::adopt(&self.0, Wire::pipe(stream), peer, certificate);
    }

    /// Sends a message of the service to everyone in the realm whose subscription matches and whose grants
    /// allow it. Never blocks, and is bounded for each connection and session. Returns how many it is on its way to.
    /// Only for the service's own topics.
    pub fn publish(&self, realm: &str, publication: &Publication) -> usize {
        let desk = self.0.writer.desk();
        let mut writes = Writes::default();
        let count = self.0.fan_out(&self.0.tree, realm, &publication.topic, None, &mut writes, |found| {
            // Who is already subscribed sees a live message, whether or not it is kept (MQTT 5, 3.3.1.3).
            Letter::new(publication, found.qos, publication.retain && found.keep_retain)
        });
        desk.enter(writes, || ());
        count
    }

    /// Publishes for the service on a topic that isn't its own, as a client would, never retained. Resolves when nothing
    /// that was promised to a subscriber can be lost any more.
    ///
    /// # Errors
    /// `Refused` says why it went to nobody: a topic that can't be, too many topics, or the broker stops.
    pub async fn forward(&self, realm: &str, publication: &Publication) -> Result<(), Refused> {
        forward(&self.0, realm, publication).await
    }

    /// Would [`Broker::publish`] find anybody? Lets a caller skip making a payload.
    pub fn has_subscriber(&self, realm: &str, topic: &str) -> bool {
        self.0.tree.any(realm, topic)
    }

    /// Ends all connections that act for a name, e.g. of a device that was removed. Returns how many. A v5
    /// client is told that it was an administrative action (0x98).
    pub fn disconnect(&self, realm: &str, name: &str) -> usize {
        let peers = self.0.registry.named(realm, name);
        peers.iter().for_each(|peer| peer.end(Ending::Administrative));
        peers.len()
    }

    /// Looks at all connections that act for a name, e.g. after its credentials changed, and ends those that
    /// aren't to be kept, as [`Broker::disconnect`] does. Returns how many.
    pub fn review(&self, realm: &str, name: &str, keep: impl Fn(&Client) -> bool) -> usize {
        let peers = self.0.registry.named(realm, name);
        let ended = peers.iter().filter(|peer| !keep(&peer.client));
        ended.map(|peer| peer.end(Ending::Administrative)).count()
    }

    /// Who is connected.
    pub fn clients(&self) -> Vec<Arc<Client>> {
        self.0.registry.all().iter().map(|peer| Arc::clone(&peer.client)).collect()
    }

    /// Ends all connections that act for a name, and all its sessions: nothing that waited for it is kept when this
    /// returns. For a device that was removed, or a key that was revoked. Returns how many connections there were.
    pub async fn forget(&self, realm: &str, name: &str) -> usize {
        let count = self.disconnect(realm, name);
        let gone = self.0.end_sessions_of(realm, name);
        gone.await.ok();
        count
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.0.registry.len()
    }

    /// Bytes of publishes that wait for their receipts, over all connections.
    pub fn bytes_in_flight(&self) -> usize {
        self.0.bytes_in_flight()
    }

    /// How many connections a panic of ours has ended since the start. Anything but 0 is a defect.
    pub fn panics(&self) -> u64 {
        self.0.meters.panics()
    }

    /// What clients hold at present.
    pub fn held(&self) -> Held {
        Held::by_clients_of(&self.0)
    }

    /// Waits until the router behind the broker can't be kept alive: it died three times in a minute, or hangs.
    /// The process is to exit, and to be started again.
    pub async fn router_failed(&self) {
        self.0.router.failed.cancelled().await;
    }

    /// Stops in order: refuses new connections, reads no more, lets receipts resolve and acknowledgements
    /// leave, tells v5 clients that the server shuts down (0x8B), and closes. What isn't done within the
    /// deadline is closed as it is; at most a second later this returns.
    pub async fn stop(&self, deadline: Duration) {
        let hub = &self.0;
        hub.stopping.cancel();
        hub.registry.all().iter().for_each(|peer| peer.stop());
        hub.tasks.close();
        let done = async {
            hub.tasks.wait().await;
            hub.writer.written().await;
        };
        if tokio::time::timeout(deadline, done).await.is_ok() {
            hub.abandoned.cancel();
            return;
        }
        tracing::warn!(connections = hub.registry.len(), "the broker stops with publishes unacknowledged");
        hub.registry.all().iter().for_each(|peer| peer.end(Ending::Stopping));
        hub.abandoned.cancel();
        hub.writer.give_up();
        if tokio::time::timeout(ABANDONED_DEADLINE, hub.tasks.wait()).await.is_err() {
            tracing::error!(connections = hub.registry.len(), "connections that don't end");
        }
    }
}

/// What all connections share.
pub(crate) struct Hub {
    /// For what outlives a call but must not keep the broker alive.
    pub(crate) this: Weak<Hub>,
    pub(crate) address: SocketAddr,
    pub(crate) tls_address: Option<SocketAddr>,
    pub(crate) config: Config,
    pub(crate) access: Arc<dyn Access>,
    pub(crate) sessions: Arc<dyn Sessions>,
    pub(crate) deliveries: mpsc::Sender<Delivery>,
    pub(crate) passage: Passage,
    pub(crate) registry: Registry,
    /// Subscriptions to the service's own topics.
    pub(crate) tree: Tree,
    /// Those to other topics that aren't left to the router.
    pub(crate) routed: Tree,
    pub(crate) router: Router,
    pub(crate) retained: Retained,
    pub(crate) directory: Directory,
    pub(crate) writer: Writer,
    pub(crate) wills: Wills,
    pub(crate) meters: Meters,
    /// One permit a byte of what may be in flight.
    pub(crate) bytes: Arc<Semaphore>,
    /// All open sockets, admitted or not.
    pub(crate) arrivals: Arc<Arrivals>,
    pub(crate) logins: Logins,
    /// Bytes that are read but not yet accepted.
    pub(crate) partial_bytes: AtomicUsize,
    pub(crate) tasks: TaskTracker,
    /// No new connections, no more reading.
    pub(crate) stopping: CancellationToken,
    /// The stop is over, or ran out of time: wait for nothing.
    pub(crate) abandoned: CancellationToken,
    pub(crate) last_connection: AtomicU64,
}

impl Hub {
    /// Sends a message of a client on one of the service's own topics to those who subscribed to it.
    pub(crate) fn echo(&self, realm: &str, message: &Message, writes: &mut Writes) {
        self.tell(&self.tree, realm, message, writes);
    }

    /// Sends a message of a client on a routed topic to those who subscribed here and not at the router.
    pub(crate) fn tell_routed(&self, realm: &str, message: &Message, writes: &mut Writes) {
        self.tell(&self.routed, realm, message, writes);
    }

    fn tell(&self, tree: &Tree, realm: &str, message: &Message, writes: &mut Writes) {
        self.fan_out(tree, realm, &message.topic, Some(message.from), writes, |found| {
            Letter::routed(message, found.qos, message.retain && found.keep_retain)
        });
    }

    /// Posts a letter to everyone whose subscription matches and whose grants allow it, except to the connection
    /// that it is from, if that one doesn't want to hear itself.
    fn fan_out(
        &self,
        tree: &Tree,
        realm: &str,
        topic: &str,
        from: Option<u64>,
        writes: &mut Writes,
        letter: impl Fn(&Found<'_>) -> Letter,
    ) -> usize {
        let mut count = 0;
        tree.matching(realm, topic, from, |found| {
            if !found.subscriber.may_receive(topic) {
                return false;
            }
            let letter = letter(&found).identified(found.identifiers);
            let queued = match found.subscriber {
                Subscriber::Connection(peer) => peer.post(letter) == Posted::Queued,
                Subscriber::Session(session) => session.take(letter, &self.config, writes),
            };
            count += usize::from(queued);
            queued
        });
        count
    }

    /// Makes durable what sessions are promised, for as long as the process lives. Without it nothing would be
    /// acknowledged any more: should it panic, the process is to be started again.
    async fn write_sessions(self: Arc<Self>) {
        let writing = AssertUnwindSafe(self.writer.run(&*self.sessions)).catch_unwind();
        let stopped = async { self.abandoned.cancelled().await };
        tokio::select! {
            _ = writing => self.router.failed.cancel(),
            () = stopped => self.writer.give_up(),
        }
    }

    pub(crate) fn bytes_in_flight(&self) -> usize {
        self.config.bytes_in_flight_max.saturating_sub(self.bytes.available_permits())
    }
}
