//! What must outlive a connection, and what a new subscriber sees first: kept by whoever started the broker.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{Client, QoS};

/// A message of the service to its clients.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Where to, relative to the realm.
    pub topic: Arc<str>,
    /// What.
    pub payload: Bytes,
    /// At most at this quality; less for who subscribed with less.
    pub qos: QoS,
    /// With the RETAIN flag: it was there before the subscription.
    pub retain: bool,
    /// Only the newest counts: one that waits to be sent on the same topic of the same connection is replaced.
    pub latest_only: bool,
}

/// What must outlive a connection.
pub trait Sessions: Send + Sync + 'static {
    /// A client subscribed, and may: what it must be sent first. SUBACK waits for the answer, and these
    /// publications follow it. Called when the subscription is already in force, so nothing falls between.
    fn subscribed<'a>(
        &'a self,
        client: &'a Client,
        filters: &'a [Arc<str>],
    ) -> BoxFuture<'a, Vec<Publication>>;
}
