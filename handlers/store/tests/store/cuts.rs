//! The connection is lost between the rows that a statement returned and the end of the statement: whatever had
//! happened by then, everything is written once, and the outcome is true.

use statecast_state::{Change, Position, TenantId};
use statecast_store::{Batch, DeadLetter, Outcome, Owner, Store};

use crate::proxy::{Cut, Proxy};
use crate::support::{change, empty_database, key, now, removal, until};

/// A store and its owner whose connections go through a proxy, and a store beside it.
async fn cuttable() -> (Proxy, Store, Owner) {
    let direct = empty_database().await;
    let store = Store::connect(direct.clone(), 2).await.unwrap();
    store.migrate().await.unwrap();
    let proxy = Proxy::start(&direct).await;
    let through = Store::connect(proxy.options(&direct), 1).await.unwrap();
    let owner = through.own().await.unwrap();
    (proxy, store, owner)
}

async fn cut_a_batch(cut: Cut) {
    let (proxy, store, owner) = cuttable().await;
    let mut writer = owner.writer();
    let (mine, other) = (key("mine"), key("other"));
    let first = vec![change(&mine, None, 11, 1), change(&other, None, 12, 1)];
    let twins: Vec<_> = first.iter().map(|change| change.after.clone()).collect();
    let batch = |changes| Batch { changes, dead_letters: Vec::new() };
    assert_eq!(writer.commit(&batch(first)).await.unwrap(), Outcome::default());

    // One device follows what is there, the other one doesn't.
    let mut second = vec![
        change(&mine, twins[0].as_ref(), 21, 2),
        change(&other, None, 22, 2),
        change(&key("third"), None, 23, 2),
    ];
    second.sort_by(|a, b| a.key.cmp(&b.key));
    proxy.cut_next(cut);
    let outcome = writer.commit(&batch(second)).await.unwrap();
    assert_eq!(proxy.cuts(), 1);
    assert_eq!(outcome, Outcome { lost: vec![other], poison: vec![] });
    let feed = store.feed(Position(0), Position(100), 100).await.unwrap();
    assert_eq!(feed.iter().map(|row| row.row.position.0).collect::<Vec<_>>(), [11, 12, 21, 23]);
    assert_eq!(store.twin(&mine).await.unwrap().unwrap().version, 2);

    // The writer goes on.
    let third = vec![change(&key("third"), feed_twin(&store).await.as_ref(), 31, 3)];
    assert_eq!(writer.commit(&batch(third)).await.unwrap(), Outcome::default());
    owner.release().await;
}

async fn feed_twin(store: &Store) -> Option<std::sync::Arc<statecast_state::Twin>> {
    store.twin(&key("third")).await.unwrap().map(std::sync::Arc::new)
}

#[tokio::test]
async fn a_batch_that_had_committed_is_not_written_again() {
    cut_a_batch(Cut::AfterCommit("SELECT")).await;
}

/// The rows had come, but the transaction never ended, and the server doesn't know that its client is gone:
/// it still holds the locks.
#[tokio::test]
async fn a_batch_that_had_not_committed_is_written() {
    cut_a_batch(Cut::BeforeCommit("SELECT")).await;
}

async fn cut_dead_letters(cut: Cut) {
    let (proxy, store, owner) = cuttable().await;
    let mut writer = owner.writer();
    let letter = |topic: &str| DeadLetter {
        tenant: TenantId::default(),
        device: None,
        topic: topic.into(),
        payload: "x".into(),
        reason: "not JSON".into(),
        received_at: now(),
    };
    let batch = |topic| Batch { changes: Vec::<Change>::new(), dead_letters: vec![letter(topic)] };
    writer.commit(&batch("first")).await.unwrap();
    proxy.cut_next(cut);
    writer.commit(&batch("second")).await.unwrap();
    assert_eq!(proxy.cuts(), 1);
    let letters = store.dead_letters(&TenantId::default(), None, 10).await.unwrap();
    let topics: Vec<_> = letters.iter().map(|stored| stored.letter.topic.as_str()).collect();
    assert_eq!(topics, ["second", "first"]);
    owner.release().await;
}

#[tokio::test]
async fn dead_letters_are_written_once() {
    cut_dead_letters(Cut::AfterCommit("SELECT")).await;
    cut_dead_letters(Cut::BeforeCommit("SELECT")).await;
}

async fn cut_a_removal(cut: Cut) {
    let (proxy, store, owner) = cuttable().await;
    let mut writer = owner.writer();
    let device = key("gone");
    let batch = |changes| Batch { changes, dead_letters: Vec::new() };
    let first = change(&device, None, 11, 1);
    let twin = first.after.clone().unwrap();
    writer.commit(&batch(vec![first])).await.unwrap();
    // Once without a cut, which prepares the statement.
    let changes = vec![removal(&device, &twin, 12), change(&device, None, 13, 1)];
    assert_eq!(writer.commit(&batch(changes)).await.unwrap(), Outcome::default());
    proxy.cut_next(cut);
    let changes = vec![removal(&device, &twin, 21), change(&device, None, 22, 2)];
    assert_eq!(writer.commit(&batch(changes)).await.unwrap(), Outcome::default());
    assert_eq!(proxy.cuts(), 1);
    let feed = store.feed(Position(0), Position(100), 100).await.unwrap();
    assert_eq!(feed.iter().map(|row| row.row.position.0).collect::<Vec<_>>(), [21, 22]);
    assert_eq!(store.twin(&device).await.unwrap().unwrap().version, 1);
    owner.release().await;
}

#[tokio::test]
async fn a_removal_that_had_committed_is_not_repeated() {
    cut_a_removal(Cut::AfterCommit("COMMIT")).await;
}

#[tokio::test]
async fn a_removal_that_had_not_committed_is_repeated() {
    cut_a_removal(Cut::BeforeCommit("SELECT")).await;
}

/// An outage in the middle of everything.
#[tokio::test]
async fn a_batch_waits_for_the_end_of_an_outage() {
    let (proxy, store, owner) = cuttable().await;
    let mut writer = owner.writer();
    let batch = |changes| Batch { changes, dead_letters: Vec::new() };
    writer.commit(&batch(vec![change(&key("a"), None, 1, 1)])).await.unwrap();
    proxy.isolate(true);
    let waiting = tokio::spawn(async move {
        let outcome = writer.commit(&batch(vec![change(&key("b"), None, 2, 1)])).await;
        (outcome, writer)
    });
    // The server has noticed that the connections are gone, or ends the one that it has not.
    let options = store.options().clone();
    until("the lock of the owner is free", async || {
        let held = "SELECT count(*) FROM pg_stat_activity
            WHERE application_name = 'statecast-owner' AND datname = current_database()";
        crate::support::number(&options, held).await == 0
    })
    .await;
    assert!(!waiting.is_finished());
    proxy.isolate(false);
    let (outcome, _writer) = waiting.await.unwrap();
    assert_eq!(outcome, Ok(Outcome::default()));
    assert_eq!(store.count(None).await.unwrap(), 2);
    assert!(owner.reserve(3_000_000).await.is_ok(), "still the owner");
    owner.release().await;
}
