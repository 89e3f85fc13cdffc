//! Who is told of what happened to an alarm, and who isn't.
//!
//! An escalation tells those of its step. Everything else tells those of the rule and of all steps so far
//! ([`Alarm::step`]). A shelved alarm tells nobody.
//!
//! Each candidate, a person with a receiver, gets a push or a decision that says why not. What is looked at, in this
//! order: the alarm is shelved; there is no receiver, or it is disabled; the person wants nothing that is as little
//! severe; the person muted it; another receiver of the person reaches the same; quiet hours that last for as long as
//! the push would live. A push may be held: until the end of quiet hours, or for a moment if the person has a live
//! receiver, which is told first. What is urgent is held by neither (but see [`crate::person`]), and what only says what
//! became of an alarm isn't either, as it makes no noise. A live receiver knows no quiet hours: who follows looks.

use std::collections::HashSet;

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::directory::{Candidate, Way};
use super::payload::Payloads;
use super::{CompiledRule, RuleSet};
use crate::alarm::{Alarm, Event, Severity, What};
use crate::claim::Hold;
use crate::{Decision, Position, Push, PushKind, Timestamp, Twin, Verdict};

/// How long the other receivers of a person wait for a live one to confirm, in microseconds: 3 s.
pub const LIVE_FIRST_US: i64 = 3_000_000;

/// For each candidate one of the two.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// Those who are told.
    pub pushes: Vec<Push>,
    /// Those who aren't, and why.
    pub decisions: Vec<Decision>,
}

/// What is told to all candidates.
struct Telling<'a> {
    rules: &'a RuleSet,
    rule: &'a CompiledRule,
    alarm: &'a Alarm,
    event: &'a Event,
    twin: &'a Twin,
    now: Timestamp,
    kind: PushKind,
    urgent: bool,
    deadline: Timestamp,
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
        let telling = Telling {
            rules: self,
            rule,
            alarm,
            event,
            twin,
            now,
            kind: if event.what.is_update() { PushKind::Update } else { PushKind::Alarm },
            urgent: event.severity == Severity::Critical,
            deadline: now.plus_micros(i64::from(rule.rule().form.ttl_s) * 1_000_000),
        };
        telling.all()
    }

    /// Whom an event is for, each once.
    fn candidates(&self, rule: &CompiledRule, alarm: &Alarm, event: &Event) -> Vec<Candidate> {
        let steps = match event.what {
            What::Escalated => event.step..=event.step,
            _ => 0..=alarm.step,
        };
        let mut known = HashSet::new();
        let all =
            steps.flat_map(|step| self.addressees(rule.rule().id, step)).filter(|one| known.insert(*one));
        all.cloned().collect()
    }
}

