//! Twins as searches show them, written once: a view that is refreshed, the next page, a colleague's list show the same
//! ones again, and a twin is a hundred small pieces of memory that are seldom where the processor looks first.

use std::sync::{Arc, Weak};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::value::{RawValue, to_raw_value};
use statecast_state::Twin;

/// Bytes that are kept at most, about.
const BYTES_MAX: u64 = 32 * 1024 * 1024;
/// What an entry takes beside its text: the place in the cache, and the twin itself as long as it is known here.
const ENTRY_BYTES: usize = 128 + size_of::<Twin>();
/// An entry of a small device: sizes the table of the cache.
const ENTRY_BYTES_MIN: usize = 1_024;

/// The JSON of twins that were shown lately.
pub struct Shown(Cache<usize, Entry, ByBytes>);

/// A twin by where it lies in memory: it doesn't change, and nothing else lies there as long as it is known here.
#[derive(Clone)]
struct Entry {
    json: Arc<RawValue>,
    _place: Weak<Twin>,
}

impl Default for Shown {
    fn default() -> Self {
        let entries = usize::try_from(BYTES_MAX).unwrap_or(usize::MAX) / ENTRY_BYTES_MIN;
        Self(Cache::with_weighter(entries, BYTES_MAX, ByBytes))
    }
}

impl Shown {
    /// A twin as JSON.
    ///
    /// # Errors
    /// Never, as its types can all be written.
    pub fn json(&self, twin: &Arc<Twin>) -> serde_json::Result<Arc<RawValue>> {
        let place = Arc::as_ptr(twin).addr();
        if let Some(entry) = self.0.get(&place) {
            return Ok(entry.json);
        }
        let json: Arc<RawValue> = to_raw_value(twin)?.into();
        self.0.insert(place, Entry { json: Arc::clone(&json), _place: Arc::downgrade(twin) });
        Ok(json)
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<usize, Entry> for ByBytes {
    fn weight(&self, _: &usize, entry: &Entry) -> u64 {
        (ENTRY_BYTES + entry.json.get().len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use statecast_state::DeviceId;

    use super::*;

    fn twin(id: &str, version: u64) -> Arc<Twin> {
        let device = DeviceId::parse(id).expect("a valid id");
        Arc::new(Twin { version, ..Twin::new(device) })
    }

    #[test]
    fn each_is_shown_as_it_is_wherever_others_have_been() {
        let shown = Shown::default();
        for version in 1..10_000 {
            let twin = twin("d", version);
            for _ in 0..2 {
                let json = shown.json(&twin).expect("it can be written");
                assert_eq!(json.get(), serde_json::to_string(&twin).expect("it can be written"));
            }
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let shown = Shown::default();
        let twins: Vec<_> = (1..100_000).map(|version| twin("d", version)).collect();
        for twin in &twins {
            shown.json(twin).expect("it can be written");
        }
        assert!(shown.0.weight() <= BYTES_MAX && shown.0.len() > 1_000, "{} of them", shown.0.len());
    }
}
