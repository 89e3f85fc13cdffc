//! What a person is to be told, and where: one row of the outbox, written with the change that caused it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{DeviceId, Position, Timestamp};

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
}
