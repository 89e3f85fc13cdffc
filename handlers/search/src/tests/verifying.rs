use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use statecast_state::Twin;

use super::fleet::{Fleet, PATIENCE, Running, document, key};
use super::following::until;
use crate::check::check_after;
use crate::source::Source;
use crate::{Search, Settings, Verified};

#[tokio::test]
async fn what_differs_is_found_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(1_500);
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    assert_eq!(index.verify(&fleet).await.unwrap(), Verified { checked: 1_500, ..Verified::default() });

    let twin = |device: &str, version| Twin {
        version,
        reported: document(&json!({"n": 5_000})),
        ..Twin::new(key(device).device)
    };
    fleet.tamper("missing", Some(twin("missing", 1)));
    fleet.tamper("d00100", None);
    fleet.tamper("d00200", Some(twin("d00200", 9)));
    let found = index.verify(&fleet).await.unwrap();
    assert_eq!(found, Verified { checked: 1_500, missing: 1, extra: 1, different: 1, repaired: 3 });
    assert_eq!(index.ids("n:5000", ""), ["d00200", "missing"]);
    assert_eq!(index.total("id:d00100"), 0);
    assert_eq!(index.verify(&fleet).await.unwrap(), Verified { checked: 1_500, ..Verified::default() });
    index.stop().await;
}

#[tokio::test]
async fn a_device_with_two_documents_is_found_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(20);
    let (path, all) = (dir.path().to_owned(), fleet.scan(None, 20).await.unwrap());
    let upto = fleet.watermark();
    let fill = move || {
        let search = Search::open(&path, Settings::default()).unwrap();
        let filling = search.take_hands().unwrap().shelf.create().unwrap();
        filling.add(&all).unwrap();
        // One as it was, and one as it is.
        let before = Twin { version: 0, ..Twin::clone(&all[3].1) };
        filling.add(&[(all[3].0.clone(), Arc::new(before)), all[7].clone()]).unwrap();
        drop(filling.finish(upto, upto).unwrap());
    };
    tokio::task::spawn_blocking(fill).await.unwrap();
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    assert_eq!(index.total(""), 22);
    let found = index.verify(&fleet).await.unwrap();
    assert_eq!(found, Verified { checked: 20, different: 2, repaired: 2, ..Verified::default() });
    assert_eq!(index.total(""), 20);
    index.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_fleet_isnt_mistaken_for_a_wrong_index() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(300);
    let index = Running::start(dir.path(), &fleet).await;
    let done = Arc::new(AtomicBool::new(false));
    let busy = {
        let (fleet, done) = (fleet.clone(), done.clone());
        tokio::spawn(async move {
            let mut n = 0;
            while !done.load(Ordering::SeqCst) {
                n += 1;
                fleet.report(&format!("d{:05}", n % 300), &json!({"n": n}));
                if n % 50 == 0 {
                    fleet.remove(&format!("d{:05}", n % 300));
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            }
        })
    };
    index.search.complete(PATIENCE).await.unwrap();
    for _ in 0..3 {
        let found = index.verify(&fleet).await.unwrap();
        assert_eq!((found.missing, found.extra, found.different), (0, 0, 0));
    }
    done.store(true, Ordering::SeqCst);
    busy.await.unwrap();
    index.stop().await;
}

#[tokio::test]
async fn a_fleet_is_checked_after_its_last_change_and_not_again() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::of(2_500);
    let index = Running::start(dir.path(), &fleet).await;
    index.caught_up(&fleet).await;
    let ghost = Twin { version: 7, ..Twin::new(key("ghost").device) };
    fleet.tamper("ghost", Some(ghost));
    let stop = tokio_util::sync::CancellationToken::new();
    let passes = || fleet.passes.load(Ordering::SeqCst);
    let delay = std::time::Duration::from_millis(1);
    let checking = tokio::spawn(check_after(delay, index.search.clone(), fleet.clone(), 100, stop.clone()));
    until(|| index.search.status().checked.is_some()).await;
    let checked = index.search.status().checked.unwrap();
    assert_eq!(checked.found, Verified { checked: 2_501, missing: 1, repaired: 1, ..Verified::default() });
    assert_eq!((checked.position, passes()), (fleet.watermark(), 1));

    // Nothing that it could notice happens; then something does.
    fleet.tamper("unnoticed", Some(Twin { version: 1, ..Twin::new(key("unnoticed").device) }));
    let position = fleet.report("d00001", &json!({"n": 1}));
    until(|| index.search.status().checked.is_some_and(|checked| checked.position == position)).await;
    assert_eq!((passes(), index.total("id:unnoticed")), (2, 1));
    stop.cancel();
    checking.await.unwrap();
    index.stop().await;
}
