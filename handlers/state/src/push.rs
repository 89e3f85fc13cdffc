//! What a person is to be told, and where: one row of the outbox, written with the change that caused it; and what
//! becomes of it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::alarm::Severity;
use crate::claim::Hold;
use crate::rule::Receiver;
use crate::{DeviceId, Position, TenantId, Timestamp};

/// One notification for one receiver. Its id is what receivers drop repeats by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Push {
    /// Stable over all attempts.
    pub id: Uuid,
    /// The rule that caused it.
    pub rule: Uuid,
    /// Where it goes.
    pub receiver: Uuid,
    /// The device that it is about.
    pub device: DeviceId,
    /// The change that caused it; set when the committer gives the change its position.
    pub position: Position,
    /// What is sent: a JSON object, made when the rule fired.
    pub payload: serde_json::Value,
    /// When the rule fired.
    pub created_at: Timestamp,
    /// After this moment it is given up.
    pub deadline: Timestamp,
    /// When it may be sent: later than `created_at` when it is held. While it waits, when the next attempt may begin.
    pub due_at: Timestamp,
    /// What it is for.
    pub kind: PushKind,
    /// The alarm that it tells of; none when it is about no alarm. What replaces it on a phone has the same.
    pub alarm: Option<Uuid>,
    /// The version of the alarm; 0 without one.
    pub alarm_version: u64,
    /// The step of the escalation; 0 before the first.
    pub step: u32,
    /// Whom it is for; none when the receiver belongs to nobody.
    pub person: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// It isn't held back and not grouped.
    pub urgent: bool,
    /// Why it is, or was, held back; none when it isn't.
    #[serde(default)]
    pub hold: Option<Hold>,
}

/// What a push is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PushKind {
    /// To tell of an alarm.
    Alarm,
    /// To tell what became of an alarm that the receiver may have been told of.
    Update,
    /// To tell somebody what became of what they asked for.
    Outcome,
    /// To pass a change on.
    Forward,
}

impl PushKind {
    /// The name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Update => "update",
            Self::Outcome => "outcome",
            Self::Forward => "forward",
        }
    }

    /// Reads the name back.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Alarm, Self::Update, Self::Outcome, Self::Forward]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// A row of the outbox that is ours to send while its lease lasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// Whose.
    pub tenant: TenantId,
    /// What to tell.
    pub push: Push,
    /// Whom, as it is now.
    pub receiver: Receiver,
    /// Which attempt this is; 1 is the first.
    pub attempt: u32,
}

/// What became of a claimed row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Whose.
    pub tenant: TenantId,
    /// Which push.
    pub id: Uuid,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a push. The texts are of one line, without control characters, and short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver accepted it; for a live receiver, it was handed to those who follow.
    Delivered {
        /// The HTTP status, 200-299.
        status: u16,
    },
    /// The attempt failed: the next one is at this time.
    Retry {
        /// When; before the deadline of the push.
        at: Timestamp,
        /// Why it failed.
        error: String,
    },
    /// It was not tried, for want of room, because the service stops, or because its channel rests: the attempt
    /// doesn't count.
    Postponed {
        /// When to claim it again.
        at: Timestamp,
        /// Why its channel rests, if that is the reason.
        error: Option<String>,
    },
    /// It is given up.
    Dead {
        /// Why.
        error: String,
    },
    /// The receiver said that it is gone (410): it is to be disabled, and all its pushes are dead.
    ReceiverGone {
        /// What it said.
        error: String,
    },
}
