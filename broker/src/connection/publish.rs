//! What is done with a publish: checked, given room, handed on with its receipt.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{Packet, Property};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode as Code, MqttError};
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::frame::{PublishHead, publish_head};
use super::wish::{Will, quality, travelling};
use super::{Session, Waited, packets};
use crate::broker::Hub;
use crate::ending::Ending;
use crate::meters::Outcome;
use crate::receipts::Acknowledgement;
use crate::topics::{self, BadTopic};
use crate::{Delivery, Event, Publication, QoS, Receipt, Refused};

/// How many packet ids a client may have between PUBLISH and PUBREL, as a multiple of its unacknowledged
/// publishes.
const UNRELEASED_FACTOR: usize = 4;

/// Room for one publish: its bytes in the total in flight, and a place in the channel of deliveries.
pub(super) struct Room {
    bytes: OwnedSemaphorePermit,
    place: OwnedPermit<Delivery>,
}

/// A publish, the same for both versions.
struct Published {
    topic: Arc<str>,
    payload: Bytes,
    qos: QoS,
    packet: u16,
    dup: bool,
    retain: bool,
    properties: Option<Arc<[Property]>>,
}

impl Session {
    /// Takes a PUBLISH if there is room for it. False when it has to wait; what it waits for is then noted, or
    /// is an acknowledgement of this connection.
    pub(super) fn take_publish(&mut self, packet: &[u8], header: usize) -> Result<bool, Ending> {
        let Some(head) = publish_head(packet, header) else {
            // The codec knows what to say.
            self.codec.receive(packet)?;
            return Err(MqttError::MalformedPacket.into());
        };
        if head.qos > 0 && !self.has_slot(head) {
            return Ok(false);
        }
        if head.qos == 2 && self.unreleased.contains(&head.packet) {
            self.repeat_pubrec(head.packet)?;
            return Ok(true);
        }
        let Some(room) = self.take_room(packet.len()) else { return Ok(false) };
        let published = match self.codec.receive(packet)? {
            Some(Packet::V3_1_1Publish(packet)) => Published {
                topic: packet.topic_name().into(),
                payload: Bytes::copy_from_slice(packet.payload().as_slice()),
                qos: quality(packet.qos()),
                packet: packet.packet_id().unwrap_or_default(),
                dup: packet.dup(),
                retain: packet.retain(),
                properties: None,
            },
            Some(Packet::V5_0Publish(packet)) => Published {
                topic: packet.topic_name().into(),
                payload: Bytes::copy_from_slice(packet.payload().as_slice()),
                qos: quality(packet.qos()),
                packet: packet.packet_id().unwrap_or_default(),
                dup: packet.dup(),
                retain: packet.retain(),
                properties: travelling(packet.props()),
            },
            _ => return Err(MqttError::MalformedPacket.into()),
        };
        self.hand_on(published, room)?;
        Ok(true)
    }

    /// Is there a slot for another publish? One at quality 2 also needs a packet id that is to be released; a
    /// repeated one has both.
    fn has_slot(&self, head: PublishHead<'_>) -> bool {
        let limit = usize::from(self.hub.config.unacknowledged_max.max(1));
        if self.peer.receipts.lock().len() >= limit {
            return false;
        }
        head.qos < 2
            || self.unreleased.len() < limit * UNRELEASED_FACTOR
            || self.unreleased.contains(&head.packet)
    }

    /// A publish at quality 2 came again before its PUBREL: it isn't delivered again. Its PUBREC is sent again,
    /// unless it will be sent for the first time when its receipt resolves.
    fn repeat_pubrec(&mut self, packet: u16) -> Result<(), Ending> {
        if self.peer.receipts.lock().has_packet(packet) {
            return Ok(());
        }
        let again = Acknowledgement { packet, qos: QoS::ExactlyOnce, answer: Ok(()) };
        Ok(self.codec.send(packets::acknowledgement(self.codec.version(), self.reasons, &again)?)?)
    }

    /// Room for a publish of this many bytes, at once or not at all; then it is waited for.
    fn take_room(&mut self, bytes: usize) -> Option<Room> {
        if let Some(room) = self.room.take() {
            return Some(room);
        }
        let hub = &self.hub;
        let bytes = share(bytes, hub);
        if let Ok(bytes) = Arc::clone(&hub.bytes).try_acquire_many_owned(bytes)
            && let Ok(place) = hub.deliveries.clone().try_reserve_owned()
        {
            return Some(Room { bytes, place });
        }
        self.wait = Some(Box::pin(wait_for_room(Arc::clone(hub), bytes)));
        None
    }

