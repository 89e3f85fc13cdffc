//! Which rules a change of a twin fires, and the pushes that follow.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::{CompiledRule, On, Receiver, Span};
use crate::document::size_of;
use crate::query::Percolator;
use crate::{Position, Push, PushKind, TenantId, Timestamp, Twin};

/// A larger `reported` is left out of a push, so that a push stays below 20 kB. In bytes of JSON.
pub const REPORTED_BYTES_MAX: usize = 10 * 1_024;
/// Longest title of a push, in characters.
const TITLE_CHARS_MAX: usize = 256;
/// Longest text of a push, in characters.
const BODY_CHARS_MAX: usize = 1_024;

/// The rules and receivers of one tenant. Made anew when one of them changes.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    pub(super) tenant: TenantId,
    /// The enabled receivers.
    pub(super) receivers: Vec<Uuid>,
    /// The enabled ones, with who is told by each.
    pub(super) rules: Vec<(CompiledRule, Vec<Uuid>)>,
    /// Their queries, in the same order.
    queries: Percolator,
    /// The shortest `for` of those on absence, in microseconds; none without one.
    pub(super) absence_us_min: Option<i64>,
}

impl RuleSet {
    /// Puts a set together. What isn't enabled is left out, and so is a receiver that doesn't exist.
    pub fn new(tenant: TenantId, rules: Vec<CompiledRule>, receivers: &[Receiver]) -> Self {
        let told = |rule: &CompiledRule| -> Vec<Uuid> {
            let named = &rule.rule().form.receivers;
            receivers
                .iter()
                .filter(|receiver| receiver.enabled && (named.is_empty() || named.contains(&receiver.id)))
                .map(|receiver| receiver.id)
                .collect()
        };
        let rules: Vec<(CompiledRule, Vec<Uuid>)> = rules
            .into_iter()
            .filter(|rule| rule.rule().form.enabled)
            .map(|rule| {
                let receivers = told(&rule);
                (rule, receivers)
            })
            .filter(|(_, receivers)| !receivers.is_empty())
            .collect();
        let queries = Percolator::new(rules.iter().map(|(rule, _)| &rule.query));
        let spans = rules.iter().filter_map(|(rule, _)| rule.rule().form.lasting);
        let absence_us_min = spans.map(Span::as_micros).min();
        let receivers = receivers.iter().filter(|one| one.enabled).map(|one| one.id).collect();
        Self { tenant, receivers, rules, queries, absence_us_min }
    }

    /// Whether no change can cause a push.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The pushes that a change causes: one for each rule that fires and each of its receivers. `before` is none
    /// for a twin that was created, `after` for one that was removed. Their position is 0 until the change has
    /// one.
    ///
    /// `now` is when the message was received: a change that is tried again is given the same, and so causes
    /// pushes with the same ids.
    pub fn fire(&self, before: Option<&Twin>, after: Option<&Twin>, now: Timestamp) -> Vec<Push> {
        let Some(twin) = after.or(before) else { return Vec::new() };
        let version = if after.is_some() { twin.version } else { twin.version + 1 };
        let mut pushes = Vec::new();
        for number in self.queries.affected(before, after) {
            let (rule, receivers) = &self.rules[number as usize];
            let matches = |twin: Option<&Twin>| twin.is_some_and(|twin| rule.query.matches(twin, now));
            let fires = match rule.rule.form.on {
                On::Enter => matches(after) && !matches(before),
                On::Leave => !matches(after) && matches(before),
                On::Change | On::Absence => false,
            };
            if fires {
                let payload = payload(rule, twin, after.is_some(), version, now);
                pushes.extend(self.push_each(rule, receivers, twin, version, &payload, now));
            }
        }
        pushes
    }

