//! Who is connected. A client id counts within the name that its client has proved: a new connection takes over from an
//! old one of the same name, and by guessing an id nobody can end the connection of another credential, or take over its
//! session.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::peer::Peer;

/// All admitted connections, by realm, name and client id.
#[derive(Default)]
pub(crate) struct Registry(Mutex<HashMap<Arc<str>, Clients>>);

/// The connections of one realm by name and client id.
type Clients = HashMap<(Arc<str>, Arc<str>), Arc<Peer>>;

impl Registry {
    /// Enters a connection, and returns the one that it takes over from. The caller ends that one, and waits
    /// until it is gone before anything is delivered for the new one. None when there are too many; who takes over
    /// is never one too many.
    pub(crate) fn enter(&self, peer: &Arc<Peer>, connections_max: usize) -> Option<Option<Arc<Peer>>> {
        let client = &peer.client;
        let mut realms = self.0.lock();
        let key = (Arc::clone(&client.name), Arc::clone(&client.client_id));
        let known = realms.get(&client.realm).is_some_and(|clients| clients.contains_key(&key));
        if !known && realms.values().map(HashMap::len).sum::<usize>() >= connections_max {
            return None;
        }
        let clients = realms.entry(Arc::clone(&client.realm)).or_default();
        Some(clients.insert(key, Arc::clone(peer)))
    }

    /// Removes a connection, unless another has taken over from it.
    pub(crate) fn leave(&self, peer: &Peer) {
        let client = &peer.client;
        let mut realms = self.0.lock();
        let Some(clients) = realms.get_mut(&client.realm) else { return };
        let key = (Arc::clone(&client.name), Arc::clone(&client.client_id));
        if clients.get(&key).is_some_and(|found| found.client.connection == client.connection) {
            clients.remove(&key);
        }
        if clients.is_empty() {
            realms.remove(&client.realm);
        }
    }

    /// All connections that act for a name. Looks at each connection of the realm.
    pub(crate) fn named(&self, realm: &str, name: &str) -> Vec<Arc<Peer>> {
        let realms = self.0.lock();
        let clients = realms.get(realm).into_iter().flat_map(HashMap::values);
        clients.filter(|peer| &*peer.client.name == name).cloned().collect()
    }

    /// All connections.
    pub(crate) fn all(&self) -> Vec<Arc<Peer>> {
        self.0.lock().values().flat_map(HashMap::values).cloned().collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().values().map(HashMap::len).sum()
    }
}
