use super::*;
use crate::{Client, Grants};
use proptest::prelude::*;

struct Everything;
impl Grants for Everything {
    fn may_publish(&self, _: &str) -> bool {
        true
    }
    fn may_subscribe(&self, _: &str) -> bool {
        true
    }
    fn may_receive(&self, _: &str) -> bool {
        true
    }
}

fn subscription(connection: u64, realm: &str, qos: QoS) -> Subscription {
    let client = Client {
        realm: realm.into(),
        name: "n".into(),
        client_id: connection.to_string().into(),
        connection,
        grants: Arc::new(Everything),
    };
    Subscription {
        subscriber: Subscriber::Connection(Peer::new(Arc::new(client), 0)),
        options: Options { qos, no_local: false, keep_retain: false, identifier: None },
    }
}

fn found(tree: &Tree, realm: &str, topic: &str) -> Vec<(u64, QoS)> {
    let mut found = Vec::new();
    tree.matching(realm, topic, None, |one| {
        found.push((one.subscriber.id().1, one.qos));
        true
    });
    found
}

#[test]
fn one_message_for_each_connection_at_its_highest_quality() {
    let tree = Tree::default();
    let one = subscription(1, "r", QoS::AtMostOnce);
    tree.subscribe("a/b", one.clone());
    tree.subscribe(
        "a/#",
        Subscription { options: Options { qos: QoS::AtLeastOnce, ..one.options }, ..one.clone() },
    );
    tree.subscribe("#", one.clone());
    tree.subscribe("a/b", subscription(2, "other", QoS::AtMostOnce));
    assert_eq!(found(&tree, "r", "a/b"), [(1, QoS::AtLeastOnce)]);
    assert_eq!(found(&tree, "r", "a"), [(1, QoS::AtLeastOnce)]);
    tree.unsubscribe("a/#", &one.subscriber);
    assert_eq!(found(&tree, "r", "a/b"), [(1, QoS::AtMostOnce)]);
    tree.unsubscribe("a/b", &one.subscriber);
    tree.unsubscribe("#", &one.subscriber);
    assert_eq!(found(&tree, "r", "a/b"), []);
    assert!(!tree.0.read().contains_key("r"), "nothing is left of a realm without subscriptions");
}

#[test]
fn of_each_group_one_member_in_turn() {
    let tree = Tree::default();
    let [one, two] = [1, 2].map(|connection| subscription(connection, "r", QoS::AtLeastOnce));
    for member in [&one, &two] {
        tree.subscribe("$share/g/a/#", member.clone());
    }
    tree.subscribe("$share/other/a/#", one.clone());
    let told = || found(&tree, "r", "a/b").into_iter().map(|(connection, _)| connection).collect::<Vec<_>>();
    assert_eq!([told(), told(), told()], [[1, 1], [2, 1], [1, 1]]);
    // Who doesn't take it leaves it to the next.
    let mut asked = Vec::new();
    tree.matching("r", "a/b", None, |one| {
        asked.push(one.subscriber.id().1);
        false
    });
    assert_eq!(asked, [2, 1, 1]);
    tree.unsubscribe("$share/g/a/#", &one.subscriber);
    assert_eq!([told(), told()], [[2, 1], [2, 1]]);
    tree.unsubscribe("$share/g/a/#", &two.subscriber);
    tree.unsubscribe("$share/other/a/#", &one.subscriber);
    assert!(tree.0.read().is_empty());
}

proptest! {
    /// The tree finds what comparing with every filter finds, and forgets all when all are gone.
    #[test]
    fn finds_what_a_scan_finds(
        patterns in prop::collection::vec("(a|b|\\+)(/(a|b||\\+)){0,2}(/#)?|#", 1..20),
        topic in "(a|b)(/(a|b|)){0,3}",
    ) {
        let tree = Tree::default();
        let mut expected = Vec::new();
        let mut all = Vec::new();
        for (connection, pattern) in (0..).zip(&patterns) {
            let one = subscription(connection, "r", QoS::AtLeastOnce);
            tree.subscribe(pattern, one.clone());
            if topics::matches(pattern, &topic) {
                expected.push((connection, QoS::AtLeastOnce));
            }
            all.push((pattern, one));
        }
        let mut found = found(&tree, "r", &topic);
        found.sort_unstable();
        prop_assert_eq!(found, expected);
        for (pattern, one) in all {
            tree.unsubscribe(pattern, &one.subscriber);
        }
        prop_assert!(tree.0.read().is_empty());
    }
}
