//! Who is let in, and what they may do: found, changed, revoked, and told of.

use statecast_state::{DeviceKey, TenantId, Timestamp};
use statecast_store::{
    AccessChange, Batch, Credentials, CredentialsChange, Holder, NewKey, PolicyRow, Store,
};
use tokio::sync::mpsc;

use crate::support::{change, key, now, store};

/// Commits a device, so that it can have credentials.
async fn registered(store: &Store, device: &str) -> DeviceKey {
    let owner = store.own().await.unwrap();
    let position = owner.reserve(1).await.unwrap().0;
    let changes = vec![change(&key(device), None, position, 1)];
    owner.writer().commit(&Batch { changes, dead_letters: Vec::new() }).await.unwrap();
    owner.release().await;
    key(device)
}

fn token(byte: u8) -> CredentialsChange {
    CredentialsChange { token: Some(Some([byte; 32])), ..CredentialsChange::default() }
}

#[tokio::test]
async fn credentials_are_found_changed_and_taken_away() {
    let store = store().await;
    let device = registered(&store, "a").await;
    let keys = [key("nobody"), device.clone()];
    assert_eq!(store.credentials(&keys).await.unwrap(), [None, Some(Credentials::default())]);
    assert!(!store.change_credentials(&keys[0], &token(1)).await.unwrap(), "no such device");

    assert!(store.change_credentials(&device, &token(1)).await.unwrap());
    let more = CredentialsChange {
        token: None,
        password: Some(Some("salted".to_owned())),
        certificates: Some(vec![[8; 32], [9; 32]]),
        policy: Some(Some("p".to_owned())),
    };
    assert!(store.change_credentials(&device, &more).await.unwrap());
    let expected = Credentials {
        token: Some([1; 32]),
        password: Some("salted".to_owned()),
        certificates: vec![[8; 32], [9; 32]],
        policy: Some("p".to_owned()),
    };
    assert_eq!(store.credentials(&keys).await.unwrap(), [None, Some(expected)]);
    let holder = Holder { key: device.clone(), policy: Some("p".to_owned()) };
    assert_eq!(store.holders(&[[1; 32], [2; 32]]).await.unwrap(), [Some(holder), None]);
    assert!(store.policy_is_used(&device.tenant, "p").await.unwrap());

    let none = CredentialsChange {
        token: Some(None),
        password: Some(None),
        certificates: Some(Vec::new()),
        policy: Some(None),
    };
    assert!(store.change_credentials(&device, &none).await.unwrap());
    assert_eq!(store.credentials(&keys[1..]).await.unwrap(), [Some(Credentials::default())]);
    assert_eq!(store.holders(&[[1; 32]]).await.unwrap(), [None]);
    assert!(!store.policy_is_used(&device.tenant, "p").await.unwrap());
}

fn new_key(expires_at: Option<Timestamp>) -> NewKey {
    NewKey { name: "app".to_owned(), scopes: vec!["read".to_owned()], policy: None, person: None, expires_at }
}

#[tokio::test]
async fn keys_are_used_expire_and_are_revoked() {
    let store = store().await;
    let tenant = TenantId::default();
    let made = store.create_key(&tenant, &new_key(None), &[3; 32]).await.unwrap();
    let past = now().plus_micros(-1);
    let expired = store.create_key(&tenant, &new_key(Some(past)), &[4; 32]).await.unwrap();
    assert_eq!(made.last_used_at, None);
    let found = store.use_keys(&[[3; 32], [5; 32], [4; 32], [3; 32]]).await.unwrap();
    assert_eq!(
        found.iter().map(|key| key.as_ref().map(|key| key.id)).collect::<Vec<_>>(),
        [Some(made.id), None, None, Some(made.id)]
    );
    let listed = store.keys(&tenant).await.unwrap();
    let used = listed[0].last_used_at.expect("noted");
    assert_eq!((listed[0].id, listed[1].id, listed[1].last_used_at), (made.id, expired.id, None));
    store.use_keys(&[[3; 32]]).await.unwrap();
    assert_eq!(store.keys(&tenant).await.unwrap()[0].last_used_at, Some(used), "once an hour at most");

    let ids = [(tenant.clone(), made.id), (tenant.clone(), expired.id)];
    let valid = store.valid_keys(&ids).await.unwrap();
    assert!(valid[0].as_ref().is_some_and(|key| key.scopes == ["read"]) && valid[1].is_none());
    let other = TenantId::parse("other").unwrap();
    assert_eq!(store.valid_keys(&[(other.clone(), made.id)]).await.unwrap(), [None]);
    assert!(!store.revoke_key(&other, made.id).await.unwrap());
    assert!(store.revoke_key(&tenant, made.id).await.unwrap());
    assert!(!store.revoke_key(&tenant, made.id).await.unwrap());
    assert_eq!(store.use_keys(&[[3; 32]]).await.unwrap(), [None]);
}

