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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
    use super::*;
    use crate::rule::{Moment, Receiver, ReceiverKind, RuleForm};
    use crate::{DeviceId, TenantId};
    use std::collections::HashSet;

    fn receiver(id: u128, enabled: bool) -> Receiver {
        let (id, name) = (Uuid::from_u128(id), id.to_string());
        Receiver { id, name, kind: ReceiverKind::Live, enabled, disabled_reason: None }
    }

    /// What a device that reports this for the first time tells.
    fn told(rules: &[Value], twin: &Twin, second: i64) -> Told {
        let rule = |(id, changes): (u128, &Value)| {
            let mut form =
                json!({"name":"low","query":"battery:<20","title":"{device} is low","body":"{battery} %"});
            form.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            let form: RuleForm = serde_json::from_value(form).unwrap();
            CompiledRule::new(form.into_rule(Uuid::from_u128(id))).unwrap()
        };
        let receivers = [receiver(1, true), receiver(2, true), receiver(3, false)];
        let set = RuleSet::new(TenantId::default(), (1..).zip(rules).map(rule).collect(), &receivers);
        let now = Timestamp::from_micros(second * 1_000_000);
        set.fire(None, Some(twin), Moment { now, started_at: now }).told
    }

    fn twin(reported: Value) -> Twin {
        let reported = serde_json::from_value(reported).unwrap();
        Twin { version: 7, reported, ..Twin::new(DeviceId::parse("pump").unwrap()) }
    }

    #[test]
    fn only_enabled_receivers_are_told_and_only_enabled_rules_fire() {
        let low = twin(json!({"battery":1}));
        let receivers = |changes: Value| -> Vec<u128> {
            told(&[changes], &low, 1).pushes.iter().map(|push| push.receiver.as_u128()).collect()
        };
        assert_eq!(receivers(json!({})), [1, 2]);
        assert_eq!(receivers(json!({"receivers":[Uuid::from_u128(2), Uuid::from_u128(9)]})), [2]);
        assert!(receivers(json!({"enabled":false})).is_empty());
        let nobody = told(&[json!({"receivers":[Uuid::from_u128(3)]})], &low, 1);
        assert_eq!((nobody.pushes.len(), nobody.decisions[0].verdict), (0, Verdict::NoReceiver));
    }

    #[test]
    fn a_push_says_what_happened() {
        let rule = json!({"ttl_s":60,"severity":"critical","link":"https://example.org/{device}"});
        let push = told(&[rule], &twin(json!({"battery":12})), 1).pushes.remove(0);
        let id = push.alarm.unwrap();
        assert_eq!(
            push.payload,
            json!({"type":"alarm.raised","rule":{"id":Uuid::from_u128(1),"name":"low"},"device":"pump",
                "alarm":{"id":id,"version":1,"severity":"critical","state":"active","count":1},
                "title":"pump is low","body":"12 %","at":"1970-01-01T00:00:01Z","reported":{"battery":12},
                "link":"https://example.org/pump","version":7})
        );
        assert_eq!(push.deadline.micros_since(push.created_at), 60_000_000);
        assert_eq!((push.alarm_version, push.step, push.urgent, push.position), (1, 0, true, Position(0)));
    }

    #[test]
    fn a_push_stays_small() {
        let hostile = "\u{1}".repeat(REPORTED_BYTES_MAX / 6 - 10);
        let large = twin(json!({"battery":1,"text":hostile}));
        let greedy = json!({"title":"{text}".repeat(40),"body":"{text}".repeat(170)});
        let push = told(&[greedy], &large, 1).pushes.remove(0);
        assert!(push.payload["reported"].is_object());
        assert!(push.payload.to_string().len() < 20_000, "{}", push.payload.to_string().len());

        let larger = twin(json!({"battery":1,"text":"x".repeat(REPORTED_BYTES_MAX)}));
        let payload = told(&[json!({})], &larger, 1).pushes.remove(0).payload;
        assert_eq!((&payload["reported"], &payload["reported_left_out"]), (&Value::Null, &json!(true)));
    }

    #[test]
    fn ids_are_the_same_again_and_never_shared() {
        let low = twin(json!({"battery":1}));
        let ids = |second: i64| -> Vec<Uuid> {
            told(&[json!({}), json!({})], &low, second).pushes.iter().map(|push| push.id).collect()
        };
        assert_eq!(ids(1), ids(1));
        let all = [ids(1), ids(2)].concat();
        assert_eq!((all.len(), all.iter().collect::<HashSet<_>>().len()), (8, 8));
        assert_eq!(all[0].get_version_num(), 8);
    }
}
