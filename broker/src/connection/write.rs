//! What leaves: acknowledgements of resolved publishes, letters of the outbox, and the bytes of both.

use mqtt_protocol_core::mqtt::result_code::MqttError;
use tokio::time::Instant;

use super::aliases::Naming;
use super::{Session, packets};
use crate::QoS;
use crate::ending::Ending;
use crate::expiry::Expiry;
use crate::outbox::Letter;

/// Most publishes at quality 1 and 2 that a client is sent before it acknowledges, whatever it asks for.
pub(crate) const WINDOW_MAX: u16 = 100;
/// Letters are turned into bytes until there are this many; the rest stays in the outbox, where it is bounded.
const OUTPUT_BYTES: usize = 32 * 1024;

impl Session {
    /// Puts the acknowledgements that may leave into the output. True if there were any.
    pub(super) fn acknowledge(&mut self) -> Result<bool, Ending> {
        let version = self.codec.version();
        let mut any = false;
        loop {
            let Some(done) = self.peer.receipts.lock().next() else { return Ok(any) };
            any = true;
            if done.qos == QoS::ExactlyOnce && packets::ends_exchange(version, &done.answer) {
                self.unreleased.remove(&done.packet);
            }
            match self.codec.send(packets::acknowledgement(version, self.reasons, &done)?) {
                // The client takes no packet that long: it is told without words (MQTT 5, 3.4.2.2.2).
                Err(MqttError::PacketTooLarge) => {
                    self.codec.send(packets::acknowledgement(version, false, &done)?)?;
                }
                sent => sent?,
            }
        }
    }

    /// Turns letters into packets, as many as the client and the output take now.
    pub(super) fn forward(&mut self) -> Result<(), Ending> {
        // What came since a subscription is in force waits until the client has seen what comes first.
        if self.subscribing {
            return Ok(());
        }
        // In turn: neither of the two must keep the other waiting for ever.
        let mut more = true;
        while more && self.codec.output.len() < OUTPUT_BYTES {
            more = self.forward_queued()?;
            more |= self.forward_letter()?;
        }
        Ok(())
    }

    /// Turns the next letter of the outbox into a packet. False when there is none that may leave.
    fn forward_letter(&mut self) -> Result<bool, Ending> {
        let letter = {
            let mut outbox = self.peer.outbox.lock();
            match outbox.peek() {
                Some(next) if next.qos > QoS::AtMostOnce && !self.window_is_open() => None,
                Some(_) => outbox.pop(),
                None => None,
            }
        };
        let Some(letter) = letter else { return Ok(false) };
        let left_s = letter.expiry.map(Expiry::left);
        if left_s == Some(None) {
            dropped("expired");
            return Ok(true);
        }
        let id = match letter.qos {
            QoS::AtMostOnce => None,
            _ => Some(self.codec.take_packet_id(self.lasting.is_some())?),
        };
        if self.send_letter(&letter, id, false, left_s.flatten())? {
            self.marked.extend(id.zip(letter.mark).map(|(id, mark)| (id, letter.topic, mark)));
        } else {
            // Longer than this client takes: it is as if it had been sent (MQTT 5, 3.1.2.11.4).
            dropped("too large");
            id.into_iter().for_each(|id| self.codec.return_packet_id(id));
        }
        Ok(true)
    }

    /// May another publish be sent that is to be acknowledged?
    pub(super) fn window_is_open(&self) -> bool {
        self.codec.in_flight < self.window
    }

    /// Puts a letter into the output, perhaps `again`. False when it is longer than the client takes.
    pub(super) fn send_letter(
        &mut self,
        letter: &Letter,
        id: Option<u16>,
        again: bool,
        left_s: Option<u32>,
    ) -> Result<bool, Ending> {
        let version = self.codec.version();
        let mut naming = self.aliases.naming(&letter.topic);
        loop {
            match self.codec.send(packets::publish(version, letter, id, again, left_s, naming)?) {
                Ok(()) => {
                    self.aliases.sent(&letter.topic, naming);
                    return Ok(true);
                }
                // Without the introduction it is shorter.
                Err(MqttError::PacketTooLarge) if matches!(naming, Naming::Introduced(_)) => {
                    naming = Naming::Topic;
                }
                Err(MqttError::PacketTooLarge) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes what the socket takes.
    pub(super) fn flush(&mut self) -> Result<(), Ending> {
        if !self.has_output() {
            return Ok(());
        }
        let before = self.codec.output.len();
        match self.stream.write(&mut self.codec.output) {
            Ok(more) => {
                let now = Instant::now();
                if self.codec.output.len() < before {
                    self.clock.stalled(false, now);
                }
                self.clock.stalled(more, now);
                Ok(())
            }
            Err(_) => self.broken(),
        }
    }

    /// Is there something that has yet to leave?
    pub(super) fn has_output(&self) -> bool {
        !self.codec.output.is_empty() || self.stream.unflushed()
    }

    /// The wire is broken. Who said goodbye needn't hear the rest, but what it sent before is still handed on.
    pub(super) fn broken(&mut self) -> Result<(), Ending> {
        if self.goodbye.is_none() {
            return Err(Ending::Closed);
        }
        self.codec.output = Vec::new();
        self.stream.forget();
        Ok(())
    }
}

/// Counts a letter that isn't sent, by a reason of a small, fixed set.
pub(super) fn dropped(reason: &'static str) {
    metrics::counter!("statecast_mqtt_dropped_total", "reason" => reason).increment(1);
}
