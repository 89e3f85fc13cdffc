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

    /// Takes up to `max` requests, oldest first, and gives back `held`. When there are none, `last` is run with
    /// it, the mailbox is closed, and the task must end: the next post asks for a new one, which sees what `last`
    /// did.
    pub fn take<Held>(
        &self,
        key: &DeviceKey,
        max: usize,
        held: Held,
        last: impl FnOnce(Held),
    ) -> Option<(Vec<Request>, Held)> {
        let mut waiting = self.waiting.lock();
        let mailbox = waiting.get_mut(key)?;
        if mailbox.is_empty() {
            last(held);
            waiting.remove(key);
            return None;
        }
        let count = mailbox.len().min(max);
        Some((mailbox.drain(..count).collect(), held))
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