    /// Hands a publish to whoever makes it durable, or to the router, or refuses it.
    fn hand_on(&mut self, published: Published, room: Room) -> Result<(), Ending> {
        if published.qos == QoS::ExactlyOnce {
            self.unreleased.insert(published.packet);
        }
        let grants = &self.peer.client.grants;
        let refused = match topics::check_topic(&published.topic, &self.hub.config) {
            Err(BadTopic::Malformed) => return Err(Ending::Violation(Code::TopicNameInvalid)),
            Err(BadTopic::TooLong) => Some(Refused::Quota("the topic is too long".into())),
            Err(BadTopic::Reserved) => Some(Refused::NotAuthorized),
            Ok(()) if !grants.may_publish(&published.topic) => Some(Refused::NotAuthorized),
            Ok(()) => None,
        };
        match refused {
            Some(why) => self.refuse(&published, why),
            None if self.hub.config.is_own(&published.topic) => self.deliver(published, room),
            None => self.refuse(&published, Refused::Other("no such topic".into())),
        }
        Ok(())
    }

    fn refuse(&mut self, published: &Published, why: Refused) {
        self.hub.meters.publish(published.qos, Outcome::Refused);
        if published.qos > QoS::AtMostOnce {
            self.peer.answer(published.packet, published.qos, Err(why));
        }
    }

    fn deliver(&mut self, published: Published, room: Room) {
        let Published { topic, payload, qos, packet, dup, retain, .. } = published;
        self.hub.meters.publish(qos, Outcome::Delivered);
        let client = Arc::clone(&self.peer.client);
        let mut receipt = if qos == QoS::AtMostOnce {
            Receipt::unanswered(Some(room.bytes))
        } else {
            let number = self.peer.receipts.lock().open(packet, qos);
            Receipt::in_line(Arc::clone(&self.peer), number, room.bytes)
        };
        if self.hub.tree.any(&client.realm, &topic) {
            let (topic, payload) = (Arc::clone(&topic), payload.clone());
            let publication = Publication { topic, payload, qos, retain, latest_only: false };
            receipt = receipt.echoed(self.hub.this.clone(), Arc::clone(&client), publication);
        }
        let event = Event::Publish { topic, payload, qos, dup };
        room.place.send(Delivery { client, event, received_at: SystemTime::now(), receipt });
    }

    /// The client has PUBREC and lets go of a publish at quality 2.
    pub(super) fn release(&mut self, packet: u16) -> Result<(), Ending> {
        if self.peer.receipts.lock().has_packet(packet) {
            // Answering would promise that it is stored.
            return Err(Ending::Violation(Code::ProtocolError));
        }
        let known = self.unreleased.remove(&packet);
        if self.unreleased.is_empty() {
            self.unreleased.shrink_to_fit();
        }
        Ok(self.codec.send(packets::pubcomp(self.codec.version(), packet, known)?)?)
    }

    /// Publishes the will, like any publish of the client. There is nobody left to answer.
    pub(super) async fn publish_will(&mut self, will: Will) {
        let Will { topic, payload, qos, retain, properties: _ } = will;
        if !self.hub.config.is_own(&topic) {
            return;
        }
        let bytes = share(topic.len() + payload.len(), &self.hub);
        let waited = wait_for_room(Arc::clone(&self.hub), bytes);
        let Some(Waited::Room(Some(room))) = self.hub.abandoned.run_until_cancelled(waited).await else {
            return;
        };
        self.hub.meters.publish(qos, Outcome::Delivered);
        let client = Arc::clone(&self.peer.client);
        let publication = Publication {
            topic: Arc::clone(&topic),
            payload: payload.clone(),
            qos,
            retain,
            latest_only: false,
        };
        let receipt = Receipt::unanswered(Some(room.bytes));
        let receipt = receipt.echoed(self.hub.this.clone(), Arc::clone(&client), publication);
        let event = Event::Publish { topic, payload, qos, dup: false };
        room.place.send(Delivery { client, event, received_at: SystemTime::now(), receipt });
    }
}

/// What a publish takes of the total in flight: never more than all of it, or it would wait for ever.
fn share(bytes: usize, hub: &Hub) -> u32 {
    let most = hub.config.bytes_in_flight_max.min(Semaphore::MAX_PERMITS);
    u32::try_from(bytes.min(most)).unwrap_or(u32::MAX)
}

async fn wait_for_room(hub: Arc<Hub>, bytes: u32) -> Waited {
    // The place first: what waits for it must not hold bytes that another could use.
    let Ok(place) = hub.deliveries.clone().reserve_owned().await else { return Waited::Room(None) };
    let Ok(bytes) = Arc::clone(&hub.bytes).acquire_many_owned(bytes).await else { return Waited::Room(None) };
    Waited::Room(Some(Room { bytes, place }))
}
