//! How many devices each saved query finds: exact as of a position, and only worked out when somebody asks.
//!
//! *Who*: whoever lists saved queries or follows their counts. Nothing runs in between.
//! *How*: the first to ask has every device of the tenant looked at once; later ones read the feed from where the
//! last stopped. Where the feed no longer reaches back that far, or a query was saved, it begins anew.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use statecast_flow::{Feed, Read};
use statecast_state::query::{SavedQuery, Tally};
use statecast_state::{Position, Query, TenantId};
use statecast_store::{Store, StoreError};
use tracing::warn;

/// Changes read from the feed at a time.
const READ_MAX: usize = 2_000;

/// The saved queries of all tenants, and their counts.
pub struct Tallies {
    store: Store,
    feed: Feed,
    tenants: Mutex<HashMap<TenantId, Shared>>,
}

/// Of one tenant; whoever counts holds the lock, and the others wait for what it finds.
type Shared = Arc<tokio::sync::Mutex<Option<Counted>>>;

struct Counted {
    saved: Vec<SavedQuery>,
    tally: Tally,
}

/// Saved queries, and how many devices each found after the changes up to a position.
pub struct Counts {
    /// Each with its count; none for a query with a time relative to now.
    pub items: Vec<(SavedQuery, Option<u64>)>,
    /// As of which position.
    pub position: Position,
}

impl Tallies {
    /// Over this store and this feed.
    pub fn new(store: Store, feed: Feed) -> Self {
        Self { store, feed, tenants: Mutex::default() }
    }

    /// The counts as of now.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn counts(&self, tenant: &TenantId) -> Result<Counts, StoreError> {
        let shared = self.shared(tenant);
        let mut counted = shared.lock().await;
        loop {
            let Some(Counted { saved, tally }) = counted.as_mut() else {
                *counted = Some(Box::pin(self.count(tenant)).await?);
                continue;
            };
            if !self.catch_up(tenant, tally) {
                *counted = None;
                continue;
            }
            let items = saved.iter().cloned().zip(tally.counts().iter().copied()).collect();
            return Ok(Counts { items, position: tally.position() });
        }
    }

    /// The saved queries of a tenant are others now.
    pub async fn forget(&self, tenant: &TenantId) {
        let shared = self.shared(tenant);
        *shared.lock().await = None;
    }

    fn shared(&self, tenant: &TenantId) -> Shared {
        self.tenants.lock().entry(tenant.clone()).or_default().clone()
    }

    async fn count(&self, tenant: &TenantId) -> Result<Counted, StoreError> {
        let began_at = self.feed.watermark();
        let (mut saved, mut queries) = (Vec::new(), Vec::new());
        for one in self.store.queries(tenant).await? {
            match Query::parse(&one.query) {
                Ok(query) => {
                    queries.push(query);
                    saved.push(one);
                }
                // It was checked when it was saved: another version of the language wrote it.
                Err(error) => warn!(%tenant, %error, "a saved query is left out"),
            }
        }
        let mut tally = Tally::new(queries, began_at);
        let census = self.store.census(tenant, began_at, |twin, last| tally.exists(twin, last));
        let removed = Box::pin(census).await?;
        for (device, last) in removed {
            tally.removed(device, last);
        }
        Ok(Counted { saved, tally })
    }

    /// Shows the tally what happened since; false when the feed doesn't reach back far enough.
    fn catch_up(&self, tenant: &TenantId, tally: &mut Tally) -> bool {
        let now = self.feed.watermark();
        while tally.position() < now {
            match self.feed.read(tally.position(), READ_MAX) {
                Read::Changes(changes, upto) => {
                    for change in changes.iter().filter(|change| change.key.tenant == *tenant) {
                        tally.changed(change);
                    }
                    tally.reached(upto);
                }
                Read::Behind(_) => return false,
            }
        }
        true
    }
}
