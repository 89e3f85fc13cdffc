//! The protocol state machine of one connection, from `mqtt-protocol-core`, and the bytes that it wants sent.

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::role::Server;
use mqtt_protocol_core::mqtt::connection::{Connection, Event, Version};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet};
use mqtt_protocol_core::mqtt::result_code::MqttError;

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
    ///
    /// # Errors
    /// When all are in use.
    pub(super) fn take_packet_id(&mut self) -> Result<u16, MqttError> {
        for _ in 0..u16::MAX {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.machine.register_packet_id(self.last_id).is_ok() {
                self.in_flight += 1;
                return Ok(self.last_id);
            }
        }
        Err(MqttError::PacketIdentifierFullyUsed)
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
