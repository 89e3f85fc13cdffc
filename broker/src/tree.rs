//! Subscriptions to the service's own topics, matched directly. Most name one topic exactly and cost one entry
//! in a map; those with wildcards stand in a tree of levels.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::QoS;
use crate::peer::Peer;

/// What a subscriber wants with one filter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Highest quality at which it wants messages.
    pub(crate) qos: QoS,
    /// It doesn't want what it published itself (v5).
    pub(crate) no_local: bool,
    /// The RETAIN flag is kept as it was published (v5).
    pub(crate) keep_retain: bool,
}

/// What one connection subscribed to with one filter.
#[derive(Clone)]
pub(crate) struct Subscription {
    pub(crate) peer: Arc<Peer>,
    pub(crate) options: Options,
}

impl Subscription {
    fn connection(&self) -> u64 {
        self.peer.client.connection
    }
}

/// All subscriptions to own topics, by realm.
#[derive(Default)]
pub(crate) struct Tree(RwLock<HashMap<Arc<str>, Realm>>);

#[derive(Default)]
struct Realm {
    exact: HashMap<Arc<str>, Vec<Subscription>>,
    wild: Node,
}

#[derive(Default)]
struct Node {
    /// By level; `+` is a level like any other here.
    children: HashMap<Box<str>, Node>,
    /// Filters that end at this level.
    here: Vec<Subscription>,
    /// Filters that end in `#` below this level: they match this level too.
    below: Vec<Subscription>,
}

impl Tree {
    /// Puts a subscription in force, in place of an older one of the same connection with the same filter.
    pub(crate) fn subscribe(&self, pattern: &Arc<str>, subscription: Subscription) {
        let mut realms = self.0.write();
        let realm = realms.entry(Arc::clone(&subscription.peer.client.realm)).or_default();
        let list = if is_exact(pattern) {
            realm.exact.entry(Arc::clone(pattern)).or_default()
        } else {
            realm.wild.list_mut(pattern)
        };
        list.retain(|old| old.connection() != subscription.connection());
        list.push(subscription);
    }

    /// Ends a subscription.
    pub(crate) fn unsubscribe(&self, pattern: &str, peer: &Peer) {
        let mut realms = self.0.write();
        let Some(realm) = realms.get_mut(&peer.client.realm) else { return };
        let connection = peer.client.connection;
        if !is_exact(pattern) {
            realm.wild.remove(pattern, connection);
        } else if let Some(list) = realm.exact.get_mut(pattern) {
            list.retain(|old| old.connection() != connection);
            if list.is_empty() {
                realm.exact.remove(pattern);
            }
        }
        if realm.exact.is_empty() && realm.wild.is_empty() {
            realms.remove(&peer.client.realm);
        }
    }

    /// Calls `tell` once for each connection with a subscription that matches. Of several of one connection the
    /// one with the highest quality counts.
    pub(crate) fn matching(&self, realm: &str, topic: &str, mut tell: impl FnMut(&Subscription)) {
        let realms = self.0.read();
        let Some(realm) = realms.get(realm) else { return };
        let mut found: Vec<&Subscription> = realm.exact.get(topic).into_iter().flatten().collect();
        let exact = found.len();
        realm.wild.collect(topic, &mut found);
        if found.len() > exact {
            found.sort_by_key(|one| (one.connection(), std::cmp::Reverse(one.options.qos)));
            found.dedup_by_key(|one| one.connection());
        }
        found.into_iter().for_each(&mut tell);
    }

    /// Is there any subscription that matches?
    pub(crate) fn any(&self, realm: &str, topic: &str) -> bool {
        let mut any = false;
        self.matching(realm, topic, |_| any = true);
        any
    }
}

fn is_exact(pattern: &str) -> bool {
    !pattern.contains(['+', '#'])
}

/// A filter without its last `#`, and whether it had one.
fn without_hash(pattern: &str) -> (Option<&str>, bool) {
    match pattern.strip_suffix('#') {
        None => (Some(pattern), false),
        Some("") => (None, true),
        Some(rest) => (Some(rest.strip_suffix('/').unwrap_or(rest)), true),
    }
}

