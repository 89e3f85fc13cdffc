//! What must outlive a connection, and what a new subscriber sees first: kept by whoever started the broker.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::future::BoxFuture;
use thiserror::Error;

use crate::{Client, QoS};

/// A message of the service to its clients.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Where to, relative to the realm.
    pub topic: Arc<str>,
    /// What.
    pub payload: Bytes,
    /// At most at this quality; less for who subscribed with less.
    pub qos: QoS,
    /// With the RETAIN flag: it was there before the subscription.
    pub retain: bool,
    /// Only the newest counts: one that waits to be sent on the same topic of the same connection is replaced, and
    /// none is kept for who isn't connected.
    pub latest_only: bool,
    /// Told back by [`Sessions::received`] when a client acknowledges it; nothing is without.
    pub mark: Option<u64>,
}

/// What must outlive a connection.
pub trait Sessions: Send + Sync + 'static {
    /// A client subscribed, and may, or is back with subscriptions of before: what it must be sent first. SUBACK
    /// waits for the answer, and these publications follow it. Called when the subscription is already in force, so
    /// nothing falls between.
    fn subscribed<'a>(
        &'a self,
        client: &'a Client,
        filters: &'a [Arc<str>],
    ) -> BoxFuture<'a, Vec<Publication>>;

    /// A client acknowledged a publication that has a mark, which it was sent at quality 1 or 2. Only while the
    /// connection lasts on which it was sent. Must not block.
    fn received(&self, client: &Client, topic: &str, mark: u64);

    /// All that is kept. Called once, before the first [`Sessions::write`].
    fn load(&self) -> BoxFuture<'_, Result<Kept, NotWritten>>;

    /// Makes a batch durable, all of it or nothing. Called for one batch at a time, in order; a batch whose fate
    /// isn't known is written again, and nothing else before it: what it says is how things are afterwards.
    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<(), NotWritten>>;
}

/// Why something wasn't written, or couldn't be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotWritten {
    /// Not now: to be tried again.
    #[error("not at present: {0}")]
    Later(String),
    /// Never, for what it holds.
    #[error("refused: {0}")]
    Refused(String),
}

/// Names a session: the realm, and a number that no other session of it ever had.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    /// See [`Client::realm`].
    pub realm: Arc<str>,
    /// Random, below 2^63.
    pub number: u64,
}

/// A session that outlives its connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSession {
    /// Names it.
    pub id: SessionId,
    /// See [`Client::name`].
    pub name: Arc<str>,
    /// See [`Client::client_id`].
    pub client_id: Arc<str>,
    /// For how long it is kept when its connection has ended, in seconds.
    pub expiry_s: u32,
    /// When its connection ended; none while it is connected.
    pub ended_at: Option<SystemTime>,
}

/// A subscription of such a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSubscription {
    /// Whose.
    pub session: SessionId,
    /// The filter, with `$share/group/` if it is shared.
    pub filter: Arc<str>,
    /// Highest quality of messages.
    pub qos: QoS,
    /// The client doesn't want what it published itself (v5).
    pub no_local: bool,
    /// The RETAIN flag is kept as it was published (v5).
    pub keep_retain: bool,
    /// It is told this number with each message (v5).
    pub identifier: Option<u32>,
}

/// A message, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMessage {
    /// Relative to the realm.
    pub topic: Arc<str>,
    /// What was published.
    pub payload: Bytes,
    /// The properties that travel along, with the subscription identifiers, encoded (MQTT 5, 2.2.2) without length.
    pub properties: Bytes,
    /// The quality at which it is to be sent.
    pub qos: QoS,
    /// With the RETAIN flag.
    pub retain: bool,
    /// When it runs out, if ever.
    pub expires_at: Option<SystemTime>,
}

/// A message that waits for a client, or for its acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedMessage {
    /// Whose.
    pub session: SessionId,
    /// Its place in the queue of the session: rises from 1.
    pub number: u64,
    /// The message.
    pub message: KeptMessage,
    /// The client has it, and is to be sent PUBREL (quality 2).
    pub released: bool,
}

/// A publish of a client at quality 2, from its arrival to its PUBREL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptExchange {
    /// Whose.
    pub session: SessionId,
    /// Its packet id.
    pub packet: u16,
    /// Random, below 2^63: the same each time when the publish has to be delivered again, see
    /// [`crate::Event::Publish`].
    pub key: u64,
    /// What it was published for is done: it must not be delivered again.
    pub delivered: bool,
}

/// A retained message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetainedMessage {
    /// See [`Client::realm`].
    pub realm: Arc<str>,
    /// The message.
    pub message: KeptMessage,
}

/// All that is kept, or what is to be kept from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Each names a session that is new or has changed.
    pub sessions: Vec<KeptSession>,
    /// By session and filter.
    pub subscriptions: Vec<KeptSubscription>,
    /// By session and number; in this order when loaded.
    pub queued: Vec<QueuedMessage>,
    /// By session and packet id.
    pub exchanges: Vec<KeptExchange>,
    /// By realm and topic.
    pub retained: Vec<RetainedMessage>,
}

/// What is to be made durable at once. Nothing in it is named twice, except what belongs to a session that ends:
/// all of that goes, last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// To be kept, in place of what is there.
    pub kept: Kept,
    /// Subscriptions that end.
    pub unsubscribed: Vec<(SessionId, Arc<str>)>,
    /// Queued messages to be marked as released, if they are there.
    pub released: Vec<(SessionId, u64)>,
    /// Queued messages that are done with.
    pub acknowledged: Vec<(SessionId, u64)>,
    /// Exchanges that are over.
    pub completed: Vec<(SessionId, u16)>,
    /// Topics whose retained message goes.
    pub removed: Vec<(Arc<str>, Arc<str>)>,
    /// Sessions that end, with all that belongs to them.
    pub ended: Vec<SessionId>,
}