    /// One push for each receiver.
    pub(super) fn push_each(
        &self,
        rule: &CompiledRule,
        receivers: &[Uuid],
        twin: &Twin,
        version: u64,
        payload: &Value,
        now: Timestamp,
    ) -> impl Iterator<Item = Push> {
        receivers.iter().map(move |receiver| Push {
            id: push_id(&self.tenant, rule.rule.id, *receiver, twin, version, now),
            rule: rule.rule.id,
            receiver: *receiver,
            device: twin.device.clone(),
            position: Position(0),
            payload: payload.clone(),
            created_at: now,
            deadline: now.plus_micros(i64::from(rule.rule.form.ttl_s) * 1_000_000),
            due_at: now,
            kind: PushKind::Alarm,
            alarm: None,
            alarm_version: 0,
            step: 0,
            person: None,
            severity: rule.rule.form.severity,
            urgent: false,
        })
    }
}

/// What is sent. `reported` is null for a device that was removed, or when it is too large; then
/// `reported_left_out` is there, and true.
pub(super) fn payload(rule: &CompiledRule, twin: &Twin, exists: bool, version: u64, now: Timestamp) -> Value {
    let fits = size_of(&twin.reported) <= REPORTED_BYTES_MAX;
    let reported = if exists && fits { Value::Object(twin.reported.clone()) } else { Value::Null };
    let mut payload = json!({
        "type": format!("rule.{}", rule.rule.form.on.as_str()),
        "rule": { "id": rule.rule.id, "name": rule.rule.form.name },
        "device": twin.device,
        "title": rule.title.render(twin, TITLE_CHARS_MAX),
        "body": rule.body.render(twin, BODY_CHARS_MAX),
        "at": now,
        "reported": reported,
        "version": version,
    });
    if exists && !fits {
        payload["reported_left_out"] = Value::Bool(true);
    }
    payload
}

