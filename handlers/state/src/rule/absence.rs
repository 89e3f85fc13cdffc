//! Rules that fire because nothing happens: a device that matches was not seen for as long as the rule says.
//!
//! A device is *seen* when a message of it is received: a state message or a refusal of its desired state, over MQTT
//! or HTTP, that was applied ([`Twin::received_at`], what `seen:` searches). A connection alone isn't a message, nor
//! is one that was refused. A device that was never seen is not absent.
//!
//! Absence counts from when the device was last seen, or from the start of the service if that is later: while the
//! service was away it could see nobody. A rule fires once, and again only after the device was seen again; which
//! rules have fired is part of the twin. A device that begins to match when it has been absent long enough fires then.

use uuid::Uuid;

use super::fire::payload;
use super::{On, RuleSet};
use crate::{Push, Timestamp, Twin};

impl RuleSet {
    /// The rules of absence that fire for a twin now, and the pushes that follow. The caller adds the rules to
    /// [`Twin::absences`]. `started_at` is when the service started.
    pub fn absences(&self, twin: &Twin, now: Timestamp, started_at: Timestamp) -> (Vec<Uuid>, Vec<Push>) {
        let (mut fired, mut pushes) = (Vec::new(), Vec::new());
        let (Some(shortest_us), Some(seen)) = (self.absence_us_min, twin.received_at) else {
            return (fired, pushes);
        };
        let absent_us = now.micros_since(seen.max(started_at));
        if absent_us < shortest_us {
            return (fired, pushes);
        }
        for (rule, receivers) in &self.rules {
            let lasted = rule.rule.form.lasting.is_some_and(|span| absent_us >= span.as_micros());
            let again = twin.absences.contains(&rule.rule.id);
            if rule.rule.form.on == On::Absence && lasted && !again && rule.query.matches(twin, now) {
                let payload = payload(rule, twin, true, twin.version, now);
                pushes.extend(self.push_each(rule, receivers, twin, twin.version, &payload, now));
                fired.push(rule.rule.id);
            }
        }
        (fired, pushes)
    }

    /// After which lengths of absence it has to be looked at devices of this tenant, in microseconds, each once.
    pub fn absence_us(&self) -> Vec<i64> {
        let spans = self.rules.iter().filter_map(|(rule, _)| rule.rule.form.lasting);
        let mut lengths: Vec<i64> = spans.map(super::Span::as_micros).collect();
        lengths.sort_unstable();
        lengths.dedup();
        lengths
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rule::{CompiledRule, Receiver, ReceiverKind, RuleForm};
    use crate::{DeviceId, TenantId};
    use serde_json::json;

    const MINUTE: i64 = 60_000_000;

    fn set() -> RuleSet {
        let rule = |id: u128, query: &str, lasting: &str| {
            let form =
                json!({"name":"n","query":query,"on":"absence","for":lasting,"title":"{device} is silent"});
            let form: RuleForm = serde_json::from_value(form).unwrap();
            CompiledRule::new(form.into_rule(Uuid::from_u128(id))).unwrap()
        };
        let receiver = Receiver {
            id: Uuid::nil(),
            name: "r".into(),
            kind: ReceiverKind::Live,
            enabled: true,
            disabled_reason: None,
        };
        let rules = vec![rule(1, "n:1", "10m"), rule(2, "online:false", "1h"), rule(3, "n:2", "10m")];
        RuleSet::new(TenantId::default(), rules, &[receiver])
    }

    fn twin() -> Twin {
        let mut twin = Twin::new(DeviceId::parse("pump").unwrap());
        twin.reported.insert("n".into(), json!(1));
        twin.seen(at(100));
        twin
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_micros(minutes * MINUTE)
    }

    fn fired(twin: &mut Twin, now: Timestamp, started_at: Timestamp) -> Vec<u128> {
        let (fired, pushes) = set().absences(twin, now, started_at);
        assert_eq!(fired, pushes.iter().map(|push| push.rule).collect::<Vec<_>>());
        assert!(pushes.iter().all(|push| push.payload["type"] == "rule.absence"));
        twin.absences.extend(&fired);
        fired.iter().map(Uuid::as_u128).collect()
    }

    #[test]
    fn each_rule_fires_once_until_the_device_is_seen_again() {
        let mut twin = twin();
        assert!(fired(&mut twin, at(110).plus_micros(-1), at(0)).is_empty());
        assert_eq!(fired(&mut twin, at(110), at(0)), [1]);
        assert!(fired(&mut twin, at(150), at(0)).is_empty());
        assert_eq!(fired(&mut twin, at(160), at(0)), [2]);
        assert!(fired(&mut twin, at(1_000), at(0)).is_empty());
        // One that begins to match fires then.
        twin.reported.insert("n".into(), json!(2));
        assert_eq!(fired(&mut twin, at(1_001), at(0)), [3]);
        twin.seen(at(1_002));
        assert!(fired(&mut twin, at(1_011), at(0)).is_empty());
        assert_eq!(fired(&mut twin, at(1_012), at(0)), [3]);
    }

    #[test]
    fn absence_counts_from_the_start_at_the_earliest() {
        let mut twin = twin();
        assert!(fired(&mut twin, at(509), at(500)).is_empty());
        assert_eq!(fired(&mut twin, at(510), at(500)), [1]);
        let mut never_seen = Twin::new(DeviceId::parse("new").unwrap());
        never_seen.reported = twin.reported.clone();
        assert!(fired(&mut never_seen, at(9_999), at(0)).is_empty());
    }

    #[test]
    fn every_length_is_looked_at_once() {
        assert_eq!(set().absence_us(), [10 * MINUTE, 60 * MINUTE]);
    }
}