impl Telling<'_> {
    fn all(&self) -> Told {
        let mut told = Told::default();
        let candidates = self.rules.candidates(self.rule, self.alarm, self.event);
        if candidates.is_empty() {
            told.decisions.push(self.decision(None, None, Verdict::NoReceiver, "the rule means nobody"));
        }
        let mut payloads = Payloads::new(self.rule, self.alarm, self.event, self.twin, self.now);
        let mut reached: HashSet<(usize, &str)> = HashSet::new();
        for candidate in &candidates {
            let way = match candidate {
                Candidate::Way(number) => self.rules.directory.way(*number),
                Candidate::Unreachable(number) => {
                    let id = self.rules.directory.person(*number).id();
                    told.decisions.push(self.no_receiver(id, "the person has no receiver"));
                    continue;
                }
                Candidate::Unknown(id) => {
                    told.decisions.push(self.no_receiver(id, "there is no such person"));
                    continue;
                }
            };
            let again = way.person.zip(way.endpoint.as_deref()).is_some_and(|reach| reached.contains(&reach));
            match self.judge(way, again) {
                Ok(held) => {
                    reached.extend(way.person.zip(way.endpoint.as_deref()));
                    told.pushes.push(self.push(way, held, &mut payloads));
                }
                Err((verdict, detail)) => {
                    let person = way.person.map(|person| self.rules.directory.person(person).id());
                    told.decisions.push(self.decision(person, Some(way.id), verdict, &detail));
                }
            }
        }
        self.live_first(&mut told.pushes);
        told
    }

    /// Until when a candidate waits, if it does; or why it isn't told.
    fn judge(&self, way: &Way, again: bool) -> Result<Option<Timestamp>, (Verdict, String)> {
        if self.alarm.is_shelved() || self.event.what == What::Shelved {
            let until = self.alarm.shelved_until.map(|until| format!("until {until}"));
            return Err((Verdict::Shelved, until.unwrap_or_default()));
        }
        if let Some(why) = &way.disabled {
            return Err((Verdict::Disabled, why.clone()));
        }
        let Some(person) = way.person.map(|person| self.rules.directory.person(person)) else {
            return Ok(None);
        };
        let severity = self.event.severity;
        if person.is_below(severity) {
            let least = person.form().least_severity.as_str();
            return Err((Verdict::BelowSeverity, format!("{} is below {least}", severity.as_str())));
        }
        if let Some(mute) = person.muted(self.rule.rule().id, self.twin, self.now) {
            return Err((Verdict::Muted, mute.to_string()));
        }
        if again {
            return Err((Verdict::Duplicate, "another receiver of the person reaches the same".to_owned()));
        }
        if way.live || self.kind == PushKind::Update {
            return Ok(None);
        }
        match person.quiet_until(severity, self.now) {
            Some(until) if until >= self.deadline => {
                Err((Verdict::Quiet, format!("until {until}, when it is too late")))
            }
            until => Ok(until),
        }
    }

    fn push(&self, way: &Way, held: Option<Timestamp>, payloads: &mut Payloads<'_>) -> Push {
        let person = way.person.map(|person| self.rules.directory.person(person));
        let language = person.map_or("", |person| &person.form().language);
        Push {
            id: push_id(self.event, way.id, self.now),
            rule: self.rule.rule().id,
            receiver: way.id,
            device: self.twin.device.clone(),
            position: Position(0),
            payload: payloads.in_language(language),
            created_at: self.now,
            deadline: self.deadline,
            due_at: held.unwrap_or(self.now),
            hold: held.map(|_| Hold::Quiet),
            kind: self.kind,
            alarm: Some(self.alarm.id),
            alarm_version: self.event.version,
            step: self.event.step,
            person: person.map(|person| person.id().to_owned()),
            severity: self.event.severity,
            urgent: self.urgent,
        }
    }

    /// Who has a live receiver is told by it first.
    fn live_first(&self, pushes: &mut [Push]) {
        if self.urgent || self.kind == PushKind::Update {
            return;
        }
        let live = |push: &Push| self.rules.directory.is_live(push.receiver);
        let follow: HashSet<String> =
            pushes.iter().filter(|push| live(push)).filter_map(|push| push.person.clone()).collect();
        for push in pushes.iter_mut().filter(|push| push.hold.is_none() && !live(push)) {
            if push.person.as_ref().is_some_and(|person| follow.contains(person)) {
                push.hold = Some(Hold::Live);
                push.due_at = self.now.plus_micros(LIVE_FIRST_US).min(self.deadline);
            }
        }
    }

    fn no_receiver(&self, person: &str, why: &str) -> Decision {
        self.decision(Some(person), None, Verdict::NoReceiver, why)
    }

    fn decision(
        &self,
        person: Option<&str>,
        receiver: Option<Uuid>,
        verdict: Verdict,
        detail: &str,
    ) -> Decision {
        Decision {
            alarm: self.alarm.id,
            version: self.event.version,
            step: self.event.step,
            person: person.map(str::to_owned),
            receiver,
            at: self.now,
            verdict,
            detail: detail.to_owned(),
        }
    }
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
mod tests;
