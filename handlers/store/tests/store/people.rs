//! People, with what belongs to them.

use serde_json::json;
use statecast_state::TenantId;
use statecast_state::person::Person;
use statecast_state::rule::{Receiver, ReceiverKind};
use statecast_store::NewKey;
use uuid::Uuid;

use crate::support::store;

fn person(id: &str, name: &str) -> Person {
    serde_json::from_value(json!({ "id": id, "name": name })).unwrap()
}

#[tokio::test]
async fn they_are_made_read_and_removed_with_what_is_theirs() {
    let (store, tenant) = (store().await, TenantId::default());
    let other = TenantId::parse("other").unwrap();
    assert_eq!(store.put_person(&tenant, &person("ben", "B"), 2).await.unwrap(), Some(true));
    assert_eq!(store.put_person(&tenant, &person("anna", "A"), 2).await.unwrap(), Some(true));
    assert_eq!(store.put_person(&tenant, &person("anna", "Anna"), 2).await.unwrap(), Some(false));
    assert_eq!(store.put_person(&tenant, &person("carl", "C"), 2).await.unwrap(), None, "too many");
    assert_eq!(store.person(&tenant, "anna").await.unwrap(), Some(person("anna", "Anna")));
    assert_eq!(store.person(&other, "anna").await.unwrap(), None);
    let ids: Vec<_> = store.people(&tenant, "", 9).await.unwrap().into_iter().map(|one| one.id).collect();
    assert_eq!(ids, ["anna", "ben"]);
    assert_eq!(store.people(&tenant, "anna", 9).await.unwrap().len(), 1);

    let receiver = |id: u128, person: Option<&str>| Receiver {
        id: Uuid::from_u128(id),
        name: "r".into(),
        kind: ReceiverKind::Live,
        enabled: true,
        disabled_reason: None,
        person: person.map(str::to_owned),
    };
    for one in [receiver(1, Some("anna")), receiver(2, Some("ben")), receiver(3, None)] {
        store.put_receiver(&tenant, &one).await.unwrap();
    }
    assert_eq!(store.receivers_of(&tenant, "anna").await.unwrap(), [receiver(1, Some("anna"))]);
    let key = NewKey {
        name: "app".into(),
        scopes: vec!["receive".into()],
        policy: None,
        person: Some("anna".into()),
        expires_at: None,
    };
    let made = store.create_key(&tenant, &key, &[7; 32]).await.unwrap();
    assert_eq!(made.person.as_deref(), Some("anna"));

    assert!(!store.delete_person(&other, "anna").await.unwrap());
    assert!(store.delete_person(&tenant, "anna").await.unwrap());
    assert_eq!(store.keys(&tenant).await.unwrap(), []);
    assert_eq!(store.receivers(&tenant).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_secret_is_made_once() {
    let store = store().await;
    let (one, other) = tokio::join!(store.secret("a"), store.secret("a"));
    assert_eq!(one.unwrap(), other.unwrap());
    assert_ne!(store.secret("a").await.unwrap(), store.secret("b").await.unwrap());
}
