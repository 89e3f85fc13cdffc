//! What someone asks of a twin. A delivery from MQTT, a call over HTTP and a connection that opens or closes
//! all become a `Report` and pass through the mailbox of the device.

use thiserror::Error;

use crate::{DeviceKey, Document, Timestamp};

/// One request to change one twin.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Whose twin.
    pub key: DeviceKey,
    /// What is asked.
    pub body: Body,
    /// The time that the device gave (`_at`), not yet judged.
    pub device_time: Option<Timestamp>,
    /// The idempotency key (`_id`): applied once while it is remembered.
    pub message: Option<MessageId>,
    /// When it was received.
    pub received_at: Timestamp,
}

/// What is asked of a twin.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// The device reported: a merge patch of `reported`.
    State(Document),
    /// Someone sets what the device should be: a merge patch of `desired`, and the version it rests on.
    Desired {
        /// The merge patch.
        patch: Document,
        /// Refused when the twin has another version.
        if_version: Option<u64>,
    },
    /// The device refuses what it should be.
    Rejected {
        /// The version that it refuses.
        version: u64,
        /// Why, in its words.
        reason: String,
    },
    /// Someone changes the tags: a merge patch of `tags`, and the version it rests on.
    Tags {
        /// The merge patch.
        patch: Document,
        /// Refused when the twin has another version.
        if_version: Option<u64>,
    },
    /// A connection opened, or the last one closed.
    Presence {
        /// Open.
        online: bool,
        /// Why, in a word.
        reason: &'static str,
    },
    /// Someone registers the device, with these tags as a merge patch.
    Register {
        /// The merge patch.
        tags: Document,
    },
    /// Someone removes the device.
    Remove,
}

/// The idempotency key of a message: a hash of 64 bits, the same in every version of Statecast. A collision
/// within what one device sends in a day has a chance of about one in 10^13.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId(pub u64);

/// Why a report can't be applied. A refused message from a device is acknowledged and kept as a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The payload isn't what it should be; the text says where and why.
    #[error("{0}")]
    Payload(String),
    /// A document, or the twin that would result, is over a limit; the text says which.
    #[error("{0}")]
    TooLarge(String),
    /// The device isn't registered.
    #[error("no device {0}")]
    UnknownDevice(String),
    /// The twin has another version than the request rests on.
    #[error("the twin has version {current}, not {expected}")]
    Version {
        /// What the request rests on.
        expected: u64,
        /// What the twin has.
        current: u64,
    },
    /// The database refuses the row for what is in it.
    #[error("the database refused it: {0}")]
    Poison(String),
    /// A handler failed on it, more than once.
    #[error("the handler {0} failed on it")]
    Handler(&'static str),
    /// Other writers were quicker too many times.
    #[error("the twin changed under it too often")]
    Contended,
}
