//! What a draft rule would have done: run over what devices were, by the same functions that run it over what they become.
//!
//! Each device is gone through by itself, change by change, with what time brings in between. It begins a little before
//! the period, by as long as the rule remembers, so that what has held for a while is known to have. What nobody can know
//! is left out: that somebody would have acknowledged an alarm, that the service was away, and devices that are gone.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use uuid::Uuid;

use super::fire::{Fired, Moment};
use super::{RuleSet, Span, Told};
use crate::alarm::{Alarm, Event, Severity, What};
use crate::{Change, DeviceId, Push, Timestamp, Twin, Verdict};

/// Spans into which the period is cut to count over time.
const BUCKETS: i64 = 48;
/// Devices that are named, those with the most alarms.
const DEVICES_MAX: usize = 100;
/// Looks at one device because of the time, at most.
const LOOKS_MAX: usize = 100_000;

/// What a rule would have done in a period.
#[derive(Debug, Clone, Serialize)]
pub struct Rehearsed {
    /// From when on it counts.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// Devices that were looked at.
    pub devices: u64,
    /// Changes of theirs that were looked at.
    pub changes: u64,
    /// How often an alarm would have been raised.
    pub raised: u64,
    /// Devices with at least one.
    pub devices_raised: u64,
    /// What would have happened to alarms, by name: `raised`, `reraised`, `worse`, `repeated`, `escalated`, `cleared`.
    pub events: BTreeMap<&'static str, u64>,
    /// The devices with the most alarms, at most 100.
    pub by_device: Vec<OfDevice>,
    /// How often one would have been raised in each part of the period.
    pub over_time: Vec<Bucket>,
    /// The first that would have been raised.
    pub examples: Vec<Example>,
    /// How much each receiver would have been told.
    pub receivers: Vec<OfReceiver>,
    /// Why others would not have been told, and how often.
    pub decisions: Vec<OfVerdict>,
}

/// How often one device would have raised an alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OfDevice {
    /// Which device.
    pub device: DeviceId,
    /// How often.
    pub raised: u64,
}

/// A part of the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// When it begins.
    pub at: Timestamp,
    /// How often an alarm would have been raised in it.
    pub raised: u64,
}

/// How often somebody would not have been told for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OfVerdict {
    /// Why.
    pub verdict: Verdict,
    /// How often.
    pub count: u64,
}

/// How much one receiver would have been told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OfReceiver {
    /// Which receiver.
    pub receiver: Uuid,
    /// Whose it is.
    pub person: Option<String>,
    /// Pushes.
    pub pushes: u64,
}

/// An alarm that would have been raised.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Example {
    /// Of which device.
    pub device: DeviceId,
    /// When.
    pub at: Timestamp,
    /// How bad.
    pub severity: Severity,
    /// The title of a push.
    pub title: String,
    /// The text of a push.
    pub body: String,
    /// Who would have been told.
    pub told: Vec<Addressee>,
    /// Who would not, and why.
    pub not_told: Vec<NotTold>,
}

/// Who would have been told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Addressee {
    /// By which receiver.
    pub receiver: Uuid,
    /// Which person.
    pub person: Option<String>,
    /// When: later than the alarm where it would have been held back.
    pub at: Timestamp,
}

/// Who would not have been told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NotTold {
    /// Which person.
    pub person: Option<String>,
    /// By which receiver.
    pub receiver: Option<Uuid>,
    /// Why.
    pub verdict: Verdict,
    /// More about it.
    pub detail: String,
}

/// A rehearsal under way.
pub struct Rehearsal {
    set: RuleSet,
    from: Timestamp,
    to: Timestamp,
    examples_max: usize,
    found: Rehearsed,
    receivers: HashMap<Uuid, OfReceiver>,
}

