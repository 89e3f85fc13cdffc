//! The twin of a device: what it last reported, what it should be, and what people noted about it.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

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
        }
    }
}

/// Whether a connection of the device is open, since when, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// At least one connection is open.
    pub online: bool,
    /// Since when that is so; none for a device that never connected.
    pub since: Option<Timestamp>,
    /// Why, in a word: `connected`, `disconnected`, `keep-alive`, `closed` ...
    pub reason: String,
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
        readable(&self.0).serialize(serializer)
    }
}

/// The stamps of what exists, as times; objects in which nothing is left are left out too.
fn readable(stamps: &Document) -> Document {
    stamps
        .iter()
        .filter_map(|(name, stamp)| {
            let shown = match stamp {
                Value::Object(inner) => {
                    let inner = readable(inner);
                    (!inner.is_empty()).then_some(Value::Object(inner))
                }
                other => other
                    .as_i64()
                    .filter(|micros| *micros >= 0)
                    .map(|micros| Value::String(Timestamp::from_micros(micros).to_string())),
            };
            Some((name.clone(), shown?))
        })
        .collect()
}
