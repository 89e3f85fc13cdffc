//! Where a publish on a routed topic goes: to the router, and to all who must not miss it. From a client, or from the
//! service itself, which has no connection.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::broker::Hub;
use crate::limits::Limit;
use crate::router::Message;
use crate::session::{Desk, Writes};
use crate::topics::check_topic;
use crate::{Publication, Receipt, Refused};

/// The connection that nobody has.
const NOBODY: u64 = 0;

/// Publishes for the service, and waits until nothing that was promised to a subscriber can be lost.
pub(crate) async fn forward(hub: &Hub, realm: &str, publication: &Publication) -> Result<(), Refused> {
    let stopping = || Refused::Other("the broker stops".into());
    let place = Arc::clone(&hub.router.places).acquire_owned().await.map_err(|_| stopping())?;
    let (receipt, done) = Receipt::watched();
    publish(hub, realm, publication, place, receipt)?;
    done.await.unwrap_or_else(|_| Err(stopping()))
}

fn publish(
    hub: &Hub,
    realm: &str,
    publication: &Publication,
    place: OwnedSemaphorePermit,
    receipt: Receipt,
) -> Result<(), Refused> {
    let topic = &publication.topic;
    if check_topic(topic, &hub.config).is_err() || hub.config.is_own(topic.as_bytes()) {
        return Err(Refused::Other("nothing is forwarded to this topic".into()));
    }
    if !hub.router.admits_topic(realm, topic) {
        Limit::RouterTopics.count();
        return Err(Refused::Quota(Limit::RouterTopics.reason().into()));
    }
    let message = Message {
        topic: Arc::clone(topic),
        payload: publication.payload.clone(),
        qos: publication.qos,
        retain: false,
        from: NOBODY,
        properties: None,
        expiry: None,
    };
    hand_over(hub, realm, &message, place, receipt, (hub.writer.desk(), Writes::default()));
    Ok(())
}

/// Hands a message to the router, and to those who must not miss it. The receipt is accepted when the router has it; or
/// when it is durable, where that was promised to anybody.
pub(crate) fn hand_over(
    hub: &Hub,
    realm: &str,
    message: &Message,
    place: OwnedSemaphorePermit,
    receipt: Receipt,
    (desk, mut writes): (Desk<'_>, Writes),
) {
    hub.tell_routed(realm, message, &mut writes);
    if writes.list.is_empty() {
        drop(desk);
        hub.router.publish(realm, message, receipt, place);
    } else {
        // Who subscribed at the router was promised nothing that outlasts a crash.
        hub.router.publish(realm, message, Receipt::unanswered(None), place);
        desk.enter(writes, move || receipt.accept());
    }
}
