//! The messages that wait for one client, or for its acknowledgement: in order, sent when they are durable, and sent
//! again, with the same packet id, until they are acknowledged.

use std::collections::VecDeque;

use crate::outbox::Letter;

/// Packet ids of queued messages are 1 to this; those of all others are above.
pub(crate) const IDS: u16 = 32_767;

/// The packet id of a message: the same whenever it is sent.
fn packet_id(number: u64) -> u16 {
    // The first number is 1, and so is the first packet id. The remainder is below 2^15.
    u16::try_from((number + u64::from(IDS) - 1) % u64::from(IDS)).unwrap_or_default() + 1
}

#[derive(Default)]
pub(crate) struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The highest number that was given.
    last: u64,
    /// Up to this number all is sent on this connection.
    sent: u64,
}

struct Entry {
    number: u64,
    letter: Letter,
    durable: bool,
    /// It was sent, on whatever connection.
    was_sent: bool,
    release: Release,
}

/// How far the second half of an exchange at quality 2 has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Release {
    /// The client has not said yet that it has the message.
    NotYet,
    /// It has, and that is being made durable.
    Noted,
    /// That is durable: PUBREL may be sent.
    Durable,
}

/// What is to be sent next.
#[derive(Debug)]
pub(crate) enum Next {
    /// PUBLISH.
    Publish {
        /// Its packet id.
        id: u16,
        /// The message.
        letter: Letter,
        /// It may have been sent before.
        again: bool,
    },
    /// PUBREL of an exchange that another connection began.
    Release {
        /// Its packet id.
        id: u16,
    },
}

impl Queue {
    /// Puts a letter at the end, not yet durable, and gives its number.
    pub(super) fn push(&mut self, letter: Letter) -> u64 {
        self.last += 1;
        self.bytes += letter.bytes();
        let number = self.last;
        self.entries.push_back(Entry {
            number,
            letter,
            durable: false,
            was_sent: false,
            release: Release::NotYet,
        });
        number
    }

    /// Puts one back that was kept, in order of their numbers. Whether it was sent is not known.
    pub(super) fn restore(&mut self, number: u64, letter: Letter, released: bool, was_sent: bool) {
        self.last = self.last.max(number);
        self.bytes += letter.bytes();
        let release = if released { Release::Durable } else { Release::NotYet };
        self.entries.push_back(Entry { number, letter, durable: true, was_sent, release });
    }

    /// A letter is durable now.
    pub(super) fn stored(&mut self, number: u64) {
        if let Some(entry) = self.entry(number) {
            entry.durable = true;
        }
    }

    /// There is a new connection, on which nothing was sent yet.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// What is to be sent next on this connection.
    pub(super) fn next(&mut self) -> Option<Next> {
        let first = self.entries.front()?.number;
        loop {
            let at = self.entries.partition_point(|entry| entry.number <= self.sent);
            let entry = self.entries.get_mut(at)?;
            // One that is never acknowledged must not meet the next with its id.
            if !entry.durable || entry.number - first >= u64::from(IDS) {
                return None;
            }
            self.sent = entry.number;
            let id = packet_id(entry.number);
            match entry.release {
                Release::NotYet => {
                    let again = std::mem::replace(&mut entry.was_sent, true);
                    return Some(Next::Publish { id, letter: entry.letter.clone(), again });
                }
                Release::Durable => return Some(Next::Release { id }),
                // It is told when it is durable.
                Release::Noted => {}
            }
        }
    }

    /// A message is done with. Gives its number.
    pub(super) fn remove(&mut self, id: u16) -> Option<u64> {
        let number = self.entries.iter().find(|entry| packet_id(entry.number) == id)?.number;
        self.discard(number);
        Some(number)
    }

    /// A message of this number is no longer wanted.
    pub(super) fn discard(&mut self, number: u64) {
        let Ok(at) = self.entries.binary_search_by_key(&number, |entry| entry.number) else { return };
        if let Some(entry) = self.entries.remove(at) {
            self.bytes -= entry.letter.bytes();
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// The client has a message (PUBREC). Gives its number.
    pub(super) fn received(&mut self, id: u16) -> Option<u64> {
        let entry = self.entries.iter_mut().find(|entry| packet_id(entry.number) == id)?;
        entry.release = Release::Noted;
        Some(entry.number)
    }

    /// That it has it is durable. Gives its packet id if PUBREL is to be sent on its own: [`Queue::next`] has passed it.
    pub(super) fn released(&mut self, number: u64) -> Option<u16> {
        let passed = number <= self.sent;
        self.entry(number)?.release = Release::Durable;
        passed.then(|| packet_id(number))
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let at = self.entries.binary_search_by_key(&number, |entry| entry.number).ok()?;
        self.entries.get_mut(at)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Roughly their memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QoS;
    use bytes::Bytes;

    fn letter(payload: &'static str) -> Letter {
        Letter {
            topic: "t".into(),
            payload: Bytes::from_static(payload.as_bytes()),
            qos: QoS::ExactlyOnce,
            retain: false,
            latest_only: false,
            properties: None,
            expiry: None,
            mark: None,
            identifiers: Box::default(),
        }
    }

    fn next(queue: &mut Queue) -> Option<(u16, String)> {
        Some(match queue.next()? {
            Next::Publish { id, letter, again } => {
                let payload = String::from_utf8(letter.payload.to_vec()).expect("text");
                (id, if again { format!("{payload} again") } else { payload })
            }
            Next::Release { id } => (id, "release".into()),
        })
    }

    #[test]
    fn sent_when_durable_in_order_and_again_on_the_next_connection() {
        let mut queue = Queue::default();
        let (one, two) = (queue.push(letter("one")), queue.push(letter("two")));
        queue.stored(two);
        assert_eq!(next(&mut queue), None, "the first isn't durable yet");
        queue.stored(one);
        assert_eq!(next(&mut queue), Some((1, "one".into())));
        queue.rewind();
        assert_eq!(next(&mut queue), Some((1, "one again".into())));
        assert_eq!(next(&mut queue), Some((2, "two".into())));
        assert_eq!(next(&mut queue), None);
        assert_eq!((queue.remove(2), queue.remove(2)), (Some(two), None));
        assert_eq!(queue.remove(1), Some(one));
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }

    #[test]
    fn what_the_client_has_is_released_and_never_sent_again() {
        let mut queue = Queue::default();
        let one = queue.push(letter("one"));
        queue.stored(one);
        next(&mut queue);
        assert_eq!(queue.received(1), Some(one));
        queue.rewind();
        assert_eq!(next(&mut queue), None, "until it is durable that it has it");
        assert_eq!(queue.released(one), Some(1), "then it is released on its own");
        queue.rewind();
        assert_eq!(queue.released(one), None, "or in the order of the queue");
        assert_eq!(next(&mut queue), Some((1, "release".into())));
    }

    #[test]
    fn an_id_is_never_used_twice_at_one_time() {
        let mut queue = Queue::default();
        for _ in 0..=u64::from(IDS) {
            let number = queue.push(letter("x"));
            queue.stored(number);
        }
        for _ in 0..IDS {
            assert!(queue.next().is_some());
        }
        assert!(queue.next().is_none(), "the first isn't acknowledged");
        queue.remove(1);
        assert_eq!(next(&mut queue), Some((1, "x".into())));
    }
}
