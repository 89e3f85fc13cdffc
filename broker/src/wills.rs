//! Wills that wait, because their clients asked for a delay: published when it is over, unless the client is back
//! by then (MQTT 5, 3.1.3.2.2). In memory: a stop or a crash of ours publishes none of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::Client;
use crate::limits::Limit;

/// What a client that is back means for its will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Back {
    /// It goes on with its session: the will is not published.
    SameSession,
    /// It starts anew, which ends the session before: the will is published now.
    NewSession,
}

/// Realm, name and client id.
type Key = (Arc<str>, Arc<str>, Arc<str>);

/// Tells the will of this connection that the client is back.
struct Waiting {
    connection: u64,
    back: oneshot::Sender<Back>,
}

/// All wills that wait. Bounded in number.
pub(crate) struct Wills(Mutex<HashMap<Key, Waiting>>);

/// One will that waits; its place is given up when this goes.
pub(crate) struct Wait<'a> {
    wills: &'a Wills,
    key: Key,
    connection: u64,
    back: oneshot::Receiver<Back>,
}

impl Wills {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Enters the will of a client. None when too many wait.
    pub(crate) fn enter(&self, client: &Client, wills_max: usize) -> Option<Wait<'_>> {
        let key = key(client);
        let (sender, back) = oneshot::channel();
        let mut waiting = self.0.lock();
        if waiting.len() >= wills_max {
            Limit::DelayedWills.count();
            return None;
        }
        waiting.insert(key.clone(), Waiting { connection: client.connection, back: sender });
        Some(Wait { wills: self, key, connection: client.connection, back })
    }

    /// A client is back, to go on with its session or to start a new one.
    pub(crate) fn back(&self, client: &Client, starts_anew: bool) {
        if let Some(waiting) = self.0.lock().remove(&key(client)) {
            // If its time was over just now it is published.
            waiting.back.send(if starts_anew { Back::NewSession } else { Back::SameSession }).ok();
        }
    }
}

fn key(client: &Client) -> Key {
    (Arc::clone(&client.realm), Arc::clone(&client.name), Arc::clone(&client.client_id))
}

impl Wait<'_> {
    /// Waits; true when the will is to be published.
    pub(crate) async fn is_due(&mut self, delay: Duration, stopping: &CancellationToken) -> bool {
        tokio::select! {
            back = &mut self.back => back != Ok(Back::SameSession),
            () = tokio::time::sleep(delay) => true,
            () = stopping.cancelled() => false,
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut waiting = self.wills.0.lock();
        if waiting.get(&self.key).is_some_and(|waiting| waiting.connection == self.connection) {
            waiting.remove(&self.key);
        }
    }
}
