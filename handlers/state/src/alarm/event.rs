//! What happened to an alarm: kept for good, so that the alarm can be told from its events.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Severity;
use crate::Timestamp;

/// One transition of an alarm. `(alarm, version, step)` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Of which alarm.
    pub alarm: Uuid,
    /// Of which rule that is.
    pub rule: Uuid,
    /// The version of the alarm after it.
    pub version: u64,
    /// The escalation step of the alarm after it; 0 before the first.
    pub step: u32,
    /// What happened.
    pub what: What,
    /// The severity of the alarm after it.
    pub severity: Severity,
    /// When.
    pub at: Timestamp,
    /// Who did it; none when nobody did.
    pub by: Option<String>,
    /// What they said about it.
    pub note: String,
    /// For shelving: until when.
    pub until: Option<Timestamp>,
}

/// What happened to an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Its condition came to hold, for the first time.
    Raised,
    /// The same, after it had been cleared. Nobody has acknowledged that yet.
    Reraised,
    /// Its severity rose. Nobody has acknowledged that yet.
    Worse,
    /// Nobody acknowledged it: those who were told are told again.
    Repeated,
    /// Nobody acknowledged it: the next step of the escalation is told. The one event that keeps the version, so that
    /// nothing that still waits to be told to others is out of date.
    Escalated,
    /// Somebody has taken note of it.
    Acknowledged,
    /// Its condition no longer holds, or its rule or its device is gone.
    Cleared,
    /// Nobody is to be told for a while.
    Shelved,
    /// That while is over, or somebody ended it.
    Unshelved,
}

impl What {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Raised,
        Self::Reraised,
        Self::Worse,
        Self::Repeated,
        Self::Escalated,
        Self::Acknowledged,
        Self::Cleared,
        Self::Shelved,
        Self::Unshelved,
    ];

    /// The name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Reraised => "reraised",
            Self::Worse => "worse",
            Self::Repeated => "repeated",
            Self::Escalated => "escalated",
            Self::Acknowledged => "acknowledged",
            Self::Cleared => "cleared",
            Self::Shelved => "shelved",
            Self::Unshelved => "unshelved",
        }
    }

    /// Reads the name back.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.as_str() == text)
    }

    /// Whether it only tells what became of an alarm that somebody may have been told of before.
    pub fn is_update(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Cleared)
    }
}
