//! Telling a person what became of what they asked of a device.

use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::RuleSet;
use crate::alarm::Severity;
use crate::request::{Requested, Step};
use crate::{Position, Push, PushKind, Timestamp};

/// For how long an outcome is worth telling, in microseconds: a day.
const WORTH_US: i64 = 24 * 3_600 * 1_000_000;

impl RuleSet {
    /// The pushes that tell a person the outcome of their request, one for each of their enabled receivers. None while
    /// it is open, or when a program asked. They asked, so neither quiet hours nor mutes hold it back.
    pub fn outcome(&self, requested: &Requested, now: Timestamp) -> Vec<Push> {
        let Some(person) = requested.person.as_deref().filter(|_| !requested.state.is_open()) else {
            return Vec::new();
        };
        let Requested { id, device, state, reason, patch, .. } = requested;
        let payload = json!({
            "type": "request.outcome",
            "request": { "id": id, "state": state, "reason": reason, "patch": patch },
            "device": device,
            "title": format!("{device}: {}", words(*state)),
            "body": reason.as_deref().unwrap_or_default(),
            "at": now,
        });
        let push = |receiver: Uuid| Push {
            id: push_id(*id, receiver),
            rule: Uuid::nil(),
            receiver,
            device: device.clone(),
            position: Position(0),
            payload: payload.clone(),
            created_at: now,
            deadline: now.plus_micros(WORTH_US),
            due_at: now,
            hold: None,
            kind: PushKind::Outcome,
            alarm: None,
            alarm_version: 0,
            step: 0,
            person: Some(person.to_owned()),
            severity: Severity::Info,
            urgent: true,
        };
        self.directory.receivers_of(person).map(push).collect()
    }
}

/// What a state means, for people.
fn words(state: Step) -> &'static str {
    match state {
        Step::Requested | Step::Sent => "it is under way",
        Step::Applied => "done",
        Step::Rejected => "the device refused",
        Step::TimedOut => "the device didn't do it in time",
        Step::Superseded => "somebody asked for something else",
    }
}

/// A request has one outcome.
fn push_id(request: Uuid, receiver: Uuid) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(b"statecast outcome 1\0");
    hash.update(request.as_bytes());
    hash.update(receiver.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}
