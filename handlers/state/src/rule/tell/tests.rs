#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
use serde_json::{Value, json};

use super::*;
use crate::person::{CompiledPerson, Person};
use crate::rule::{Moment, REPORTED_BYTES_MAX, Receiver, RuleForm};
use crate::{DeviceId, DeviceKey, TenantId};

/// 00:30 in UTC, 01:30 in Berlin.
fn now() -> Timestamp {
    Timestamp::parse("2026-11-23T00:30:00Z").unwrap()
}

fn person(id: &str, form: Value) -> CompiledPerson {
    CompiledPerson::new(Person { id: id.into(), form: serde_json::from_value(form).unwrap() }).unwrap()
}

fn receiver(id: u128, person: Option<&str>, kind: Value) -> Receiver {
    let mut receiver = json!({"id": Uuid::from_u128(id), "name": "r", "enabled": true, "person": person});
    receiver.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
    serde_json::from_value(receiver).unwrap()
}

fn hook(id: u128, person: Option<&str>) -> Receiver {
    receiver(
        id,
        person,
        json!({"kind":"webhook","url":format!("https://example.org/{id}"),"secret":"whsec_"}),
    )
}

fn live(id: u128, person: Option<&str>) -> Receiver {
    receiver(id, person, json!({"kind":"live"}))
}

/// Of one rule, and somebody to tell.
struct Scene {
    rules: RuleSet,
    rule: CompiledRule,
    alarm: Alarm,
    what: What,
    severity: Severity,
}

impl Scene {
    fn new(rule: Value, receivers: &[Receiver], people: Vec<CompiledPerson>) -> Self {
        let mut form = json!({"name":"low","query":"battery:<20","title":"{device} is low","ttl_s":3_600});
        form.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
        let form: RuleForm = serde_json::from_value(form).unwrap();
        let rule = CompiledRule::new(form.into_rule(Uuid::from_u128(99))).unwrap();
        let rules = RuleSet::new(TenantId::default(), vec![rule.clone()], receivers, people);
        let key = DeviceKey::new(TenantId::default(), DeviceId::parse("pump").unwrap());
        let alarm = Alarm { active: true, ..Alarm::new(&key, rule.rule().id) };
        Self { rules, rule, alarm, what: What::Raised, severity: Severity::Major }
    }

    fn tell(&self) -> Told {
        let event = Event {
            alarm: self.alarm.id,
            rule: self.rule.rule().id,
            version: 7,
            step: self.alarm.step,
            what: self.what,
            severity: self.severity,
            at: now(),
            by: None,
            note: String::new(),
            until: None,
        };
        let twin = Twin { version: 3, ..Twin::new(DeviceId::parse("pump").unwrap()) };
        self.rules.tell(&self.rule, &self.alarm, &event, &twin, now())
    }

    fn receivers(&self) -> Vec<u128> {
        self.tell().pushes.iter().map(|push| push.receiver.as_u128()).collect()
    }

    /// Who wasn't told, by which receiver, and why.
    fn verdicts(&self) -> Vec<(Option<String>, Option<u128>, Verdict)> {
        let decisions = self.tell().decisions.into_iter();
        decisions.map(|one| (one.person, one.receiver.map(|id| id.as_u128()), one.verdict)).collect()
    }
}

fn anna(form: Value) -> Vec<CompiledPerson> {
    vec![person("anna", form)]
}

#[test]
fn a_rule_that_names_nobody_means_all_that_are_enabled() {
    let off = Receiver { enabled: false, ..hook(3, None) };
    let scene = Scene::new(json!({}), &[hook(1, None), live(2, Some("anna")), off], anna(json!({})));
    assert_eq!(scene.receivers(), [1, 2]);
    assert!(scene.verdicts().is_empty());
    let nobody = Scene::new(json!({}), &[], Vec::new());
    assert_eq!(nobody.verdicts(), [(None, None, Verdict::NoReceiver)]);
}