#[tokio::test]
async fn policies_belong_to_their_tenants() {
    let store = store().await;
    let tenant = |name| TenantId::parse(name).unwrap();
    let policy = |name| PolicyRow {
        tenant: tenant(name),
        name: "p".to_owned(),
        publish: vec![format!("{name}/+")],
        subscribe: Vec::new(),
    };
    store.put_policy(&policy("a")).await.unwrap();
    store.put_policy(&policy("b")).await.unwrap();
    assert_eq!(store.policy(&tenant("a"), "p").await.unwrap(), Some(policy("a")));
    assert_eq!(store.policies(Some(&tenant("b"))).await.unwrap(), [policy("b")]);
    assert_eq!(store.policies(None).await.unwrap().len(), 2);
    let changed = PolicyRow { publish: Vec::new(), ..policy("a") };
    store.put_policy(&changed).await.unwrap();
    assert_eq!(store.policy(&tenant("a"), "p").await.unwrap(), Some(changed));
    assert!(store.delete_policy(&tenant("a"), "p").await.unwrap());
    assert!(!store.delete_policy(&tenant("a"), "p").await.unwrap());
    assert_eq!(store.policies(None).await.unwrap(), [policy("b")]);
}

#[tokio::test]
async fn every_change_is_told_and_so_is_an_interruption() {
    let store = store().await;
    let device = registered(&store, "a").await;
    let (told, mut changes) = mpsc::channel(10);
    let telling = tokio::spawn({
        let store = store.clone();
        async move { store.tell_of_access(told).await }
    });
    let mut next = async || {
        let wait = std::time::Duration::from_secs(20);
        tokio::time::timeout(wait, changes.recv()).await.expect("a change is told").expect("it goes on")
    };
    assert_eq!(next().await, AccessChange::Anything, "what was before isn't told");

    store.change_credentials(&device, &token(1)).await.unwrap(); // takes nothing from anybody
    store.change_credentials(&device, &token(2)).await.unwrap();
    assert_eq!(next().await, AccessChange::Device(device.clone()));
    let made = store.create_key(&device.tenant, &new_key(None), &[3; 32]).await.unwrap();
    store.use_keys(&[[3; 32]]).await.unwrap(); // that it was used isn't told
    store.revoke_key(&device.tenant, made.id).await.unwrap();
    assert_eq!(next().await, AccessChange::Key(device.tenant.clone(), made.id));
    let policy = PolicyRow {
        tenant: device.tenant.clone(),
        name: "p".to_owned(),
        publish: Vec::new(),
        subscribe: Vec::new(),
    };
    store.put_policy(&policy).await.unwrap();
    assert_eq!(next().await, AccessChange::Policy(device.tenant.clone(), "p".to_owned()));

    // Somebody cuts the connection that hears.
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE query LIKE 'LISTEN%' AND datname = current_database()";
    assert_eq!(crate::support::number(store.options(), cut).await, 1);
    assert_eq!(next().await, AccessChange::Anything, "some may have been missed");
    store.delete_policy(&device.tenant, "p").await.unwrap();
    assert_eq!(next().await, AccessChange::Policy(device.tenant, "p".to_owned()));
    telling.abort();
}
