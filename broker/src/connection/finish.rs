//! The end of a connection: the client is told why, and all others that it is gone.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::onward::{deliver, route};
use super::publish::Published;
use super::room::{Place, Room, share, wait_for_room};
use super::wish::Will;
use super::{Session, packets};
use crate::broker::Hub;
use crate::ending::Ending;
use crate::expiry::Expiry;
use crate::limits::Limit;
use crate::meters::{self, Outcome};
use crate::{Client, Delivery, Event, Receipt};

impl Session {
    /// Tells the client why, and all others that it is gone.
    pub(super) async fn finish(mut self: Box<Self>, ending: Ending) {
        self.log(ending);
        if let Some(code) = ending.code() {
            // Only v5 has such a packet, and only once.
            let reason = self.reasons.then(|| ending.reason());
            let told = packets::disconnect(code, reason).and_then(|packet| self.codec.send(packet));
            if told == Err(MqttError::PacketTooLarge) {
                packets::disconnect(code, None).and_then(|packet| self.codec.send(packet)).ok();
            }
        }
        let mut last_words = std::mem::take(&mut self.codec.output);
        let told = !last_words.is_empty();
        self.stream.write(&mut last_words).ok();
        self.seat.leave_subscriptions();
        if ending.publishes_will()
            && let Some(will) = self.will.take()
        {
            self.settle_will(will).await;
        }
        let hub = Arc::clone(&self.hub);
        if self.is_delivering() {
            // This comes last.
            hub.abandoned.run_until_cancelled(hub.writer.written()).await;
        }
        if let Some(Ok(place)) = hub.abandoned.run_until_cancelled(hub.deliveries.reserve()).await {
            // However it ended: somebody is there who takes its place.
            let ending = if self.peer.is_replaced() { Ending::TakenOver } else { ending };
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
            stream.say_goodbye(last_words, told).await;
        }
    }

    fn log(&self, ending: Ending) {
        let client = &self.peer.client;
        let (address, reason) = (self.address, ending.word());
        ending.limit().into_iter().for_each(Limit::count);
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

    /// Publishes the will, now or when the delay is over that the client asked for; at the latest when its session
    /// ends (MQTT 5, 3.1.3.2.2).
    async fn settle_will(&mut self, will: Will) {
        let delay_s = will.delay_s.min(self.session_expiry_s);
        let (hub, client) = (Arc::clone(&self.hub), Arc::clone(&self.peer.client));
        if delay_s == 0 {
            return publish_will(&hub, &client, will).await;
        }
        let delay = Duration::from_secs(delay_s.into());
        let (entered, is_entered) = tokio::sync::oneshot::channel();
        hub.tasks.clone().spawn(async move {
            let wait = hub.wills.enter(&client, hub.config.delayed_wills_max);
            entered.send(()).ok();
            let due = match wait {
                Some(mut wait) => wait.is_due(delay, &hub.stopping).await,
                None => true,
            };
            if due {
                publish_will(&hub, &client, will).await;
            }
        });
        // Before the connection is gone: who takes over from it finds the will.
        is_entered.await.ok();
    }
}

/// Publishes a will, like any publish of the client. There is nobody left to answer.
async fn publish_will(hub: &Arc<Hub>, client: &Arc<Client>, will: Will) {
    let Will { topic, payload, qos, retain, properties, expires_after_s, .. } = will;
    let bytes = share(topic.len() + payload.len(), hub);
    let room = wait_for_room(Arc::clone(hub), bytes, hub.config.is_own(&*topic));
    let Some(Ok(Room { bytes, place })) = hub.abandoned.run_until_cancelled(room).await else { return };
    let expiry = expires_after_s.map(Expiry::after);
    let will = Published { topic, payload, qos, packet: 0, dup: false, retain, properties, expiry };
    let receipt = Receipt::unanswered(Some(bytes));
    match place {
        Place::Delivery(place) => deliver(hub, client, will, place, receipt, None),
        Place::Router(place) => {
            if route(hub, client, &will, place, || receipt, None).is_err() {
                hub.meters.publish(qos, Outcome::Refused);
            }
        }
    }
}
