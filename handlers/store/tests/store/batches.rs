//! What a batch writes, and what it doesn't.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use statecast_state::{Change, DeviceKey, Kind, Position, TenantId, Twin};
use statecast_store::{Batch, CredentialsChange, DeadLetter, Local, Outcome, Store};
use uuid::Uuid;

use crate::support::{change, directory, document, key, now, number, push, removal, store, until};

fn batch(changes: Vec<Change>) -> Batch {
    Batch { changes, dead_letters: Vec::new() }
}

fn letter(reason: &str) -> DeadLetter {
    DeadLetter {
        tenant: TenantId::default(),
        device: Some("no device\0".into()),
        topic: "devices/x/state".into(),
        payload: Bytes::from_static(b"\0not json"),
        reason: reason.into(),
        received_at: now(),
    }
}

/// Whatever batches are sent: a device whose guard held has the last twin and all of its history, and one whose
/// guard didn't has what it had before.
#[tokio::test]
async fn batches_write_what_their_guards_allow() {
    let store = store().await;
    let owner = store.own().await.unwrap();
    let mut writer = owner.writer();
    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let mut model: BTreeMap<DeviceKey, (Arc<Twin>, u64)> = BTreeMap::new();
    for round in 0..40 {
        let mut changes = Vec::new();
        let mut lost = Vec::new();
        for device in 0..20 {
            if random.random_bool(0.5) {
                continue;
            }
            let key = key(&format!("d{device}"));
            let known = model.get(&key).cloned();
            let mut before = known.as_ref().map(|(twin, _)| twin.clone());
            let stale = random.random_bool(0.2);
            if stale {
                // It rests on a version that isn't there.
                let mut wrong = before.as_deref().cloned().unwrap_or_else(|| Twin::new(key.device.clone()));
                wrong.version += 7;
                before = Some(Arc::new(wrong));
                lost.push(key.clone());
            }
            let mut count = known.map_or(0, |(_, count)| count);
            for _ in 0..random.random_range(1..4) {
                let position = owner.reserve(1).await.unwrap();
                changes.push(change(&key, before.as_ref(), position.0, random.random_range(0..1000)));
                before = changes.last().unwrap().after.clone();
                count += 1;
            }
            if !stale {
                model.insert(key, (before.unwrap(), count));
            }
        }
        let mut outcome = writer.commit(&batch(changes)).await.unwrap();
        outcome.lost.sort();
        lost.sort();
        assert_eq!(outcome.lost, lost, "seed {seed}, round {round}");
        assert_eq!(outcome.poison, []);
    }
    for (key, (twin, count)) in &model {
        assert_eq!(store.twin(key).await.unwrap().as_ref(), Some(&**twin), "seed {seed}, {key}");
        let history = store.history(key, None, None, None, 1000).await.unwrap();
        let versions: Vec<u64> = history.iter().map(|row| row.version).collect();
        assert_eq!(versions, (1..=*count).rev().collect::<Vec<_>>(), "seed {seed}, {key}");
    }
    assert_eq!(store.count(None).await.unwrap(), model.len() as u64);
    owner.release().await;
}

#[tokio::test]
async fn poison_is_isolated_and_the_rest_goes_through() {
    let store = store().await;
    let owner = store.own().await.unwrap();
    let mut changes: Vec<Change> =
        (0..31).map(|n| change(&key(&format!("d{n:02}")), None, 10 + n, n)).collect();
    let zero = document(json!({ "text": "a\0b" }));
    for bad in [7, 19] {
        changes[bad].patch = zero.clone();
    }
    let batch = Batch { changes, dead_letters: vec![letter("too deep\0"), letter("too large")] };
    let mut outcome = owner.writer().commit(&batch).await.unwrap();
    outcome.poison.sort();
    let poison: Vec<&DeviceKey> = outcome.poison.iter().map(|(key, _)| key).collect();
    assert_eq!(poison, [&key("d07"), &key("d19")]);
    assert!(outcome.poison[0].1.contains("Unicode"), "{outcome:?}");
    assert_eq!(outcome.lost, []);
    assert_eq!(store.count(None).await.unwrap(), 29);
    assert_eq!(store.twin(&key("d07")).await.unwrap(), None);
    assert_eq!(store.feed(Position(0), Position(1000), 100).await.unwrap().len(), 29);
    let letters = store.dead_letters(&TenantId::default(), None, 10).await.unwrap();
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0].letter.payload.as_ref(), b"\0not json");
    owner.release().await;
}

