//! Who is told of what happened to an alarm, and who isn't.
//!
//! An escalation tells those of its step. Everything else tells those of the rule and of all steps so far
//! ([`Alarm::step`]). A shelved alarm tells nobody.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::{CompiledRule, REPORTED_BYTES_MAX, RuleSet};
use crate::alarm::{Alarm, Event, Severity, What};
use crate::document::size_of;
use crate::{Decision, Position, Push, PushKind, Timestamp, Twin, Verdict};

/// Longest title of a push, in characters.
const TITLE_CHARS_MAX: usize = 256;
/// Longest text of a push, in characters.
const BODY_CHARS_MAX: usize = 1_024;
/// Longest link of a push, in characters.
const LINK_CHARS_MAX: usize = 2_048;

/// For each candidate one of the two.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// Those who are told.
    pub pushes: Vec<Push>,
    /// Those who aren't, and why.
    pub decisions: Vec<Decision>,
}

impl RuleSet {
    /// Who is told of an event of an alarm. `twin` is as the change left it, or as it was for a removed device.
    pub fn tell(
        &self,
        rule: &CompiledRule,
        alarm: &Alarm,
        event: &Event,
        twin: &Twin,
        now: Timestamp,
    ) -> Told {
        let mut told = Told::default();
        let decision = |verdict| Decision {
            alarm: alarm.id,
            version: event.version,
            step: event.step,
            person: None,
            receiver: None,
            at: now,
            verdict,
            detail: String::new(),
        };
        if event.what == What::Shelved || alarm.is_shelved() {
            told.decisions.push(decision(Verdict::Shelved));
            return told;
        }
        let receivers = self.receivers_of(rule, alarm, event);
        if receivers.is_empty() {
            told.decisions.push(decision(Verdict::NoReceiver));
            return told;
        }
        let payload = payload(rule, alarm, event, twin, now);
        told.pushes = receivers
            .into_iter()
            .map(|receiver| Push {
                id: push_id(event, receiver, now),
                rule: rule.rule.id,
                receiver,
                device: twin.device.clone(),
                position: Position(0),
                payload: payload.clone(),
                created_at: now,
                deadline: now.plus_micros(i64::from(rule.rule.form.ttl_s) * 1_000_000),
                due_at: now,
                kind: if event.what.is_update() { PushKind::Update } else { PushKind::Alarm },
                alarm: Some(alarm.id),
                alarm_version: event.version,
                step: event.step,
                person: None,
                severity: event.severity,
                urgent: event.severity == Severity::Critical,
            })
            .collect();
        told
    }

    /// The receivers of a rule at a step, in the order in which they were made.
    fn receivers_of(&self, rule: &CompiledRule, alarm: &Alarm, event: &Event) -> Vec<Uuid> {
        let form = &rule.rule.form;
        let steps = form.escalation.iter().take(alarm.step as usize).map(|step| &step.receivers);
        let all = form.receivers.is_empty() && form.people.is_empty() && form.audience.is_none();
        let (rules, steps): (_, Vec<&Vec<Uuid>>) = match event.what {
            What::Escalated => (None, steps.rev().take(1).collect()),
            _ => (Some(&form.receivers), steps.collect()),
        };
        let named: Vec<&Uuid> = rules.into_iter().chain(steps).flatten().collect();
        let everyone = all && event.what != What::Escalated;
        self.receivers.iter().filter(|id| everyone || named.contains(id)).copied().collect()
    }
}

/// What is sent. `reported` is null when it is too large; then `reported_left_out` is there, and true.
fn payload(rule: &CompiledRule, alarm: &Alarm, event: &Event, twin: &Twin, now: Timestamp) -> Value {
    let kind = match event.what {
        What::Reraised => What::Raised,
        What::Unshelved => What::Repeated,
        other => other,
    };
    let fits = size_of(&twin.reported) <= REPORTED_BYTES_MAX;
    let mut payload = json!({
        "type": format!("alarm.{}", kind.as_str()),
        "alarm": {
            "id": alarm.id, "version": event.version, "severity": event.severity, "state": alarm.state(),
            "count": alarm.count,
        },
        "rule": { "id": rule.rule.id, "name": rule.rule.form.name },
        "device": twin.device,
        "title": rule.title.render(twin, TITLE_CHARS_MAX),
        "body": rule.body.render(twin, BODY_CHARS_MAX),
        "at": now,
        "reported": if fits { Value::Object(twin.reported.clone()) } else { Value::Null },
        "version": twin.version,
    });
    if let Some(link) = &rule.link {
        payload["link"] = Value::String(link.render(twin, LINK_CHARS_MAX));
    }
    if !fits {
        payload["reported_left_out"] = Value::Bool(true);
    }
    payload
}

/// The same for the same event, however often its change is tried.
fn push_id(event: &Event, receiver: Uuid, now: Timestamp) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(b"statecast push 2\0");
    hash.update(event.alarm.as_bytes());
    hash.update(event.version.to_be_bytes());
    hash.update(event.step.to_be_bytes());
    hash.update(receiver.as_bytes());
    hash.update(now.as_micros().to_be_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}