impl Rehearsal {
    /// Of the one rule in this set. `from` is before `to`.
    pub fn new(set: RuleSet, from: Timestamp, to: Timestamp, examples_max: usize) -> Self {
        let length = (to.micros_since(from) / BUCKETS).max(1);
        let bucket = |number| Bucket { at: from.plus_micros(number * length), raised: 0 };
        let found = Rehearsed {
            from,
            to,
            devices: 0,
            changes: 0,
            raised: 0,
            devices_raised: 0,
            events: BTreeMap::new(),
            by_device: Vec::new(),
            over_time: (0..BUCKETS).map(bucket).collect(),
            examples: Vec::new(),
            receivers: Vec::new(),
            decisions: Vec::new(),
        };
        Self { set, from, to, examples_max, found, receivers: HashMap::new() }
    }

    /// From when on changes are needed: as much earlier as the rule remembers.
    pub fn begins_at(&self) -> Timestamp {
        let forms = self.set.enabled().iter().map(|rule| &rule.rule().form);
        let remembered = forms.map(|form| micros(form.lasting) + micros(form.cooldown)).max();
        self.from.plus_micros(-remembered.unwrap_or(0) - 1_000_000)
    }

    /// Goes through what became of a device since then. `before` is its twin before the first of these changes.
    pub fn device(&mut self, before: Option<Twin>, changes: &[Change]) {
        let mut walk = Walk { now: self.begins_at(), alarms: Vec::new(), raised: 0, looks: 0 };
        let mut twin = before.map(|twin| Twin { alarms: Vec::new(), ..twin });
        if let Some(twin) = &twin {
            let fired = self.set.fire(None, Some(twin), walk.moment());
            self.take(&mut walk, twin, fired);
        }
        let until = self.to;
        for change in changes.iter().take_while(|change| change.received_at < until) {
            self.pass(&mut walk, twin.as_ref(), change.received_at);
            walk.now = walk.now.max(change.received_at);
            let with = |twin: &Twin| Twin { alarms: walk.alarms.clone(), ..twin.clone() };
            let (old, new) = (twin.as_ref().map(with), change.after.as_deref().map(with));
            let fired = self.set.fire(old.as_ref(), new.as_ref(), walk.moment());
            if let Some(shown) = new.as_ref().or(old.as_ref()) {
                self.take(&mut walk, shown, fired);
            }
            twin = new;
            self.found.changes += 1;
        }
        self.pass(&mut walk, twin.as_ref(), until);
        self.found.devices += 1;
        if walk.raised > 0
            && let Some(twin) = twin
        {
            self.found.devices_raised += 1;
            self.found.by_device.push(OfDevice { device: twin.device, raised: walk.raised });
            self.keep_most();
        }
    }

    /// What it comes to.
    pub fn finish(mut self) -> Rehearsed {
        self.found.by_device.sort_by(|a, b| b.raised.cmp(&a.raised).then_with(|| a.device.cmp(&b.device)));
        self.found.by_device.truncate(DEVICES_MAX);
        self.found.receivers = self.receivers.into_values().collect();
        self.found.receivers.sort_by_key(|one| (std::cmp::Reverse(one.pushes), one.receiver));
        self.found
    }

    /// What only time brings, up to a moment.
    fn pass(&mut self, walk: &mut Walk, twin: Option<&Twin>, until: Timestamp) {
        let Some(twin) = twin else { return };
        while let Some(due) = self.due(walk, twin).filter(|due| *due <= until) {
            walk.looks += 1;
            if walk.looks > LOOKS_MAX {
                return;
            }
            walk.now = due.max(walk.now.plus_micros(1));
            let twin = Twin { alarms: walk.alarms.clone(), ..twin.clone() };
            let fired = self.set.due(&twin, walk.moment());
            self.take(walk, &twin, fired);
        }
    }

    /// When to look next.
    fn due(&self, walk: &Walk, twin: &Twin) -> Option<Timestamp> {
        let absences = self.set.absence_us().into_iter();
        let absences = absences.filter_map(|length| Some(twin.received_at?.plus_micros(length)));
        let dues = walk.alarms.iter().filter_map(|alarm| alarm.due_at);
        dues.chain(absences).filter(|due| *due > walk.now).min()
    }

