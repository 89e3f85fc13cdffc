//! The work on the alarms of one device: which conditions hold, and what came of it.

use uuid::Uuid;

use super::fire::{Fired, Moment};
use super::{CompiledRule, On, RuleSet};
use crate::alarm::{Alarm, Severity, Sink, Terms, What};
use crate::{Decision, DeviceKey, Refusal, Timestamp, Twin, Verdict};

pub(super) struct Work<'a> {
    set: &'a RuleSet,
    key: DeviceKey,
    /// As the change left it, or as it was before it was removed.
    twin: &'a Twin,
    at: Moment,
    pub(super) fired: Fired,
}

impl<'a> Work<'a> {
    pub(super) fn new(set: &'a RuleSet, twin: &'a Twin, at: Moment) -> Self {
        Self { set, key: set.key(twin), twin, at, fired: Fired::default() }
    }

    /// Looks at a rule as part of a change.
    pub(super) fn look(&mut self, rule: &CompiledRule, before: Option<&Twin>, after: Option<&Twin>) {
        let now = self.at.now;
        let known = self.alarm(rule.rule.id);
        let was = || before.is_some_and(|twin| rule.query.matches(twin, now));
        let is = after.is_some_and(|twin| rule.query.matches(twin, now));
        let changed = || before.map(|twin| &twin.reported) != after.map(|twin| &twin.reported);
        let (holds, happened) = match rule.rule.form.on {
            On::Enter => (is, false),
            On::Leave if after.is_none() => (false, was()),
            On::Leave => {
                let goes_on = known.is_some_and(|alarm| alarm.active || alarm.pending_since.is_some());
                (!is && (goes_on || was()), false)
            }
            On::Change => (false, is && changed()),
            On::Absence => (is && self.set.is_absent(rule, self.twin, known, self.at), false),
        };
        // What a removed device leaves is for all its alarms the same, see `leave`.
        let may_change = after.is_some() && known.is_some_and(|alarm| alarm.active || alarm.due_at.is_some());
        if happened {
            let severity = rule.severity(self.twin, now);
            let mut cools = None;
            self.always(rule.rule.id, |alarm, terms, sink| {
                cools = alarm.cools_until(terms, now).map(|until| (alarm.clone(), until));
                alarm.happen(severity, terms, now, sink);
            });
            self.cooled(cools);
        } else if holds || may_change {
            self.observe(rule.rule.id, holds.then(|| rule.severity(self.twin, now)));
        }
    }

    /// Looks at a rule although nothing changed; clears its alarm if it is gone.
    pub(super) fn review(&mut self, id: Uuid) {
        match self.set.rule(id) {
            Some(rule) => self.look(rule, Some(self.twin), Some(self.twin)),
            None if self.alarm(id).is_some() => self.observe(id, None),
            None => {}
        }
    }

    /// Looks at the alarms whose time has come, where that wasn't done yet.
    pub(super) fn overdue(&mut self) {
        for alarm in &self.twin.alarms {
            if alarm.due_at.is_some_and(|due| due <= self.at.now) && !self.is_done(alarm.rule) {
                self.review(alarm.rule);
            }
        }
    }

    /// Clears the alarms of a device that was removed, where that wasn't done yet.
    pub(super) fn leave(&mut self) {
        let now = self.at.now;
        for alarm in &self.twin.alarms {
            if !self.is_done(alarm.rule) {
                self.always(alarm.rule, |alarm, _, sink| alarm.leave(now, sink));
            }
        }
    }

    /// Does something to the alarm of a rule, and notes what came of it.
    pub(super) fn turn(
        &mut self,
        id: Uuid,
        work: impl FnOnce(&mut Alarm, &Terms<'_>, &mut Sink<'_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let terms = self.set.rule(id).map(CompiledRule::terms).unwrap_or_default();
        let rule = self.set.any_rule(id);
        let before = self.alarm(id);
        let mut alarm = before.cloned().unwrap_or_else(|| Alarm::new(&self.key, id));
        let Self { set, twin, at, fired, .. } = self;
        work(&mut alarm, &terms, &mut |alarm, event| {
            // The end of a shelf concerns nobody where nobody is to take note.
            let concerns = event.what != What::Unshelved || alarm.open_since.is_some();
            if let Some(rule) = rule.filter(|_| concerns) {
                let told = set.tell(rule, alarm, &event, twin, at.now);
                fired.told.pushes.extend(told.pushes);
                fired.told.decisions.extend(told.decisions);
            }
            fired.events.push(event);
        })?;
        if before != Some(&alarm) {
            self.fired.alarms.push(alarm);
        }
        Ok(())
    }

    fn observe(&mut self, rule: Uuid, holds: Option<Severity>) {
        let (now, mut cools) = (self.at.now, None);
        self.always(rule, |alarm, terms, sink| {
            let waited = alarm.pending_since.is_some();
            alarm.look(holds, terms, now, sink);
            // Said once for as long as the condition holds.
            let until = alarm.cools_until(terms, now).filter(|_| !waited && alarm.pending_since.is_some());
            cools = until.map(|until| (alarm.clone(), until));
        });
        self.cooled(cools);
    }

    /// Notes that nobody is told yet, because of the cooldown until then.
    fn cooled(&mut self, cools: Option<(Alarm, Timestamp)>) {
        self.fired.told.decisions.extend(cools.map(|(alarm, until)| Decision {
            alarm: alarm.id,
            version: alarm.version,
            step: alarm.step,
            person: None,
            receiver: None,
            at: self.at.now,
            verdict: Verdict::Cooldown,
            detail: format!("until {until}"),
        }));
    }

    /// Does what can't be refused.
    fn always(&mut self, rule: Uuid, work: impl FnOnce(&mut Alarm, &Terms<'_>, &mut Sink<'_>)) {
        let done = self.turn(rule, |alarm, terms, sink| {
            work(alarm, terms, sink);
            Ok(())
        });
        debug_assert!(done.is_ok(), "only a wish can be refused");
    }

    fn alarm(&self, rule: Uuid) -> Option<&'a Alarm> {
        self.twin.alarms.iter().find(|alarm| alarm.rule == rule)
    }

    fn is_done(&self, rule: Uuid) -> bool {
        self.fired.alarms.iter().any(|alarm| alarm.rule == rule)
    }
}
