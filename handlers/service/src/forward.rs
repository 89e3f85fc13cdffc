//! What receivers of kind `mqtt` are told: published by the broker, like what clients publish to each other.

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use statecast_broker::{Broker, Publication, QoS, Refused};
use statecast_push::Publish;
use statecast_state::TenantId;

/// The broker, as the push dispatcher sees it.
pub struct Forward(Broker);

impl Forward {
    /// Through this broker.
    pub fn new(broker: Broker) -> Self {
        Self(broker)
    }
}

impl Publish for Forward {
    fn publish<'a>(
        &'a self,
        tenant: &'a TenantId,
        topic: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<(), String>> {
        let publication = Publication {
            topic: topic.into(),
            payload,
            qos: QoS::AtLeastOnce,
            retain: false,
            latest_only: false,
            mark: None,
        };
        async move { self.0.forward(tenant.as_str(), &publication).await.map_err(why) }.boxed()
    }
}

fn why(refused: Refused) -> String {
    match refused {
        Refused::NotAuthorized => "not allowed".to_owned(),
        Refused::Payload(why) | Refused::Quota(why) | Refused::Other(why) => why.into_owned(),
    }
}
