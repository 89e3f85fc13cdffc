//! What a claim finds to be worth sending, and what it makes of the rest.

use std::time::Duration;

use serde_json::{Value, json};
use statecast_state::alarm::Alarm;
use statecast_state::claim::Hold;
use statecast_state::rule::{Receiver, ReceiverKind};
use statecast_state::{Change, DeviceKey, Push, PushKind, TenantId};
use statecast_store::outbox::{PushFilter, PushRow, PushState};
use statecast_store::receipts::{Of, Receipt, Replay};
use statecast_store::{Batch, Store};
use uuid::Uuid;

use crate::support::{change, key, now, push, store, until};

const LEASE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(60);
const PHONE: u128 = 1;
const APP: u128 = 2;

fn receiver(id: u128, kind: ReceiverKind) -> Receiver {
    let (id, name, person) = (Uuid::from_u128(id), "r".into(), Some("anna".into()));
    Receiver { id, name, kind, enabled: true, disabled_reason: None, person }
}

/// A person with a phone and an app that follows live.
async fn with_receivers() -> Store {
    let store = store().await;
    let hook = ReceiverKind::Webhook { url: "https://example.org/".into(), secret: "whsec_".into() };
    for receiver in [receiver(PHONE, hook), receiver(APP, ReceiverKind::Live)] {
        store.put_receiver(&TenantId::default(), &receiver).await.unwrap();
    }
    store
}

fn alarm(key: &DeviceKey, version: u64) -> Alarm {
    Alarm { version, active: true, ..Alarm::new(key, Uuid::nil()) }
}

/// A push of the alarm of a device at a version.
fn told(key: &DeviceKey, version: u64, receiver: u128) -> Push {
    Push {
        payload: json!({ "title": format!("{} is hot", key.device), "alarm": { "id": 1 } }),
        alarm: Some(alarm(key, version).id),
        alarm_version: version,
        person: Some("anna".into()),
        ..push(&key.device, Uuid::from_u128(receiver))
    }
}

/// Commits one change for each device: its alarm at that version, and these pushes.
async fn commit(store: &Store, all: Vec<(DeviceKey, u64, Vec<Push>)>) {
    let owner = store.own().await.unwrap();
    let first = owner.reserve(all.len() as u64).await.unwrap().0;
    let changes = (first..).zip(all).map(|(position, (key, version, pushes))| {
        let mut next: Change = change(&key, None, position, position);
        next.alarms.push(alarm(&key, version));
        next.pushes = pushes;
        next
    });
    let batch = Batch { changes: changes.collect(), dead_letters: vec![] };
    assert_eq!(owner.writer().commit(&batch).await.unwrap().lost, []);
    owner.release().await;
}

async fn rows(store: &Store) -> Vec<PushRow> {
    store.deliveries(&TenantId::default(), PushFilter::default(), 100).await.unwrap()
}

async fn states(store: &Store) -> Vec<&'static str> {
    let mut states: Vec<_> = rows(store).await.iter().map(|row| row.state.as_str()).collect();
    states.sort_unstable();
    states
}

async fn claimed(store: &Store) -> Vec<Push> {
    let claimed = store.claim(100, LEASE, INTERVAL).await.unwrap();
    claimed.into_iter().map(|claimed| claimed.push).collect()
}

