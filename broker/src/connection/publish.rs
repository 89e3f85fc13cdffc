//! What is done with a publish: checked, given room, handed on with its receipt.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::connection::Version;
use mqtt_protocol_core::mqtt::packet::{Packet, Property};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode as Code, MqttError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::OwnedPermit;
use tokio::time::Instant;

use super::frame::{PublishHead, publish_head};
use super::onward::{deliver, over, route};
use super::room::{Place, Room};
use super::wish::{expires_after, quality, travelling};
use super::{Session, packets, strict};
use crate::delivery::Exchanged;
use crate::ending::Ending;
use crate::expiry::Expiry;
use crate::limits::Limit;
use crate::meters::Outcome;
use crate::receipts::Acknowledgement;
use crate::session::Writes;
use crate::topics::{self, BadTopic};
use crate::{Delivery, QoS, Receipt, Refused};

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
            if self.is_known(head.packet)? {
                self.hub.passage.published();
                self.pace.spend(&self.hub.config, packet.len(), Instant::now());
                return Ok(true);
            }
        } else if head.qos == 2 && self.unreleased.len() >= self.unreleased_max() {
            // Of version 5, where the codec counts only what came on this connection.
            return Err(Ending::Violation(Code::ReceiveMaximumExceeded));
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
        self.hub.passage.published();
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
            || self.unreleased.len() < self.unreleased_max()
            || self.unreleased.contains(&head.packet)
    }

    /// How many packet ids the client may have between PUBLISH and PUBREL, over all connections of its session.
    fn unreleased_max(&self) -> usize {
        usize::from(self.hub.config.unacknowledged_max.max(1)) * UNRELEASED_FACTOR
    }

    /// A publish at quality 2 came again before its PUBREL. It isn't delivered again, unless the connection before has
    /// ended while it wasn't known what became of it. Its PUBREC is sent again, unless it will be sent for the first time
    /// when its receipt resolves.
    fn is_known(&mut self, packet: u16) -> Result<bool, Ending> {
        if self.peer.receipts.lock().has_packet(packet) {
            return Ok(true);
        }
        let Some(lasting) = self.lasting.clone() else {
            let again = Acknowledgement { packet, qos: QoS::ExactlyOnce, answer: Ok(()) };
            self.codec.send(packets::acknowledgement(self.codec.version(), self.reasons, &again)?)?;
            return Ok(true);
        };
        if lasting.exchange(packet).is_some_and(|exchange| !exchange.delivered) {
            return Ok(false);
        }
        // What it was for is done, but perhaps not yet durable.
        let receipt = self.receipt(packet, QoS::ExactlyOnce, None);
        let writes = Writes { waits: true, ..Writes::default() };
        self.hub.writer.desk().enter(writes, move || receipt.accept());
        Ok(true)
    }

    /// Hands a publish to whoever makes it durable, or to the router, or refuses it.
    fn hand_on(&mut self, published: Published, room: Room) -> Result<(), Ending> {
        if published.qos == QoS::ExactlyOnce {
            self.unreleased.insert(published.packet);
        }
        let grants = &self.peer.client.grants;
        let refused = match topics::check_topic(&published.topic, &self.hub.config) {
            Err(BadTopic::Malformed) => return Err(Ending::Violation(Code::TopicNameInvalid)),
            Err(BadTopic::TooLong) => Some(over(Limit::TopicBytes)),
            Err(BadTopic::TooDeep) => Some(over(Limit::TopicLevels)),
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
        if self.lasting.as_ref().is_some_and(|lasting| lasting.exchange(published.packet).is_some()) {
            // It came before, and its exchange is known.
            let exchange = self.exchange_of(published);
            let receipt = self.receipt(published.packet, published.qos, None);
            receipt.after(self.hub.this.clone(), Arc::clone(&self.peer.client), None, exchange).refuse(why);
        } else if published.qos > QoS::AtMostOnce {
            self.peer.answer(published.packet, published.qos, Err(why));
        }
    }

    /// Sends a publish that may be on its way, with a receipt in line where the client waits for an answer.
    fn send_on(&mut self, published: Published, room: Room) {
        let Room { bytes, place } = room;
        let exchange = self.exchange_of(&published);
        let (packet, qos) = (published.packet, published.qos);
        let client = Arc::clone(&self.peer.client);
        match place {
            Place::Delivery(place) => {
                let receipt = self.receipt(packet, qos, Some(bytes));
                if exchange.is_some() || self.is_delivering() {
                    self.deliver_in_order(published, place, receipt, exchange);
                } else {
                    deliver(&self.hub, &client, published, place, receipt, None);
                }
            }
            Place::Router(place) => {
                let receipt = || self.receipt(packet, qos, Some(bytes));
                if let Err(why) = route(&self.hub, &client, &published, place, receipt, exchange.as_ref()) {
                    self.refuse(&published, why);
                }
            }
        }
    }

    /// Hands on a publish once its packet id is durable, and all others of this connection behind it.
    fn deliver_in_order(
        &self,
        published: Published,
        place: OwnedPermit<Delivery>,
        receipt: Receipt,
        exchange: Option<Exchanged>,
    ) {
        let Some(lasting) = self.lasting.clone() else { return };
        let desk = self.hub.writer.desk();
        let mut writes = Writes { waits: true, ..Writes::default() };
        let exchange = exchange.map(|one| {
            let key = one.session.begin_exchange(one.packet, false, &mut writes);
            (one, key)
        });
        lasting.delivering.fetch_add(1, Ordering::AcqRel);
        let (hub, client) = (self.hub.this.clone(), Arc::clone(&self.peer.client));
        desk.enter(writes, move || {
            if let Some(hub) = hub.upgrade() {
                deliver(&hub, &client, published, place, receipt, exchange);
            }
            lasting.delivering.fetch_sub(1, Ordering::AcqRel);
        });
    }

    /// A receipt in the line of this connection, where the client waits for an answer.
    fn receipt(&self, packet: u16, qos: QoS, bytes: Option<OwnedSemaphorePermit>) -> Receipt {
        if qos == QoS::AtMostOnce {
            return Receipt::unanswered(bytes);
        }
        let number = self.peer.receipts.lock().open(packet, qos);
        Receipt::in_line(Arc::clone(&self.peer), number, bytes)
    }

    fn exchange_of(&self, published: &Published) -> Option<Exchanged> {
        self.exchanged(published.packet, published.qos, self.codec.version() == Version::V5_0)
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
        if self.complete(packet, known) {
            return Ok(());
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
