//! What a new subscriber sees first: what a device should be, and whether it is online. And what outlives its
//! connection, between the words of the broker and those of the database.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use statecast_broker::{Batch, Client, Kept, NotWritten, Publication, Sessions};
use statecast_flow::Flow;
use statecast_flow::presence::device_of;
use statecast_state::{DeviceId, DeviceKey, TenantId};
use statecast_store::{MqttWriter, Owner, Store, StoreError};
use tracing::warn;

use crate::downlink;

mod kept;

/// Answers new subscriptions from the database, keeps there what outlives connections, and passes on that a device has
/// what it was told.
pub struct DurableSessions {
    store: Store,
    flow: Flow,
    writer: MqttWriter,
}

impl DurableSessions {
    /// Answers from this store, and writes as its owner.
    pub fn new(store: Store, owner: &Owner, flow: Flow) -> Self {
        Self { store, flow, writer: owner.mqtt_writer() }
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

impl Sessions for DurableSessions {
    fn subscribed<'a>(
        &'a self,
        client: &'a Client,
        filters: &'a [Arc<str>],
    ) -> BoxFuture<'a, Vec<Publication>> {
        self.greet(client, filters).boxed()
    }

    fn received(&self, client: &Client, topic: &str, version: u64) {
        // An app that listens isn't the device.
        let Some(key) = device_of(client) else { return };
        let device = topic.strip_prefix("devices/").and_then(|rest| rest.strip_suffix("/desired"));
        if device == Some(key.device.as_str()) {
            self.flow.received(key, version);
        }
    }

    fn load(&self) -> BoxFuture<'_, Result<Kept, NotWritten>> {
        async { Ok(kept::from_rows(self.store.mqtt_kept().await.map_err(|error| not_written(&error))?)) }
            .boxed()
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<(), NotWritten>> {
        async { self.writer.write(&kept::to_rows(batch)).await.map_err(|error| not_written(&error)) }.boxed()
    }
}

fn not_written(error: &StoreError) -> NotWritten {
    match error {
        StoreError::Refused(_) => NotWritten::Refused(error.to_string()),
        _ => NotWritten::Later(error.to_string()),
    }
}
