//! Which devices are online: how many connections act for each, from what the broker tells, in the order in which it
//! happened.
//!
//! *Guarantee*: every presence has a number above that of the one before, and is posted while the count that it rests
//! on can't change: the mailbox of a device gets them in the order of their numbers. So nobody sees a device go
//! offline that has already come back. A takeover is no absence; what looked like one and wasn't, because nobody
//! took the place, is closed when the grace is over ([`Connections::left`]).

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use statecast_broker::Client;
use statecast_state::{DeviceId, DeviceKey, Presence, TenantId, Timestamp};

/// The device that a client acts for; none for apps, and for whoever gave no name.
pub fn device_of(client: &Client) -> Option<DeviceKey> {
    let tenant = TenantId::parse(&client.realm).ok()?;
    let device = DeviceId::parse(&client.name).ok()?;
    Some(DeviceKey::new(tenant, device))
}

/// What the end of a connection means for its device.
#[derive(Debug, PartialEq, Eq)]
pub enum Closed {
    /// Its presence was posted, or didn't change.
    Settled,
    /// Its place was taken over, and perhaps nobody comes: [`Connections::left`] is to be called after the grace.
    /// Said once for all that happens in between.
    Vacant,
}

/// Counts the open connections of each device. A device without one has no entry.
pub struct Connections {
    epoch: u64,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    /// The last number that was given.
    seq: u64,
    open: HashMap<DeviceKey, Open>,
    /// Devices whose place was taken over within the last grace.
    vacant: HashSet<DeviceKey>,
}

/// What is open of a device.
struct Open {
    count: u32,
    /// Since when, and the number of that.
    since: Timestamp,
    seq: u64,
}

impl Counted {
    fn next(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }
}

impl Connections {
    /// None is open. `epoch` is the run of the service, see [`Presence::epoch`].
    pub fn new(epoch: u64) -> Self {
        Self { epoch, counted: Mutex::default() }
    }

    /// A connection opened; the presence is posted if it is the first of its device.
    pub fn opened(&self, key: &DeviceKey, at: Timestamp, post: impl FnOnce(Presence)) {
        let mut counted = self.counted.lock();
        if let Some(open) = counted.open.get_mut(key) {
            open.count += 1;
            return;
        }
        let open = Open { count: 1, since: at, seq: counted.next() };
        post(self.online(&open));
        counted.open.insert(key.clone(), open);
    }

    /// A connection closed; the presence is posted if it was the last of its device and nobody takes its place.
    pub fn closed(
        &self,
        key: &DeviceKey,
        reason: &str,
        at: Timestamp,
        post: impl FnOnce(Presence),
    ) -> Closed {
        let mut counted = self.counted.lock();
        let Some(open) = counted.open.get_mut(key) else { return Closed::Settled };
        open.count -= 1;
        if open.count > 0 {
            return Closed::Settled;
        }
        counted.open.remove(key);
        match reason {
            // The next run finds it open, and gives the device its grace.
            "stopping" => Closed::Settled,
            "taken over" if counted.vacant.insert(key.clone()) => Closed::Vacant,
            "taken over" => Closed::Settled,
            _ => {
                let seq = counted.next();
                post(self.offline(reason, at, seq));
                Closed::Settled
            }
        }
    }

    /// The grace of a device is over: its absence is posted if no connection is open.
    pub fn left(&self, key: &DeviceKey, reason: &str, at: Timestamp, post: impl FnOnce(Presence)) {
        let mut counted = self.counted.lock();
        counted.vacant.remove(key);
        if !counted.open.contains_key(key) {
            let seq = counted.next();
            post(self.offline(reason, at, seq));
        }
    }

    /// The presence of a device that becomes known now; none while no connection is open.
    pub fn presence(&self, key: &DeviceKey) -> Option<Presence> {
        self.counted.lock().open.get(key).map(|open| self.online(open))
    }

    fn online(&self, open: &Open) -> Presence {
        Presence {
            online: true,
            since: Some(open.since),
            reason: "connected".into(),
            epoch: self.epoch,
            seq: open.seq,
        }
    }

    fn offline(&self, reason: &str, at: Timestamp, seq: u64) -> Presence {
        Presence { online: false, since: Some(at), reason: reason.to_owned(), epoch: self.epoch, seq }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Two connections of one device, and what is posted of them.
    struct Device {
        connections: Connections,
        key: DeviceKey,
        posted: RefCell<Vec<(bool, u64)>>,
    }

    impl Device {
        fn new() -> Self {
            let key = DeviceKey::new(TenantId::default(), DeviceId::parse("a").expect("valid"));
            Self { connections: Connections::new(7), key, posted: RefCell::default() }
        }

        fn post(&self, presence: &Presence) {
            assert_eq!(presence.epoch, 7);
            self.posted.borrow_mut().push((presence.online, presence.seq));
        }

        fn opened(&self) {
            self.connections.opened(&self.key, Timestamp::from_micros(1), |presence| self.post(&presence));
        }

        fn closed(&self, reason: &str) -> Closed {
            let at = Timestamp::from_micros(2);
            self.connections.closed(&self.key, reason, at, |presence| self.post(&presence))
        }

        fn left(&self) {
            let at = Timestamp::from_micros(3);
            self.connections.left(&self.key, "did not come back", at, |presence| self.post(&presence));
        }
    }

    #[test]
    fn online_while_one_is_left() {
        let device = Device::new();
        device.opened();
        device.opened();
        assert_eq!(device.closed("closed"), Closed::Settled);
        assert!(device.connections.presence(&device.key).is_some_and(|presence| presence.seq == 1));
        assert_eq!(device.closed("closed"), Closed::Settled);
        assert_eq!(device.connections.presence(&device.key), None);
        device.closed("closed");
        device.opened();
        assert_eq!(*device.posted.borrow(), [(true, 1), (false, 2), (true, 3)], "and never below zero");
    }

    #[test]
    fn a_takeover_is_no_absence_unless_nobody_comes() {
        let device = Device::new();
        device.opened();
        assert_eq!(device.closed("taken over"), Closed::Vacant);
        device.opened();
        assert_eq!(device.closed("taken over"), Closed::Settled, "one look is enough");
        device.opened();
        device.left();
        assert!(device.posted.borrow().iter().all(|(online, _)| *online));
        assert_eq!(device.closed("taken over"), Closed::Vacant);
        device.left();
        assert_eq!(device.posted.borrow().last(), Some(&(false, 4)));
    }

    #[test]
    fn our_own_stop_is_no_absence() {
        let device = Device::new();
        device.opened();
        assert_eq!(device.closed("stopping"), Closed::Settled);
        assert_eq!(*device.posted.borrow(), [(true, 1)]);
    }
}
