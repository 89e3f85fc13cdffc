//! One owner at a time, also when the one before doesn't know that it isn't any more.

use std::time::Duration;

use statecast_state::Position;
use statecast_store::{Batch, Fenced, Outcome, OwnError, Store};

use crate::proxy::{Cut, Proxy};
use crate::support::{change, empty_database, key, number, store, until};

#[tokio::test]
async fn a_second_owner_is_told_who_the_first_one_is() {
    let store = store().await;
    let owner = store.own().await.unwrap();
    let first = owner.next_position();
    assert!(first >= Position(1));
    let Err(OwnError::Taken { holder }) = store.own().await else { panic!("there are two owners") };
    assert!(holder.contains(&format!("process {}", std::process::id())), "{holder}");
    owner.release().await;
    let next = store.own().await.unwrap();
    assert!(next.next_position() > first);
    next.release().await;
}

#[tokio::test]
async fn positions_rise_over_blocks_and_owners() {
    let store = store().await;
    let mut last = Position(0);
    for _ in 0..2 {
        let owner = store.own().await.unwrap();
        assert!(owner.next_position() > last);
        for n in [1, 600_000, 5, 2_500_000, 1] {
            let first = owner.reserve(n).await.unwrap();
            assert!(first > last, "{first} after {last}");
            last = Position(first.0 + n - 1);
        }
        let reserved = number(store.options(), "SELECT reserved FROM owner").await;
        assert!(reserved > last.0.cast_signed(), "{reserved} {last}");
        drop(owner);
    }
}

#[tokio::test]
async fn an_owner_that_was_cut_off_can_commit_nothing_once_there_is_another() {
    let direct = empty_database().await;
    let store = Store::connect(direct.clone(), 2).await.unwrap();
    store.migrate().await.unwrap();
    let proxy = Proxy::start(&direct).await;
    let cut_off = Store::connect(proxy.options(&direct), 1).await.unwrap();
    let old = cut_off.own().await.unwrap();
    let mut old_writer = old.writer();
    let batch = |changes| Batch { changes, dead_letters: Vec::new() };
    old_writer.commit(&batch(vec![change(&key("a"), None, 1, 1)])).await.unwrap();

    // A statement of the old owner has run but isn't committed, when it is cut off.
    proxy.cut_next_and_isolate(Cut::BeforeCommit("SELECT"));
    let ghost =
        tokio::spawn(async move { old_writer.commit(&batch(vec![change(&key("b"), None, 2, 1)])).await });
    until("the writer is cut", async || proxy.cuts() == 1).await;
    let new = store.own().await.unwrap();
    assert!(new.next_position() > old.next_position());
    let mut new_writer = new.writer();
    let changes = vec![change(&key("c"), None, new.next_position().0, 1)];
    assert_eq!(new_writer.commit(&batch_of(changes)).await.unwrap(), Outcome::default());

    proxy.isolate(false);
    assert_eq!(ghost.await.unwrap(), Err(Fenced));
    tokio::time::timeout(Duration::from_secs(30), old.lost()).await.unwrap();
    assert_eq!(old.reserve(1).await, Err(Fenced));
    let written = number(&direct, "SELECT count(*) FROM history WHERE device = 'c'").await;
    let ghosts = number(&direct, "SELECT count(*) FROM history WHERE device = 'b'").await;
    assert_eq!((written, ghosts), (1, 0));
    new.release().await;
}

fn batch_of(changes: Vec<statecast_state::Change>) -> Batch {
    Batch { changes, dead_letters: Vec::new() }
}
