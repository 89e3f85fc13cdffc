//! What may happen to an alarm, and when time alone changes it.
//!
//! *States*: nothing -> pending -> active -> cleared -> (pending ->) active again; beside that acknowledged or not,
//! shelved or not. It is *open* while it is active, not acknowledged and not shelved: then it is repeated and
//! escalated.
//! *Guarantee*: each event raises the version by 1, but an escalation, which raises the step; events of one alarm
//! never share both. [`Alarm::due_at`] is later than the moment at which the alarm was last looked at.

use thiserror::Error;

use super::{Alarm, Event, Severity, What};
use crate::Timestamp;
use crate::rule::{Escalation, Span};

/// What the rule of an alarm says about time. Without any of it for a rule that is gone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms<'a> {
    /// How long the condition has to hold before the alarm is raised.
    pub lasting: Option<Span>,
    /// How long after it was raised it isn't raised again.
    pub cooldown: Option<Span>,
    /// How long after people were told they are told again.
    pub repeat: Option<Span>,
    /// How often at most.
    pub repeat_max: u32,
    /// Who else is told when.
    pub escalation: &'a [Escalation],
}

/// Who does something to an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor<'a> {
    /// Who.
    pub by: &'a str,
    /// What they say about it.
    pub note: &'a str,
}

/// The version that somebody saw isn't what the alarm is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the alarm has version {current}; what was seen at version {given} is over, look again")]
pub struct Stale {
    /// What they saw.
    pub given: u64,
    /// What it has now.
    pub current: u64,
}

/// Is told each event, with the alarm as the event left it.
pub type Sink<'a> = dyn FnMut(&Alarm, Event) + 'a;

impl Alarm {
    /// Looks at it: whether its condition holds, and how bad that is; and what time brings.
    pub fn look(&mut self, holds: Option<Severity>, terms: &Terms<'_>, now: Timestamp, sink: &mut Sink<'_>) {
        match holds {
            None => self.clear(now, sink),
            Some(severity) if self.active => self.worsen(severity, now, sink),
            Some(severity) => {
                self.pending_since.get_or_insert(now);
                if self.ready_at(terms).is_some_and(|at| at <= now) {
                    self.raise(severity, now);
                    self.tell(self.raised(), now, None, None, sink);
                }
            }
        }
        if self.shelved_until.is_some_and(|until| until <= now) {
            self.end_shelf(now, None, sink);
        }
        self.press(terms, now, sink);
        self.due_at = self.next_due(terms);
    }

    /// What it is about happened: it is raised, and over at once.
    pub fn happen(&mut self, severity: Severity, terms: &Terms<'_>, now: Timestamp, sink: &mut Sink<'_>) {
        self.pending_since = Some(now);
        let ready = self.ready_at(terms).is_some_and(|at| at <= now);
        self.pending_since = None;
        if ready {
            self.raise(severity, now);
            (self.active, self.cleared_at) = (false, Some(now));
            (self.open_since, self.told_at) = (None, None);
            self.tell(self.raised(), now, None, None, sink);
        }
        self.due_at = self.next_due(terms);
    }

    /// Somebody has taken note of what they saw at a version. The same again changes nothing.
    ///
    /// # Errors
    /// `Stale` when it was raised again or became worse since, or never had that version.
    pub fn acknowledge(
        &mut self,
        version: u64,
        actor: Actor<'_>,
        terms: &Terms<'_>,
        now: Timestamp,
        sink: &mut Sink<'_>,
    ) -> Result<(), Stale> {
        self.check(version)?;
        if !self.is_acknowledged() {
            self.acknowledged_at = Some(now);
            self.acknowledged_by = Some(actor.by.to_owned());
            actor.note.clone_into(&mut self.acknowledged_note);
            (self.open_since, self.told_at) = (None, None);
            self.version += 1;
            self.tell(What::Acknowledged, now, Some(actor), None, sink);
        }
        self.due_at = self.next_due(terms);
        Ok(())
    }

    /// Nobody is to be told until then. Where it is shelved already, the end is moved.
    pub fn shelve(
        &mut self,
        until: Timestamp,
        actor: Actor<'_>,
        terms: &Terms<'_>,
        now: Timestamp,
        sink: &mut Sink<'_>,
    ) {
        if self.shelved_until != Some(until) {
            self.shelved_until = Some(until);
            (self.open_since, self.told_at) = (None, None);
            self.version += 1;
            self.tell(What::Shelved, now, Some(actor), Some(until), sink);
        }
        self.due_at = self.next_due(terms);
    }

    /// People are to be told again. Where it isn't shelved, nothing changes.
    pub fn unshelve(&mut self, actor: Actor<'_>, terms: &Terms<'_>, now: Timestamp, sink: &mut Sink<'_>) {
        if self.is_shelved() {
            self.end_shelf(now, Some(actor), sink);
        }
        self.due_at = self.next_due(terms);
    }

    /// Its device is removed: it is cleared, and nothing waits any more.
    pub fn leave(&mut self, now: Timestamp, sink: &mut Sink<'_>) {
        self.clear(now, sink);
        if self.is_shelved() {
            self.end_shelf(now, None, sink);
        }
        self.due_at = None;
    }