    /// Takes in what happened; what was before the period only changes the alarms.
    fn take(&mut self, walk: &mut Walk, twin: &Twin, fired: Fired) {
        let Fired { alarms, events, told } = fired;
        for alarm in alarms {
            walk.alarms.retain(|known| known.id != alarm.id);
            walk.alarms.push(alarm);
        }
        if !(self.from..self.to).contains(&walk.now) {
            return;
        }
        for push in &told.pushes {
            let of = || OfReceiver { receiver: push.receiver, person: push.person.clone(), pushes: 0 };
            self.receivers.entry(push.receiver).or_insert_with(of).pushes += 1;
        }
        for decision in &told.decisions {
            let known = self.found.decisions.iter_mut().find(|known| known.verdict == decision.verdict);
            match known {
                Some(known) => known.count += 1,
                None => self.found.decisions.push(OfVerdict { verdict: decision.verdict, count: 1 }),
            }
        }
        for event in &events {
            *self.found.events.entry(event.what.as_str()).or_default() += 1;
            if matches!(event.what, What::Raised | What::Reraised) {
                walk.raised += 1;
                self.count(event);
                self.show(event, twin, &told);
            }
        }
    }

    /// Counts an alarm that was raised.
    fn count(&mut self, event: &Event) {
        self.found.raised += 1;
        let index = self.found.over_time.partition_point(|bucket| bucket.at <= event.at);
        let bucket = index.checked_sub(1).and_then(|index| self.found.over_time.get_mut(index));
        bucket.into_iter().for_each(|bucket| bucket.raised += 1);
    }

    /// Shows an alarm that was raised, if it is among the first.
    fn show(&mut self, event: &Event, twin: &Twin, told: &Told) {
        let place = self.found.examples.partition_point(|one| one.at <= event.at);
        if place >= self.examples_max {
            return;
        }
        let (title, body) = self.text(event, twin, &told.pushes);
        let pushes = told.pushes.iter().filter(|push| push.alarm_version == event.version);
        let addressees = pushes.map(|push| Addressee {
            receiver: push.receiver,
            person: push.person.clone(),
            at: push.due_at,
        });
        let decisions = told.decisions.iter().filter(|decision| decision.version == event.version);
        let not_told = decisions.map(|decision| NotTold {
            person: decision.person.clone(),
            receiver: decision.receiver,
            verdict: decision.verdict,
            detail: decision.detail.clone(),
        });
        let example = Example {
            device: twin.device.clone(),
            at: event.at,
            severity: event.severity,
            title,
            body,
            told: addressees.collect(),
            not_told: not_told.collect(),
        };
        self.found.examples.insert(place, example);
        self.found.examples.truncate(self.examples_max);
    }

    /// Title and text as they would have been: in the words of the first push, or of the rule if there is none.
    fn text(&self, event: &Event, twin: &Twin, pushes: &[Push]) -> (String, String) {
        let push = pushes.iter().find(|push| push.alarm_version == event.version);
        if let Some(push) = push {
            let part = |name: &str| push.payload[name].as_str().unwrap_or_default().to_owned();
            return (part("title"), part("body"));
        }
        self.set.enabled().first().map_or_else(Default::default, |rule| rule.text(twin))
    }

    /// Devices come in any order of their counts: now and then those are dropped that can't be among the most.
    fn keep_most(&mut self) {
        if self.found.by_device.len() > 2 * DEVICES_MAX {
            self.found.by_device.sort_by_key(|one| std::cmp::Reverse(one.raised));
            self.found.by_device.truncate(DEVICES_MAX);
        }
    }
}

/// Where it is in the course of one device.
struct Walk {
    now: Timestamp,
    alarms: Vec<Alarm>,
    raised: u64,
    looks: usize,
}

impl Walk {
    /// The service was always there.
    fn moment(&self) -> Moment {
        Moment { now: self.now, started_at: Timestamp::from_micros(i64::MIN) }
    }
}

