//! What is done with a publish: checked, given room, handed on with its receipt.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::connection::Version;
use mqtt_protocol_core::mqtt::packet::{Packet, Property};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode as Code, MqttError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::OwnedPermit;
use tokio::time::Instant;

use super::frame::{PublishHead, publish_head};
use super::room::{Place, Room};
use super::wish::{expires_after, quality, travelling};
use super::{Session, packets, strict};
use crate::broker::Hub;
use crate::ending::Ending;
use crate::expiry::Expiry;
use crate::limits::Limit;
use crate::meters::Outcome;
use crate::peer::Peer;
use crate::receipts::Acknowledgement;
use crate::router::Message;
use crate::topics::{self, BadTopic};
use crate::{Client, Delivery, Event, QoS, Receipt, Refused};

/// How many packet ids a client may have between PUBLISH and PUBREL, as a multiple of its unacknowledged
/// publishes.
const UNRELEASED_FACTOR: usize = 4;

/// A publish, the same for both versions.
pub(super) struct Published {
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
    pub(super) qos: QoS,
    pub(super) packet: u16,
    pub(super) dup: bool,
    pub(super) retain: bool,
    pub(super) properties: Option<Arc<[Property]>>,
    /// When it runs out, if ever.
    pub(super) expiry: Option<Expiry>,
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
        if head.qos > 0 && !self.has_slot(head) || self.room.is_none() && !self.keeps_pace() {
            return Ok(false);
        }
        if head.qos == 2 && self.unreleased.contains(&head.packet) {
            self.pace.spend(&self.hub.config, packet.len(), Instant::now());
            self.repeat_pubrec(head.packet)?;
            return Ok(true);
        }
        self.check_alias(head)?;
        if head.topic.is_empty() && self.aliased.is_none() {
            // It has an alias, which the codec knows.
            self.aliased = Some(self.parse(packet)?);
        }
        let own = match &self.aliased {
            Some(published) => self.hub.config.is_own(&*published.topic),
            None => self.hub.config.is_own(head.topic),
        };
        let Some(room) = self.take_room(packet.len(), own) else { return Ok(false) };
        self.pace.spend(&self.hub.config, packet.len(), Instant::now());
        let published = match self.aliased.take() {
            Some(published) => published,
            None => self.parse(packet)?,
        };
        self.hand_on(published, room)?;
        Ok(true)
    }

    /// Finds what the codec has no right code for: an alias of 0, and a publish with neither topic nor alias (MQTT 5,
    /// 3.3.2.3.4 and 3.3.2.1).
    fn check_alias(&self, head: PublishHead<'_>) -> Result<(), Ending> {
        if self.codec.version() != Version::V5_0 {
            return Ok(());
        }
        match topic_alias(head.rest) {
            Some(0) => Err(Ending::Violation(Code::TopicAliasInvalid)),
            None if head.topic.is_empty() => Err(Ending::Violation(Code::ProtocolError)),
            _ => Ok(()),
        }
    }

    /// Shows a PUBLISH to the codec, exactly once.
    fn parse(&mut self, packet: &[u8]) -> Result<Published, Ending> {
        Ok(match self.codec.receive(packet)? {
            Some(Packet::V3_1_1Publish(packet)) => Published {
                topic: packet.topic_name().into(),
                payload: Bytes::copy_from_slice(packet.payload().as_slice()),
                qos: quality(packet.qos()),
                packet: packet.packet_id().unwrap_or_default(),
                dup: packet.dup(),
                retain: packet.retain(),
                properties: None,
                expiry: None,
            },
            Some(Packet::V5_0Publish(packet)) => {
                if strict::have_bad_property(packet.props()) {
                    return Err(Ending::Violation(Code::ProtocolError));
                }
                Published {
                    topic: packet.topic_name().into(),
                    payload: Bytes::copy_from_slice(packet.payload().as_slice()),
                    qos: quality(packet.qos()),
                    packet: packet.packet_id().unwrap_or_default(),
                    dup: packet.dup(),
                    retain: packet.retain(),
                    properties: travelling(packet.props()),
                    expiry: expires_after(packet.props()).map(Expiry::after),
                }
            }
            _ => return Err(MqttError::MalformedPacket.into()),
        })
    }

    /// Is there a slot for another publish? One at quality 2 also needs a packet id that is to be released; a
    /// repeated one has both. A v5 client was told how many there are: the codec ends the connection of one that
    /// sends more (0x93).
    fn has_slot(&self, head: PublishHead<'_>) -> bool {
        if self.codec.version() == Version::V5_0 {
            return true;
        }
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

    /// Hands a publish to whoever makes it durable, or to the router, or refuses it.
    fn hand_on(&mut self, published: Published, room: Room) -> Result<(), Ending> {
        if published.qos == QoS::ExactlyOnce {
            self.unreleased.insert(published.packet);
        }
        let grants = &self.peer.client.grants;
        let refused = match topics::check_topic(&published.topic, &self.hub.config) {
            Err(BadTopic::Malformed) => return Err(Ending::Violation(Code::TopicNameInvalid)),
            Err(BadTopic::TooLong) => Some(over(Limit::Topic)),
            Err(BadTopic::Reserved) => Some(Refused::NotAuthorized),
            Ok(()) if !grants.may_publish(&published.topic) => Some(Refused::NotAuthorized),
            Ok(()) => None,
        };
        match refused {
            Some(why) => self.refuse(&published, why),
            None => self.send_on(published, room),
        }
        Ok(())
    }

    fn refuse(&mut self, published: &Published, why: Refused) {
        self.hub.meters.publish(published.qos, Outcome::Refused);
        if published.qos > QoS::AtMostOnce {
            self.peer.answer(published.packet, published.qos, Err(why));
        }
    }

    /// Sends a publish that may be on its way, with a receipt in line where the client waits for an answer.
    fn send_on(&mut self, published: Published, room: Room) {
        let Room { bytes, place } = room;
        let receipt = |peer: &Arc<Peer>, bytes| {
            let number = peer.receipts.lock().open(published.packet, published.qos);
            Receipt::in_line(Arc::clone(peer), number, bytes)
        };
        match place {
            Place::Delivery(place) => {
                let receipt = match published.qos {
                    QoS::AtMostOnce => Receipt::unanswered(Some(bytes)),
                    _ => receipt(&self.peer, bytes),
                };
                deliver(&self.hub, &self.peer.client, published, place, receipt);
            }
            Place::Router(place) => {
                if let Err(why) = keep(&self.hub, &self.peer.client, &published) {
                    return self.refuse(&published, why);
                }
                let receipt = match published.qos {
                    QoS::AtMostOnce => Receipt::unanswered(Some(bytes)),
                    _ => receipt(&self.peer, bytes),
                };
                route(&self.hub, &self.peer.client, &published, place, receipt);
            }
        }
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
}

/// The topic alias among the properties of a v5 PUBLISH, which may be none; malformed ones are left to the codec.
fn topic_alias(bytes: &[u8]) -> Option<u16> {
    const TOPIC_ALIAS: u8 = 0x23;
    let len_bytes = bytes.iter().take(4).position(|byte| byte & 0x80 == 0)? + 1;
    let (len, properties) = bytes.split_at(len_bytes);
    let len = len.iter().rev().fold(0, |len, byte| len << 7 | usize::from(byte & 0x7F));
    let mut rest = properties.get(..len)?;
    while let Some((kind, value)) = rest.split_first() {
        if *kind == TOPIC_ALIAS {
            return value.first_chunk().map(|alias| u16::from_be_bytes(*alias));
        }
        let (_, read) = Property::parse(rest).ok()?;
        rest = rest.get(read..)?;
    }
    None
}

/// Hands a publish on one of the service's own topics to whoever makes it durable.
pub(super) fn deliver(
    hub: &Hub,
    client: &Arc<Client>,
    published: Published,
    place: OwnedPermit<Delivery>,
    mut receipt: Receipt,
) {
    hub.meters.publish(published.qos, Outcome::Delivered);
    if hub.tree.any(&client.realm, &published.topic) {
        receipt = receipt.echoed(hub.this.clone(), Arc::clone(client), message(client, &published));
    }
    let Published { topic, payload, qos, dup, .. } = published;
    let event = Event::Publish { topic, payload, qos, dup };
    place.send(Delivery { client: Arc::clone(client), event, received_at: SystemTime::now(), receipt });
}

/// Notes what has to outlast a publish on a routed topic: the topic itself, and the message if it is retained.
pub(super) fn keep(hub: &Hub, client: &Client, published: &Published) -> Result<(), Refused> {
    if !hub.router.admits_topic(&client.realm, &published.topic) {
        return Err(over(Limit::RouterTopics));
    }
    if published.retain && !hub.retained.keep(&client.realm, &message(client, published)) {
        return Err(over(Limit::RetainedBytes));
    }
    Ok(())
}

/// The refusal of a publish that is over a limit, counted.
fn over(limit: Limit) -> Refused {
    limit.count();
    Refused::Quota(limit.reason().into())
}

/// Hands a publish on any other topic to the router.
pub(super) fn route(
    hub: &Hub,
    client: &Client,
    published: &Published,
    place: OwnedSemaphorePermit,
    receipt: Receipt,
) {
    hub.meters.publish(published.qos, Outcome::Routed);
    hub.router.publish(&client.realm, &message(client, published), receipt, place);
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
