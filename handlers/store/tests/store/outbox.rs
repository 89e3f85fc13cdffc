//! Pushes: claimed with a lease, finished once.

use std::time::Duration;

use statecast_state::push::{Finished, Outcome};
use statecast_state::rule::{Receiver, ReceiverKind};
use statecast_state::{Push, TenantId};
use statecast_store::outbox::{PushFilter, PushState};
use statecast_store::{Batch, Store};
use uuid::Uuid;

use crate::support::{change, key, now, push, store, until};

const LEASE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(5);

fn receiver(n: u128) -> Receiver {
    let kind = ReceiverKind::Webhook { url: "https://example.org/".into(), secret: "whsec_".into() };
    Receiver {
        id: Uuid::from_u128(n),
        name: "ops".into(),
        kind,
        enabled: true,
        disabled_reason: None,
        person: None,
    }
}

/// A store with `count` pushes for each of these receivers.
async fn with_pushes(receivers: &[Receiver], count: u64) -> (Store, Vec<Push>) {
    let store = store().await;
    let tenant = TenantId::default();
    for receiver in receivers {
        store.put_receiver(&tenant, receiver).await.unwrap();
    }
    let owner = store.own().await.unwrap();
    let mut changes = Vec::new();
    let mut pushes = Vec::new();
    for n in 0..count {
        let key = key(&format!("d{n}"));
        let mut next = change(&key, None, 1 + n, n);
        next.pushes = receivers.iter().map(|receiver| push(&key.device, receiver.id)).collect();
        pushes.extend(next.pushes.iter().map(|push| Push { position: next.position, ..push.clone() }));
        changes.push(next);
    }
    owner.writer().commit(&Batch { changes, dead_letters: vec![] }).await.unwrap();
    owner.release().await;
    (store, pushes)
}

/// Without when it is due, which a claim changes.
fn as_written(push: &Push) -> Push {
    Push { due_at: push.created_at, ..push.clone() }
}

fn finished(push: &Push, outcome: Outcome) -> Finished {
    Finished { tenant: TenantId::default(), id: push.id, outcome }
}

#[tokio::test]
async fn a_push_is_claimed_by_one_and_again_after_its_lease() {
    let (store, pushes) = with_pushes(&[receiver(1)], 20).await;
    let (a, b) = tokio::join!(store.claim(12, LEASE, INTERVAL), store.claim(12, LEASE, INTERVAL));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a.len() + b.len(), 20);
    let mut ids: Vec<Uuid> = a.iter().chain(&b).map(|claimed| claimed.push.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    assert!(a.iter().all(|claimed| claimed.attempt == 1 && claimed.receiver == receiver(1)));
    let claimed = a.iter().chain(&b).find(|claimed| claimed.push.id == pushes[0].id).unwrap();
    assert_eq!(as_written(&claimed.push), as_written(&pushes[0]));
    assert_eq!(store.claim(100, LEASE, INTERVAL).await.unwrap(), []);
    assert!(store.next_due().await.unwrap().unwrap() > now());

    // A lease that has ended.
    let due = Outcome::Retry { at: now(), error: "503\0".into() };
    store.finish(&[finished(&pushes[3], due)]).await.unwrap();
    let again = store.claim(100, Duration::from_millis(1), INTERVAL).await.unwrap();
    assert_eq!(
        again.iter().map(|claimed| (claimed.push.id, claimed.attempt)).collect::<Vec<_>>(),
        [(pushes[3].id, 2)]
    );
    until("the lease has ended", async || {
        store.claim(100, LEASE, INTERVAL).await.unwrap().iter().any(|claimed| claimed.attempt == 3)
    })
    .await;
}

#[tokio::test]
async fn what_is_finished_stays_so() {
    let (store, pushes) = with_pushes(&[receiver(1)], 4).await;
    store.claim(100, LEASE, INTERVAL).await.unwrap();
    let dead = |error: &str| Outcome::Dead { error: error.into() };
    let first = [
        finished(&pushes[0], Outcome::Delivered { status: 204 }),
        finished(&pushes[1], dead("too late")),
        finished(&pushes[2], Outcome::Retry { at: now().plus_micros(5_000_000), error: "503".into() }),
    ];
    store.finish(&first).await.unwrap();
    store.finish(&[finished(&pushes[0], dead("late answer"))]).await.unwrap();
    let tenant = TenantId::default();
    let all = store.deliveries(&tenant, PushFilter::default(), 10).await.unwrap();
    let states: Vec<_> = all.iter().map(|row| (row.state, row.error.as_deref(), row.status)).collect();
    let expected = [
        (PushState::Waiting, None, None),
        (PushState::Waiting, Some("503"), None),
        (PushState::Dead, Some("too late"), None),
        (PushState::Delivered, None, Some(204)),
    ];
    assert_eq!(states, expected);
    let filter = PushFilter { state: Some(PushState::Dead), ..PushFilter::default() };
    let found = store.deliveries(&tenant, filter, 10).await.unwrap();
    assert_eq!(as_written(&found[0].push), as_written(&pushes[1]));
    let filter = PushFilter { device: Some(&pushes[2].device), ..PushFilter::default() };
    let found = store.deliveries(&tenant, filter, 10).await.unwrap();
    assert_eq!(as_written(&found[0].push), as_written(&pushes[2]));
    let page = store.deliveries(&tenant, PushFilter::default(), 3).await.unwrap();
    let before = page.last().map(|row| (row.push.position, row.push.id));
    let rest = store.deliveries(&tenant, PushFilter { before, ..PushFilter::default() }, 3).await.unwrap();
    assert_eq!(rest.iter().map(|row| row.push.id).collect::<Vec<_>>(), [pushes[0].id]);
    assert_eq!(store.trim_pushes(now().plus_micros(1)).await.unwrap(), 2);
}

#[tokio::test]
async fn a_receiver_that_is_gone_gets_nothing_more() {
    let receivers = [receiver(1), receiver(2)];
    let (store, pushes) = with_pushes(&receivers, 3).await;
    let tenant = TenantId::default();
    let claimed = store.claim(2, LEASE, INTERVAL).await.unwrap();
    assert_eq!(claimed.len(), 2);
    let of_first = pushes.iter().find(|push| push.receiver == receivers[0].id).unwrap();
    store.finish(&[finished(of_first, Outcome::ReceiverGone { error: "410".into() })]).await.unwrap();
    let first = store.receiver(&tenant, receivers[0].id).await.unwrap().unwrap();
    assert!(!first.enabled);
    assert_eq!(first.disabled_reason.as_deref(), Some("410"));
    let filter = PushFilter { state: Some(PushState::Dead), ..PushFilter::default() };
    assert_eq!(store.deliveries(&tenant, filter, 10).await.unwrap().len(), 3);
    let rest = store.claim(100, LEASE, INTERVAL).await.unwrap();
    assert!(rest.iter().all(|claimed| claimed.receiver.id == receivers[1].id));

    // One that was written for it meanwhile is given up when it is claimed.
    store.delete_receiver(&tenant, receivers[1].id).await.unwrap();
    let owner = store.own().await.unwrap();
    let mut late = change(&key("late"), None, owner.next_position().0, 1);
    late.pushes = receivers.iter().map(|receiver| push(&late.key.device, receiver.id)).collect();
    owner.writer().commit(&Batch { changes: vec![late], dead_letters: vec![] }).await.unwrap();
    owner.release().await;
    assert_eq!(store.claim(100, LEASE, INTERVAL).await.unwrap(), []);
    assert_eq!(store.next_due().await.unwrap(), None);
    assert_eq!(store.deliveries(&tenant, filter, 100).await.unwrap().len(), 8);
}