impl Node {
    fn list_mut(&mut self, pattern: &str) -> &mut Vec<Subscription> {
        let (levels, below) = without_hash(pattern);
        let mut node = self;
        for level in levels.into_iter().flat_map(|levels| levels.split('/')) {
            node = node.children.entry(level.into()).or_default();
        }
        if below { &mut node.below } else { &mut node.here }
    }

    fn remove(&mut self, pattern: &str, connection: u64) {
        let (levels, below) = without_hash(pattern);
        let levels: Vec<&str> = levels.into_iter().flat_map(|levels| levels.split('/')).collect();
        self.remove_below(&levels, below, connection);
    }

    /// Removes at the end of the path, and on the way back every node with nothing left in it.
    fn remove_below(&mut self, levels: &[&str], below: bool, connection: u64) {
        let Some((level, rest)) = levels.split_first() else {
            let list = if below { &mut self.below } else { &mut self.here };
            list.retain(|old| old.connection() != connection);
            return;
        };
        if let Some(child) = self.children.get_mut(*level) {
            child.remove_below(rest, below, connection);
            if child.is_empty() {
                self.children.remove(*level);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.here.is_empty() && self.below.is_empty()
    }

    fn collect<'a>(&'a self, topic: &str, found: &mut Vec<&'a Subscription>) {
        found.extend(&self.below);
        if self.children.is_empty() {
            return;
        }
        let (level, rest) = match topic.split_once('/') {
            Some((level, rest)) => (level, Some(rest)),
            None => (topic, None),
        };
        for child in [self.children.get(level), self.children.get("+")].into_iter().flatten() {
            match rest {
                Some(rest) => child.collect(rest, found),
                None => found.extend(child.here.iter().chain(&child.below)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topics;
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
            peer: Peer::new(Arc::new(client), 0),
            options: Options { qos, no_local: false, keep_retain: false },
        }
    }

    fn found(tree: &Tree, realm: &str, topic: &str) -> Vec<(u64, QoS)> {
        let mut found = Vec::new();
        tree.matching(realm, topic, |one| found.push((one.connection(), one.options.qos)));
        found
    }

    #[test]
    fn one_message_for_each_connection_at_its_highest_quality() {
        let tree = Tree::default();
        let one = subscription(1, "r", QoS::AtMostOnce);
        tree.subscribe(&"a/b".into(), one.clone());
        tree.subscribe(
            &"a/#".into(),
            Subscription { options: Options { qos: QoS::AtLeastOnce, ..one.options }, ..one.clone() },
        );
        tree.subscribe(&"#".into(), one.clone());
        tree.subscribe(&"a/b".into(), subscription(2, "other", QoS::AtMostOnce));
        assert_eq!(found(&tree, "r", "a/b"), [(1, QoS::AtLeastOnce)]);
        assert_eq!(found(&tree, "r", "a"), [(1, QoS::AtLeastOnce)]);
        tree.unsubscribe("a/#", &one.peer);
        assert_eq!(found(&tree, "r", "a/b"), [(1, QoS::AtMostOnce)]);
        tree.unsubscribe("a/b", &one.peer);
        tree.unsubscribe("#", &one.peer);
        assert_eq!(found(&tree, "r", "a/b"), []);
        assert!(!tree.0.read().contains_key("r"), "nothing is left of a realm without subscriptions");
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
                tree.subscribe(&pattern.as_str().into(), one.clone());
                if topics::matches(pattern, &topic) {
                    expected.push((connection, QoS::AtLeastOnce));
                }
                all.push((pattern, one));
            }
            let mut found = found(&tree, "r", &topic);
            found.sort_unstable();
            prop_assert_eq!(found, expected);
            for (pattern, one) in all {
                tree.unsubscribe(pattern, &one.peer);
            }
            prop_assert!(tree.0.read().is_empty());
        }
    }
}
