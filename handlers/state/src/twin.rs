//! The twin of a device: what it last reported, what it should be, and what people noted about it.

use std::cell::Cell;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::alarm::Alarm;
use crate::request::Requested;
use crate::time::Text;
use crate::{DeviceId, Document, Timestamp};

/// What Statecast knows of a device. Serialises to the twin of the public contract.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Twin {
    /// Which device, within its tenant.
    pub device: DeviceId,
    /// Rises by 1 with each committed change; 1 after the first.
    pub version: u64,
    /// What the device last reported.
    pub reported: Document,
    /// What the device should be.
    pub desired: Document,
    /// What people noted about the device.
    pub tags: Document,
    /// The device time of each property of `reported`.
    pub reported_at: Stamps,
    /// Whether a connection of the device is open.
    pub presence: Presence,
    /// When the last message of the device was received; none before the first.
    pub received_at: Option<Timestamp>,
    /// The requests for desired state whose outcome is still to come, oldest first. Only known where a twin is to be
    /// changed; kept in a table of their own.
    #[serde(skip)]
    pub requests: Vec<Arc<Requested>>,
    /// The alarms of the device. Only those who change the twin know them; empty for all others.
    #[serde(skip)]
    pub alarms: Vec<Alarm>,
}

impl Twin {
    /// The twin of a device of which nothing is known yet: version 0, never committed as such.
    pub fn new(device: DeviceId) -> Self {
        Self {
            device,
            version: 0,
            reported: Document::new(),
            desired: Document::new(),
            tags: Document::new(),
            reported_at: Stamps::default(),
            presence: Presence::default(),
            received_at: None,
            requests: Vec::new(),
            alarms: Vec::new(),
        }
    }

    /// A message of the device was received at this time.
    pub fn seen(&mut self, at: Timestamp) {
        self.received_at = self.received_at.max(Some(at));
    }

    /// These alarms of the device are now like this; the others stay.
    pub fn keep(&mut self, alarms: &[Alarm]) {
        for alarm in alarms {
            match self.alarms.iter_mut().find(|known| known.id == alarm.id) {
                Some(known) => known.clone_from(alarm),
                None => self.alarms.push(alarm.clone()),
            }
        }
    }
}

/// Whether a connection of the device is open, since when, and why.
///
/// Of two presences of one device, the one with the larger `(epoch, seq)` is the later one. That holds across
/// connections, restarts of the service, and the removal of the device: whoever gets presence from several places
/// (MQTT, history, twin) keeps the largest that it saw, and drops what isn't above it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// At least one connection is open.
    pub online: bool,
    /// Since when that is so; none for a device that never connected.
    pub since: Option<Timestamp>,
    /// Why, in a word: `connected`, `disconnected`, `keep-alive`, `closed` ...
    pub reason: String,
    /// The run of the service that saw it: rises by at least 1 with each start. 0 for a device that never connected.
    pub epoch: u64,
    /// Which connection that opened or closed it was in that run: rises with each, of whatever device, so that the
    /// numbers of one device rise too, with gaps.
    pub seq: u64,
}

impl Presence {
    /// Whether this is what happened later.
    pub fn is_after(&self, other: &Self) -> bool {
        (self.epoch, self.seq) > (other.epoch, other.seq)
    }
}

/// The device time of each property, mirroring the shape of `reported`.
///
/// A leaf is a number of microseconds since the epoch; a negative one is the time of a property that was
/// deleted, remembered so that an older message doesn't bring it back. Read and written by [`crate::patch`].
/// Serialises to times as in RFC 3339, without what was deleted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stamps(pub Document);

impl Serialize for Stamps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Shown { stamps: &self.0, last: &Cell::default() }.serialize(serializer)
    }
}

/// The stamps of what exists, as times; objects in which nothing is left are left out too.
struct Shown<'a> {
    stamps: &'a Document,
    /// The time that was written last: most of a twin are the same.
    last: &'a Cell<Option<(Timestamp, Text)>>,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, stamp) in self.stamps.iter().filter(|(_, stamp)| is_shown(stamp)) {
            match stamp {
                Value::Object(inner) => map.serialize_entry(name, &Shown { stamps: inner, ..*self })?,
                other => map.serialize_entry(name, &other.as_i64().map(|micros| self.text(micros)))?,
            }
        }
        map.end()
    }
}

impl Shown<'_> {
    fn text(&self, micros: i64) -> Text {
        let time = Timestamp::from_micros(micros);
        match self.last.get() {
            Some((last, text)) if last == time => text,
            _ => {
                let text = Text::of(time);
                self.last.set(Some((time, text)));
                text
            }
        }
    }
}

fn is_shown(stamp: &Value) -> bool {
    match stamp {
        Value::Object(inner) => inner.values().any(is_shown),
        other => other.as_i64().is_some_and(|micros| micros >= 0),
    }
}
