//! What a device has published and nobody has acknowledged yet, in order. Pure.
//!
//! The client library has a list of its own, but with a clean session it drops it or sends it in another order.
//! So each connection is a fresh client, to which this list is handed again from its beginning:
//!
//! ```text
//! oldest ─▶ [ on the wire: has a packet id ][ handed to the client ][ not yet handed ] ◀─ newest
//! ```
//!
//! The client gives packet ids in the order in which it was handed messages, and says so; that is how an
//! acknowledgement finds its message. A lost connection makes everything "not yet handed".

use std::collections::VecDeque;

/// Messages that aren't acknowledged, each with what the owner knows of it.
#[derive(Debug)]
pub(super) struct Unacked<M> {
    queue: VecDeque<Waiting<M>>,
    on_wire: usize,
    handed: usize,
}

#[derive(Debug)]
struct Waiting<M> {
    message: M,
    /// On this connection; meaningful for those on the wire.
    packet_id: u16,
}

impl<M> Unacked<M> {
    /// None.
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::new(), on_wire: 0, handed: 0 }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Adds the newest.
    pub(super) fn push(&mut self, message: M) {
        self.queue.push_back(Waiting { message, packet_id: 0 });
    }

    /// The next to be handed to the client; from now on it counts as handed.
    pub(super) fn hand(&mut self) -> Option<&M> {
        let next = self.queue.get(self.handed)?;
        self.handed += 1;
        Some(&next.message)
    }

    /// The client gave the oldest message that was handed this packet id, and writes it to the socket.
    pub(super) fn written(&mut self, packet_id: u16) -> Option<&mut M> {
        if self.on_wire == self.handed {
            return None;
        }
        let waiting = self.queue.get_mut(self.on_wire)?;
        waiting.packet_id = packet_id;
        self.on_wire += 1;
        Some(&mut waiting.message)
    }

    /// The message with this packet id was acknowledged; none when there is no such message on the wire.
    pub(super) fn acknowledged(&mut self, packet_id: u16) -> Option<M> {
        let at = self.queue.iter().take(self.on_wire).position(|waiting| waiting.packet_id == packet_id)?;
        self.on_wire -= 1;
        self.handed -= 1;
        self.queue.remove(at).map(|waiting| waiting.message)
    }

    /// The connection is gone: all must be handed again, to the next one.
    pub(super) fn connection_lost(&mut self) {
        self.on_wire = 0;
        self.handed = 0;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_acknowledgement_finds_its_message_by_the_packet_id_of_this_connection() {
        let mut unacked = Unacked::new();
        for message in 1..=3 {
            unacked.push(message);
        }
        while unacked.hand().is_some() {}
        assert_eq!(unacked.written(7).copied(), Some(1));
        assert_eq!(unacked.written(8).copied(), Some(2));
        assert_eq!(unacked.acknowledged(9), None);
        assert_eq!(unacked.acknowledged(8), Some(2));
        assert_eq!(unacked.acknowledged(8), None);
        unacked.connection_lost();
        // The packet id of the old connection means nothing on the new one.
        assert_eq!(unacked.acknowledged(7), None);
        assert_eq!(
            (unacked.hand().copied(), unacked.hand().copied(), unacked.hand()),
            (Some(1), Some(3), None)
        );
        assert_eq!(unacked.written(1).copied(), Some(1));
        assert_eq!(unacked.acknowledged(1), Some(1));
        assert_eq!(unacked.len(), 1);
    }

    #[test]
    fn what_was_not_handed_can_not_be_written() {
        let mut unacked = Unacked::new();
        unacked.push(1);
        assert_eq!(unacked.written(1), None);
    }

    proptest! {
        /// Whatever happens, messages go out in order on each connection, and none leaves unacknowledged.
        #[test]
        fn order_holds_on_each_connection_and_nothing_is_forgotten(
            steps in proptest::collection::vec(0_u8..5, 0..300)
        ) {
            let mut unacked = Unacked::new();
            let (mut made, mut acknowledged) = (0_u32, Vec::new());
            // What this connection handed and wrote: packet ids start again with each.
            let (mut handed, mut written) = (Vec::new(), VecDeque::new());
            let mut packet_id = 0;
            for step in steps {
                match step {
                    0 => { made += 1; unacked.push(made); }
                    1 => if let Some(message) = unacked.hand() {
                        prop_assert!(handed.last() < Some(message));
                        handed.push(*message);
                    },
                    2 => {
                        let next = unacked.written(packet_id + 1).copied();
                        let expected = handed.get(usize::from(packet_id)).copied();
                        prop_assert_eq!(next, expected);
                        if next.is_some() { packet_id += 1; written.push_back(packet_id); }
                    }
                    3 => if let Some(id) = written.pop_front() {
                        let message = unacked.acknowledged(id);
                        prop_assert_eq!(message, handed.get(usize::from(id) - 1).copied());
                        acknowledged.push(message.unwrap());
                    },
                    _ => {
                        unacked.connection_lost();
                        handed.clear();
                        written.clear();
                        packet_id = 0;
                    }
                }
            }
            unacked.connection_lost();
            while let Some(message) = unacked.hand() { acknowledged.push(*message); }
            acknowledged.sort_unstable();
            prop_assert_eq!(acknowledged, (1..=made).collect::<Vec<_>>());
        }
    }
}
