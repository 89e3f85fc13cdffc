//! Rules that only pass changes on: `on: change` and `alarm: false`. Each report of a device that matches goes to the
//! receivers of the rule, as it came; there is no alarm, and nobody's quiet hours or mutes count.
//!
//! A forward is a push like any other: a row of the outbox, written with its change, at least once. Those of one device
//! for one receiver are claimed one after the other, in the order of their changes.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::{CompiledRule, REPORTED_BYTES_MAX, RuleSet};
use crate::alarm::Severity;
use crate::document::size_of;
use crate::query::Field;
use crate::query::fields::any_value;
use crate::{Document, Position, Push, PushKind, Timestamp, Twin};

/// A report, for who passes it on.
#[derive(Debug, Clone, Copy)]
pub struct Reported<'a> {
    /// The twin before it; none when it created the device.
    pub before: Option<&'a Twin>,
    /// The twin after it, with its new version.
    pub after: &'a Twin,
    /// The merge patch as it came.
    pub patch: &'a Document,
    /// When it was received.
    pub at: Timestamp,
    /// The time that the device gave, if it gave one that could be believed.
    pub device_time: Option<Timestamp>,
}

impl RuleSet {
    /// The pushes that pass a report on: one for each rule that matches and each of its receivers. It isn't the beginning
    /// or the end of a match that counts.
    pub fn forward(&self, reported: Reported<'_>) -> Vec<Push> {
        let candidates = self.forwarding.may_match(reported.after);
        let candidates = candidates.into_iter().map(|query| &self.forwards[query as usize]);
        let matching = candidates.filter(|(rule, _)| rule.query.matches(reported.after, reported.at));
        matching.flat_map(|(rule, receivers)| self.pushes(rule, receivers, reported)).collect()
    }

    fn pushes(
        &self,
        rule: &CompiledRule,
        receivers: &[Uuid],
        reported: Reported<'_>,
    ) -> impl Iterator<Item = Push> {
        let payload = payload(rule, reported);
        let Reported { after, at, .. } = reported;
        receivers.iter().map(move |receiver| Push {
            id: self.forward_id(rule.rule.id, *receiver, after, at),
            rule: rule.rule.id,
            receiver: *receiver,
            device: after.device.clone(),
            position: Position(0),
            payload: payload.clone(),
            created_at: at,
            deadline: at.plus_micros(i64::from(rule.rule.form.ttl_s) * 1_000_000),
            due_at: at,
            hold: None,
            kind: PushKind::Forward,
            alarm: None,
            alarm_version: 0,
            step: 0,
            person: None,
            severity: Severity::Info,
            // Nothing holds it back.
            urgent: true,
        })
    }

    /// The same for the same change, however often it is tried. The time is part of it because a device that is removed
    /// and registered again begins at version 1 again.
    fn forward_id(&self, rule: Uuid, receiver: Uuid, after: &Twin, at: Timestamp) -> Uuid {
        let mut hash = Sha256::new();
        hash.update(b"statecast forward 1\0");
        // Neither name can hold a zero byte, and everything else has a fixed length: no two inputs are the same.
        hash.update(self.key(after).tenant.as_str());
        hash.update([0]);
        hash.update(after.device.as_str());
        hash.update([0]);
        hash.update(rule.as_bytes());
        hash.update(receiver.as_bytes());
        hash.update(after.version.to_be_bytes());
        hash.update(at.as_micros().to_be_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// What is sent; `position` is added when the change has one. `patch` is null when it is too large; then
/// `patch_left_out` is there, and true.
fn payload(rule: &CompiledRule, reported: Reported<'_>) -> Value {
    let Reported { before, after, patch, at, device_time } = reported;
    let (title, body) = rule.text(after);
    let fits = size_of(patch) <= REPORTED_BYTES_MAX;
    let mut payload = json!({
        "type": "rule.change",
        "rule": { "id": rule.rule.id, "name": rule.rule.form.name },
        "device": after.device,
        "title": title,
        "body": body,
        "at": at,
        "device_time": device_time,
        "version": after.version,
        "patch": if fits { Value::Object(patch.clone()) } else { Value::Null },
        "fields": fields(rule, before, after),
    });
    if !fits {
        payload["patch_left_out"] = Value::Bool(true);
    }
    payload
}

/// What the query asks for, before and after.
fn fields(rule: &CompiledRule, before: Option<&Twin>, after: &Twin) -> Value {
    let asked = rule.query.needs().fields;
    let shown = asked.iter().map(|field| {
        let before = before.map_or(Value::Null, |twin| value(field, twin));
        (field.to_string(), json!({ "before": before, "after": value(field, after) }))
    });
    Value::Object(shown.collect::<Map<_, _>>())
}

/// The value of a field; null when the twin doesn't have it.
fn value(field: &Field, twin: &Twin) -> Value {
    match field {
        Field::Id => json!(twin.device),
        Field::Online => json!(twin.presence.online),
        Field::Seen => json!(twin.received_at),
        property => {
            let mut found = Value::Null;
            if let Some((document, path)) = property.locate(twin) {
                any_value(document, path, &mut |value| {
                    found = value.clone();
                    true
                });
            }
            found
        }
    }
}
