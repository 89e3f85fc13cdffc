//! Reads twins for the activations that wait for them, all that wait at once in one query.
//!
//! *Guarantee*: an answer is what was committed when the query ran. An outage is waited out: who asks waits too.
//! *Bound*: `LOAD_KEYS_MAX` devices a query, one query at a time; who waits is bounded by the mailboxes.

use std::time::Duration;

use metrics::counter;
use statecast_state::{DeviceKey, Timestamp};
use statecast_store::Store;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::cache::{Known, Recent};

/// Devices read in one query, at most.
const LOAD_KEYS_MAX: usize = 1_000;
/// Requests that may wait in the channel itself.
const QUEUE_MAX: usize = 4_096;
/// Pause after a failed query.
const RETRY_DELAY: Duration = Duration::from_millis(200);

type Wanted = (DeviceKey, oneshot::Sender<Known>);

/// A handle to the task that reads.
#[derive(Clone)]
pub struct Loader(mpsc::Sender<Wanted>);

impl Loader {
    /// Starts the task; it ends when the last handle is gone.
    pub fn start(store: Store) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(run(store, receiver));
        Self(sender)
    }

    /// What is known of the device. None only when the process is stopping.
    pub async fn load(&self, key: &DeviceKey) -> Option<Known> {
        let (answer, known) = oneshot::channel();
        self.0.send((key.clone(), answer)).await.ok()?;
        known.await.ok()
    }
}

async fn run(store: Store, mut wanted: mpsc::Receiver<Wanted>) {
    let mut waiting: Vec<Wanted> = Vec::new();
    while wanted.recv_many(&mut waiting, LOAD_KEYS_MAX).await > 0 {
        let keys: Vec<DeviceKey> = waiting.iter().map(|(key, _)| key.clone()).collect();
        let loaded = loop {
            match store.load(&keys, Timestamp::from(std::time::SystemTime::now())).await {
                Ok(loaded) => break loaded,
                Err(error) => {
                    warn!(%error, devices = keys.len(), "load twins: trying again");
                    counter!("statecast_db_retries_total", "what" => "load").increment(1);
                    tokio::time::sleep(RETRY_DELAY).await;
                }
            }
        };
        for ((_, answer), loaded) in waiting.drain(..).zip(loaded) {
            let twin = loaded.twin.map(Into::into);
            let known = Known::new(twin, loaded.left, Recent::new(loaded.recent));
            // Whoever asked may be gone: the process is stopping.
            drop(answer.send(known));
        }
    }
}
