//! A message on its way to be made durable, and the receipt that travels with it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::Client;

/// One thing that a client did which somebody behind the broker must know of. Deliveries of one connection
/// arrive in the order in which it did them, `Connected` first and `Disconnected` last.
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
/// connection, so that the client sends the message again.
pub struct Receipt {
    _private: (),
}

impl Receipt {
    /// The message is durable: acknowledge it.
    pub fn accept(self) {}

    /// The message was refused, and will never be applied: acknowledge it with the reason.
    pub fn refuse(self, _why: Refused) {}
}