fn micros(span: Option<Span>) -> i64 {
    span.map_or(0, Span::as_micros)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
    use super::*;
    use crate::rule::{CompiledRule, RuleForm};
    use crate::{DeviceKey, Document, Kind, Position, TenantId};
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    /// A rehearsal of this rule from second 100 to second 200.
    fn rehearsal(changes: Value) -> Rehearsal {
        let mut form =
            json!({"name":"low","query":"battery:<20","title":"{device} is low","body":"{battery} %"});
        form.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let form: RuleForm = serde_json::from_value(form).unwrap();
        let rule = CompiledRule::new(form.into_rule(Uuid::nil())).unwrap();
        let set = RuleSet::new(TenantId::default(), vec![rule], &[], Vec::new());
        Rehearsal::new(set, at(100), at(200), 2)
    }

    /// What a device reports, and when; the first is what it was like before.
    fn course(device: &str, reports: &[(i64, u64)]) -> (Option<Twin>, Vec<Change>) {
        let mut twins = reports.iter().zip(1..).map(|((second, battery), version)| {
            let mut twin = Twin::new(DeviceId::parse(device).unwrap());
            twin.version = version;
            twin.reported.insert("battery".into(), json!(battery));
            twin.seen(at(*second));
            Arc::new(twin)
        });
        let first = twins.next().unwrap();
        let mut before = first.clone();
        let changes = twins.map(|after| {
            let change = Change {
                key: DeviceKey::new(TenantId::default(), after.device.clone()),
                position: Position(0),
                kind: Kind::State,
                before: Some(before.clone()),
                after: Some(after.clone()),
                patch: Document::new(),
                inverse: Document::new(),
                stale: false,
                ahead: false,
                received_at: after.received_at.unwrap(),
                device_time: None,
                message: None,
                requests: Vec::new(),
                pushes: Vec::new(),
                decisions: Vec::new(),
                alarms: Vec::new(),
                events: Vec::new(),
            };
            before = after;
            change
        });
        let changes = changes.collect();
        (Some((*first).clone()), changes)
    }

    fn run(changes: Value, courses: &[(&str, &[(i64, u64)])]) -> Rehearsed {
        let mut rehearsal = rehearsal(changes);
        for (device, reports) in courses {
            let (before, changes) = course(device, reports);
            rehearsal.device(before, &changes);
        }
        rehearsal.finish()
    }

    #[test]
    fn only_what_happens_in_the_period_counts() {
        let found = run(
            json!({}),
            &[
                ("a", &[(10, 50), (110, 5), (120, 50), (130, 7), (250, 50)]),
                ("b", &[(10, 5), (150, 50)]),
                ("c", &[(10, 50), (60, 5), (199, 50), (200, 5)]),
                ("d", &[(10, 50), (105, 3)]),
            ],
        );
        assert_eq!((found.raised, found.devices_raised, found.devices, found.changes), (3, 2, 4, 7));
        assert_eq!(found.events, BTreeMap::from([("raised", 2), ("reraised", 1), ("cleared", 3)]));
        let of = |device: &str, raised| OfDevice { device: DeviceId::parse(device).unwrap(), raised };
        assert_eq!(found.by_device, [of("a", 2), of("d", 1)]);
        let shown: Vec<(i64, &str)> =
            found.examples.iter().map(|one| (one.at.as_micros() / 1_000_000, one.body.as_str())).collect();
        assert_eq!(shown, [(105, "3 %"), (110, "5 %")], "the first two");
        assert_eq!(found.over_time.iter().map(|bucket| bucket.raised).sum::<u64>(), 3);
        assert_eq!(found.decisions, [OfVerdict { verdict: Verdict::NoReceiver, count: 6 }]);
    }

    #[test]
    fn time_passes_between_changes() {
        let lasting = json!({"for":"20s"});
        // Long enough; broken; begun before the period; at its end.
        let reports: &[(i64, u64)] = &[(10, 50), (95, 5), (130, 50), (135, 5), (150, 50), (185, 5)];
        assert_eq!(run(lasting, &[("a", reports)]).raised, 1);
        let repeated = run(json!({"repeat":"10s","repeat_max":3}), &[("a", &[(10, 50), (120, 5)])]);
        assert_eq!(repeated.events, BTreeMap::from([("raised", 1), ("repeated", 3)]));
        let absent = json!({"query":"*","on":"absence","for":"30s"});
        let found =
            run(absent, &[("a", &[(10, 1), (90, 1), (110, 1), (150, 1), (160, 1)]), ("b", &[(10, 1)])]);
        assert_eq!((found.raised, found.devices_raised), (2, 1), "b was absent before the period");
    }
}