#[tokio::test]
async fn a_removed_device_leaves_only_a_tombstone() {
    let store = store().await;
    let owner = store.own().await.unwrap();
    let mut writer = owner.writer();
    let (gone, stays) = (key("gone"), key("stays"));
    let mut first = change(&gone, None, 11, 1);
    first.pushes.push(push(&gone.device, Uuid::nil()));
    let twin = first.after.clone().unwrap();
    writer.commit(&batch(vec![first, change(&stays, None, 12, 1)])).await.unwrap();
    let token = CredentialsChange { token: Some(Some([7; 32])), ..Default::default() };
    assert!(store.change_credentials(&gone, &token).await.unwrap());

    // A guard that doesn't hold removes nothing.
    let mut wrong = (*twin).clone();
    wrong.version = 9;
    let outcome = writer.commit(&batch(vec![removal(&gone, &Arc::new(wrong), 13)])).await.unwrap();
    assert_eq!(outcome, Outcome { lost: vec![gone.clone()], poison: vec![] });
    assert!(store.twin(&gone).await.unwrap().is_some());

    let mut last = removal(&gone, &twin, 14);
    last.pushes.push(push(&gone.device, Uuid::nil()));
    let told = last.pushes[0].id;
    let changes = vec![last, change(&stays, store.twin(&stays).await.unwrap().map(Arc::new).as_ref(), 15, 2)];
    assert_eq!(writer.commit(&batch(changes)).await.unwrap(), Outcome::default());
    assert_eq!(store.twin(&gone).await.unwrap(), None);
    assert_eq!(store.holders(&[[7; 32]]).await.unwrap(), [None]);
    assert_eq!(store.credentials(std::slice::from_ref(&gone)).await.unwrap(), [None]);
    assert!(
        !store.change_credentials(&gone, &token).await.unwrap(),
        "nothing is left behind for who is gone"
    );
    let history = store.history(&gone, None, None, None, 10).await.unwrap();
    let left: Vec<_> = history.iter().map(|row| (row.kind, row.position, row.version)).collect();
    assert_eq!(left, [(Kind::Removed, Position(14), 2)]);
    let deliveries = store.deliveries(&gone.tenant, Default::default(), 10).await.unwrap();
    assert_eq!(deliveries.iter().map(|row| row.push.id).collect::<Vec<_>>(), [told]);
    assert_eq!(store.history(&stays, None, None, None, 10).await.unwrap().len(), 2);

    // Removed and registered again in one batch.
    let again = change(&gone, None, 16, 3);
    let twin = again.after.clone().unwrap();
    writer.commit(&batch(vec![again])).await.unwrap();
    let changes = vec![removal(&gone, &twin, 17), change(&gone, None, 18, 4)];
    assert_eq!(writer.commit(&batch(changes)).await.unwrap(), Outcome::default());
    assert_eq!(store.twin(&gone).await.unwrap().unwrap().reported, document(json!({ "n": 4 })));
    let history = store.history(&gone, None, None, None, 10).await.unwrap();
    let left: Vec<_> = history.iter().map(|row| (row.kind, row.position.0)).collect();
    assert_eq!(left, [(Kind::State, 18), (Kind::Removed, 17)]);
    owner.release().await;
}

#[tokio::test]
async fn updates_of_twins_stay_on_their_page() {
    // A server of its own: open transactions of other tests would keep old rows alive.
    let dir = directory();
    let local = Local::start(dir.path()).await.unwrap();
    let store = Store::connect(local.options(), 1).await.unwrap();
    store.migrate().await.unwrap();
    let owner = store.own().await.unwrap();
    let mut writer = owner.writer();
    let mut twins: Vec<Option<Arc<Twin>>> = vec![None; 1_000];
    for round in 0..60 {
        // A hundred devices at a time, far from each other.
        let first = owner.reserve(100).await.unwrap().0;
        let chosen: Vec<usize> = (0..100).map(|n| n * 10 + round % 10).collect();
        let changes: Vec<Change> = (first..)
            .zip(&chosen)
            .map(|(position, n)| change(&key(&format!("d{n}")), twins[*n].as_ref(), position, 1))
            .collect();
        for (n, change) in chosen.iter().zip(&changes) {
            twins[*n].clone_from(&change.after);
        }
        assert_eq!(writer.commit(&batch(changes)).await.unwrap(), Outcome::default());
    }
    drop(writer);
    owner.release().await;
    let hot = "SELECT CASE WHEN n_tup_upd < 5000 THEN -1 ELSE 100 * n_tup_hot_upd / n_tup_upd END
        FROM pg_stat_user_tables WHERE relname = 'devices'";
    let database = store.options().clone();
    let mut percent = -1;
    until("the statistics are there", async || {
        percent = number(&database, hot).await;
        percent >= 0
    })
    .await;
    assert!(percent >= 90, "{percent} % of the updates stayed on their page");
    store.close().await;
    local.stop().await.unwrap();
}
