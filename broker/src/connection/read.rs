//! Which packets are taken now, and which have to wait.
//!
//! A publish needs room: a slot among the unresolved receipts, its bytes in the total in flight, and a place in
//! the channel behind. While there is none it stays in the input, and everything that must not overtake it stays
//! behind it. A small buffer is read all the same, because some packets need no room (PUBREL, PINGREQ) and the
//! room may depend on them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mqtt_protocol_core::mqtt::connection::Version;
use mqtt_protocol_core::mqtt::packet::{Packet, Property};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode as Code, MqttError, PubrecReasonCode};
use tokio::time::Instant;

use super::frame::{self, BadFrame, Frame, Kind};
use super::{Session, strict};
use crate::broker::Hub;
use crate::ending::Ending;
use crate::wire::Moved;

/// How much is read while publishes wait, in bytes.
const HELD_BYTES_MAX: usize = 8 * 1024;
/// More output than this, in bytes, and the client has to read before it is read from.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// What each connection may have read and not yet accepted without being counted, in bytes.
const PARTIAL_BYTES_FREE: usize = 8 * 1024;

impl Session {
    /// May the socket be read now?
    pub(super) fn may_read(&self) -> bool {
        let room = !self.holding || self.input.len() < HELD_BYTES_MAX;
        room && self.goodbye.is_none()
            && !self.peer.is_stopping()
            && self.codec.output.len() < OUTPUT_BYTES_MAX
    }

    /// Most bytes that are read now.
    pub(super) fn read_bytes_max(&self) -> usize {
        if self.holding { HELD_BYTES_MAX.saturating_sub(self.input.len()) } else { usize::MAX }
    }

    /// Notes what happened on the wire.
    pub(super) fn moved(&mut self, moved: &io::Result<Moved>) -> Result<(), Ending> {
        let now = Instant::now();
        match moved {
            Ok(Moved::Read(0)) => {
                // What came before the end is still good.
                self.take_input()?;
                Err(Ending::Closed)
            }
            Ok(Moved::Read(_)) => {
                self.clock.heard(now);
                Ok(())
            }
            Ok(Moved::Written) => {
                self.clock.stalled(false, now);
                Ok(())
            }
            Err(_) => self.broken(),
        }
    }

    /// Takes all packets of the input for which there is room.
    pub(super) fn take_input(&mut self) -> Result<(), Ending> {
        self.holding = false;
        if self.input.is_empty() {
            return Ok(());
        }
        let mut input = std::mem::take(&mut self.input);
        let taken = self.take_packets(&mut input);
        if !input.is_empty() {
            self.input = input;
        }
        taken?;
        if self.partial.set(self.input.len()) { Ok(()) } else { Err(Ending::NoRoom) }
    }

    /// Takes packets out of the buffer; those that have to wait are moved to its front, in order.
    fn take_packets(&mut self, input: &mut Vec<u8>) -> Result<(), Ending> {
        let (mut at, mut kept) = (0, 0);
        let before = self.goodbye;
        while self.goodbye == before {
            let (kind, len, header) = match frame::next(&input[at..], self.hub.config.packet_bytes_max) {
                Ok(Frame::Whole { kind, len, header }) => (kind, len, header),
                Ok(Frame::Part) => break,
                Err(BadFrame::TooLarge) => return Err(Ending::Violation(Code::PacketTooLarge)),
                Err(BadFrame::Malformed) => return Err(Ending::Violation(Code::MalformedPacket)),
            };
            let packet = &input[at..at + len];
            if self.codec.version() == Version::V5_0 && !strict::lengths_are_short(kind, packet, header) {
                return Err(Ending::Violation(Code::MalformedPacket));
            }
            let first_in_line = !self.holding && self.wait.is_none();
            let taken = if kind == Kind::PUBLISH {
                first_in_line && self.take_publish(packet, header)?
            } else if first_in_line || kind.needs_no_room() || kind == Kind::DISCONNECT {
                self.take(packet)?;
                true
            } else {
                false
            };
            if !taken {
                self.holding = true;
                input.copy_within(at..at + len, kept);
                kept += len;
            }
            at += len;
        }
        if self.goodbye != before {
            // Nothing counts behind a DISCONNECT.
            input.truncate(kept);
        } else {
            input.drain(kept..at);
        }
        Ok(())
    }

