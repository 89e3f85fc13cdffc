//! The end of a connection: the client is told why, and all others that it is gone.

use std::sync::Arc;
use std::time::SystemTime;

use super::publish::{Published, deliver, keep, route};
use super::room::{Place, Room, share, wait_for_room};
use super::wish::Will;
use super::{Session, packets};
use crate::ending::Ending;
use crate::meters::{self, Outcome};
use crate::{Delivery, Event, Receipt};

impl Session {
    /// Tells the client why, and all others that it is gone.
    pub(super) async fn finish(mut self: Box<Self>, ending: Ending) {
        self.log(ending);
        if let Some(code) = ending.code() {
            // Only v5 has such a packet, and only once.
            if let Ok(packet) = packets::disconnect(code) {
                self.codec.send(packet).ok();
            }
        }
        let mut last_words = std::mem::take(&mut self.codec.output);
        self.stream.write(&mut last_words).ok();
        self.seat.leave_subscriptions();
        if ending.publishes_will()
            && let Some(will) = self.will.take()
        {
            self.publish_will(will).await;
        }
        let hub = Arc::clone(&self.hub);
        if let Some(Ok(place)) = hub.abandoned.run_until_cancelled(hub.deliveries.reserve()).await {
            place.send(Delivery {
                client: Arc::clone(&self.peer.client),
                event: Event::Disconnected { reason: ending.word() },
                received_at: SystemTime::now(),
                receipt: Receipt::unanswered(None),
            });
        }
        let Self { mut stream, seat, .. } = *self;
        drop(seat);
        if ending.code().is_some() {
            stream.say_goodbye(last_words).await;
        }
    }

    fn log(&self, ending: Ending) {
        let client = &self.peer.client;
        let (address, reason) = (self.address, ending.word());
        match ending {
            Ending::Violation(code) => {
                meters::refused("protocol");
                tracing::info!(%address, realm = %client.realm, client_id = %client.client_id, ?code, reason);
            }
            Ending::Disconnect | Ending::DisconnectWithWill | Ending::Closed | Ending::Stopping => {
                tracing::debug!(%address, realm = %client.realm, client_id = %client.client_id, reason);
            }
            _ => {
                meters::refused(reason);
                tracing::info!(%address, realm = %client.realm, client_id = %client.client_id, reason);
            }
        }
    }

    /// Publishes the will, like any publish of the client. There is nobody left to answer.
    async fn publish_will(&mut self, will: Will) {
        let Will { topic, payload, qos, retain, properties } = will;
        let (hub, client) = (&self.hub, &self.peer.client);
        let bytes = share(topic.len() + payload.len(), hub);
        let room = wait_for_room(Arc::clone(hub), bytes, hub.config.is_own(&*topic));
        let Some(Ok(Room { bytes, place })) = hub.abandoned.run_until_cancelled(room).await else { return };
        let will = Published { topic, payload, qos, packet: 0, dup: false, retain, properties };
        let receipt = Receipt::unanswered(Some(bytes));
        match place {
            Place::Delivery(place) => deliver(hub, client, will, place, receipt),
            Place::Router(place) if keep(hub, client, &will).is_ok() => {
                route(hub, client, &will, place, receipt);
            }
            Place::Router(_) => hub.meters.publish(qos, Outcome::Refused),
        }
    }
}
