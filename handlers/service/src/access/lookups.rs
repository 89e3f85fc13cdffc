//! Credentials, read from the database: all that wait at once in one query.
//!
//! *Guarantee*: an answer is what was committed after it was asked for: nothing is kept. *Bound*: [`QUEUE_MAX`] wait
//! in line, [`KEYS_MAX`] are asked for in a query, one query of a kind at a time. Who has gone isn't asked for.

use futures::future::BoxFuture;
use statecast_state::DeviceKey;
use statecast_store::{ApiKey, Credentials, Hash, Holder, Store, StoreError};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

/// Keys of one query, at most.
const KEYS_MAX: usize = 1_000;
/// Questions that may wait; who comes then waits for a place.
const QUEUE_MAX: usize = 4_096;

/// The database gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

type Question<K, V> = (K, oneshot::Sender<Result<V, Unavailable>>);
type Query<K, V> = fn(Store, Vec<K>) -> BoxFuture<'static, Result<Vec<V>, StoreError>>;

/// Looks up one kind of thing.
pub struct Lookup<K, V>(mpsc::Sender<Question<K, V>>);

impl<K: Send + 'static, V: Send + 'static> Lookup<K, V> {
    fn start(store: Store, query: Query<K, V>) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        // It ends when the last handle is gone.
        tokio::spawn(run(store, query, receiver));
        Self(sender)
    }

    /// What there is under a key.
    ///
    /// # Errors
    /// When the database gives no answer.
    pub async fn get(&self, key: K) -> Result<V, Unavailable> {
        let (answer, found) = oneshot::channel();
        self.0.send((key, answer)).await.map_err(|_| Unavailable)?;
        found.await.map_err(|_| Unavailable)?
    }
}

async fn run<K, V>(store: Store, query: Query<K, V>, mut questions: mpsc::Receiver<Question<K, V>>) {
    let mut waiting: Vec<Question<K, V>> = Vec::new();
    while questions.recv_many(&mut waiting, KEYS_MAX).await > 0 {
        let (keys, answers): (Vec<K>, Vec<_>) =
            waiting.drain(..).filter(|(_, answer)| !answer.is_closed()).unzip();
        if keys.is_empty() {
            continue;
        }
        // Whoever asked may be gone.
        match query(store.clone(), keys).await {
            Ok(found) => answers.into_iter().zip(found).for_each(|(answer, one)| drop(answer.send(Ok(one)))),
            Err(error) => {
                warn!(%error, asked = answers.len(), "look up credentials");
                answers.into_iter().for_each(|answer| drop(answer.send(Err(Unavailable))));
            }
        }
    }
}

/// All kinds.
pub struct Lookups {
    /// Who has a token, by its hash.
    pub holders: Lookup<Hash, Option<Holder>>,
    /// A valid API key, by the hash of its secret. It counts as used.
    pub keys: Lookup<Hash, Option<ApiKey>>,
    /// What a device may show; none when there is no such device.
    pub credentials: Lookup<DeviceKey, Option<Credentials>>,
}

impl Lookups {
    /// Starts a task for each kind; they sleep while nobody asks.
    pub fn start(store: &Store) -> Self {
        Self {
            holders: Lookup::start(store.clone(), |store, tokens| {
                Box::pin(async move { store.holders(&tokens).await })
            }),
            keys: Lookup::start(store.clone(), |store, hashes| {
                Box::pin(async move { store.use_keys(&hashes).await })
            }),
            credentials: Lookup::start(store.clone(), |store, keys| {
                Box::pin(async move { store.credentials(&keys).await })
            }),
        }
    }
}
