//! A partition a day.

use statecast_state::{Position, Timestamp};
use statecast_store::{Batch, Store};

use crate::support::{change, empty_database, key, now, number};

const DAY: i64 = 86_400_000_000;

async fn put(store: &Store, device: &str, position: u64, received_at: Timestamp) {
    let owner = store.own().await.unwrap();
    let mut only = change(&key(device), None, position, 1);
    only.received_at = received_at;
    owner.writer().commit(&Batch { changes: vec![only], dead_letters: vec![] }).await.unwrap();
    owner.release().await;
}

#[tokio::test]
async fn days_are_made_ahead_and_dropped_as_a_whole() {
    let store = Store::connect(empty_database().await, 2).await.unwrap();
    assert!(store.migrations().await.unwrap().iter().all(|step| !step.applied));
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    let steps = store.migrations().await.unwrap();
    assert_eq!(steps[0].name, "the first tables");
    assert!(steps.iter().all(|step| step.applied));

    // Before there are any days, and with a clock that jumped by a month.
    let today = now();
    put(&store, "early", 1, today).await;
    put(&store, "jumped", 2, today.plus_micros(30 * DAY)).await;
    store.ensure_partitions(today).await.unwrap();
    store.ensure_partitions(today).await.unwrap();
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'history'::regclass";
    assert_eq!(number(store.options(), partitions).await, 10);
    let waiting = "SELECT count(*) FROM history_default";
    assert_eq!(number(store.options(), waiting).await, 1);
    put(&store, "today", 3, today).await;
    put(&store, "in a week".replace(' ', "-").as_str(), 4, today.plus_micros(7 * DAY)).await;
    assert_eq!(number(store.options(), waiting).await, 1);
    assert_eq!(store.feed(Position(0), Position(9), 9).await.unwrap().len(), 4);

    assert_eq!(store.feed_floor().await.unwrap(), Position(0));
    assert_eq!(store.drop_before(today).await.unwrap(), 1);
    assert_eq!(store.feed_floor().await.unwrap(), Position(0));
    assert_eq!(store.drop_before(today.plus_micros(2 * DAY)).await.unwrap(), 2);
    assert_eq!(store.feed_floor().await.unwrap(), Position(3));
    let left = store.feed(Position(0), Position(9), 9).await.unwrap();
    assert_eq!(left.iter().map(|row| row.row.position.0).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(store.drop_before(today.plus_micros(40 * DAY)).await.unwrap(), 6);
    assert_eq!(store.feed_floor().await.unwrap(), Position(4));
    assert_eq!(store.count(None).await.unwrap(), 4);
}