/// The same for the same change, however often it is tried. The time is part of it because a device that is
/// removed and registered again begins at version 1 again.
fn push_id(tenant: &TenantId, rule: Uuid, receiver: Uuid, twin: &Twin, version: u64, now: Timestamp) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(b"statecast push 1\0");
    // Neither name can hold a zero byte, and everything else has a fixed length: no two inputs are the same.
    hash.update(tenant.as_str());
    hash.update([0]);
    hash.update(twin.device.as_str());
    hash.update([0]);
    hash.update(rule.as_bytes());
    hash.update(receiver.as_bytes());
    hash.update(version.to_be_bytes());
    hash.update(now.as_micros().to_be_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
    use super::*;
    use crate::DeviceId;
    use crate::rule::{ReceiverKind, RuleForm};
    use std::collections::HashSet;

    fn receiver(id: u128, enabled: bool) -> Receiver {
        let (id, name) = (Uuid::from_u128(id), id.to_string());
        Receiver { id, name, kind: ReceiverKind::Live, enabled, disabled_reason: None }
    }

    fn rule(id: u128, changes: Value) -> CompiledRule {
        let mut form =
            json!({"name":"low","query":"battery:<20","title":"{device} is low","body":"{battery} %"});
        form.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let form: RuleForm = serde_json::from_value(form).unwrap();
        CompiledRule::new(form.into_rule(Uuid::from_u128(id))).unwrap()
    }

    fn set(rules: Vec<CompiledRule>) -> RuleSet {
        RuleSet::new(TenantId::default(), rules, &[receiver(1, true), receiver(2, true), receiver(3, false)])
    }

    fn twin(version: u64, reported: Value) -> Twin {
        let reported = serde_json::from_value(reported).unwrap();
        Twin { version, reported, ..Twin::new(DeviceId::parse("pump").unwrap()) }
    }

    fn now() -> Timestamp {
        Timestamp::from_micros(1_000_000)
    }

    #[test]
    fn a_rule_fires_when_the_twin_crosses_its_query() {
        let (low, high) = (twin(2, json!({"battery":19})), twin(3, json!({"battery":20})));
        let fired = |on: &str, before: Option<&Twin>, after: Option<&Twin>| {
            set(vec![rule(1, json!({"on":on}))]).fire(before, after, now()).len()
        };
        assert_eq!(fired("enter", Some(&high), Some(&low)), 2);
        assert_eq!(fired("enter", None, Some(&low)), 2);
        assert_eq!(fired("enter", Some(&low), Some(&low)), 0);
        assert_eq!(fired("enter", Some(&low), Some(&high)), 0);
        assert_eq!(fired("enter", Some(&low), None), 0);
        assert_eq!(fired("leave", Some(&low), Some(&high)), 2);
        assert_eq!(fired("leave", Some(&low), None), 2);
        assert_eq!(fired("leave", Some(&high), Some(&low)), 0);
        assert_eq!(fired("leave", None, Some(&high)), 0);
        assert_eq!(fired("leave", None, None), 0);
        // A negated query matches twins without the property, but no twin that doesn't exist.
        let negated = set(vec![rule(1, json!({"query":"-battery:<20"}))]);
        assert_eq!(negated.fire(None, Some(&high), now()).len(), 2);
        assert_eq!(negated.fire(Some(&low), None, now()).len(), 0);
    }

    #[test]
    fn only_enabled_receivers_are_told_and_only_enabled_rules_fire() {
        let low = twin(1, json!({"battery":1}));
        let told = |changes: Value| -> Vec<u128> {
            let pushes = set(vec![rule(1, changes)]).fire(None, Some(&low), now());
            pushes.iter().map(|push| push.receiver.as_u128()).collect()
        };
        assert_eq!(told(json!({})), [1, 2]);
        assert_eq!(told(json!({"receivers":[Uuid::from_u128(2), Uuid::from_u128(9)]})), [2]);
        assert!(told(json!({"receivers":[Uuid::from_u128(3)]})).is_empty());
        assert!(told(json!({"enabled":false})).is_empty());
        assert!(set(vec![rule(1, json!({"enabled":false}))]).is_empty());
    }

    #[test]
    fn a_push_says_what_happened() {
        let low = twin(7, json!({"battery":12}));
        let push = set(vec![rule(1, json!({"ttl_s":60}))]).fire(None, Some(&low), now()).remove(0);
        assert_eq!(
            push.payload,
            json!({"type":"rule.enter","rule":{"id":Uuid::from_u128(1),"name":"low"},"device":"pump",
                "title":"pump is low","body":"12 %","at":"1970-01-01T00:00:01Z","reported":{"battery":12},
                "version":7})
        );
        assert_eq!(push.deadline.micros_since(push.created_at), 60_000_000);
        assert_eq!((push.created_at, push.position), (now(), Position(0)));

        let removed = set(vec![rule(1, json!({"on":"leave"}))]).fire(Some(&low), None, now()).remove(0);
        assert_eq!(removed.payload["type"], "rule.leave");
        assert_eq!((&removed.payload["reported"], &removed.payload["version"]), (&Value::Null, &json!(8)));
    }

    #[test]
    fn a_push_stays_small() {
        let hostile = "\u{1}".repeat(REPORTED_BYTES_MAX / 6 - 10);
        let large = twin(1, json!({"battery":1,"text":hostile}));
        let greedy = rule(1, json!({"title":"{text}".repeat(40),"body":"{text}".repeat(170)}));
        let push = set(vec![greedy]).fire(None, Some(&large), now()).remove(0);
        assert!(push.payload["reported"].is_object());
        assert!(push.payload.to_string().len() < 20_000, "{}", push.payload.to_string().len());

        let larger = twin(1, json!({"battery":1,"text":"x".repeat(REPORTED_BYTES_MAX)}));
        let push = set(vec![rule(1, json!({}))]).fire(None, Some(&larger), now()).remove(0);
        assert_eq!(
            (&push.payload["reported"], &push.payload["reported_left_out"]),
            (&Value::Null, &json!(true))
        );
    }

    #[test]
    fn ids_are_the_same_again_and_never_shared() {
        let rules = || set(vec![rule(1, json!({})), rule(2, json!({}))]);
        let (one, two) = (twin(1, json!({"battery":1})), twin(2, json!({"battery":1})));
        let ids = |twin: &Twin, now: Timestamp| -> Vec<Uuid> {
            rules().fire(None, Some(twin), now).iter().map(|push| push.id).collect()
        };
        assert_eq!(ids(&one, now()), ids(&one, now()));
        let all = [ids(&one, now()), ids(&two, now()), ids(&one, now().plus_micros(1))].concat();
        assert_eq!(all.len(), 12);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 12);
        assert_eq!(all[0].get_version_num(), 8);
    }
}
