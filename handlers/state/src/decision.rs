//! Why somebody was not told of an alarm. Who was told has a push instead: for each candidate there is one of the two.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// One candidate that was not told: an alarm at a version and a step, and perhaps a person and a receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Which alarm.
    pub alarm: Uuid,
    /// At which version.
    pub version: u64,
    /// At which step of the escalation; 0 before the first.
    pub step: u32,
    /// Which person; none where it is about no person, or about all.
    pub person: Option<String>,
    /// Which receiver; none where it is about no receiver, or about all.
    pub receiver: Option<Uuid>,
    /// When it was decided.
    pub at: Timestamp,
    /// What was decided.
    pub verdict: Verdict,
    /// More about it, for people; may be empty.
    pub detail: String,
}

/// Why somebody was not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nobody is there to be told.
    NoReceiver,
    /// The receiver is disabled.
    Disabled,
    /// The alarm is shelved.
    Shelved,
    /// It was raised only a short time before: the rule has a cooldown.
    Cooldown,
    /// The person muted it.
    Muted,
    /// The person has quiet hours.
    Quiet,
    /// It is less severe than what the person wants to know.
    BelowSeverity,
    /// Somebody else is told in its place, or the same by another way.
    Duplicate,
}
