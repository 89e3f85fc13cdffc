//! Rules about what doesn't happen: a device that matches was not seen for as long as the rule says.
//!
//! A device is *seen* when a message of it is received: a state message or a refusal of its desired state, over MQTT
//! or HTTP, that was applied ([`Twin::received_at`], what `seen:` searches). A connection alone isn't a message, nor
//! is one that was refused. A device that was never seen is not absent.
//!
//! Absence counts from when the device was last seen, or from the start of the service if that is later: while the
//! service was away it could see nobody. An alarm that is active stays so, whenever the service starts, until the
//! device is seen or no longer matches. A device that begins to match when it has been absent long enough is absent.

use std::collections::BTreeSet;

use super::fire::Moment;
use super::{CompiledRule, On, RuleSet, Span};
use crate::alarm::Alarm;
use crate::{Timestamp, Twin};

impl RuleSet {
    /// Whether the device is absent for the rule, which has this alarm.
    pub(super) fn is_absent(
        &self,
        rule: &CompiledRule,
        twin: &Twin,
        alarm: Option<&Alarm>,
        at: Moment,
    ) -> bool {
        let (Some(span), Some(seen)) = (rule.rule.form.lasting, twin.received_at) else { return false };
        let raised_at = alarm.filter(|alarm| alarm.active).and_then(|alarm| alarm.raised_at);
        let absent_us = match raised_at {
            Some(raised_at) => raised_at.micros_since(seen),
            None => absent_us(seen, at),
        };
        absent_us >= span.as_micros()
    }

    /// Whether there may be a rule for which the device is absent.
    pub(super) fn may_be_absent(&self, twin: &Twin, at: Moment) -> bool {
        let shortest = self.absence_us_min.zip(twin.received_at);
        shortest.is_some_and(|(shortest_us, seen)| absent_us(seen, at) >= shortest_us)
    }

    /// Adds the rules of absence that may have something to say of a device: those whose alarm is active, and all if
    /// it may be absent.
    pub(super) fn with_absence(&self, twin: &Twin, at: Moment, places: &mut BTreeSet<usize>) {
        let may_be_absent = self.may_be_absent(twin, at);
        if !may_be_absent && twin.alarms.is_empty() {
            return;
        }
        let is_active =
            |rule: &CompiledRule| twin.alarms.iter().any(|alarm| alarm.rule == rule.rule.id && alarm.active);
        let rules = (0..).zip(self.enabled()).filter(|(_, rule)| rule.rule.form.on == On::Absence);
        places.extend(rules.filter(|(_, rule)| may_be_absent || is_active(rule)).map(|(place, _)| place));
    }

    /// After which lengths of absence it has to be looked at devices of this tenant, in microseconds, each once.
    pub fn absence_us(&self) -> Vec<i64> {
        let rules = self.enabled().iter().filter(|rule| rule.rule.form.on == On::Absence);
        let mut lengths: Vec<i64> =
            rules.filter_map(|rule| rule.rule.form.lasting).map(Span::as_micros).collect();
        lengths.sort_unstable();
        lengths.dedup();
        lengths
    }
}

fn absent_us(seen: Timestamp, at: Moment) -> i64 {
    at.now.micros_since(seen.max(at.started_at))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rule::RuleForm;
    use crate::{DeviceId, TenantId};
    use serde_json::json;
    use uuid::Uuid;

    const MINUTE: i64 = 60_000_000;

    fn set() -> RuleSet {
        let rule = |id: u128, query: &str, lasting: &str| {
            let form =
                json!({"name":"n","query":query,"on":"absence","for":lasting,"title":"{device} is silent"});
            let form: RuleForm = serde_json::from_value(form).unwrap();
            CompiledRule::new(form.into_rule(Uuid::from_u128(id))).unwrap()
        };
        let rules = vec![rule(1, "n:1", "10m"), rule(2, "online:false", "1h"), rule(3, "n:2", "10m")];
        RuleSet::new(TenantId::default(), rules, &[], Vec::new())
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

    /// What happens when it is looked at the device: the rule, and whether its alarm is active then.
    fn looked(twin: &mut Twin, now: Timestamp, started_at: Timestamp) -> Vec<(u128, bool)> {
        let fired = set().due(twin, Moment { now, started_at });
        assert_eq!(fired.alarms.len(), fired.events.len());
        twin.keep(&fired.alarms);
        fired.alarms.iter().map(|alarm| (alarm.rule.as_u128(), alarm.active)).collect()
    }

    #[test]
    fn each_rule_has_one_alarm_until_the_device_is_seen_again() {
        let mut twin = twin();
        assert!(looked(&mut twin, at(110).plus_micros(-1), at(0)).is_empty());
        assert_eq!(looked(&mut twin, at(110), at(0)), [(1, true)]);
        assert!(looked(&mut twin, at(150), at(0)).is_empty());
        assert_eq!(looked(&mut twin, at(160), at(0)), [(2, true)]);
        assert!(looked(&mut twin, at(1_000), at(900)).is_empty(), "a restart clears nothing");
        // One that begins to match is absent at once, one that no longer does isn't.
        twin.reported.insert("n".into(), json!(2));
        assert_eq!(looked(&mut twin, at(1_001), at(0)), [(1, false), (3, true)]);
        let before = twin.clone();
        twin.seen(at(1_002));
        let fired = set().fire(Some(&before), Some(&twin), Moment { now: at(1_002), started_at: at(0) });
        assert!(fired.alarms.iter().all(|alarm| !alarm.active));
        assert_eq!(fired.alarms.len(), 2);
        twin.keep(&fired.alarms);
        assert!(looked(&mut twin, at(1_011), at(0)).is_empty());
        assert_eq!(looked(&mut twin, at(1_012), at(0)), [(3, true)]);
    }

    #[test]
    fn absence_counts_from_the_start_at_the_earliest() {
        let mut twin = twin();
        assert!(looked(&mut twin, at(509), at(500)).is_empty());
        assert_eq!(looked(&mut twin, at(510), at(500)), [(1, true)]);
        let mut never_seen = Twin::new(DeviceId::parse("new").unwrap());
        never_seen.reported = twin.reported.clone();
        assert!(looked(&mut never_seen, at(9_999), at(0)).is_empty());
    }

    #[test]
    fn every_length_is_looked_at_once() {
        assert_eq!(set().absence_us(), [10 * MINUTE, 60 * MINUTE]);
    }
}
