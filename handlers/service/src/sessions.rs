//! What a new subscriber sees first: what a device should be, and whether it is online.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use statecast_broker::{Client, Publication, Sessions};
use statecast_state::{DeviceId, DeviceKey, TenantId};
use statecast_store::Store;
use tracing::warn;

use crate::downlink;

/// Answers new subscriptions from the database.
pub struct Greetings {
    store: Store,
}

impl Greetings {
    /// Answers from this store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    async fn greet(&self, client: &Client, filters: &[Arc<str>]) -> Vec<Publication> {
        let Ok(tenant) = TenantId::parse(&client.realm) else { return Vec::new() };
        // A wildcard for the device would mean the whole fleet: whoever follows that reads it over HTTP.
        let wanted: Vec<(DeviceId, &str)> = filters
            .iter()
            .filter_map(|filter| {
                let (device, what) = filter.strip_prefix("devices/")?.split_once('/')?;
                Some((DeviceId::parse(device).ok()?, what))
            })
            .filter(|(_, what)| matches!(*what, "desired" | "presence" | "+" | "#"))
            .collect();
        let mut greetings = Vec::new();
        for (device, what) in wanted {
            let key = DeviceKey::new(tenant.clone(), device);
            let twin = match self.store.twin(&key).await {
                Ok(Some(twin)) => twin,
                Ok(None) => continue,
                Err(error) => {
                    warn!(%error, "greet a subscriber: it sees the next change");
                    continue;
                }
            };
            if what != "presence" {
                greetings.push(downlink::desired(&twin));
            }
            if what != "desired" {
                greetings.push(downlink::presence(&twin, true));
            }
        }
        greetings
    }
}

impl Sessions for Greetings {
    fn subscribed<'a>(
        &'a self,
        client: &'a Client,
        filters: &'a [Arc<str>],
    ) -> BoxFuture<'a, Vec<Publication>> {
        self.greet(client, filters).boxed()
    }
}
