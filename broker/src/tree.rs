//! Subscriptions that are matched here: those to the service's own topics, and in a tree of their own those to other
//! topics that are a session's, which must miss nothing, or are shared. Most name one topic exactly and cost one entry
//! in a map; those with wildcards stand in a tree of levels. Of a group that shares a filter, one member gets each
//! message.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::QoS;
use crate::peer::Peer;
use crate::session::Lasting;
use crate::topics::{self, Filter};

/// What a subscriber wants with one filter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Highest quality at which it wants messages.
    pub(crate) qos: QoS,
    /// It doesn't want what it published itself (v5).
    pub(crate) no_local: bool,
    /// The RETAIN flag is kept as it was published (v5).
    pub(crate) keep_retain: bool,
    /// It is told this number with each message (v5).
    pub(crate) identifier: Option<u32>,
}

impl Options {
    /// Does the client of this connection want a message from that one?
    pub(crate) fn wants(&self, connection: Option<u64>, from: Option<u64>) -> bool {
        !(self.no_local && from.is_some() && from == connection)
    }
}

/// What several subscriptions of one connection that match a message come to (MQTT 5, 3.3.4).
#[derive(Default)]
pub(crate) struct Merged {
    /// The highest quality; none when no subscription was added.
    pub(crate) qos: Option<QoS>,
    pub(crate) keep_retain: bool,
    /// Those of all that have one.
    pub(crate) identifiers: Vec<u32>,
}

impl Merged {
    pub(crate) fn add(&mut self, options: &Options) {
        self.qos = self.qos.max(Some(options.qos));
        self.keep_retain |= options.keep_retain;
        self.identifiers.extend(options.identifier);
    }
}

/// Who subscribes.
#[derive(Clone)]
pub(crate) enum Subscriber {
    /// A connection whose session ends with it.
    Connection(Arc<Peer>),
    /// A session that outlasts its connections.
    Session(Arc<Lasting>),
}

impl Subscriber {
    /// Tells it from all others of its realm.
    fn id(&self) -> (bool, u64) {
        match self {
            Self::Connection(peer) => (false, peer.client.connection),
            Self::Session(session) => (true, session.id.number),
        }
    }

    fn realm(&self) -> &Arc<str> {
        match self {
            Self::Connection(peer) => &peer.client.realm,
            Self::Session(session) => &session.id.realm,
        }
    }

    /// Its connection, if it has one now.
    fn connection(&self) -> Option<u64> {
        match self {
            Self::Connection(peer) => Some(peer.client.connection),
            Self::Session(session) => session.peer().map(|peer| peer.client.connection),
        }
    }

    /// May it be sent this?
    pub(crate) fn may_receive(&self, topic: &str) -> bool {
        match self {
            Self::Connection(peer) => peer.client.grants.may_receive(topic),
            Self::Session(session) => session.may_receive(topic),
        }
    }
}

/// What one subscriber wants with one filter.
#[derive(Clone)]
pub(crate) struct Subscription {
    pub(crate) subscriber: Subscriber,
    pub(crate) options: Options,
}

/// A subscriber that a message is for.
pub(crate) struct Found<'a> {
    pub(crate) subscriber: &'a Subscriber,
    pub(crate) qos: QoS,
    pub(crate) keep_retain: bool,
    pub(crate) identifiers: Vec<u32>,
}

/// Subscriptions, by realm.
#[derive(Default)]
pub(crate) struct Tree(RwLock<HashMap<Arc<str>, Realm>>);

#[derive(Default)]
struct Realm {
    exact: HashMap<Arc<str>, Subscribers>,
    wild: Node,
    /// How many subscriptions there are in both.
    count: usize,
}

/// All who subscribed with one pattern.
#[derive(Default)]
struct Subscribers {
    plain: Vec<Subscription>,
    groups: Vec<Group>,
}

/// Those who share one filter.
struct Group {
    name: Box<str>,
    members: Vec<Subscription>,
    /// Whose turn it is.
    turn: AtomicUsize,
}

#[derive(Default)]
struct Node {
    /// By level; `+` is a level like any other here.
    children: HashMap<Box<str>, Node>,
    /// Filters that end at this level.
    here: Subscribers,
    /// Filters that end in `#` below this level: they match this level too.
    below: Subscribers,
}

impl Tree {
    /// Puts a subscription in force, in place of an older one of the same subscriber with the same filter.
    pub(crate) fn subscribe(&self, filter: &str, subscription: Subscription) {
        let Filter { pattern, group } = topics::take_apart(filter);
        let mut realms = self.0.write();
        let realm = realms.entry(Arc::clone(subscription.subscriber.realm())).or_default();
        let subscribers = if !is_exact(pattern) {
            realm.wild.subscribers_mut(pattern)
        } else if let Some(subscribers) = realm.exact.get_mut(pattern) {
            subscribers
        } else {
            realm.exact.entry(pattern.into()).or_default()
        };
        realm.count += usize::from(subscribers.add(group, subscription));
    }

    /// Ends a subscription.
    pub(crate) fn unsubscribe(&self, filter: &str, subscriber: &Subscriber) {
        let Filter { pattern, group } = topics::take_apart(filter);
        let mut realms = self.0.write();
        let Some(realm) = realms.get_mut(subscriber.realm()) else { return };
        let id = subscriber.id();
        let mut removed = false;
        if !is_exact(pattern) {
            removed = realm.wild.remove(pattern, group, id);
        } else if let Some(subscribers) = realm.exact.get_mut(pattern) {
            removed = subscribers.remove(group, id);
            if subscribers.is_empty() {
                realm.exact.remove(pattern);
            }
        }
        realm.count -= usize::from(removed);
        if realm.exact.is_empty() && realm.wild.is_empty() {
            realms.remove(subscriber.realm());
        }
    }

