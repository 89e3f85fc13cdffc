//! A message on its way to be made durable, and the receipt that travels with it.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::Client;
use crate::broker::Hub;
use crate::ending::Ending;
use crate::peer::Peer;
use crate::receipts::Answer;
use crate::router::Message;
use crate::session::{Lasting, Writes};

/// One thing that a client did which somebody behind the broker must know of. Deliveries of one connection
/// arrive in the order in which it did them, `Connected` first and `Disconnected` last; only a will that the client
/// asked to be delayed comes later.
pub struct Delivery {
    /// Who did it.
    pub client: Arc<Client>,
    /// What it did.
    pub event: Event,
    /// When its last byte was read.
    pub received_at: SystemTime,
    /// To be resolved once the event is durable, or refused.
    pub receipt: Receipt,
}

/// What a client did.
#[derive(Debug, Clone)]
pub enum Event {
    /// It was admitted; its CONNACK doesn't wait for this receipt.
    Connected,
    /// It published to one of the topics that the configuration names as the service's own.
    Publish {
        /// The topic, valid, without wildcards, relative to the realm of the client.
        topic: Arc<str>,
        /// The payload, at most a packet long.
        payload: Bytes,
        /// At which quality it was published.
        qos: QoS,
        /// Its packet had the DUP flag: it may have been received before.
        dup: bool,
        /// Names a publish at quality 2 of a session that outlasts its connections: it is delivered again with the
        /// same number, even by another process, when it isn't known whether it was applied. Random, below 2^63.
        exchange: Option<u64>,
    },
    /// Its connection is closed; why, in a word (`disconnect`, `keep-alive`, `taken over`, `closed` ...).
    Disconnected {
        /// The word.
        reason: &'static str,
    },
}

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QoS {
    /// At most once.
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

/// Why a publish was refused, for the client. In version 5 it goes into PUBACK or PUBREC; 3.1.1 has no room
/// for it, and gets a plain acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Not allowed to publish this (0x87).
    NotAuthorized,
    /// The payload isn't what it should be (0x99); the text is sent as reason string.
    Payload(Cow<'static, str>),
    /// A limit was reached (0x97); the text is sent as reason string.
    Quota(Cow<'static, str>),
    /// Anything else (0x83); the text is sent as reason string.
    Other(Cow<'static, str>),
}

/// The promise to answer a client. Resolve it exactly once; dropped without an answer it closes the
/// connection, so that the client sends the message again. Until then it holds the bytes of the message in the
/// total of what is in flight. At quality 0, and for `Connected` and `Disconnected`, no answer is sent, and a
/// drop closes nothing.
pub struct Receipt {
    promise: Promise,
    /// What else is to be done before the answer.
    after: Option<Box<After>>,
    /// Given back when the receipt goes.
    bytes: Option<OwnedSemaphorePermit>,
}

enum Promise {
    /// Nobody waits.
    Nothing,
    /// A place in the line of a connection.
    Slot { peer: Arc<Peer>, number: u64 },
    /// Whoever asked for it with [`Receipt::watched`].
    Watcher(oneshot::Sender<Result<(), Refused>>),
}

/// What else is to be done before the answer.
struct After {
    hub: Weak<Hub>,
    client: Arc<Client>,
    /// Once accepted, subscribers on the same topic see it.
    echo: Option<Message>,
    exchange: Option<Exchanged>,
}

/// The exchange at quality 2 that a publish belongs to, in a session that outlasts its connections.
pub(crate) struct Exchanged {
    pub(crate) session: Arc<Lasting>,
    /// Its packet id.
    pub(crate) packet: u16,
    /// The exchange is over when the publish is refused (v5).
    pub(crate) ends_when_refused: bool,
}

impl Receipt {
    /// A receipt of no MQTT connection: its answer goes to the other end, which sees an error if it is dropped.
    /// For other entries than MQTT, and for tests of what stands behind the broker.
    pub fn watched() -> (Self, oneshot::Receiver<Result<(), Refused>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { promise: Promise::Watcher(sender), after: None, bytes: None }, receiver)
    }

    /// A receipt that promises nothing, but holds these bytes.
    pub(crate) fn unanswered(bytes: Option<OwnedSemaphorePermit>) -> Self {
        Self { promise: Promise::Nothing, after: None, bytes }
    }

    /// A receipt for a slot in the line of a connection, with the bytes of the message.
    pub(crate) fn in_line(peer: Arc<Peer>, number: u64, bytes: Option<OwnedSemaphorePermit>) -> Self {
        Self { promise: Promise::Slot { peer, number }, after: None, bytes }
    }

    /// Before the answer, an accepted message is also published to those who subscribed to its topic, and what became
    /// of its exchange is made durable.
    pub(crate) fn after(
        mut self,
        hub: Weak<Hub>,
        client: Arc<Client>,
        echo: Option<Message>,
        exchange: Option<Exchanged>,
    ) -> Self {
        if echo.is_some() || exchange.is_some() {
            self.after = Some(Box::new(After { hub, client, echo, exchange }));
        }
        self
    }

    /// The message is durable: acknowledge it, as soon as it is durable too for those who must not miss it.
    pub fn accept(mut self) {
        let Some(after) = self.after.take() else { return self.resolve(Ok(())) };
        let Some(hub) = after.hub.upgrade() else { return self.resolve(Ok(())) };
        let desk = hub.writer.desk();
        let mut writes = Writes::default();
        let first = after.exchange.is_none_or(|one| one.session.delivered(one.packet, &mut writes));
        if first && let Some(message) = &after.echo {
            hub.echo(&after.client.realm, message, &mut writes);
        }
        desk.enter(writes, move || self.resolve(Ok(())));
    }

    /// The message was refused, and will never be applied: acknowledge it with the reason.
    pub fn refuse(mut self, why: Refused) {
        let exchange = self.after.take().and_then(|after| Some((after.hub.upgrade()?, after.exchange?)));
        let Some((hub, Exchanged { session, packet, ends_when_refused })) = exchange else {
            return self.resolve(Err(why));
        };
        let desk = hub.writer.desk();
        let mut writes = Writes::default();
        if ends_when_refused {
            session.complete(packet, &mut writes);
        } else {
            session.delivered(packet, &mut writes);
        }
        desk.enter(writes, move || self.resolve(Err(why)));
    }

    fn resolve(&mut self, answer: Answer) {
        // Before the answer: when the client has it, nothing of its message is in flight any more.
        self.bytes = None;
        match std::mem::replace(&mut self.promise, Promise::Nothing) {
            Promise::Nothing => {}
            Promise::Slot { peer, number } => peer.resolve(number, answer),
            // Who no longer listens needs no answer.
            Promise::Watcher(watcher) => drop(watcher.send(answer)),
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Promise::Slot { peer, .. } = &self.promise {
            peer.end(Ending::NotStored);
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.promise {
            Promise::Nothing => "Receipt(unanswered)",
            Promise::Slot { .. } => "Receipt(in line)",
            Promise::Watcher(_) => "Receipt(watched)",
        })
    }
}