    /// Whether what somebody saw at a version is what it still is.
    ///
    /// # Errors
    /// `Stale` when it isn't.
    pub fn check(&self, version: u64) -> Result<(), Stale> {
        if (self.raised_version..=self.version).contains(&version) {
            return Ok(());
        }
        Err(Stale { given: version, current: self.version })
    }

    /// Until when its rule doesn't let it be raised again, if that isn't over.
    pub(crate) fn cools_until(&self, terms: &Terms<'_>, now: Timestamp) -> Option<Timestamp> {
        terms.cooldown?;
        Some(after(self.raised_at?, terms.cooldown)).filter(|until| *until > now)
    }

    fn raise(&mut self, severity: Severity, now: Timestamp) {
        self.version += 1;
        self.raised_version = self.version;
        self.active = true;
        self.severity = severity;
        self.count += 1;
        (self.raised_at, self.cleared_at, self.pending_since) = (Some(now), None, None);
        self.forget_acknowledgement();
        self.open(now);
        (self.repeats, self.step) = (0, 0);
    }

    fn raised(&self) -> What {
        if self.count == 1 { What::Raised } else { What::Reraised }
    }

    fn worsen(&mut self, severity: Severity, now: Timestamp, sink: &mut Sink<'_>) {
        if severity <= self.severity {
            return;
        }
        self.version += 1;
        self.raised_version = self.version;
        self.severity = severity;
        if self.is_acknowledged() {
            self.forget_acknowledgement();
            self.open(now);
            (self.repeats, self.step) = (0, 0);
        } else if !self.is_shelved() {
            self.told_at = Some(now);
        }
        self.tell(What::Worse, now, None, None, sink);
    }

    fn clear(&mut self, now: Timestamp, sink: &mut Sink<'_>) {
        self.pending_since = None;
        if self.active {
            self.active = false;
            self.cleared_at = Some(now);
            (self.open_since, self.told_at) = (None, None);
            self.version += 1;
            self.tell(What::Cleared, now, None, None, sink);
        }
    }

    fn end_shelf(&mut self, now: Timestamp, actor: Option<Actor<'_>>, sink: &mut Sink<'_>) {
        self.shelved_until = None;
        if self.active && !self.is_acknowledged() {
            self.open(now);
            self.repeats = 0;
        }
        self.version += 1;
        self.tell(What::Unshelved, now, actor, None, sink);
    }

    /// Tells those who are to be told because nobody takes note: first again those who were told, then the next.
    fn press(&mut self, terms: &Terms<'_>, now: Timestamp, sink: &mut Sink<'_>) {
        if self.repeats_at(terms).is_some_and(|at| at <= now) {
            self.repeats += 1;
            self.told_at = Some(now);
            self.version += 1;
            self.tell(What::Repeated, now, None, None, sink);
        }
        while self.escalates_at(terms).is_some_and(|at| at <= now) {
            self.step += 1;
            self.tell(What::Escalated, now, None, None, sink);
        }
    }

    fn open(&mut self, now: Timestamp) {
        let open = (!self.is_shelved()).then_some(now);
        (self.open_since, self.told_at) = (open, open);
    }

    fn forget_acknowledgement(&mut self) {
        (self.acknowledged_at, self.acknowledged_by) = (None, None);
        self.acknowledged_note.clear();
    }

    /// When it is raised if its condition goes on to hold; none while it doesn't, or the alarm is active.
    fn ready_at(&self, terms: &Terms<'_>) -> Option<Timestamp> {
        let lasted = self.pending_since.map(|since| after(since, terms.lasting))?;
        let cooled = self.raised_at.filter(|_| terms.cooldown.is_some());
        Some(lasted.max(cooled.map_or(lasted, |raised| after(raised, terms.cooldown))))
    }

    fn escalates_at(&self, terms: &Terms<'_>) -> Option<Timestamp> {
        let step = terms.escalation.get(self.step as usize)?;
        Some(after(self.open_since?, Some(step.after)))
    }

    fn repeats_at(&self, terms: &Terms<'_>) -> Option<Timestamp> {
        let repeat = terms.repeat.filter(|_| self.repeats < terms.repeat_max)?;
        self.open_since?;
        Some(after(self.told_at?, Some(repeat)))
    }

    /// When to look at it next, if nothing else happens before.
    fn next_due(&self, terms: &Terms<'_>) -> Option<Timestamp> {
        let ready = self.ready_at(terms);
        [self.shelved_until, ready, self.escalates_at(terms), self.repeats_at(terms)]
            .into_iter()
            .flatten()
            .min()
    }

    fn tell(
        &self,
        what: What,
        at: Timestamp,
        actor: Option<Actor<'_>>,
        until: Option<Timestamp>,
        sink: &mut Sink<'_>,
    ) {
        let event = Event {
            alarm: self.id,
            rule: self.rule,
            version: self.version,
            step: self.step,
            what,
            severity: self.severity,
            at,
            by: actor.map(|actor| actor.by.to_owned()),
            note: actor.map_or_else(String::new, |actor| actor.note.to_owned()),
            until,
        };
        sink(self, event);
    }
}

fn after(moment: Timestamp, span: Option<Span>) -> Timestamp {
    moment.plus_micros(span.map_or(0, Span::as_micros))
}
