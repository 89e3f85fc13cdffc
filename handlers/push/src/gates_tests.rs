#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::gate::Rest;
use crate::policy::{Blame, later};

fn at(seconds: f64) -> Timestamp {
    later(Timestamp::from_micros(0), Duration::from_secs_f64(seconds))
}

fn failed(blame: Blame, not_before: Option<Timestamp>) -> Answer {
    Answer::Failed { error: "503".into(), not_before, blame }
}

fn gates() -> Gates {
    Gates::new(GateSettings::default())
}

/// Sends one through, and says what came of it.
fn through(gates: &Gates, line: &Line, answer: &Answer, now: Timestamp) {
    let Entry::Go { probe } = gates.enter(line, now) else { panic!("it is shut") };
    gates.learn(line, probe, Some(answer), now);
}

fn wait(gates: &Gates, line: &Line, now: Timestamp) -> Timestamp {
    match gates.enter(line, now) {
        Entry::Wait { at, .. } => at,
        Entry::Go { .. } => panic!("it is open"),
    }
}

const YES: Answer = Answer::Accepted { status: 200 };

#[test]
fn a_row_of_failures_shuts_and_a_probe_opens() {
    let (gates, line) = (gates(), Line::Fcm);
    for _ in 0..9 {
        through(&gates, &line, &failed(Blame::Provider, None), at(0.0));
    }
    through(&gates, &line, &YES, at(0.0));
    for _ in 0..10 {
        assert!(gates.shut(&line).is_none(), "a success between them counts");
        through(&gates, &line, &failed(Blame::Provider, None), at(0.0));
    }
    assert_eq!(wait(&gates, &line, at(0.1)), at(1.1));
    assert_eq!(wait(&gates, &line, at(0.1)), at(1.101), "each has a time of its own");
    assert_eq!(gates.enter(&line, at(1.2)), Entry::Go { probe: true });
    assert!(wait(&gates, &line, at(1.2)) >= at(2.2), "one probe at a time");
    gates.learn(&line, true, Some(&failed(Blame::Provider, None)), at(1.3));
    assert_eq!(gates.shut(&line).unwrap().until, at(3.3), "twice as long");
    gates.learn(&line, false, Some(&YES), at(2.0));
    assert!(gates.shut(&line).is_some(), "what was under way before decides nothing");
    through(&gates, &line, &YES, at(3.4));
    assert!(gates.shut(&line).is_none());
}

#[test]
fn a_probe_that_was_not_sent_leaves_its_turn_to_another() {
    let (gates, line) = (gates(), Line::Fcm);
    through(&gates, &line, &Answer::Refused { error: "401".into(), sure: true }, at(0.0));
    assert_eq!(gates.enter(&line, at(10.0)), Entry::Go { probe: true });
    gates.learn(&line, true, None, at(10.0));
    assert_eq!(gates.enter(&line, at(10.0)), Entry::Go { probe: true });
}

#[test]
fn refused_credentials_pause_at_once_when_it_is_sure() {
    let (gates, line) = (gates(), Line::Apns(ApnsEnvironment::Production));
    let unsure = Answer::Refused { error: "403".into(), sure: false };
    through(&gates, &line, &unsure, at(0.0));
    through(&gates, &line, &unsure, at(0.0));
    through(&gates, &line, &YES, at(0.0));
    through(&gates, &line, &unsure, at(0.0));
    through(&gates, &line, &unsure, at(0.0));
    assert!(gates.shut(&line).is_none());
    through(&gates, &line, &unsure, at(0.0));
    let shut = gates.shut(&line).unwrap();
    assert_eq!((shut.rest, shut.until, shut.why.as_str()), (Rest::Refused, at(10.0), "403"));
    let other = Line::Apns(ApnsEnvironment::Sandbox);
    through(&gates, &other, &Answer::Refused { error: "403".into(), sure: true }, at(0.0));
    assert!(gates.shut(&other).is_some());
}

#[test]
fn a_quota_is_a_floor_for_all() {
    let (gates, line) = (gates(), Line::Fcm);
    let (first, second) = (gates.enter(&line, at(0.0)), gates.enter(&line, at(0.0)));
    assert_eq!((&first, &second), (&Entry::Go { probe: false }, &Entry::Go { probe: false }));
    gates.learn(&line, false, Some(&failed(Blame::Quota, Some(at(90.0)))), at(1.0));
    gates.learn(&line, false, Some(&failed(Blame::Quota, Some(at(30.0)))), at(1.0));
    assert_eq!(gates.shut(&line).unwrap().until, at(90.0), "never earlier than was said");
    assert!(wait(&gates, &line, at(1.0)) >= at(90.0));
}

#[test]
fn no_more_go_through_than_the_bucket_gives() {
    let gates = Gates::new(GateSettings { fcm_per_s: 100, ..GateSettings::default() });
    let sent = |second: f64| {
        (0..1_000).filter(|_| matches!(gates.enter(&Line::Fcm, at(second)), Entry::Go { .. })).count()
    };
    assert!((100..=101).contains(&sent(0.0)));
    assert_eq!(sent(0.5), 50);
    assert!((100..=101).contains(&sent(60.0)), "no more is saved up than a second's worth");
}

/// A provider is away for an hour while 100,000 rows wait, driven by a clock of the test.
#[test]
fn an_hour_without_the_provider_costs_little() {
    let (gates, line) = (gates(), Line::Fcm);
    let hour = at(3_600.0);
    // When each row comes again; all come at once in the beginning.
    let mut due: BTreeMap<Timestamp, u32> = BTreeMap::from([(at(0.0), 100_000)]);
    let (mut asked, mut sent_back, mut accepted, mut last) = (0_u32, 0_u64, 0_u32, at(0.0));
    while let Some((now, rows)) = due.pop_first() {
        for _ in 0..rows {
            match gates.enter(&line, now) {
                Entry::Wait { at, .. } => {
                    sent_back += 1;
                    *due.entry(at).or_default() += 1;
                }
                Entry::Go { probe } if now < hour => {
                    asked += 1;
                    gates.learn(&line, probe, Some(&failed(Blame::Provider, None)), now);
                    *due.entry(later(now, Duration::from_secs(5))).or_default() += 1;
                }
                Entry::Go { probe } => {
                    accepted += 1;
                    gates.learn(&line, probe, Some(&YES), now);
                    last = now;
                }
            }
        }
    }
    assert_eq!(accepted, 100_000, "nothing is lost");
    assert!(asked < 100, "{asked} requests to a provider that is away");
    assert!(sent_back / 3_600 <= 1_100, "{sent_back} rows went back");
    assert!(last < later(hour, Duration::from_secs(300)), "all is told soon: {last}");
}

#[test]
fn an_origin_counts_for_one_tenant_alone() {
    let line = |tenant: &str, url: &str| {
        let kind = ReceiverKind::Webhook { url: url.into(), secret: String::new() };
        Line::of(&TenantId::parse(tenant).unwrap(), &kind).unwrap()
    };
    let hook = line("a", "https://example.org/one?x");
    assert_eq!(hook, line("a", "https://example.org/two"));
    assert_ne!(hook, line("a", "https://example.org:8443/one"));
    assert_ne!(hook, line("b", "https://example.org/one"));
    let gates = gates();
    for _ in 0..10 {
        through(&gates, &hook, &failed(Blame::Provider, None), at(0.0));
    }
    let shut = |tenant: &str| gates.shut_origins(&TenantId::parse(tenant).unwrap()).len();
    assert_eq!((shut("a"), shut("b")), (1, 0));
}
