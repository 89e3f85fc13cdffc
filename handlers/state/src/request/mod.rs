//! What somebody asked a device to be, from the asking to the outcome.
//!
//! ```text
//!  requested --the device has it--> sent --it reports so--> applied
//!      |                             |-- it refuses ------> rejected
//!      +-----------------------------|-- time is up ------> timed_out
//!                                    |-- a newer request --> superseded
//! ```
//!
//! Each may also come without `sent`: a device that subscribes at quality 0 acknowledges nothing. What a request
//! asked for stays desired whatever becomes of it, until somebody sets something else: the outcome says what is known
//! of the device, not what is wanted of it.
//!
//! - [`track`]: what happens to the requests of a twin

pub mod track;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::patch::delta;
use crate::{DeviceId, Document, Timestamp};

/// Who asks, and until when: what comes with a patch of desired state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Names the request. Made before it is posted, so that a change that is tried again makes the same one.
    pub id: Uuid,
    /// The name of the key, or of the person.
    pub by: String,
    /// The person who is told the outcome; none when a program asked.
    pub person: Option<String>,
    /// When it has failed unless the device has done it.
    pub deadline: Timestamp,
}

/// A request, as it is stored and shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Requested {
    /// Which request, within its tenant.
    pub id: Uuid,
    /// Of which device.
    pub device: DeviceId,
    /// The version of the twin that it made: what the device is told has this version or a later one.
    pub version: u64,
    /// What it asks for: a merge patch of `desired`.
    pub patch: Document,
    /// Who asked: the name of a key, or of a person.
    pub by: String,
    /// The person who is told the outcome; none when a program asked.
    pub person: Option<String>,
    /// How far it has come.
    pub state: Step,
    /// Why the device refused, in its words, or by what it was superseded; none in all other states.
    pub reason: Option<String>,
    /// When it was made.
    pub requested_at: Timestamp,
    /// When the device acknowledged that it was told; none before, and where it acknowledges nothing.
    pub sent_at: Option<Timestamp>,
    /// When its outcome was known; none while it is open.
    pub ended_at: Option<Timestamp>,
    /// When it has failed unless the device has done it.
    pub deadline: Timestamp,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// It is part of what is desired. The device is told when it is there.
    Requested,
    /// The device acknowledged that it was told.
    Sent,
    /// The device reports what was asked for.
    Applied,
    /// The device refused.
    Rejected,
    /// The device did nothing of that until the deadline.
    TimedOut,
    /// A newer request asked for something else.
    Superseded,
}

impl Step {
    /// Whether the outcome is still to come.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Requested | Self::Sent)
    }

    /// The name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Sent => "sent",
            Self::Applied => "applied",
            Self::Rejected => "rejected",
            Self::TimedOut => "timed_out",
            Self::Superseded => "superseded",
        }
    }

    /// Reads the name back.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Requested, Self::Sent, Self::Applied, Self::Rejected, Self::TimedOut, Self::Superseded]
            .into_iter()
            .find(|step| step.as_str() == text)
    }
}

impl Requested {
    /// Whether a document has all that was asked for. What was asked to be no longer desired needs nothing.
    pub fn is_met_by(&self, document: &Document) -> bool {
        delta(&set(&self.patch), document).is_empty()
    }

    /// What became of it, at this time.
    fn ended(&self, state: Step, reason: Option<String>, now: Timestamp) -> Self {
        Self { state, reason, ended_at: Some(now), ..self.clone() }
    }
}

/// What a merge patch sets, without what it deletes.
fn set(patch: &Document) -> Document {
    use serde_json::Value;
    let kept = patch.iter().filter(|(_, value)| !value.is_null());
    kept.map(|(name, value)| {
        let value = match value {
            Value::Object(inner) => Value::Object(set(inner)),
            other => other.clone(),
        };
        (name.clone(), value)
    })
    .collect()
}
