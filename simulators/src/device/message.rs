//! State messages as they go over the wire.

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::{Document, Kind};
use crate::ledger::hash::{self, Hash};

/// A state message, made once and sent until it is acknowledged, always with the same bytes.
#[derive(Debug, Clone)]
pub(crate) struct StateMessage {
    /// Its bytes.
    pub(crate) payload: Vec<u8>,
    /// The hash of what it says.
    pub(crate) hash: Hash,
}

/// Makes the message number `seq` of a device in this run: the patch, with `run` and `seq` as properties that
/// `verify` finds it by, its idempotency key, and the device's time.
pub(crate) fn state_message(
    kind: Kind,
    run: &str,
    seq: u64,
    at: SystemTime,
    patch: Document,
) -> StateMessage {
    let mut document = patch;
    document.insert("run".into(), run.into());
    document.insert("seq".into(), seq.into());
    let hash = hash::of_patch(&document);
    document.insert("_id".into(), format!("{run}-{seq}").into());
    document.insert("_at".into(), device_time(kind, at));
    StateMessage { payload: Value::Object(document).to_string().into_bytes(), hash }
}

/// What the service publishes for a device when its connection breaks. Without a time: that of the break counts.
pub(crate) fn will_message() -> Vec<u8> {
    br#"{"link":"lost"}"#.to_vec()
}

/// The time as this kind of device writes it: each in its own way, as in real fleets.
fn device_time(kind: Kind, at: SystemTime) -> Value {
    let at = DateTime::<Utc>::from(at);
    match kind {
        Kind::Thermostat => at.timestamp_millis().into(),
        Kind::Door => at.to_rfc3339_opts(SecondsFormat::Millis, true).into(),
        Kind::Meter => at.timestamp_micros().into(),
        Kind::Tracker => at.to_rfc3339_opts(SecondsFormat::Micros, false).into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_message_carries_its_number_and_its_hash_is_that_of_what_history_shows() {
        let patch = json!({"temperature": 21.5, "error": null}).as_object().unwrap().clone();
        for kind in [Kind::Thermostat, Kind::Door, Kind::Meter, Kind::Tracker] {
            let message = state_message(kind, "6a1f", 17, SystemTime::now(), patch.clone());
            let mut read: Document = serde_json::from_slice(&message.payload).unwrap();
            assert_eq!(read["_id"], "6a1f-17");
            assert!(read.contains_key("_at"));
            read.retain(|name, _| !name.starts_with('_'));
            assert_eq!(hash::of_patch(&read), message.hash);
            read.insert("seq".into(), 18.into());
            assert_ne!(hash::of_patch(&read), message.hash);
        }
    }
}