#[test]
fn receivers_people_and_audience_are_told_each_once() {
    let people = vec![
        person("anna", json!({"tags":{"team":"ops"}})),
        person("ben", json!({})),
        person("carl", json!({})),
    ];
    let receivers = [hook(1, Some("anna")), hook(2, Some("ben")), hook(3, Some("carl")), hook(4, None)];
    let rule = json!({"receivers":[Uuid::from_u128(4), Uuid::from_u128(1)],"people":["ben","eve"],"audience":"team:ops"});
    let scene = Scene::new(rule, &receivers, people);
    assert_eq!(scene.receivers(), [1, 2, 4]);
    assert_eq!(scene.verdicts(), [(Some("eve".into()), None, Verdict::NoReceiver)]);
    let persons: Vec<_> = scene.tell().pushes.into_iter().map(|push| push.person).collect();
    assert_eq!(persons, [Some("anna".into()), Some("ben".into()), None]);
}

#[test]
fn an_escalation_tells_its_step_and_everything_after_it_all() {
    let people = || vec![person("anna", json!({})), person("ben", json!({}))];
    let receivers = [hook(1, Some("anna")), hook(2, Some("ben"))];
    let rule = json!({"people":["anna"],"escalation":[{"after":"5m","people":["ben"]}]});
    let mut scene = Scene::new(rule, &receivers, people());
    assert_eq!(scene.receivers(), [1]);
    scene.alarm.step = 1;
    scene.what = What::Escalated;
    assert_eq!(scene.receivers(), [2]);
    scene.what = What::Acknowledged;
    assert_eq!(scene.receivers(), [1, 2]);
    assert!(scene.tell().pushes.iter().all(|push| push.kind == PushKind::Update && push.hold.is_none()));
}

#[test]
fn each_reason_leaves_its_trace() {
    let because = |form: Value| {
        let scene = Scene::new(json!({}), &[hook(1, Some("anna"))], anna(form));
        let mut verdicts = scene.verdicts();
        assert_eq!(scene.receivers().len() + verdicts.len(), 1);
        verdicts.pop().map(|(_, _, verdict)| verdict)
    };
    assert_eq!(because(json!({})), None);
    assert_eq!(because(json!({"least_severity":"critical"})), Some(Verdict::BelowSeverity));
    assert_eq!(because(json!({"mutes":[{"device":"pump"}]})), Some(Verdict::Muted));
    assert_eq!(because(json!({"mutes":[{"device":"fan"}]})), None);
    let late = json!({"quiet":[{"from":"22:00","to":"07:00"}]});
    assert_eq!(because(late), Some(Verdict::Quiet), "an hour isn't enough to wait for the morning");

    let off = Receiver { enabled: false, disabled_reason: Some("410 Gone".into()), ..hook(1, Some("anna")) };
    let scene = Scene::new(json!({"people":["anna"]}), &[off], anna(json!({})));
    assert_eq!(scene.verdicts(), [(Some("anna".into()), Some(1), Verdict::Disabled)]);
    assert_eq!(scene.tell().decisions[0].detail, "410 Gone");

    let mut shelved = Scene::new(json!({}), &[hook(1, None), hook(2, Some("anna"))], anna(json!({})));
    shelved.alarm.shelved_until = Some(now().plus_micros(1));
    assert_eq!(shelved.verdicts().len(), 2);
    assert!(shelved.verdicts().iter().all(|(_, _, verdict)| *verdict == Verdict::Shelved));
}

#[test]
fn quiet_hours_hold_until_they_end_and_not_what_is_critical() {
    let form = json!({"time_zone":"Europe/Berlin","quiet":[{"from":"22:00","to":"02:00"}]});
    let mut scene = Scene::new(json!({}), &[hook(1, Some("anna")), live(2, Some("anna"))], anna(form));
    let pushes = scene.tell().pushes;
    assert_eq!(
        (pushes[0].hold, pushes[0].due_at.to_string().as_str()),
        (Some(Hold::Quiet), "2026-11-23T01:00:00Z")
    );
    assert_eq!((pushes[1].hold, pushes[1].due_at), (None, now()), "who follows looks");
    scene.severity = Severity::Critical;
    assert!(
        scene.tell().pushes.iter().all(|push| push.hold.is_none() && push.due_at == now() && push.urgent)
    );
}

