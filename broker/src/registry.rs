//! Who is connected. A client id is unique within its realm: a new connection takes over from an old one.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::peer::Peer;

/// All admitted connections, by realm and client id.
#[derive(Default)]
pub(crate) struct Registry(Mutex<HashMap<Arc<str>, Clients>>);

/// The connections of one realm by client id.
type Clients = HashMap<Arc<str>, Arc<Peer>>;

impl Registry {
    /// Enters a connection, and returns the one that it takes over from. The caller ends that one, and waits
    /// until it is gone before anything is delivered for the new one. None when there are too many; who takes over
    /// is never one too many.
    pub(crate) fn enter(&self, peer: &Arc<Peer>, connections_max: usize) -> Option<Option<Arc<Peer>>> {
        let client = &peer.client;
        let mut realms = self.0.lock();
        let known = realms.get(&client.realm).is_some_and(|clients| clients.contains_key(&client.client_id));
        if !known && realms.values().map(HashMap::len).sum::<usize>() >= connections_max {
            return None;
        }
        let clients = realms.entry(Arc::clone(&client.realm)).or_default();
        Some(clients.insert(Arc::clone(&client.client_id), Arc::clone(peer)))
    }

    /// Removes a connection, unless another has taken over from it.
    pub(crate) fn leave(&self, peer: &Peer) {
        let client = &peer.client;
        let mut realms = self.0.lock();
        let Some(clients) = realms.get_mut(&client.realm) else { return };
        if clients.get(&client.client_id).is_some_and(|found| found.client.connection == client.connection) {
            clients.remove(&client.client_id);
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
