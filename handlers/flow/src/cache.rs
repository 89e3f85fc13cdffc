//! What is known of devices, kept while it fits: a derived copy of what the database holds.

use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::Value;
use statecast_state::alarm::Alarm;
use statecast_state::{DeviceKey, Document, MessageId, Timestamp, Twin};

/// How long an idempotency key is remembered at least, in microseconds.
pub const REMEMBERED_US: i64 = 24 * 3_600 * 1_000_000;
/// How many idempotency keys of a device are remembered at least.
pub const REMEMBERED_MIN: usize = 200;
/// How many idempotency keys of a device are remembered at most, so that one device can't fill the memory.
pub const REMEMBERED_MAX: usize = 20_000;

/// What an activation knows of its device.
#[derive(Clone, Default)]
pub struct Known {
    /// The committed twin; none when there is no such device.
    pub twin: Option<Arc<Twin>>,
    /// The alarms of a device that doesn't exist any more.
    pub left: Vec<Alarm>,
    /// The idempotency keys of its last messages.
    pub recent: Recent,
    /// About how many bytes it takes, counted when it is put back.
    bytes: u64,
}

impl Known {
    /// What the database says of a device.
    pub fn new(twin: Option<Arc<Twin>>, left: Vec<Alarm>, recent: Recent) -> Self {
        Self { twin, left, recent, bytes: 0 }
    }
}

/// The idempotency keys of the last messages of a device, oldest first. Cheap to clone for who only looks at the twin.
#[derive(Clone, Default)]
pub struct Recent(Arc<VecDeque<(MessageId, Timestamp)>>);

impl Recent {
    /// From what the database remembers, oldest first.
    pub fn new(ids: Vec<(MessageId, Timestamp)>) -> Self {
        Self(Arc::new(ids.into()))
    }

    /// Whether a message with this key was applied.
    pub fn contains(&self, id: MessageId) -> bool {
        self.0.iter().rev().any(|(known, _)| *known == id)
    }

    /// Remembers a key, and forgets those that are both old and many.
    pub fn remember(&mut self, id: MessageId, now: Timestamp) {
        let ids = Arc::make_mut(&mut self.0);
        ids.push_back((id, now));
        while let Some((_, oldest)) = ids.front() {
            let old = now.micros_since(*oldest) > REMEMBERED_US && ids.len() > REMEMBERED_MIN;
            if !old && ids.len() <= REMEMBERED_MAX {
                break;
            }
            ids.pop_front();
        }
    }
}

/// A bounded cache of [`Known`], by device. Whatever is here is as it is committed: an entry is taken away before anyone
/// is told of a commit, and the activation puts back what the commit made of it. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Twins(Arc<Cache<DeviceKey, Known, ByBytes>>);

impl Twins {
    /// A cache of about `bytes_max` bytes.
    pub fn new(bytes_max: u64) -> Self {
        // The estimate only sizes the table of the cache: a twin of about 2 KiB with its keys.
        let items = usize::try_from(bytes_max / 2_048).unwrap_or(usize::MAX).clamp(64, 1_000_000);
        Self(Arc::new(Cache::with_weighter(items, bytes_max, ByBytes)))
    }

    /// What is known of a device, for its activation.
    pub fn get(&self, key: &DeviceKey) -> Option<Known> {
        self.0.get(key)
    }

    /// Takes away what is known of a device: it was changed, or it may have been.
    pub fn forget(&self, key: &DeviceKey) {
        self.0.remove(key);
    }

    /// Keeps what is known of a device; only its activation may.
    pub fn put(&self, key: &DeviceKey, mut known: Known) {
        let left = size_of_val(known.left.as_slice());
        let ids = known.recent.0.len() * size_of::<(MessageId, Timestamp)>();
        known.bytes = (256 + left + ids + known.twin.as_ref().map_or(0, |twin| footprint(twin))) as u64;
        self.0.insert(key.clone(), known);
    }

    /// The committed twin, if it is here.
    pub fn peek(&self, key: &DeviceKey) -> Option<Arc<Twin>> {
        self.0.peek(key).and_then(|known| known.twin)
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<DeviceKey, Known> for ByBytes {
    fn weight(&self, _: &DeviceKey, known: &Known) -> u64 {
        known.bytes
    }
}

/// About how many bytes a twin takes in memory. Walks the documents instead of printing them.
pub fn footprint(twin: &Twin) -> usize {
    let documents = [&twin.reported, &twin.reported_at.0, &twin.desired, &twin.tags];
    let alarms = size_of_val(twin.alarms.as_slice());
    let requests: usize = twin.requests.iter().map(|one| 256 + document_footprint(&one.patch)).sum();
    size_of::<Twin>() + alarms + requests + documents.into_iter().map(document_footprint).sum::<usize>()
}

/// The same of a document.
pub fn document_footprint(document: &Document) -> usize {
    // A B-tree node holds eleven entries and is seldom full.
    document.iter().map(|(name, value)| 96 + name.len() + value_footprint(value)).sum()
}

fn value_footprint(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| size_of::<Value>() + value_footprint(item)).sum(),
        Value::Object(inner) => document_footprint(inner),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_only_what_is_old_and_many() {
        let mut recent = Recent::default();
        let start = Timestamp::from_micros(0);
        for n in 0..300 {
            recent.remember(MessageId(n), start);
        }
        assert!(recent.contains(MessageId(0)), "young keys stay, however many");
        recent.remember(MessageId(1_000), start.plus_micros(REMEMBERED_US + 1));
        assert!(!recent.contains(MessageId(0)));
        assert!(recent.contains(MessageId(299)), "the last 200 stay, however old");
        assert_eq!(recent.0.len(), REMEMBERED_MIN);
    }
}
