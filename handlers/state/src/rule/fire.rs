//! What a change of a twin, time, or a person does to the alarms of a device.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::work::Work;
use super::{RuleSet, Told};
use crate::alarm::{Actor, Alarm, Event};
use crate::{Refusal, Timestamp, Twin};

/// The alarms that changed, what happened to them, and who is told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fired {
    /// As they are now.
    pub alarms: Vec<Alarm>,
    /// What happened that people can see, in order.
    pub events: Vec<Event>,
    /// Who is told, and who isn't.
    pub told: Told,
}

/// A moment at which rules are looked at.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Now: when the message was received, so that the same again has the same outcome.
    pub now: Timestamp,
    /// When the service started: absence counts from then at the earliest.
    pub started_at: Timestamp,
}

/// What somebody asks of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To have taken note of what they saw at this version.
    Acknowledge(u64),
    /// That nobody is told until then; of what they saw at this version, if they say which.
    Shelve(Timestamp, Option<u64>),
    /// That people are told again.
    Unshelve,
}

impl RuleSet {
    /// What a change does: `before` is none for a twin that was created, `after` for one that was removed.
    pub fn fire(&self, before: Option<&Twin>, after: Option<&Twin>, at: Moment) -> Fired {
        let Some(twin) = after.or(before) else { return Fired::default() };
        let affected = self.queries.affected(before, after);
        let mut places: BTreeSet<usize> =
            affected.into_iter().map(|query| self.owners[query as usize]).collect();
        if let Some(after) = after.filter(|after| before.is_none_or(|twin| twin.reported != after.reported)) {
            let changing = self.changing.may_match(after);
            places.extend(changing.into_iter().map(|query| self.on_change[query as usize]));
        }
        if before.and_then(|twin| twin.received_at) != twin.received_at || self.may_be_absent(twin, at) {
            self.with_absence(twin, at, &mut places);
        }
        let mut work = Work::new(self, twin, at);
        for place in places {
            work.look(&self.rules[place], before, after);
        }
        match after {
            Some(_) => work.overdue(),
            None => work.leave(),
        }
        work.fired
    }

    /// What time does.
    pub fn due(&self, twin: &Twin, at: Moment) -> Fired {
        let mut places = BTreeSet::new();
        self.with_absence(twin, at, &mut places);
        let mut work = Work::new(self, twin, at);
        for place in places {
            work.look(&self.rules[place], Some(twin), Some(twin));
        }
        work.overdue();
        work.fired
    }

    /// What a rule does that is new, has changed or is gone.
    pub fn review(&self, twin: &Twin, rule: Uuid, at: Moment) -> Fired {
        let mut work = Work::new(self, twin, at);
        work.review(rule);
        work.fired
    }

