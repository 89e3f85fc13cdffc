//! Where a publish goes that is on its way: to whoever makes it durable, or to the router and all who must not miss it.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::OwnedPermit;

use super::publish::Published;
use crate::broker::Hub;
use crate::delivery::Exchanged;
use crate::forward::hand_over;
use crate::limits::Limit;
use crate::meters::Outcome;
use crate::router::Message;
use crate::session::Writes;
use crate::{Client, Delivery, Event, Receipt, Refused};

/// Hands a publish on one of the service's own topics to whoever makes it durable, with the key of its exchange if that
/// outlasts the connection.
pub(super) fn deliver(
    hub: &Hub,
    client: &Arc<Client>,
    published: Published,
    place: OwnedPermit<Delivery>,
    receipt: Receipt,
    exchange: Option<(Exchanged, u64)>,
) {
    hub.meters.publish(published.qos, Outcome::Delivered);
    let echo = hub.tree.any(&client.realm, &published.topic).then(|| message(client, &published));
    let (exchanged, exchange) = exchange.unzip();
    let receipt = receipt.after(hub.this.clone(), Arc::clone(client), echo, exchanged);
    let Published { topic, payload, qos, dup, .. } = published;
    let event = Event::Publish { topic, payload, qos, dup, exchange };
    place.send(Delivery { client: Arc::clone(client), event, received_at: SystemTime::now(), receipt });
}

/// Hands a publish on any other topic to the router, and to those who must not miss it. Its receipt, made when nothing is
/// in the way of it, is accepted when the router has it; or when it is durable, where that was promised to anybody.
pub(super) fn route(
    hub: &Hub,
    client: &Client,
    published: &Published,
    place: OwnedSemaphorePermit,
    receipt: impl FnOnce() -> Receipt,
    exchange: Option<&Exchanged>,
) -> Result<(), Refused> {
    let realm = &client.realm;
    if !hub.router.admits_topic(realm, &published.topic) {
        return Err(over(Limit::RouterTopics));
    }
    let message = message(client, published);
    let desk = hub.writer.desk();
    let mut writes = Writes::default();
    if published.retain {
        writes.list.push(hub.retained.keep(realm, &message).map_err(over)?);
    }
    if let Some(exchange) = exchange {
        exchange.session.begin_exchange(exchange.packet, true, &mut writes);
    }
    hub.meters.publish(published.qos, Outcome::Routed);
    hand_over(hub, realm, &message, place, receipt(), (desk, writes));
    Ok(())
}

fn message(client: &Client, published: &Published) -> Message {
    Message {
        topic: Arc::clone(&published.topic),
        payload: published.payload.clone(),
        qos: published.qos,
        retain: published.retain,
        from: client.connection,
        properties: published.properties.clone(),
        expiry: published.expiry,
    }
}

/// The refusal of a publish that is over a limit, counted.
pub(super) fn over(limit: Limit) -> Refused {
    limit.count();
    Refused::Quota(limit.reason().into())
}
