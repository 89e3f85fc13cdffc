//! How many connections act for a device, from what the broker tells, in the order in which it happened.

use std::collections::HashMap;

use parking_lot::Mutex;
use statecast_broker::Client;
use statecast_state::{DeviceId, DeviceKey, TenantId};

/// Reasons of a disconnection that say nothing of the device: the same client has just connected again, or it is we
/// who stop and it will be back.
const NO_ABSENCE: [&str; 2] = ["taken over", "stopping"];

/// The device that a client acts for; none for apps, and for whoever gave no name.
pub fn device_of(client: &Client) -> Option<DeviceKey> {
    let tenant = TenantId::parse(&client.realm).ok()?;
    let device = DeviceId::parse(&client.name).ok()?;
    Some(DeviceKey::new(tenant, device))
}

/// Counts the open connections of each device. A device without one has no entry.
#[derive(Default)]
pub struct Connections {
    open: Mutex<HashMap<DeviceKey, u32>>,
}

impl Connections {
    /// A connection opened. True when it is the first of its device.
    pub fn opened(&self, key: &DeviceKey) -> bool {
        let mut open = self.open.lock();
        let count = open.entry(key.clone()).or_insert(0);
        *count += 1;
        *count == 1
    }

    /// A connection closed. True when it was the last of its device and no other takes its place.
    pub fn closed(&self, key: &DeviceKey, reason: &str) -> bool {
        let mut open = self.open.lock();
        let Some(count) = open.get_mut(key) else { return false };
        *count -= 1;
        if *count > 0 {
            return false;
        }
        open.remove(key);
        !NO_ABSENCE.contains(&reason)
    }

    /// Whether a connection of the device is open now.
    pub fn online(&self, key: &DeviceKey) -> bool {
        self.open.lock().contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn online_while_one_is_left() {
        let connections = Connections::default();
        let key = DeviceKey::new(TenantId::default(), DeviceId::parse("a").expect("valid"));
        assert!(connections.opened(&key));
        assert!(!connections.opened(&key));
        assert!(!connections.closed(&key, "closed"));
        assert!(connections.online(&key));
        assert!(connections.closed(&key, "closed"));
        assert!(!connections.online(&key));
        assert!(!connections.closed(&key, "closed"), "never below zero");
    }

    #[test]
    fn a_takeover_is_no_absence() {
        let connections = Connections::default();
        let key = DeviceKey::new(TenantId::default(), DeviceId::parse("a").expect("valid"));
        connections.opened(&key);
        assert!(!connections.closed(&key, "taken over"));
        assert!(connections.opened(&key));
    }
}