#[test]
fn a_live_receiver_is_told_first_but_for_what_is_urgent() {
    let people = || vec![person("anna", json!({})), person("ben", json!({}))];
    let receivers =
        [hook(1, Some("anna")), live(2, Some("anna")), hook(3, Some("ben")), live(4, None), hook(5, None)];
    let mut scene = Scene::new(json!({}), &receivers, people());
    let held = |scene: &Scene| -> Vec<u128> {
        let pushes = scene.tell().pushes.into_iter().filter(|push| push.hold == Some(Hold::Live));
        pushes.map(|push| push.receiver.as_u128()).collect()
    };
    assert_eq!(held(&scene), [1]);
    assert_eq!(scene.tell().pushes[0].due_at.micros_since(now()), LIVE_FIRST_US);
    scene.severity = Severity::Critical;
    assert!(held(&scene).is_empty());
}

#[test]
fn what_two_receivers_of_a_person_share_is_told_once() {
    let same = |id, person| {
        receiver(id, person, json!({"kind":"webhook","url":"https://example.org/","secret":"whsec_"}))
    };
    let receivers = [same(1, Some("anna")), same(2, Some("anna")), same(3, None), same(4, None)];
    let scene = Scene::new(json!({}), &receivers, anna(json!({})));
    assert_eq!(scene.receivers(), [1, 3, 4]);
    assert_eq!(scene.verdicts(), [(Some("anna".into()), Some(2), Verdict::Duplicate)]);
}

#[test]
fn everyone_is_told_in_their_language() {
    let people = vec![person("anna", json!({"language":"de-AT"})), person("ben", json!({"language":"fr"}))];
    let rule =
        json!({"texts":{"de":{"title":"{device} ist leer","body":"bald"}},"link":"app://alarms/{device}"});
    let scene = Scene::new(rule, &[hook(1, Some("anna")), hook(2, Some("ben"))], people);
    let pushes = scene.tell().pushes;
    assert_eq!(
        (&pushes[0].payload["title"], &pushes[0].payload["body"]),
        (&json!("pump ist leer"), &json!("bald"))
    );
    assert_eq!(pushes[1].payload["title"], "pump is low");
    assert_eq!(pushes[0].payload["type"], "alarm.raised");
    assert_eq!(pushes[0].payload["link"], "app://alarms/pump");
    assert_eq!(pushes[0].payload["alarm"]["version"], 7);
    assert_eq!(pushes[0].payload["actions"][0]["id"], "ack");
}

#[test]
fn ids_are_the_same_again_and_never_shared() {
    let scene = Scene::new(json!({}), &[hook(1, None), hook(2, None)], Vec::new());
    let ids = |scene: &Scene| scene.tell().pushes.iter().map(|push| push.id).collect::<Vec<_>>();
    assert_eq!(ids(&scene), ids(&scene));
    assert_ne!(ids(&scene)[0], ids(&scene)[1]);
}

#[test]
fn a_push_stays_small() {
    let told = |text: String, rule: Value| {
        let scene = Scene::new(rule, &[hook(1, None)], Vec::new());
        let mut twin = Twin::new(DeviceId::parse("pump").unwrap());
        twin.reported = serde_json::from_value(json!({ "battery": 1, "text": text })).unwrap();
        let now = Moment { now: now(), started_at: now() };
        scene.rules.fire(None, Some(&twin), now).told.pushes.remove(0).payload
    };
    let hostile = "\u{1}".repeat(REPORTED_BYTES_MAX / 6 - 10);
    let payload = told(hostile, json!({"title":"{text}".repeat(40),"body":"{text}".repeat(170)}));
    assert!(payload["reported"].is_object());
    assert!(payload.to_string().len() < 20_000, "{}", payload.to_string().len());
    let payload = told("x".repeat(REPORTED_BYTES_MAX), json!({}));
    assert_eq!((&payload["reported"], &payload["reported_left_out"]), (&Value::Null, &json!(true)));
}
