//! Requests for desired state are written with the changes of their device, or not at all.

use std::sync::Arc;

use serde_json::json;
use statecast_state::request::{Requested, Step};
use statecast_state::{Change, DeviceKey, Timestamp, Twin};
use statecast_store::silent::Due;
use statecast_store::{Batch, Store};
use uuid::Uuid;

use crate::support::{change, document, key, now, removal, store};

fn requested(key: &DeviceKey, deadline: Timestamp) -> Requested {
    Requested {
        id: Uuid::now_v7(),
        device: key.device.clone(),
        version: 1,
        patch: document(json!({"level":2,"fade":{"ms":1}})),
        by: "app".into(),
        person: Some("ada".into()),
        state: Step::Requested,
        reason: None,
        requested_at: now(),
        sent_at: None,
        ended_at: None,
        deadline,
    }
}

/// A change with these requests.
fn with(change: Change, requests: &[&Requested]) -> Change {
    Change { requests: requests.iter().map(|one| Arc::new((*one).clone())).collect(), ..change }
}

async fn open(store: &Store, key: &DeviceKey) -> Vec<Arc<Requested>> {
    let loaded = store.load(std::slice::from_ref(key), now()).await.unwrap().remove(0);
    loaded.twin.map_or_else(Vec::new, |twin| twin.requests)
}

#[tokio::test]
async fn written_with_their_device_loaded_while_open_and_gone_with_it() {
    let store = store().await;
    let owner = store.own().await.unwrap();
    let mut writer = owner.writer();
    let (lamp, pump) = (key("lamp"), key("pump"));
    let soon = now().plus_micros(1_000_000);
    let (first, second) = (requested(&lamp, soon), requested(&lamp, soon.plus_micros(1)));
    let sent = Requested { state: Step::Sent, sent_at: Some(now()), ..first.clone() };
    let other = requested(&pump, soon);

    let one = with(change(&lamp, None, 1, 1), &[&first, &second]);
    let two = with(change(&lamp, one.after.as_ref(), 2, 2), &[&sent]);
    let twin = two.after.clone();
    // The guard of the other device doesn't hold: it has no such version.
    let wrong = Arc::new(Twin { version: 7, ..Twin::new(pump.device.clone()) });
    let lost = with(change(&pump, Some(&wrong), 3, 1), &[&other]);
    let batch = Batch { changes: vec![one, two, lost], dead_letters: Vec::new() };
    assert_eq!(writer.commit(&batch).await.unwrap().lost, std::slice::from_ref(&pump));

    assert_eq!(store.request(&lamp.tenant, first.id).await.unwrap(), Some(sent.clone()));
    assert_eq!(store.request(&pump.tenant, other.id).await.unwrap(), None, "not without its change");
    assert_eq!(open(&store, &lamp).await, [Arc::new(sent.clone()), Arc::new(second.clone())]);
    let newest = store.requests(&lamp, true, None, 1).await.unwrap();
    assert_eq!(newest, std::slice::from_ref(&second));
    assert_eq!(store.requests(&lamp, false, Some(second.id), 9).await.unwrap(), std::slice::from_ref(&sent));

    let beginning = Due { at: Timestamp::from_micros(i64::MIN), key: None };
    let due = store.requests_due(&beginning, soon, 9).await.unwrap();
    assert_eq!(due, [Due { at: soon, key: Some(lamp.clone()) }]);
    assert_eq!(store.requests_due(&due[0], soon.plus_micros(9), 9).await.unwrap().len(), 1);

    let over = Requested { state: Step::Applied, ended_at: Some(now()), ..second.clone() };
    let three = with(change(&lamp, twin.as_ref(), 4, 3), &[&over]);
    let twin = three.after.clone().unwrap();
    writer.commit(&Batch { changes: vec![three], dead_letters: Vec::new() }).await.unwrap();
    assert_eq!(open(&store, &lamp).await, [Arc::new(sent)]);
    assert_eq!(store.trim_requests(now()).await.unwrap(), 1, "only what is over");

    let gone = removal(&lamp, &twin, 5);
    writer.commit(&Batch { changes: vec![gone], dead_letters: Vec::new() }).await.unwrap();
    assert_eq!(store.requests(&lamp, false, None, 9).await.unwrap(), []);
}