#[tokio::test]
async fn what_was_overtaken_is_not_sent_and_that_is_known_before() {
    let store = with_receivers().await;
    let (gone_on, as_it_was) = (key("a"), key("b"));
    let update = |key: &DeviceKey| Push { kind: PushKind::Update, ..told(key, 2, PHONE) };
    commit(
        &store,
        vec![
            // Acknowledged before anything was told: the update isn't needed either.
            (gone_on.clone(), 2, vec![told(&gone_on, 1, PHONE), update(&gone_on)]),
            (as_it_was.clone(), 1, vec![told(&as_it_was, 1, PHONE)]),
        ],
    )
    .await;
    let foreseen: Vec<_> = rows(&store).await.iter().filter_map(|row| row.foreseen).collect();
    assert_eq!(foreseen.len(), 2);
    assert!(foreseen.contains(&PushState::Superseded) && foreseen.contains(&PushState::Needless));
    let sent = claimed(&store).await;
    assert_eq!(sent.iter().map(|push| push.device.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(states(&store).await, ["needless", "superseded", "waiting"]);
}

#[tokio::test]
async fn an_update_follows_what_was_tried() {
    let store = with_receivers().await;
    let device = key("a");
    commit(&store, vec![(device.clone(), 1, vec![told(&device, 1, PHONE)])]).await;
    assert_eq!(claimed(&store).await.len(), 1);
    let other = key("b");
    let update = Push { kind: PushKind::Update, ..told(&device, 2, PHONE) };
    let elsewhere = Push { kind: PushKind::Update, ..told(&device, 2, APP) };
    commit(&store, vec![(other, 1, vec![update.clone(), elsewhere])]).await;
    let sent = claimed(&store).await;
    assert_eq!(sent.iter().map(|push| push.id).collect::<Vec<_>>(), [update.id]);
}

#[tokio::test]
async fn many_go_as_one_and_go_so_again() {
    let store = with_receivers().await;
    let all = (0..5).map(|n| key(&format!("d{n}"))).map(|key| {
        let push = told(&key, 1, PHONE);
        (key, 1, vec![push])
    });
    commit(&store, all.collect()).await;
    let sent = store.claim(100, Duration::from_millis(1), INTERVAL).await.unwrap();
    assert_eq!(sent.len(), 1);
    let one = &sent[0].push;
    assert_eq!(
        (&one.payload["group"]["count"], &one.payload["title"]),
        (&json!(5), &json!("d0 is hot (+4)"))
    );
    assert_eq!(states(&store).await, ["grouped", "grouped", "grouped", "grouped", "waiting"]);
    assert!(rows(&store).await.iter().filter_map(|row| row.leader).all(|leader| leader == one.id));

    // Its own alarm goes on meanwhile: the others have nothing else.
    let device = key("d0");
    let mut again = Vec::new();
    until("the lease has ended", async || {
        again = claimed(&store).await;
        !again.is_empty()
    })
    .await;
    assert_eq!((again.len(), again[0].id, &again[0].payload), (1, one.id, &one.payload));

    // What comes soon after waits; what is urgent doesn't.
    let (soon, urgent) = (told(&key("e"), 1, PHONE), Push { urgent: true, ..told(&key("f"), 1, PHONE) });
    commit(&store, vec![(key("e"), 1, vec![soon]), (key("f"), 1, vec![urgent.clone()])]).await;
    assert_eq!(claimed(&store).await.iter().map(|push| push.id).collect::<Vec<_>>(), [urgent.id]);
    let held: Vec<_> =
        rows(&store).await.into_iter().filter(|row| row.push.hold == Some(Hold::Group)).collect();
    assert_eq!((held.len(), held[0].push.device.as_str()), (1, "e"));
    assert!(held[0].push.due_at > now());

    // A receipt is one for all.
    let tenant = TenantId::default();
    let mine = Of { person: Some("anna"), alarm: None };
    assert!(
        !store
            .note_receipt(&tenant, one.id, Receipt::Opened, Of { person: Some("ben"), ..mine })
            .await
            .unwrap()
    );
    assert!(store.note_receipt(&tenant, one.id, Receipt::Opened, mine).await.unwrap());
    assert_eq!(rows(&store).await.iter().filter(|row| row.opened_at.is_some()).count(), 5);
    assert!(store.was_told_of_device(&tenant, "anna", &device.device).await.unwrap());
    assert!(!store.was_told_of_device(&tenant, "ben", &device.device).await.unwrap());
}

#[tokio::test]
async fn what_the_app_confirmed_the_phone_is_not_told() {
    let store = with_receivers().await;
    let (seen, unseen) = (key("seen"), key("unseen"));
    let held = |key: &DeviceKey| Push { hold: Some(Hold::Live), ..told(key, 1, PHONE) };
    let live = told(&seen, 1, APP);
    commit(
        &store,
        vec![
            (seen.clone(), 1, vec![live.clone(), held(&seen)]),
            (unseen.clone(), 1, vec![told(&unseen, 1, APP), held(&unseen)]),
        ],
    )
    .await;
    assert!(
        store.note_receipt(&TenantId::default(), live.id, Receipt::Received, Of::default()).await.unwrap()
    );
    let phone: Vec<Push> =
        claimed(&store).await.into_iter().filter(|push| push.receiver.as_u128() == PHONE).collect();
    assert_eq!(phone.iter().map(|push| push.device.as_str()).collect::<Vec<_>>(), ["unseen"]);
    assert!(states(&store).await.contains(&"confirmed"));
}

#[tokio::test]
async fn the_dead_can_be_sent_again() {
    let (store, tenant) = (with_receivers().await, TenantId::default());
    let device = key("a");
    let lost = told(&device, 1, 99);
    commit(&store, vec![(device.clone(), 1, vec![lost.clone(), told(&device, 1, PHONE)])]).await;
    assert_eq!(claimed(&store).await.len(), 1);
    assert_eq!(states(&store).await, ["dead", "waiting"]);
    assert_eq!(store.replay_push(&tenant, Uuid::nil()).await.unwrap(), Replay::Unknown);
    assert_eq!(store.replay_push(&tenant, lost.id).await.unwrap(), Replay::Waits);
    assert_eq!(store.replay_push(&tenant, lost.id).await.unwrap(), Replay::NotDead);
    store.put_receiver(&tenant, &receiver(99, ReceiverKind::Live)).await.unwrap();
    assert_eq!(claimed(&store).await.iter().map(|push| push.id).collect::<Vec<_>>(), [lost.id]);
}

#[tokio::test]
async fn a_claim_goes_past_what_is_worth_nothing() {
    let store = with_receivers().await;
    let stale = (0..30).map(|n| key(&format!("d{n}"))).map(|key| {
        let push = Push { payload: Value::Null, ..told(&key, 1, PHONE) };
        (key, 2, vec![push])
    });
    commit(&store, stale.collect()).await;
    let last = key("last");
    commit(&store, vec![(last.clone(), 1, vec![told(&last, 1, PHONE)])]).await;
    let sent = store.claim(10, LEASE, INTERVAL).await.unwrap();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].push.device, last.device);
}
