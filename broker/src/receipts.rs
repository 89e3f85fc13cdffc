//! The line of publishes of one connection that wait for their receipts. They may resolve in any order, and are
//! acknowledged in the order in which they arrived.

use std::collections::VecDeque;

use crate::{QoS, Refused};

/// What a receipt was resolved with.
pub(crate) type Answer = Result<(), Refused>;

/// An acknowledgement that may leave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Acknowledgement {
    /// The packet id of the publish.
    pub(crate) packet: u16,
    /// PUBACK for `AtLeastOnce`, PUBREC for `ExactlyOnce`.
    pub(crate) qos: QoS,
    /// What it says.
    pub(crate) answer: Answer,
}

/// The line. A slot is open from the arrival of a publish until its acknowledgement is taken.
#[derive(Default)]
pub(crate) struct Receipts {
    /// The number of the first slot.
    first: u64,
    slots: VecDeque<Slot>,
}

struct Slot {
    packet: u16,
    qos: QoS,
    answer: Option<Answer>,
}

impl Receipts {
    /// Opens a slot at the end of the line; its number is for [`Self::resolve`].
    pub(crate) fn open(&mut self, packet: u16, qos: QoS) -> u64 {
        self.slots.push_back(Slot { packet, qos, answer: None });
        self.first + self.slots.len() as u64 - 1
    }

    /// Notes the answer of a slot. True when it is the first in line: the connection has something to send.
    pub(crate) fn resolve(&mut self, number: u64, answer: Answer) -> bool {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(slot) = index.and_then(|index| self.slots.get_mut(index)) {
            slot.answer = Some(answer);
        }
        number == self.first
    }

    /// Takes the next acknowledgement that may leave.
    pub(crate) fn next(&mut self) -> Option<Acknowledgement> {
        self.slots.front()?.answer.as_ref()?;
        let Slot { packet, qos, answer } = self.slots.pop_front()?;
        self.first += 1;
        if self.slots.is_empty() {
            // Given back: most connections have nothing in line most of the time.
            self.slots = VecDeque::new();
        }
        Some(Acknowledgement { packet, qos, answer: answer? })
    }

    /// How many are in line.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Is a publish with this packet id in line?
    pub(crate) fn has_packet(&self, packet: u16) -> bool {
        self.slots.iter().any(|slot| slot.packet == packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the order of resolution, acknowledgements leave in the order of arrival, each as soon as all
        /// before it are resolved, and the connection is woken exactly when there is something to send.
        #[test]
        fn acknowledged_in_order_of_arrival(order in Just((0..40_u64).collect::<Vec<_>>()).prop_shuffle()) {
            let mut receipts = Receipts::default();
            for packet in 0..40 {
                receipts.open(packet, QoS::AtLeastOnce);
            }
            let mut resolved = [false; 40];
            let mut sent = 0;
            for number in order {
                let woken = receipts.resolve(number, Ok(()));
                resolved[usize::try_from(number).expect("small")] = true;
                let before = sent;
                while let Some(next) = receipts.next() {
                    prop_assert_eq!(usize::from(next.packet), sent);
                    sent += 1;
                }
                prop_assert_eq!(woken, sent > before);
                prop_assert_eq!(sent, resolved.iter().take_while(|done| **done).count());
            }
            prop_assert_eq!(receipts.len(), 0);
        }
    }

    #[test]
    fn a_late_answer_changes_nothing() {
        let mut receipts = Receipts::default();
        let number = receipts.open(7, QoS::ExactlyOnce);
        receipts.resolve(number, Ok(()));
        assert!(receipts.next().is_some());
        receipts.resolve(number, Ok(()));
        receipts.resolve(number + 5, Ok(()));
        assert_eq!(receipts.next(), None);
        assert_eq!(receipts.open(8, QoS::AtLeastOnce), number + 1);
    }
}
