//! Reads for handlers and for people.

use std::sync::Arc;

use statecast_state::{DeviceId, MessageId, Position, TenantId, Timestamp, Twin};
use statecast_store::silent::Due;
use statecast_store::usage::UsageRow;
use statecast_store::{Batch, DeadLetter, RangeDigest, Store};

use crate::support::{change, key, now, store};

/// `count` changes of one device, a minute apart, the last one at `last`; positions from `first` on.
async fn history_of(store: &Store, device: &str, first: u64, count: u64, last: Timestamp) {
    let owner = store.own().await.unwrap();
    let mut changes = Vec::new();
    let mut before = None;
    for n in 0..count {
        let mut next = change(&key(device), before.as_ref(), first + n, n);
        next.received_at = last.plus_micros(-60_000_000 * (count - 1 - n).cast_signed());
        before.clone_from(&next.after);
        changes.push(next);
    }
    let outcome = owner.writer().commit(&Batch { changes, dead_letters: vec![] }).await.unwrap();
    assert_eq!(outcome.lost, []);
    owner.release().await;
}

#[tokio::test]
async fn history_is_read_in_pages() {
    let store = store().await;
    history_of(&store, "a", 1, 25, now()).await;
    history_of(&store, "b", 100, 3, now()).await;
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = store.history(&key("a"), None, None, before, 10).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.position);
        seen.extend(page.iter().map(|row| row.position.0));
    }
    assert_eq!(seen, (1..=25).rev().collect::<Vec<_>>());

    let all = store.history(&key("a"), None, None, None, 100).await.unwrap();
    let (from, to) = (all[9].received_at, all[4].received_at);
    let some = store.history(&key("a"), Some(from), Some(to), None, 100).await.unwrap();
    assert_eq!(some.iter().map(|row| row.position.0).collect::<Vec<_>>(), [20, 19, 18, 17, 16]);
    let feed = store.feed(Position(20), Position(101), 100).await.unwrap();
    let feed: Vec<_> = feed.iter().map(|row| (row.key.device.as_str(), row.row.position.0)).collect();
    assert_eq!(feed, [("a", 21), ("a", 22), ("a", 23), ("a", 24), ("a", 25), ("b", 100), ("b", 101)]);
}

#[tokio::test]
async fn recent_messages_are_those_of_a_day_and_at_least_200() {
    let store = store().await;
    // More than a day of messages; a busy device of today; one that was last heard of ten days ago.
    history_of(&store, "long", 1, 2_000, now()).await;
    history_of(&store, "old", 5_000, 300, now().plus_micros(-10 * 86_400_000_000)).await;
    history_of(&store, "few", 6_000, 2, now()).await;
    let keys = [key("few"), key("nobody"), key("old"), key("long")];
    let loaded = store.load(&keys, now()).await.unwrap();
    assert_eq!(loaded.len(), 4);
    assert_eq!(loaded[1].twin, None);
    assert_eq!(loaded[1].recent, []);
    assert_eq!(loaded[0].twin, store.twin(&keys[0]).await.unwrap());
    let ids = |n: usize| loaded[n].recent.iter().map(|(id, _)| id.0).collect::<Vec<_>>();
    assert_eq!(ids(0), [0, 1]);
    assert_eq!(ids(2), (100..300).collect::<Vec<_>>());
    assert_eq!(loaded[2].recent[199].0, MessageId(299));
    let long = ids(3);
    assert_eq!(long.last(), Some(&1_999));
    assert!((1_439..=1_441).contains(&long.len()), "{}", long.len());
    assert!(long.is_sorted());
}

#[tokio::test]
async fn twins_are_listed_and_scanned_in_pages() {
    let store = store().await;
    let owner = store.own().await.unwrap();
    let changes: Vec<_> = (0..25).map(|n| change(&key(&format!("D{n:02}")), None, 1 + n, n)).collect();
    owner.writer().commit(&Batch { changes, dead_letters: vec![] }).await.unwrap();
    let tenant = TenantId::default();
    let mut listed: Vec<DeviceId> = Vec::new();
    loop {
        let page = store.list(&tenant, listed.last(), 7).await.unwrap();
        if page.is_empty() {
            break;
        }
        listed.extend(page.into_iter().map(|twin| twin.device));
    }
    assert_eq!(listed.len(), 25);
    assert!(listed.is_sorted());
    let mut scanned = Vec::new();
    loop {
        let page = store.scan(scanned.last(), 10).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.iter().all(|(key, twin)| key.device == twin.device));
        scanned.extend(page.into_iter().map(|(key, ..)| key));
    }
    assert_eq!(scanned.len(), 25);
    let all = store.digest(None, 100, Position(u64::MAX)).await.unwrap();
    assert_eq!((all.twins, all.newer.len(), all.last.as_ref()), (25, 0, scanned.last()));
    let first = store.digest(None, 10, Position(u64::MAX)).await.unwrap();
    let rest = store.digest(first.last.as_ref(), 100, Position(u64::MAX)).await.unwrap();
    assert_eq!((first.twins, rest.twins, first.sum ^ rest.sum), (10, 15, all.sum));
    let none = store.digest(None, 100, Position(0)).await.unwrap();
    assert_eq!((none.newer, none.sum), (scanned.clone(), 0));
    assert_eq!(store.digest(all.last.as_ref(), 10, Position(0)).await.unwrap(), RangeDigest::default());
    let ids = [listed[3].clone(), DeviceId::parse("none").unwrap(), listed[1].clone(), listed[3].clone()];
    let twins = store.by_ids(&tenant, &ids).await.unwrap();
    let found: Vec<_> = twins.iter().map(|twin| twin.as_ref().map(|twin| &twin.device)).collect();
    assert_eq!(found, [Some(&ids[0]), None, Some(&ids[2]), Some(&ids[0])]);
    assert_eq!(store.list(&TenantId::parse("other").unwrap(), None, 10).await.unwrap(), []);
    owner.release().await;
}

