//! Laws of the machine: whatever happens to an alarm, in whatever order.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use uuid::Uuid;

use super::machine::{Actor, Terms};
use super::{Alarm, Event, Severity, What};
use crate::rule::{Escalation, Span};
use crate::{DeviceId, DeviceKey, TenantId, Timestamp};

const ADA: Actor<'_> = Actor { by: "ada", note: "on my way" };

/// One thing that happens, so many seconds after the one before.
#[derive(Debug, Clone)]
enum Act {
    Look(Option<Severity>),
    Happen(Severity),
    /// So many versions ago.
    Acknowledge(u64),
    Shelve(i64),
    Unshelve,
    /// What the scheduler does: looks when it is due, the condition as it was.
    Wait,
}

fn severity() -> impl Strategy<Value = Severity> {
    prop::sample::select(Severity::ALL.to_vec())
}

fn acts() -> impl Strategy<Value = Vec<(i64, Act)>> {
    let act = prop_oneof![
        4 => prop::option::of(severity()).prop_map(Act::Look),
        1 => severity().prop_map(Act::Happen),
        2 => (0_u64..3).prop_map(Act::Acknowledge),
        1 => (1_i64..30).prop_map(Act::Shelve),
        1 => Just(Act::Unshelve),
        4 => Just(Act::Wait),
    ];
    prop::collection::vec((0_i64..20, act), 0..40)
}

fn steps(after: &[u32]) -> Vec<Escalation> {
    let step = |seconds: &u32| Escalation {
        after: Span::from_secs(*seconds),
        receivers: Vec::new(),
        people: vec!["bob".into()],
        audience: None,
    };
    after.iter().map(step).collect()
}

fn alarm() -> Alarm {
    let key = DeviceKey::new(TenantId::default(), DeviceId::parse("pump").unwrap());
    Alarm::new(&key, Uuid::from_u128(1))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

/// What can be told from the events alone.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    version: u64,
    step: u32,
    active: bool,
    count: u64,
    severity: Option<Severity>,
    acknowledged_by: Option<String>,
    shelved_until: Option<Timestamp>,
    raised_at: Option<Timestamp>,
}

impl Seen {
    fn replay(mut self, event: &Event) -> Self {
        (self.version, self.step, self.severity) = (event.version, event.step, Some(event.severity));
        match event.what {
            What::Raised | What::Reraised => {
                (self.active, self.raised_at, self.acknowledged_by) = (true, Some(event.at), None);
                self.count += 1;
            }
            What::Worse => self.acknowledged_by = None,
            What::Acknowledged => self.acknowledged_by.clone_from(&event.by),
            What::Cleared => self.active = false,
            What::Shelved => self.shelved_until = event.until,
            What::Unshelved => self.shelved_until = None,
            What::Repeated | What::Escalated => {}
        }
        self
    }

    fn of(alarm: &Alarm) -> Self {
        Self {
            version: alarm.version,
            step: alarm.step,
            active: alarm.active,
            count: alarm.count,
            severity: (alarm.version > 0).then_some(alarm.severity),
            acknowledged_by: alarm.acknowledged_by.clone(),
            shelved_until: alarm.shelved_until,
            raised_at: alarm.raised_at,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn whatever_happens(
        acts in acts(),
        lasting in prop::option::of(1_u32..15),
        cooldown in prop::option::of(1_u32..30),
        repeat in prop::option::of(1_u32..15),
        momentary: bool,
    ) {
        let escalation = steps(&[5, 12]);
        let span = |seconds: Option<u32>| seconds.map(Span::from_secs);
        let terms = Terms {
            lasting: span(lasting).filter(|_| !momentary),
            cooldown: span(cooldown),
            repeat: span(repeat),
            repeat_max: 3,
            escalation: &escalation,
        };
        let (mut alarm, mut now, mut holds) = (alarm(), 0, None);
        let mut seen = Seen::default();
        for (pause, act) in acts {
            now += pause;
            let before = alarm.clone();
            let mut told: Vec<(Alarm, Event)> = Vec::new();
            let mut sink = |alarm: &Alarm, event: Event| told.push((alarm.clone(), event));
            let looked = matches!(act, Act::Look(_) if !momentary) || matches!(act, Act::Wait);
            match act {
                Act::Happen(severity) if momentary => alarm.happen(severity, &terms, at(now), &mut sink),
                Act::Look(_) | Act::Happen(_) if momentary => {}
                Act::Happen(_) => {}
                Act::Look(condition) => {
                    holds = condition;
                    alarm.look(holds, &terms, at(now), &mut sink);
                }
                Act::Acknowledge(ago) if alarm.version > 0 => {
                    let version = alarm.version.saturating_sub(ago);
                    let known = alarm.acknowledge(version, ADA, &terms, at(now), &mut sink).is_ok();
                    prop_assert_eq!(known, version >= before.raised_version, "only what was seen");
                    prop_assert!(!known || alarm.is_acknowledged());
                }
                Act::Acknowledge(_) => {}
                Act::Shelve(seconds) => alarm.shelve(at(now + seconds), ADA, &terms, at(now), &mut sink),
                Act::Unshelve => alarm.unshelve(ADA, &terms, at(now), &mut sink),
                Act::Wait => {
                    if let Some(due) = alarm.due_at {
                        now = now.max(due.as_micros() / 1_000_000);
                        alarm.look(holds, &terms, at(now), &mut sink);
                    }
                }
            }
            prop_assert!(!looked || alarm.due_at.is_none_or(|due| due > at(now)), "{alarm:?} at {now}");
            let mut last = before;
            for (after, event) in told {
                // The version rises by exactly one; an escalation raises the step instead.
                let escalated = event.what == What::Escalated;
                prop_assert_eq!(event.version, last.version + u64::from(!escalated));
                prop_assert!(!escalated || event.step == last.step + 1);
                prop_assert_eq!((event.version, event.step), (after.version, after.step));
                if matches!(event.what, What::Repeated | What::Escalated) {
                    prop_assert!(last.active && !last.is_acknowledged() && !last.is_shelved());
                    prop_assert!(after.repeats <= 3 && after.step <= 2);
                }
                if matches!(event.what, What::Raised | What::Reraised | What::Worse) {
                    prop_assert!(!after.is_acknowledged(), "nobody has acknowledged that yet");
                    prop_assert_eq!(after.raised_version, after.version);
                }
                if let (What::Reraised, Some(cooldown), Some(raised)) = (event.what, cooldown, last.raised_at) {
                    prop_assert!(event.at >= raised.plus_micros(i64::from(cooldown) * 1_000_000));
                }
                seen = seen.replay(&event);
                if momentary && event.what != What::Unshelved {
                    seen.active = false;
                }
                last = after;
            }
            prop_assert_eq!(&Seen::of(&alarm), &seen, "the events tell the row");
            prop_assert!(!momentary || !alarm.active);
            prop_assert!(alarm.active || alarm.open_since.is_none());
            prop_assert!(!alarm.is_acknowledged() || alarm.open_since.is_none());
        }
    }
}