    /// Calls `tell` once for each subscriber with subscriptions that match a message from this connection (none:
    /// from the service), and once more for each group that does: for its members in turn, those that are connected
    /// first, until one takes it.
    pub(crate) fn matching(
        &self,
        realm: &str,
        topic: &str,
        from: Option<u64>,
        mut tell: impl FnMut(Found<'_>) -> bool,
    ) {
        let realms = self.0.read();
        let Some(realm) = realms.get(realm) else { return };
        let mut matching: Vec<&Subscribers> = realm.exact.get(topic).into_iter().collect();
        realm.wild.collect(topic, &mut matching);
        let mut plain: Vec<&Subscription> = matching.iter().flat_map(|one| &one.plain).collect();
        if matching.len() > 1 {
            plain.sort_by_key(|one| one.subscriber.id());
        }
        for of_one in plain.chunk_by(|a, b| a.subscriber.id() == b.subscriber.id()) {
            let subscriber = &of_one[0].subscriber;
            let mut merged = Merged::default();
            of_one
                .iter()
                .filter(|one| one.options.wants(subscriber.connection(), from))
                .for_each(|one| merged.add(&one.options));
            if let Some(qos) = merged.qos {
                let Merged { keep_retain, identifiers, .. } = merged;
                tell(Found { subscriber, qos, keep_retain, identifiers });
            }
        }
        for group in matching.iter().flat_map(|one| &one.groups) {
            let turn = group.turn.fetch_add(1, Ordering::Relaxed) % group.members.len().max(1);
            let (later, sooner) = group.members.split_at(turn);
            let (connected, away): (Vec<_>, Vec<_>) =
                sooner.iter().chain(later).partition(|one| one.subscriber.connection().is_some());
            for Subscription { subscriber, options } in connected.into_iter().chain(away) {
                let Options { qos, keep_retain, identifier, .. } = *options;
                let identifiers = identifier.into_iter().collect();
                if tell(Found { subscriber, qos, keep_retain, identifiers }) {
                    break;
                }
            }
        }
    }

    /// Is there any subscription that matches?
    pub(crate) fn any(&self, realm: &str, topic: &str) -> bool {
        let mut any = false;
        self.matching(realm, topic, None, |_| {
            any = true;
            true
        });
        any
    }

    /// How many subscriptions are in force.
    pub(crate) fn len(&self) -> usize {
        self.0.read().values().map(|realm| realm.count).sum()
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

impl Subscribers {
    /// True if it is one more.
    fn add(&mut self, group: Option<&str>, subscription: Subscription) -> bool {
        let list = match group {
            None => &mut self.plain,
            Some(name) => {
                let at = self.groups.iter().position(|group| *group.name == *name).unwrap_or_else(|| {
                    let (name, turn) = (name.into(), AtomicUsize::new(0));
                    self.groups.push(Group { name, members: Vec::new(), turn });
                    self.groups.len() - 1
                });
                &mut self.groups[at].members
            }
        };
        let is_new = !leave(list, subscription.subscriber.id());
        list.push(subscription);
        is_new
    }

    /// True if there was one.
    fn remove(&mut self, group: Option<&str>, id: (bool, u64)) -> bool {
        let Some(name) = group else { return leave(&mut self.plain, id) };
        let mut removed = false;
        self.groups.retain_mut(|group| {
            if *group.name == *name {
                removed = leave(&mut group.members, id);
            }
            !group.members.is_empty()
        });
        removed
    }

    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_empty()
    }
}

/// Removes the subscription of a subscriber, if it has one.
fn leave(list: &mut Vec<Subscription>, id: (bool, u64)) -> bool {
    let before = list.len();
    list.retain(|one| one.subscriber.id() != id);
    list.len() < before
}

impl Node {
    fn subscribers_mut(&mut self, pattern: &str) -> &mut Subscribers {
        let (levels, below) = without_hash(pattern);
        let mut node = self;
        for level in levels.into_iter().flat_map(|levels| levels.split('/')) {
            node = node.children.entry(level.into()).or_default();
        }
        if below { &mut node.below } else { &mut node.here }
    }

    fn remove(&mut self, pattern: &str, group: Option<&str>, id: (bool, u64)) -> bool {
        let (levels, below) = without_hash(pattern);
        let levels: Vec<&str> = levels.into_iter().flat_map(|levels| levels.split('/')).collect();
        self.remove_below(&levels, below, group, id)
    }

    /// Removes at the end of the path, and on the way back every node with nothing left in it.
    fn remove_below(&mut self, levels: &[&str], below: bool, group: Option<&str>, id: (bool, u64)) -> bool {
        let Some((level, rest)) = levels.split_first() else {
            let subscribers = if below { &mut self.below } else { &mut self.here };
            return subscribers.remove(group, id);
        };
        let Some(child) = self.children.get_mut(*level) else { return false };
        let removed = child.remove_below(rest, below, group, id);
        if child.is_empty() {
            self.children.remove(*level);
        }
        removed
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.here.is_empty() && self.below.is_empty()
    }

    fn collect<'a>(&'a self, topic: &str, found: &mut Vec<&'a Subscribers>) {
        found.push(&self.below);
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
                None => found.extend([&child.here, &child.below]),
            }
        }
    }
}

#[cfg(test)]
mod tests;