#[tokio::test]
async fn usage_adds_up() {
    let store = store().await;
    let bucket = Timestamp::from_micros(1_700_000_000_000_000);
    let row = |handler, invocations| UsageRow {
        tenant: TenantId::default(),
        handler,
        bucket,
        invocations,
        failed: 1,
        wall_us: 10,
        billed_1ms: 2,
        billed_100ms: 100,
    };
    store.add_usage(&[row("state", 3), row("rules", 1), row("state", 4)]).await.unwrap();
    store.add_usage(&[row("state", 5)]).await.unwrap();
    let usage = store.usage(&TenantId::default(), bucket, bucket.plus_micros(1)).await.unwrap();
    let sums: Vec<_> = usage.iter().map(|u| (u.handler.as_str(), u.invocations, u.billed_100ms)).collect();
    assert_eq!(sums, [("rules", 1, 100), ("state", 12, 300)]);
    assert_eq!(store.usage(&TenantId::default(), bucket.plus_micros(1), now()).await.unwrap(), []);
}

#[tokio::test]
async fn dead_letters_are_bounded_in_bytes() {
    let store = store().await;
    let owner = store.own().await.unwrap();
    let mut writer = owner.writer();
    for n in 0..10_u32 {
        let letter = DeadLetter {
            tenant: TenantId::default(),
            device: Some("d".into()),
            topic: format!("t{n}"),
            payload: vec![0; 1_000].into(),
            reason: "not JSON".into(),
            received_at: now(),
        };
        writer.commit(&Batch { changes: vec![], dead_letters: vec![letter] }).await.unwrap();
    }
    assert_eq!(store.trim_dead_letters(1_000_000).await.unwrap(), 0);
    assert_eq!(store.trim_dead_letters(4_000).await.unwrap(), 7);
    let tenant = TenantId::default();
    let first = store.dead_letters(&tenant, None, 2).await.unwrap();
    let second = store.dead_letters(&tenant, first.last().map(|stored| stored.id), 2).await.unwrap();
    let topics: Vec<_> = first.iter().chain(&second).map(|stored| stored.letter.topic.clone()).collect();
    assert_eq!(topics, ["t9", "t8", "t7"]);
    owner.release().await;
}

/// Numbers that are hard for JSON come back as they were.
#[tokio::test]
async fn documents_come_back_as_they_were() {
    let store = store().await;
    let owner = store.own().await.unwrap();
    let device = key("a");
    let mut only = change(&device, None, 1, 1);
    let text = r#"{"max":9007199254740993,"big":18446744073709551615,"float":0.1,"tiny":5e-324,"exp":1e21,
        "text":"ä\"\\\n𝄞","list":[1,null,{"a":[]}],"empty":{},"no":false}"#;
    let reported: statecast_state::Document = serde_json::from_str(text).unwrap();
    let mut twin = (**only.after.as_ref().unwrap()).clone();
    twin.reported.clone_from(&reported);
    only.after = Some(Arc::new(twin));
    only.patch.clone_from(&reported);
    owner.writer().commit(&Batch { changes: vec![only], dead_letters: vec![] }).await.unwrap();
    assert_eq!(store.twin(&device).await.unwrap().unwrap().reported, reported);
    assert_eq!(store.history(&device, None, None, None, 1).await.unwrap()[0].patch, reported);
    owner.release().await;
}

#[tokio::test]
async fn devices_become_due_in_order_and_in_pages() {
    let store = store().await;
    let owner = store.own().await.unwrap();
    let begun = now();
    let minutes = |count: i64| begun.plus_micros(count * 60_000_000);
    let mut changes = Vec::new();
    for (position, device, seen) in [(1, "a", 3), (2, "b", 1), (3, "c", 2), (4, "d", 9)] {
        let mut first = change(&key(device), None, position, 1);
        let mut twin = first.after.as_deref().unwrap().clone();
        twin.received_at = Some(minutes(seen));
        first.after = Some(Arc::new(twin));
        changes.push(first);
    }
    // Registered, and never seen.
    let mut silent = change(&key("e"), None, 5, 1);
    silent.after = Some(Arc::new(Twin { version: 1, ..Twin::new(key("e").device) }));
    changes.push(silent);
    owner.writer().commit(&Batch { changes, dead_letters: vec![] }).await.unwrap();

    let lengths = [(TenantId::default(), 600_000_000), (TenantId::parse("other").unwrap(), 1)];
    let read = async |after: &Due, rows_max| {
        store.silent(&lengths, minutes(2), after, minutes(14), rows_max).await.unwrap()
    };
    let beginning = Due { at: Timestamp::from_micros(i64::MIN), key: None };
    let first = read(&beginning, 2).await;
    let due = |at, device| Due { at: minutes(at), key: Some(key(device)) };
    // What was seen before the start counts from then.
    assert_eq!(first, [due(12, "b"), due(12, "c")]);
    assert_eq!(read(&first[1], 9).await, [due(13, "a")]);
    owner.release().await;
}