    /// What a person does to an alarm.
    ///
    /// # Errors
    /// `Refusal::UnknownAlarm`, and `Refusal::StaleAlarm` when what they saw is over.
    pub fn wish(
        &self,
        twin: &Twin,
        alarm: Uuid,
        wish: Wish,
        actor: Actor<'_>,
        at: Moment,
    ) -> Result<Fired, Refusal> {
        let known = twin.alarms.iter().find(|one| one.id == alarm && one.version > 0);
        let known = known.ok_or(Refusal::UnknownAlarm(alarm))?;
        let mut work = Work::new(self, twin, at);
        work.turn(known.rule, |alarm, terms, sink| {
            match wish {
                Wish::Acknowledge(version) => alarm.acknowledge(version, actor, terms, at.now, sink)?,
                Wish::Shelve(until, version) => {
                    version.map_or(Ok(()), |version| alarm.check(version))?;
                    alarm.shelve(until, actor, terms, at.now, sink);
                }
                Wish::Unshelve => alarm.unshelve(actor, terms, at.now, sink),
            }
            Ok(())
        })?;
        Ok(work.fired)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
    use super::*;
    use crate::alarm::{Severity, What};
    use crate::rule::{CompiledRule, Receiver, ReceiverKind, RuleForm};
    use crate::{Decision, DeviceId, TenantId, Verdict};
    use serde_json::{Value, json};

    const ADA: Actor<'_> = Actor { by: "ada", note: "" };

    fn set(rules: &[Value]) -> RuleSet {
        let rule = |(id, changes): (u128, &Value)| {
            let mut form = json!({"name":"low","query":"battery:<20","title":"{device} is low"});
            form.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            let form: RuleForm = serde_json::from_value(form).unwrap();
            CompiledRule::new(form.into_rule(Uuid::from_u128(id))).unwrap()
        };
        let receiver = |id: u128| Receiver {
            id: Uuid::from_u128(id),
            name: "r".into(),
            kind: ReceiverKind::Live,
            enabled: true,
            disabled_reason: None,
            person: None,
        };
        let rules = (1..).zip(rules).map(rule).collect();
        RuleSet::new(TenantId::default(), rules, &[receiver(1), receiver(2)], Vec::new())
    }

    fn at(second: i64) -> Moment {
        Moment { now: Timestamp::from_micros(second * 1_000_000), started_at: Timestamp::from_micros(0) }
    }

    /// A device, and what happens to it.
    struct Device {
        set: RuleSet,
        twin: Option<Twin>,
        clock: i64,
        /// Why somebody wasn't told, the last time.
        decisions: Vec<Decision>,
        /// How many were, the last time.
        told: usize,
    }

    impl Device {
        fn new(rules: &[Value]) -> Self {
            Self { set: set(rules), twin: None, clock: 0, decisions: Vec::new(), told: 0 }
        }

        /// It reports, or is removed; what happens to its alarms.
        fn reports(&mut self, second: i64, battery: Option<u32>) -> Vec<What> {
            let after = battery.map(|battery| {
                let new = || Twin::new(DeviceId::parse("pump").unwrap());
                let mut twin = self.twin.clone().unwrap_or_else(new);
                twin.reported.insert("battery".into(), json!(battery));
                twin.version += 1;
                twin
            });
            let fired = self.set.fire(self.twin.as_ref(), after.as_ref(), at(second));
            if after.is_some() {
                self.twin = after;
            }
            self.keep(second, fired)
        }

        fn waits(&mut self, second: i64) -> Vec<What> {
            let fired = self.set.due(self.twin.as_ref().unwrap(), at(second));
            self.keep(second, fired)
        }

        fn wishes(&mut self, second: i64, wish: Wish) -> Result<Vec<What>, Refusal> {
            let twin = self.twin.as_ref().unwrap();
            let fired = self.set.wish(twin, twin.alarms[0].id, wish, ADA, at(second))?;
            Ok(self.keep(second, fired))
        }

        fn keep(&mut self, second: i64, fired: Fired) -> Vec<What> {
            self.clock = second;
            (self.decisions, self.told) = (fired.told.decisions, fired.told.pushes.len());
            self.twin.as_mut().unwrap().keep(&fired.alarms);
            fired.events.into_iter().map(|event| event.what).collect()
        }

        fn alarm(&self) -> &Alarm {
            &self.twin.as_ref().unwrap().alarms[0]
        }
    }

    #[test]
    fn an_alarm_is_active_while_the_query_matches() {
        let mut device = Device::new(&[json!({})]);
        assert!(device.reports(1, Some(50)).is_empty());
        assert_eq!(device.reports(2, Some(10)), [What::Raised]);
        assert!(device.reports(3, Some(9)).is_empty());
        assert_eq!(device.reports(4, Some(50)), [What::Cleared]);
        assert_eq!(device.reports(5, Some(10)), [What::Reraised]);
        assert_eq!((device.alarm().count, device.alarm().version), (2, 3));
        assert_eq!(device.reports(6, None), [What::Cleared], "it was removed");
    }

    #[test]
    fn one_that_leaves_is_an_alarm_until_it_comes_back() {
        let mut device = Device::new(&[json!({"on":"leave"})]);
        assert!(device.reports(1, Some(50)).is_empty(), "it was never there");
        assert!(device.reports(2, Some(10)).is_empty());
        assert_eq!(device.reports(3, Some(50)), [What::Raised]);
        assert_eq!(device.reports(4, Some(10)), [What::Cleared]);
        assert_eq!(device.reports(5, None), [What::Reraised], "it was removed, and is gone at once");
        assert!(!device.alarm().active);
        let mut device = Device::new(&[json!({})]);
        device.reports(1, Some(10));
        device.wishes(2, Wish::Shelve(at(99).now, None)).unwrap();
        assert_eq!(device.reports(3, None), [What::Cleared, What::Unshelved]);
        assert_eq!(device.alarm().due_at, None, "nothing waits for what isn't there");
    }

    #[test]
    fn each_change_of_what_is_reported_is_over_at_once() {
        let mut device = Device::new(&[json!({"on":"change"})]);
        assert_eq!(device.reports(1, Some(10)), [What::Raised]);
        assert!(device.reports(2, Some(10)).is_empty(), "it says the same");
        assert_eq!(device.reports(3, Some(9)), [What::Reraised]);
        assert!(device.reports(4, Some(50)).is_empty());
        assert!(!device.alarm().active && device.alarm().cleared_at.is_some());
        device.wishes(5, Wish::Shelve(at(9).now, None)).unwrap();
        assert_eq!(device.waits(9), [What::Unshelved]);
        assert_eq!(device.alarm().due_at, None);
    }

    #[test]
    fn a_condition_has_to_hold_without_a_break() {
        let mut device = Device::new(&[json!({"for":"10s"})]);
        assert!(device.reports(1, Some(10)).is_empty());
        assert_eq!((device.alarm().version, device.alarm().due_at), (0, Some(at(11).now)));
        assert!(device.reports(10, Some(50)).is_empty());
        assert_eq!(device.alarm().due_at, None);
        assert!(device.reports(12, Some(10)).is_empty());
        assert!(device.waits(21).is_empty());
        assert_eq!(device.waits(22), [What::Raised]);
        // What is overdue is seen by a message too.
        let mut device = Device::new(&[json!({"for":"10s"})]);
        device.reports(1, Some(10));
        assert_eq!(device.reports(30, Some(10)), [What::Raised]);
    }

    #[test]
    fn a_cooldown_delays_what_still_holds() {
        let mut device = Device::new(&[json!({"cooldown":"10s"})]);
        assert_eq!(device.reports(1, Some(10)), [What::Raised]);
        assert_eq!(device.reports(2, Some(50)), [What::Cleared]);
        assert!(device.reports(3, Some(10)).is_empty());
        assert!(device.reports(4, Some(50)).is_empty());
        assert!(device.reports(5, Some(10)).is_empty());
        assert_eq!(device.alarm().due_at, Some(at(11).now));
        assert_eq!(device.waits(11), [What::Reraised]);
    }

    #[test]
    fn what_a_cooldown_holds_back_leaves_a_trace() {
        let held = |decisions: &[Decision]| {
            let verdicts = decisions.iter().filter(|one| one.verdict == Verdict::Cooldown);
            verdicts.map(|one| (one.version, one.detail.clone())).collect::<Vec<_>>()
        };
        for (on, version) in [("enter", 2), ("change", 1)] {
            let mut device = Device::new(&[json!({ "on": on, "cooldown": "10s" })]);
            device.reports(1, Some(10));
            device.reports(2, Some(50));
            assert!(held(&device.decisions).is_empty());
            device.reports(3, Some(11));
            let until = format!("until {}", at(11).now);
            assert_eq!(held(&device.decisions), [(version, until)], "{on}");
            device.reports(4, Some(11));
            assert!(held(&device.decisions).is_empty(), "{on}: it goes on, or says the same");
        }
    }

    #[test]
    fn who_takes_note_is_left_alone_until_it_gets_worse() {
        let levels = json!({"levels":[{"severity":"critical","query":"battery:<5"}],"repeat":"10s",
            "escalation":[{"after":"15s","receivers":[Uuid::from_u128(2)]}]});
        let mut device = Device::new(&[levels]);
        device.reports(1, Some(10));
        assert_eq!(device.waits(11), [What::Repeated]);
        assert_eq!(device.waits(16), [What::Escalated]);
        assert_eq!(device.alarm().version, 2);
        assert!(matches!(device.wishes(17, Wish::Acknowledge(9)), Err(Refusal::StaleAlarm(_))));
        assert_eq!(
            device.wishes(17, Wish::Acknowledge(1)),
            Ok(vec![What::Acknowledged]),
            "seen before it was repeated"
        );
        assert_eq!(device.wishes(18, Wish::Acknowledge(1)), Ok(vec![]));
        assert_eq!(device.alarm().due_at, None);
        assert_eq!(device.reports(20, Some(3)), [What::Worse]);
        assert_eq!((device.alarm().severity, device.alarm().is_acknowledged()), (Severity::Critical, false));
        assert!(matches!(device.wishes(21, Wish::Acknowledge(3)), Err(Refusal::StaleAlarm(_))));
        assert!(device.reports(22, Some(10)).is_empty(), "the worst since it was raised");
    }

    #[test]
    fn a_shelved_alarm_tells_nobody_until_the_shelf_ends() {
        let mut device = Device::new(&[json!({"repeat":"10s"})]);
        device.reports(1, Some(10));
        assert_eq!(device.wishes(2, Wish::Shelve(at(60).now, Some(1))), Ok(vec![What::Shelved]));
        assert!(device.waits(30).is_empty());
        assert_eq!(device.waits(60), [What::Unshelved]);
        assert_eq!(device.alarm().due_at, Some(at(70).now));
        device.wishes(61, Wish::Shelve(at(99).now, None)).unwrap();
        let fired = device.set.review(device.twin.as_ref().unwrap(), Uuid::from_u128(1), at(62));
        assert_eq!(fired, Fired::default());
        assert_eq!(device.wishes(62, Wish::Unshelve), Ok(vec![What::Unshelved]));
    }

    #[test]
    fn a_review_raises_what_matches_and_clears_what_is_gone() {
        let mut device = Device::new(&[]);
        device.reports(1, Some(10));
        let rule = Uuid::from_u128(1);
        let review = |device: &mut Device, rules: &[Value]| {
            device.set = set(rules);
            let fired = device.set.review(device.twin.as_ref().unwrap(), rule, at(2));
            device.keep(2, fired)
        };
        assert_eq!(review(&mut device, &[json!({})]), [What::Raised]);
        assert!(review(&mut device, &[json!({})]).is_empty());
        assert_eq!(review(&mut device, &[json!({"enabled":false})]), [What::Cleared]);
        assert_eq!(device.told, 2, "who was told is brought up to date");
        assert!(device.reports(3, Some(9)).is_empty());
        assert_eq!(review(&mut device, &[json!({"query":"battery:<15"})]), [What::Reraised]);
        assert_eq!(review(&mut device, &[json!({"query":"battery:<5"})]), [What::Cleared]);
        assert!(review(&mut device, &[json!({"on":"leave"})]).is_empty(), "nobody saw it leave");
    }
}
