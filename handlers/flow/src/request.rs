//! What waits in a mailbox, and who waits for the answer.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use statecast_broker::{Receipt, Refused};
use statecast_state::{MessageId, Position, Refusal, Report, Timestamp, Twin};
use tokio::sync::oneshot;

/// One thing to be done to one twin. It stays in the mailbox of its device until it is done.
pub struct Request {
    /// What is asked.
    pub ask: Ask,
    /// Who waits.
    pub answer: Answer,
}

impl Request {
    /// Bytes of a payload that is still to be decoded.
    pub fn payload_bytes(&self) -> usize {
        match &self.ask {
            Ask::Report(_) => 0,
            Ask::Message(message) => message.payload.len(),
        }
    }
}

/// What is asked of a twin: ready to be applied, or still as it came from the device.
pub enum Ask {
    /// Decoded, because it didn't come over MQTT.
    Report(Report),
    /// As it came; decoded in the task of its device, so that large payloads hold up nobody else.
    Message(Message),
}

/// A message as a device published it.
pub struct Message {
    /// Which of the topics of the device.
    pub channel: Channel,
    /// The whole topic, for the dead letters.
    pub topic: Arc<str>,
    /// The payload.
    pub payload: Bytes,
    /// The idempotency key that it was delivered with, for one that has none in its payload.
    pub message: Option<MessageId>,
    /// When its last byte was read.
    pub received_at: Timestamp,
}

/// The topics on which a device publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// `devices/{device}/state`
    State,
    /// `devices/{device}/desired/rejected`
    Rejected,
}

/// Who waits for the outcome.
pub enum Answer {
    /// A device, for its acknowledgement.
    Device(Receipt),
    /// A caller inside the process, such as an HTTP request.
    Caller(oneshot::Sender<Result<Applied, Refusal>>),
    /// Nobody.
    Nobody,
}

/// What became of a request that was not refused.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The change's position in the feed; where nothing changed, the position that was last committed.
    pub position: Position,
    /// The twin after it; none when it was removed.
    pub twin: Option<Arc<Twin>>,
    /// The twin before it; none when there was none.
    pub before: Option<Arc<Twin>>,
}

impl Answer {
    /// The request is durable, or there was nothing to do.
    pub fn applied(self, applied: Applied) {
        match self {
            Self::Device(receipt) => receipt.accept(),
            // A caller that went away doesn't want to know.
            Self::Caller(caller) => drop(caller.send(Ok(applied))),
            Self::Nobody => {}
        }
    }

    /// The request was refused for good.
    pub fn refused(self, why: Refusal) {
        match self {
            Self::Device(receipt) => receipt.refuse(match why {
                Refusal::Payload(text) => Refused::Payload(text.into()),
                Refusal::TooLarge(text) => Refused::Quota(text.into()),
                other => Refused::Other(Cow::Owned(other.to_string())),
            }),
            Self::Caller(caller) => drop(caller.send(Err(why))),
            Self::Nobody => {}
        }
    }
}
