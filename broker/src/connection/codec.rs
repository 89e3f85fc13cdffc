//! The protocol state machine of one connection, from `mqtt-protocol-core`, and the bytes that it wants sent.

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::role::Server;
use mqtt_protocol_core::mqtt::connection::{Connection, Event, Version};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet, Qos, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::packets;
use crate::session::IDS;

/// State machine and output of one connection. Acknowledgements of publishes are left to us; timers too.
pub(super) struct Codec {
    machine: Box<Connection<Server>>,
    /// What is to be written to the socket.
    pub(super) output: Vec<u8>,
    /// How many of our publishes wait for the client to acknowledge them.
    pub(super) in_flight: u16,
    /// The packet id that was taken last.
    last_id: u16,
}

impl Codec {
    pub(super) fn new() -> Self {
        let mut machine = Box::new(Connection::new(Version::Undetermined));
        machine.set_auto_pub_response(false);
        machine.set_auto_ping_response(true);
        Self { machine, output: Vec::new(), in_flight: 0, last_id: 0 }
    }

    /// Which protocol the client speaks; `Undetermined` before its CONNECT.
    pub(super) fn version(&self) -> Version {
        self.machine.get_protocol_version()
    }

    /// Takes one whole packet. None where there is nothing for us to do.
    ///
    /// # Errors
    /// When the client broke the protocol. What it must be told is then in the output.
    pub(super) fn receive(&mut self, packet: &[u8]) -> Result<Option<Packet>, MqttError> {
        let events = self.machine.recv(&mut Cursor::new(packet));
        self.follow(events)
    }

    /// Puts a packet into the output.
    ///
    /// # Errors
    /// When the packet can't be sent to this client, or not now.
    pub(super) fn send(&mut self, packet: impl Into<Packet>) -> Result<(), MqttError> {
        let events = self.machine.send(packet.into());
        self.follow(events).map(drop)
    }

    /// A packet id for a publish of ours at quality 1 or 2, in use until the client acknowledged it. They are taken
    /// in turn: one that is free again is not used at once, so an acknowledgement that comes twice means nothing else.
    /// A `high` one is none that a queued message may have.
    ///
    /// # Errors
    /// When all are in use.
    pub(super) fn take_packet_id(&mut self, high: bool) -> Result<u16, MqttError> {
        let lowest = if high { IDS + 1 } else { 1 };
        for _ in 0..u16::MAX {
            self.last_id = self.last_id.checked_add(1).unwrap_or_default().max(lowest);
            if self.machine.register_packet_id(self.last_id).is_ok() {
                self.in_flight += 1;
                return Ok(self.last_id);
            }
        }
        Err(MqttError::PacketIdentifierFullyUsed)
    }

    /// Takes the packet id of a queued message.
    ///
    /// # Errors
    /// When it is in use.
    pub(super) fn use_packet_id(&mut self, id: u16) -> Result<(), MqttError> {
        self.machine.register_packet_id(id)?;
        self.in_flight += 1;
        Ok(())
    }

    /// Is this packet id of ours in use on this connection?
    pub(super) fn is_in_use(&mut self, id: u16) -> bool {
        let free = self.machine.register_packet_id(id).is_ok();
        if free {
            self.machine.release_packet_id(id);
        }
        !free
    }

    /// Puts the PUBREL into the output of an exchange that an earlier connection began. The state machine knows nothing
    /// of that, and would count a PUBCOMP without its PUBLISH below zero: it is shown the exchange up to here.
    ///
    /// # Errors
    /// When the packet id is in use.
    pub(super) fn resume_release(&mut self, id: u16) -> Result<(), MqttError> {
        self.use_packet_id(id)?;
        let publish = match self.version() {
            Version::V5_0 => v5_0::Publish::builder()
                .topic_name("resumed")?
                .qos(Qos::ExactlyOnce)
                .packet_id(id)
                .build()?
                .into(),
            _ => v3_1_1::Publish::builder()
                .topic_name("resumed")?
                .qos(Qos::ExactlyOnce)
                .packet_id(id)
                .build()?
                .into(),
        };
        self.machine.send(publish);
        let [high, low] = id.to_be_bytes();
        self.machine.recv(&mut Cursor::new(&[0x50, 2, high, low]));
        self.send(packets::pubrel(self.version(), id)?)
    }

    /// Gives a packet id back whose publish couldn't be sent.
    pub(super) fn return_packet_id(&mut self, id: u16) {
        let events = self.machine.release_packet_id(id);
        // Nothing but the note that it is free again.
        self.follow(events).ok();
    }

    fn follow(&mut self, events: Vec<Event>) -> Result<Option<Packet>, MqttError> {
        let mut received = None;
        let mut result = Ok(());
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => received = Some(packet),
                Event::RequestSendPacket { packet, .. } => {
                    self.output.extend_from_slice(&packet.to_continuous_buffer());
                }
                Event::NotifyPacketIdReleased(_) => self.in_flight = self.in_flight.saturating_sub(1),
                Event::NotifyError(error) => result = Err(error),
                // Closing follows from the error or from the packet; timers are ours.
                Event::RequestClose | Event::RequestTimerReset { .. } | Event::RequestTimerCancel(_) => {}
            }
        }
        result.map(|()| received)
    }
}
