//! A walk over all devices in the order of their ids, a page at a time, while they go on changing.
//!
//! Whoever walks also follows the feed, from a position at or before the first page, between the pages. Each page is of a
//! moment of its own, so that what the feed tells may be in a page already, or may be read with a page to come:
//! [`Walk::is_news`] says which changes are neither.
//! *Law*: what was shown of each device, and the changes that are news, in their order, make the fleet as of the last
//! change that the feed told, as soon as it has told all changes up to the moment of the last page.

use std::collections::HashMap;

use crate::{Change, DeviceId, Position};

/// Where a walk is. The default is one that is over, so that every change is news.
#[derive(Debug, Default)]
pub struct Walk {
    reached: Reached,
    /// Devices of which a page has changes that the feed is yet to tell, and the last of these.
    ahead: HashMap<DeviceId, Position>,
}

#[derive(Debug, Default)]
enum Reached {
    /// Up to this one; none before the first.
    Device(Option<DeviceId>),
    #[default]
    End,
}

impl Walk {
    /// At the beginning.
    pub fn begin() -> Self {
        Self { reached: Reached::Device(None), ahead: HashMap::new() }
    }

    /// The device after which the next page begins, none for the first page; outer none at the end.
    pub fn next(&self) -> Option<Option<&DeviceId>> {
        match &self.reached {
            Reached::Device(last) => Some(last.as_ref()),
            Reached::End => None,
        }
    }

    /// A page shows a device as the change at `last` left it, or that this change removed it, while the feed has told
    /// everything up to `told`.
    pub fn saw(&mut self, device: &DeviceId, last: Position, told: Position) {
        if last > told {
            let ahead = self.ahead.entry(device.clone()).or_insert(last);
            *ahead = last.max(*ahead);
        }
    }

    /// A page is over, and reached up to this device; none for the last page.
    pub fn reached(&mut self, last: Option<DeviceId>) {
        self.reached = last.map_or(Reached::End, |last| Reached::Device(Some(last)));
    }

    /// Whether a change that the feed tells is neither in a page that was shown nor in one to come.
    pub fn is_news(&mut self, change: &Change) -> bool {
        let device = &change.key.device;
        match self.ahead.get(device) {
            Some(last) if change.position < *last => return false,
            Some(last) if change.position == *last => {
                self.ahead.remove(device);
                return false;
            }
            _ => {}
        }
        match &self.reached {
            Reached::Device(last) => last.as_ref().is_some_and(|last| device <= last),
            Reached::End => true,
        }
    }
}
