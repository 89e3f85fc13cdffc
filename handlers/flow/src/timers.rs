//! What is to be looked at when its time has come: one heap for all devices and all reasons.
//!
//! *Guarantee*: a timer is taken once, not before it is due, the earliest first. It only says when to look: what is
//! then done to a twin is decided in the mailbox of its device, so that a timer too many does no harm.
//! *Bound*: what is kept here is bounded by whoever sets it, see [`crate::clock`] and [`crate::presence`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use statecast_state::{Change, DeviceKey, Timestamp};
use tokio::sync::Notify;

/// One look at one device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    /// When.
    pub due: Timestamp,
    /// At which device.
    pub key: DeviceKey,
    /// What for.
    pub why: Why,
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// A rule of absence may fire.
    Absence,
    /// An alarm is due.
    Alarm,
    /// Its connection was taken over, and perhaps nobody came.
    Vacant,
    /// The time of a request for desired state is up.
    Deadline,
}

/// All timers that are set.
#[derive(Default)]
pub struct Timers {
    heap: Mutex<BinaryHeap<Reverse<Timer>>>,
    earlier: Notify,
    /// Up to when the alarms that are due are read from the database, in microseconds; see [`crate::dues`].
    alarms_until: AtomicI64,
}

impl Timers {
    /// Sets a timer.
    pub fn set(&self, timer: Timer) {
        let mut heap = self.heap.lock();
        let is_first = heap.peek().is_none_or(|Reverse(first)| timer.due < first.due);
        heap.push(Reverse(timer));
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// Sets the timers of the alarms that these changes of a device leave, as far as they aren't read later anyway.
    pub fn follow(&self, key: &DeviceKey, changes: &[Arc<Change>]) {
        let until = Timestamp::from_micros(self.alarms_until.load(Ordering::Acquire));
        let dues = changes.iter().flat_map(|change| &change.alarms).filter_map(|alarm| alarm.due_at);
        for due in dues.filter(|due| *due <= until) {
            self.set(Timer { due, key: key.clone(), why: Why::Alarm });
        }
    }

    /// From now on the alarms that are due up to then are read: who commits one after this sets its timer.
    pub(crate) fn read_alarms_until(&self, until: Timestamp) {
        self.alarms_until.store(until.as_micros(), Ordering::Release);
    }

    /// When the next one is due; none when there is none.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.heap.lock().peek().map(|Reverse(first)| first.due)
    }

    /// Returns when a timer was set that is due before all others.
    pub async fn has_earlier(&self) {
        self.earlier.notified().await;
    }

    /// Takes those that are due, the earliest first, at most so many.
    pub fn take(&self, now: Timestamp, count_max: usize) -> Vec<Timer> {
        let mut heap = self.heap.lock();
        let mut due = Vec::new();
        while due.len() < count_max && heap.peek().is_some_and(|Reverse(first)| first.due <= now) {
            due.extend(heap.pop().map(|Reverse(timer)| timer));
        }
        due
    }

    /// Forgets all timers of a kind.
    pub fn forget(&self, why: Why) {
        self.heap.lock().retain(|Reverse(timer)| timer.why != why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statecast_state::{DeviceId, TenantId};

    #[test]
    fn the_earliest_comes_first_and_none_too_early() {
        let timers = Timers::default();
        let key = DeviceKey::new(TenantId::default(), DeviceId::parse("a").expect("valid"));
        let at = Timestamp::from_micros;
        for (due, why) in [(30, Why::Absence), (10, Why::Vacant), (20, Why::Absence), (10, Why::Absence)] {
            timers.set(Timer { due: at(due), key: key.clone(), why });
        }
        let take = |now, max| -> Vec<(i64, Why)> {
            timers.take(at(now), max).iter().map(|timer| (timer.due.as_micros(), timer.why)).collect()
        };
        assert_eq!(take(9, 9), []);
        assert_eq!(take(25, 2), [(10, Why::Absence), (10, Why::Vacant)]);
        assert_eq!(timers.next_due(), Some(at(20)));
        timers.forget(Why::Absence);
        assert_eq!((take(99, 9), timers.next_due()), (vec![], None));
    }
}
