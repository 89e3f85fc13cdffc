//! Alarms: what people are to know and to take note of, one for each rule and device.
//!
//! An alarm is active while the condition of its rule holds, and cleared when it no longer does; acknowledged or not,
//! whichever of the two. It may be shelved: then nobody is told. What changed it are its events.
//!
//! - [`severity`]: how bad it is
//! - [`event`]: what happened to it
//! - [`machine`]: what may happen to it, and when time alone changes it

pub mod severity;
pub mod event;
pub mod machine;
#[cfg(test)]
mod laws;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

pub use event::{Event, What};
pub use machine::{Actor, Sink, Stale, Terms};
pub use severity::Severity;

use crate::{DeviceKey, Timestamp};

/// The alarm of a rule for a device. Serialises to the columns of its row.
///
/// `version` rises by 1 with each event but an escalation, which raises `step` instead. With version 0 it was never
/// raised: it waits until its condition has held for long enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Which alarm: the same for the same rule and device, for ever.
    pub id: Uuid,
    /// Its rule.
    pub rule: Uuid,
    /// Rises by 1 with each transition that people can see; 0 before the first.
    pub version: u64,
    /// The version with which it was last raised or became worse: what was acknowledged before isn't this.
    pub raised_version: u64,
    /// Whether its condition holds. False for what is over as soon as it happens.
    pub active: bool,
    /// How bad it is: the worst since it was last raised.
    pub severity: Severity,
    /// How often it was raised.
    pub count: u64,
    /// When it was last raised; none before the first time.
    pub raised_at: Option<Timestamp>,
    /// When it was last cleared; none while it is active.
    pub cleared_at: Option<Timestamp>,
    /// When somebody took note of it; none while nobody has.
    pub acknowledged_at: Option<Timestamp>,
    /// Who did.
    pub acknowledged_by: Option<String>,
    /// What they said about it.
    pub acknowledged_note: String,
    /// Until when nobody is to be told; none while it isn't shelved.
    pub shelved_until: Option<Timestamp>,
    /// How often it was told again because nobody acknowledged it.
    pub repeats: u32,
    /// Which steps of the escalation were told: 0 for none yet, 1 for the first.
    pub step: u32,
    /// Since when its condition holds while it isn't raised yet.
    pub pending_since: Option<Timestamp>,
    /// Since when it waits for somebody to take note: what an escalation counts from.
    pub open_since: Option<Timestamp>,
    /// When people were last told: what a repetition counts from.
    pub told_at: Option<Timestamp>,
    /// When time alone changes it next; none when it doesn't.
    pub due_at: Option<Timestamp>,
}

impl Alarm {
    /// One of which nothing is known yet.
    pub fn new(key: &DeviceKey, rule: Uuid) -> Self {
        Self {
            id: id(key, rule),
            rule,
            version: 0,
            raised_version: 0,
            active: false,
            severity: Severity::Info,
            count: 0,
            raised_at: None,
            cleared_at: None,
            acknowledged_at: None,
            acknowledged_by: None,
            acknowledged_note: String::new(),
            shelved_until: None,
            repeats: 0,
            step: 0,
            pending_since: None,
            open_since: None,
            told_at: None,
            due_at: None,
        }
    }

    /// Whether somebody has taken note of it.
    pub fn is_acknowledged(&self) -> bool {
        self.acknowledged_at.is_some()
    }

    /// Whether nobody is to be told.
    pub fn is_shelved(&self) -> bool {
        self.shelved_until.is_some()
    }

    /// `active` or `cleared`.
    pub fn state(&self) -> &'static str {
        if self.active { "active" } else { "cleared" }
    }
}

/// The id of the alarm of a rule for a device.
pub fn id(key: &DeviceKey, rule: Uuid) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(b"statecast alarm 1\0");
    // Neither name can hold a zero byte.
    hash.update(key.tenant.as_str());
    hash.update([0]);
    hash.update(key.device.as_str());
    hash.update([0]);
    hash.update(rule.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}
