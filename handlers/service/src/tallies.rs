//! How many devices each saved query finds: exact as of a position, and only worked out when somebody asks.
//!
//! *Who*: whoever lists saved queries or follows their counts. Nothing runs until somebody does, nor when nobody has for
//! [`KEPT_FOR`].
//! *How*: the first to ask has every device of the tenant looked at once, a page at a time, while the feed goes on; from
//! then on the counts follow the feed, so that the next to ask reads the little that came since. When a query is saved,
//! it begins anew.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use statecast_flow::{Feed, Read};
use statecast_state::query::{SavedQuery, Tally};
use statecast_state::{Position, Query, TenantId};
use statecast_store::{Store, StoreError};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

/// Changes read from the feed at a time.
const READ_MAX: usize = 2_000;
/// Devices that are looked at at a time.
const PAGE_DEVICES: usize = 500;
/// The feed is read so often at most while nobody asks: it keeps a few seconds of a busy fleet.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);
/// For how long counts are kept after somebody asked.
const KEPT_FOR: Duration = Duration::from_secs(600);

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
    /// When somebody asked last.
    asked: Instant,
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
        let anew = counted.is_none();
        loop {
            let Some(Counted { saved, tally, asked }) = counted.as_mut() else {
                *counted = Some(Box::pin(self.count(tenant)).await?);
                continue;
            };
            if !catch_up(&self.feed, tenant, tally) {
                *counted = None;
                continue;
            }
            if anew {
                tokio::spawn(keep(self.feed.clone(), tenant.clone(), Arc::downgrade(&shared)));
            }
            *asked = Instant::now();
            let items = saved.iter().cloned().zip(tally.counts().iter().copied()).collect();
            return Ok(Counts { items, position: tally.position() });
        }
    }

    /// The saved queries of a tenant are others now: who asks from now on is told of these.
    pub fn forget(&self, tenant: &TenantId) {
        self.tenants.lock().remove(tenant);
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
        while let Some(after) = tally.next() {
            let page = self.store.census(tenant, after, tally.position(), PAGE_DEVICES).await?;
            for (device, last) in &page.removed {
                tally.removed(device, *last);
            }
            for (last, twin) in &page.members {
                tally.exists(twin, *last);
            }
            let last = page.members.into_iter().nth(PAGE_DEVICES - 1);
            tally.page_ends(last.map(|(_, twin)| twin.device));
            if !catch_up(&self.feed, tenant, &mut tally) {
                warn!(%tenant, "the feed was cut off while saved queries were counted");
                break;
            }
        }
        Ok(Counted { saved, tally, asked: Instant::now() })
    }
}

/// Keeps counts up with the feed until nobody has asked for a while, or they are forgotten.
async fn keep(feed: Feed, tenant: TenantId, shared: Weak<tokio::sync::Mutex<Option<Counted>>>) {
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let mut counted = shared.lock().await;
        let Some(Counted { tally, asked, .. }) = counted.as_mut() else { return };
        let end = *asked + KEPT_FOR;
        if Instant::now() >= end || !catch_up(&feed, &tenant, tally) {
            *counted = None;
            return;
        }
        let position = tally.position();
        drop(counted);
        drop(shared);
        // Whichever comes first, it is looked at above.
        drop(timeout_at(end, feed.wait_after(position)).await);
        sleep(FOLLOW_EVERY).await;
    }
}

/// Shows a tally what happened since; false when the feed doesn't reach back far enough.
fn catch_up(feed: &Feed, tenant: &TenantId, tally: &mut Tally) -> bool {
    let now = feed.watermark();
    while tally.position() < now {
        match feed.read(tally.position(), READ_MAX) {
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