    /// Takes a packet other than a PUBLISH.
    fn take(&mut self, packet: &[u8]) -> Result<(), Ending> {
        match self.codec.receive(packet)? {
            Some(Packet::V3_1_1Pubrel(packet)) => self.release(packet.packet_id()),
            Some(Packet::V5_0Pubrel(packet)) => self.release(packet.packet_id()),
            Some(Packet::V3_1_1Puback(packet)) => self.acknowledged(packet.packet_id()),
            Some(Packet::V5_0Puback(packet)) => {
                if packet.reason_code().is_some_and(|code| code.is_failure()) {
                    self.unmark(packet.packet_id());
                }
                self.acknowledged(packet.packet_id())
            }
            Some(Packet::V3_1_1Pubcomp(packet)) => self.acknowledged(packet.packet_id()),
            Some(Packet::V5_0Pubcomp(packet)) => self.acknowledged(packet.packet_id()),
            Some(Packet::V3_1_1Pubrec(packet)) => self.received(packet.packet_id()),
            Some(Packet::V5_0Pubrec(packet)) => {
                // A client that refuses wants to hear no more of it.
                match packet.reason_code() {
                    None | Some(PubrecReasonCode::Success | PubrecReasonCode::NoMatchingSubscribers) => {
                        self.received(packet.packet_id())
                    }
                    Some(_) => {
                        self.unmark(packet.packet_id());
                        self.acknowledged(packet.packet_id())
                    }
                }
            }
            Some(Packet::V3_1_1Subscribe(packet)) => {
                self.subscribe(packet.packet_id(), packet.entries(), &[])
            }
            Some(Packet::V5_0Subscribe(packet)) => {
                self.subscribe(packet.packet_id(), packet.entries(), packet.props())
            }
            Some(Packet::V3_1_1Unsubscribe(packet)) => self.unsubscribe(packet.packet_id(), packet.entries()),
            Some(Packet::V5_0Unsubscribe(packet)) => self.unsubscribe(packet.packet_id(), packet.entries()),
            Some(Packet::V3_1_1Disconnect(_)) => {
                self.goodbye = Some(Ending::Disconnect);
                Ok(())
            }
            Some(Packet::V5_0Disconnect(packet)) => {
                if let Some(seconds) = session_expiry(packet.props().as_deref().unwrap_or_default()) {
                    if self.session_expiry_s == 0 && seconds > 0 {
                        // Not after a CONNECT without (MQTT 5, 3.14.2.2.2).
                        return Err(Ending::Violation(Code::ProtocolError));
                    }
                    self.session_expiry_s = seconds.min(self.hub.config.session_expiry_s_max);
                    self.seat.set_session_expiry(self.session_expiry_s);
                }
                // Anything but a plain goodbye leaves the will in force (MQTT 5, 3.14.2.1).
                self.goodbye = Some(match packet.reason_code() {
                    None | Some(Code::NormalDisconnection) => Ending::Disconnect,
                    Some(_) => Ending::DisconnectWithWill,
                });
                Ok(())
            }
            Some(Packet::V5_0Auth(_)) => Err(MqttError::ProtocolError.into()),
            // PINGREQ is answered by the codec.
            Some(_) | None => Ok(()),
        }
    }
}

/// For how long the client now wants its session kept, in seconds.
fn session_expiry(properties: &[Property]) -> Option<u32> {
    properties.iter().find_map(|property| match property {
        Property::SessionExpiryInterval(seconds) => Some(seconds.val()),
        _ => None,
    })
}

/// What one connection has read and not yet accepted, as part of the total.
pub(super) struct Partial {
    hub: Arc<Hub>,
    counted: usize,
}

impl Partial {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, counted: 0 }
    }

    /// Notes how much it is now. False when the total is over its limit, and this connection has grown.
    fn set(&mut self, bytes: usize) -> bool {
        let before = std::mem::replace(&mut self.counted, bytes.saturating_sub(PARTIAL_BYTES_FREE));
        if self.counted == before {
            return true;
        }
        let total = &self.hub.partial_bytes;
        if self.counted < before {
            total.fetch_sub(before - self.counted, Ordering::Relaxed);
            return true;
        }
        let grown = self.counted - before;
        total.fetch_add(grown, Ordering::Relaxed) + grown <= self.hub.config.partial_bytes_max
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.set(0);
    }
}
