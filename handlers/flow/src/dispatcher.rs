//! One mailbox for each device that has something to do, and at most one task for each mailbox.
//!
//! *Cast*: [`Mailboxes`] holds what waits; whoever posts to a device without a task is told to start one; the
//! task takes what is there, and goes when there is nothing left.
//! *Guarantee*: requests of one device are taken in the order in which they were posted, by one task at a time.
//! *Bound*: what waits here is bounded by whoever posts: the broker by its bytes in flight, HTTP by its number
//! of open requests.
//! *Panic*: a task that dies takes its mailbox with it; the receipts in it are dropped unanswered, which closes
//! their connections, and the devices send again.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use statecast_state::DeviceKey;

use crate::Request;

/// How much is taken at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests, at most.
    pub count: usize,
    /// Bytes of their payloads from which on the others wait. One request is always taken.
    pub bytes: usize,
}

/// What waits, by device. A device has an entry exactly while a task works for it.
#[derive(Default)]
pub struct Mailboxes {
    waiting: Mutex<HashMap<DeviceKey, VecDeque<Request>>>,
}

impl Mailboxes {
    /// Puts a request into the mailbox of the device. True when the caller must start a task for it.
    #[must_use]
    pub fn post(&self, key: &DeviceKey, request: Request) -> bool {
        let mut waiting = self.waiting.lock();
        if let Some(mailbox) = waiting.get_mut(key) {
            mailbox.push_back(request);
            return false;
        }
        waiting.insert(key.clone(), VecDeque::from([request]));
        true
    }

    /// Takes requests, oldest first: at most `max.count` of them, and none any more once their payloads have
    /// `max.bytes` together. When there are none, the mailbox is closed, and the task must end: the next post asks for
    /// a new one.
    pub fn take(&self, key: &DeviceKey, max: Limits) -> Option<Vec<Request>> {
        let mut waiting = self.waiting.lock();
        let mailbox = waiting.get_mut(key)?;
        if mailbox.is_empty() {
            waiting.remove(key);
            return None;
        }
        let mut bytes = 0;
        let is_enough = |request: &Request| {
            let before = bytes;
            bytes += request.payload_bytes();
            before >= max.bytes
        };
        let most = mailbox.len().min(max.count);
        let count = mailbox.iter().take(most).position(is_enough).unwrap_or(most);
        Some(mailbox.drain(..count).collect())
    }

    /// Closes the mailbox of a task that died.
    pub fn abandon(&self, key: &DeviceKey) {
        let dropped = self.waiting.lock().remove(key);
        // Dropped outside the lock: each receipt closes a connection.
        drop(dropped);
    }

    /// Devices that have something to do.
    pub fn active(&self) -> usize {
        self.waiting.lock().len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::request::{Answer, Ask, Channel, Message};
    use statecast_state::{DeviceId, TenantId, Timestamp};

    fn request(payload_bytes: usize) -> Request {
        let message = Message {
            channel: Channel::State,
            topic: "devices/a/state".into(),
            payload: vec![b'x'; payload_bytes].into(),
            message: None,
            received_at: Timestamp::from_micros(0),
        };
        Request { ask: Ask::Message(message), answer: Answer::Nobody }
    }

    #[test]
    fn takes_in_order_within_both_limits_and_never_nothing() {
        let mailboxes = Mailboxes::default();
        let key = DeviceKey::new(TenantId::default(), DeviceId::parse("a").unwrap());
        let sizes = [500, 10, 11, 12, 90, 20, 1];
        let started: Vec<bool> = sizes.iter().map(|size| mailboxes.post(&key, request(*size))).collect();
        assert_eq!(started, [true, false, false, false, false, false, false], "one task is enough");
        let take = || {
            let taken = mailboxes.take(&key, Limits { count: 3, bytes: 100 });
            taken.map(|requests| requests.iter().map(Request::payload_bytes).collect::<Vec<_>>())
        };
        assert_eq!(take(), Some(vec![500]), "one that is larger than the limit is taken by itself");
        assert_eq!(take(), Some(vec![10, 11, 12]));
        assert_eq!(take(), Some(vec![90, 20]));
        assert_eq!(take(), Some(vec![1]));
        assert_eq!(take(), None);
        assert_eq!(mailboxes.active(), 0);
    }
}
