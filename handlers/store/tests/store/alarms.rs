//! Alarms are written with the change that caused them, or not at all, and loaded with the twin.

use std::sync::Arc;

use statecast_state::alarm::{Alarm, Event, Severity, What};
use statecast_state::{Change, Decision, DeviceKey, Verdict};
use statecast_store::{Batch, Store};
use uuid::Uuid;

use crate::support::{change, key, now, removal, store};

fn raised(key: &DeviceKey, rule: u128, version: u64) -> Alarm {
    Alarm {
        version,
        raised_version: 1,
        active: true,
        severity: Severity::Major,
        count: 1,
        raised_at: Some(now()),
        acknowledged_note: "it's \"fine\"".into(),
        due_at: Some(now()),
        ..Alarm::new(key, Uuid::from_u128(rule))
    }
}

fn with(mut change: Change, alarm: &Alarm) -> Change {
    let (what, at) = (What::Raised, now());
    change.alarms.push(alarm.clone());
    change.events.push(Event {
        alarm: alarm.id,
        rule: alarm.rule,
        version: alarm.version,
        step: 0,
        what,
        severity: alarm.severity,
        at,
        by: None,
        note: String::new(),
        until: None,
    });
    change.decisions.push(Decision {
        alarm: alarm.id,
        version: alarm.version,
        step: 0,
        person: None,
        receiver: None,
        at,
        verdict: Verdict::NoReceiver,
        detail: String::new(),
    });
    change
}

async fn count(store: &Store, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    let mut connection = sqlx::ConnectOptions::connect(store.options()).await.unwrap();
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
async fn they_follow_the_twin() {
    let store = store().await;
    let owner = store.own().await.unwrap();
    let mut writer = owner.writer();
    let (one, other) = (key("one"), key("other"));
    let first = owner.reserve(4).await.unwrap().0;
    // Twice in a batch: the last counts. And one whose guard doesn't hold: nothing of it is written.
    let begun = with(change(&one, None, first, 1), &raised(&one, 1, 1));
    let last = raised(&one, 1, 2);
    let then = with(change(&one, begun.after.as_ref(), first + 1, 2), &last);
    let twin = then.after.clone();
    let lost = with(change(&other, twin.as_ref(), first + 2, 1), &raised(&other, 1, 1));
    let outcome = writer.commit(&Batch { changes: vec![begun, then, lost], dead_letters: vec![] }).await;
    assert_eq!(outcome.unwrap().lost, std::slice::from_ref(&other));
    let loaded = store.load(&[one.clone(), other.clone()], now()).await.unwrap();
    assert_eq!(loaded[0].twin.as_ref().unwrap().alarms, std::slice::from_ref(&last));
    assert_eq!((&loaded[1].twin, loaded[1].left.len()), (&None, 0));
    assert_eq!((count(&store, "alarm_events").await, count(&store, "decisions").await), (2, 2));

    // The device is removed: what is known of its alarms stays, for when it comes again.
    let twin: Arc<_> = twin.unwrap();
    let cleared = Alarm { active: false, version: 3, due_at: None, ..last };
    let gone = with(removal(&one, &twin, first + 3), &cleared);
    writer.commit(&Batch { changes: vec![gone], dead_letters: vec![] }).await.unwrap();
    let loaded = store.load(&[one], now()).await.unwrap();
    assert_eq!((&loaded[0].twin, &loaded[0].left), (&None, &vec![cleared]));
    assert_eq!((count(&store, "alarm_events").await, count(&store, "alarms").await), (3, 1));
}
