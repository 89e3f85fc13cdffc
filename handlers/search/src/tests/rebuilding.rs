use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use statecast_state::TenantId;
use statecast_state::query::Query;
use tokio::task::JoinHandle;

use super::fleet::{Fleet, PATIENCE, Running, now};
use super::following::until;
use crate::schema::SCHEMA_VERSION;
use crate::{NotFollowing, Question, SearchError, Settings, Source};

/// Names of the generations on disk.
fn generations(dir: &std::path::Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "lock").collect()
}

/// Begins to build it anew; until the scans of the fleet are let go, it has nothing.
async fn held_rebuild(index: &Running, fleet: &Fleet) -> JoinHandle<Result<(), NotFollowing>> {
    fleet.held.send_replace(true);
    let search = index.search.clone();
    let rebuild = tokio::spawn(async move { search.rebuild().await });
    until(|| index.search.status().building.is_some()).await;
    rebuild
}

#[tokio::test]
async fn while_it_is_built_anew_the_old_one_follows() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(5_000);
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    let rebuild = held_rebuild(&index, &fleet).await;
    for n in 0..50 {
        let position = fleet.report("d00001", &json!({"mark": n}));
        index.search.wait(position, PATIENCE).await.unwrap();
        assert_eq!(index.total(&format!("mark:{n}")), 1);
    }
    fleet.remove("d00002");
    index.caught_up(&fleet).await;
    assert_eq!(index.search.status().building.map(|building| building.done), Some(0));
    fleet.held.send_replace(false);
    rebuild.await.unwrap().unwrap();
    assert_eq!(
        (index.total(""), index.total("mark:49"), index.search.position()),
        (4_999, 1, fleet.watermark())
    );
    assert_eq!((index.search.status().building, generations(dir.path()).len()), (None, 1));
    assert_eq!(index.verify(&fleet).await.unwrap().differed(), 0);
    index.stop().await;
}

#[tokio::test]
async fn a_build_that_fails_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(100);
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    let rebuild = held_rebuild(&index, &fleet).await;
    until(|| generations(dir.path()).len() == 2).await;
    // By the time the first try has read everything, the feed doesn't reach back to its beginning.
    fleet.report("d00001", &json!({"mark": 1}));
    index.caught_up(&fleet).await;
    fleet.forget(fleet.watermark());
    fleet.held.send_replace(false);
    rebuild.await.unwrap().unwrap();
    assert_eq!(index.total("mark:1"), 1);
    assert_eq!(generations(dir.path()), [format!("s{SCHEMA_VERSION}-3")]);
    index.stop().await;
}

#[tokio::test]
async fn one_of_another_schema_answers_until_the_new_one_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(100);
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    index.stop().await;
    fleet.report("d00001", &json!({"n": 777}));
    fleet.held.send_replace(true);
    let newer = Settings { schema_version: SCHEMA_VERSION + 1, ..Settings::default() };
    let index = Running::start_with(dir.path(), &fleet, newer.clone()).await;
    index.caught_up(&fleet).await;
    assert_eq!((index.total(""), index.total("n:777")), (100, 1), "the old one answers, and follows");
    fleet.held.send_replace(false);
    let name = format!("s{}-2", SCHEMA_VERSION + 1);
    until(|| generations(dir.path()) == [name.as_str()]).await;
    until(|| index.search.status().building.is_none()).await;
    assert_eq!((index.total(""), index.total("n:777")), (100, 1));
    index.stop().await;

    let scanned = fleet.scanned.load(Ordering::SeqCst);
    let index = Running::start_with(dir.path(), &fleet, newer).await;
    index.caught_up(&fleet).await;
    assert_eq!(fleet.scanned.load(Ordering::SeqCst), scanned, "it is of this schema now");
    index.stop().await;
}

#[tokio::test]
async fn without_an_index_a_search_says_how_far_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(300);
    fleet.held.send_replace(true);
    let index = Running::start(dir.path(), &fleet).await;
    until(|| index.search.status().building.is_some()).await;
    let query = Query::parse("").unwrap();
    let answer = index.search.search(&Question::new(&TenantId::default(), &query, now()));
    let Err(error @ SearchError::Incomplete(_)) = answer else { panic!("{answer:?}") };
    assert_eq!(error.to_string(), "the index is being built: 0 of 300 devices");
    assert!(index.search.complete(Duration::from_millis(10)).await.is_err());
    fleet.held.send_replace(false);
    index.search.complete(PATIENCE).await.unwrap();
    assert_eq!(index.total(""), 300);
    index.stop().await;
}

#[tokio::test]
async fn files_that_vanish_are_noticed_and_replaced_while_it_answers() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(200);
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    let before = generations(dir.path());
    fs::remove_dir_all(dir.path().join(&before[0])).unwrap();
    let position = fleet.report("d00001", &json!({"n": 555}));
    index.search.wait(position, PATIENCE).await.unwrap();
    assert_eq!((index.total(""), index.total("n:555")), (200, 1));
    until(|| generations(dir.path()).iter().any(|name| *name != before[0])).await;
    until(|| index.search.status().building.is_none()).await;
    assert_eq!((index.total(""), index.total("n:555")), (200, 1));
    index.stop().await;
    let scanned = fleet.scanned.load(Ordering::SeqCst);
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    assert_eq!((index.total(""), fleet.scanned.load(Ordering::SeqCst)), (200, scanned));
    index.stop().await;
}

#[tokio::test]
async fn a_kill_loses_nothing_that_the_feed_has() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(100);
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    index.stop().await;
    let saved = tempfile::tempdir().unwrap();
    copy(dir.path(), saved.path());
    let index = Running::start(dir.path(), &fleet).await;
    fleet.report("d00001", &json!({"n": 1_000}));
    index.caught_up(&fleet).await;
    index.stop().await;

    // What is on disk is older than what was searchable.
    let scanned = fleet.scanned.load(Ordering::SeqCst);
    let index = Running::start(saved.path(), &fleet).await;
    index.caught_up(&fleet).await;
    assert_eq!((index.total("n:1000"), fleet.scanned.load(Ordering::SeqCst)), (1, scanned));
    assert_eq!(fleet.watermark(), index.search.position());
    index.stop().await;
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
