//! What was done to a twin: a row of history, an entry of the change feed, the cause of every push.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::alarm::{Alarm, Event};
use crate::request::Requested;
use crate::{Decision, DeviceKey, Document, MessageId, Position, Push, Timestamp, Twin};

/// What a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The device reported state.
    State,
    /// Someone set what the device should be.
    Desired,
    /// The device refused what it should be.
    Rejected,
    /// Someone changed the tags.
    Tags,
    /// A connection of the device opened, or its last one closed.
    Presence,
    /// The device was absent for as long as a rule says.
    Absence,
    /// A request for desired state came to the device, or its time was up.
    Request,
    /// Somebody, or time, did something to an alarm of the device.
    Alarm,
    /// The device was registered.
    Registered,
    /// The device was removed, with all that belonged to it.
    Removed,
}

impl Kind {
    /// The name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Desired => "desired",
            Self::Rejected => "rejected",
            Self::Tags => "tags",
            Self::Presence => "presence",
            Self::Absence => "absence",
            Self::Request => "request",
            Self::Alarm => "alarm",
            Self::Registered => "registered",
            Self::Removed => "removed",
        }
    }

    /// Reads the name back.
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::State,
            Self::Desired,
            Self::Rejected,
            Self::Tags,
            Self::Presence,
            Self::Absence,
            Self::Request,
            Self::Alarm,
            Self::Registered,
            Self::Removed,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == text)
    }
}

/// One change of one twin, from the handlers to the database and, once committed, to the feed.
#[derive(Debug, Clone)]
pub struct Change {
    /// Whose twin.
    pub key: DeviceKey,
    /// Place in the feed; 0 until the committer gives it one.
    pub position: Position,
    /// What was done.
    pub kind: Kind,
    /// The twin before; none when the change created it.
    pub before: Option<Arc<Twin>>,
    /// The twin after, its version one higher; none when the change removed it.
    pub after: Option<Arc<Twin>>,
    /// What was asked for: the merge patch as it came.
    pub patch: Document,
    /// The merge patch that undoes what was done.
    pub inverse: Document,
    /// The device time of at least one property was older than what was stored, which stayed.
    pub stale: bool,
    /// The clock of the device is too far ahead: the time of receipt counts instead of the one that it gave.
    pub ahead: bool,
    /// When the message was received.
    pub received_at: Timestamp,
    /// The time that the device gave, if it gave one that could be believed.
    pub device_time: Option<Timestamp>,
    /// The idempotency key of the message, if it had one.
    pub message: Option<MessageId>,
    /// The requests for desired state that it made or changed, in the same transaction.
    pub requests: Vec<Arc<Requested>>,
    /// Who is to be told, in the same transaction.
    pub pushes: Vec<Push>,
    /// Who is not, and why.
    pub decisions: Vec<Decision>,
    /// The alarms of the device that changed with it, as they are now.
    pub alarms: Vec<Alarm>,
    /// What happened to them that people can see.
    pub events: Vec<Event>,
}

impl Change {
    /// The version of the twin after the change; for a removal, one above the last.
    pub fn version(&self) -> u64 {
        match (&self.after, &self.before) {
            (Some(twin), _) => twin.version,
            (None, Some(twin)) => twin.version + 1,
            (None, None) => 0,
        }
    }

    /// The version that the twin must have in the database for this change to apply: 0 for none.
    pub fn version_before(&self) -> u64 {
        self.before.as_ref().map_or(0, |twin| twin.version)
    }
}
