use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use statecast_state::Position;

use super::fleet::{Fleet, PATIENCE, Running};
use crate::{Late, Source};

#[tokio::test]
async fn what_changes_is_found_and_what_is_removed_isnt() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(10);
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    assert_eq!(index.total(""), 10);

    fleet.report("d00003", &json!({"n": 100}));
    fleet.report("d00004", &json!({"n": 1}));
    fleet.report("d00004", &json!({"n": 200}));
    fleet.remove("d00005");
    fleet.report("new", &json!({"n": 7}));
    index.caught_up(&fleet).await;
    assert_eq!(index.ids("n:>=7", "-n"), ["d00004", "d00003", "d00009", "d00008", "d00007", "new"]);
    assert_eq!(index.total(""), 10);
    index.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_its_own_writes_while_others_write() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(100);
    let index = Running::start(dir.path(), &fleet).await;
    let others = {
        let fleet = fleet.clone();
        tokio::spawn(async move {
            for n in 0.. {
                fleet.report(&format!("d{:05}", n % 100), &json!({"n": n}));
                // Many times what an index bears without writing each device once.
                if n % 20 == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        })
    };
    for n in 0..20 {
        let position = fleet.report("mine", &json!({"mark": n}));
        index.search.wait(position, PATIENCE).await.unwrap();
        assert!(index.search.position() >= position);
        assert_eq!(index.ids(&format!("mark:{n}"), ""), ["mine"]);
    }
    others.abort();
    index.stop().await;
}

#[tokio::test]
async fn waiting_for_what_never_comes_ends() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(1);
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    let late = index.search.wait(Position(1_000), Duration::from_millis(50)).await;
    assert_eq!(late, Err(Late { wanted: Position(1_000), reached: Position(3) }));
    index.stop().await;
}

#[tokio::test]
async fn a_new_start_catches_up_without_a_scan() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(50);
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    let scanned = fleet.scanned.load(Ordering::SeqCst);
    index.stop().await;

    fleet.report("d00001", &json!({"n": 999}));
    fleet.remove("d00002");
    let index = Running::start(dir.path(), &fleet).await;
    assert_eq!(index.total(""), 50, "the old index answers at once");
    index.caught_up(&fleet).await;
    assert_eq!((index.total(""), index.total("n:999")), (49, 1));
    assert_eq!(fleet.scanned.load(Ordering::SeqCst), scanned);
    index.stop().await;
}

#[tokio::test]
async fn a_source_that_fails_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(5);
    fleet.failing.store(2, Ordering::SeqCst);
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    fleet.failing.store(2, Ordering::SeqCst);
    fleet.report("d00001", &json!({"n": 999}));
    index.caught_up(&fleet).await;
    assert_eq!((index.total(""), index.total("n:999")), (5, 1));
    index.stop().await;
}

#[tokio::test]
async fn an_index_that_is_ahead_of_a_restored_database_is_built_anew() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(5);
    let earlier = fleet.watermark();
    fleet.report("late", &json!({"n": 5}));
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    assert_eq!(index.total(""), 6);
    index.stop().await;

    fleet.tamper("late", None);
    fleet.restore(earlier);
    let index = Running::start(dir.path(), &fleet).await;
    until(|| index.search.position() == fleet.watermark() && index.total("") == 5).await;
    index.stop().await;
}

#[tokio::test]
async fn a_feed_that_no_longer_reaches_back_leads_to_a_new_index() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(5);
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    index.stop().await;

    fleet.remove("d00001");
    fleet.forget(fleet.watermark());
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    assert_eq!(index.total(""), 4);
    index.stop().await;
}

#[tokio::test]
async fn a_rebuild_drops_what_the_source_doesnt_have() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(5);
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    fleet.tamper("d00001", None);
    index.search.rebuild().await.unwrap();
    assert_eq!(index.total(""), 4);
    let generations = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(generations, 2, "one generation and the lock");
    index.stop().await;
}

#[tokio::test]
async fn one_index_has_one_follower() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(1);
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    let second = crate::follow(index.search.clone(), fleet.clone(), Default::default()).await;
    assert!(second.is_err());
    let again = crate::Search::open(dir.path(), crate::Settings::default());
    assert!(matches!(again, Err(crate::SearchError::InUse(_))));
    index.stop().await;
}

/// Waits until a condition holds.
pub(super) async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the condition holds in time");
}
