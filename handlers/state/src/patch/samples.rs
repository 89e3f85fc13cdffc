//! Small twins, documents and times, for the tests of this folder.
#![allow(clippy::unwrap_used)]

use serde_json::Value;

use super::{Applied, apply_reported};
use crate::{DeviceId, Document, Timestamp, Twin};

pub(super) fn doc(value: Value) -> Document {
    serde_json::from_value(value).unwrap()
}

pub(super) fn twin() -> Twin {
    Twin::new(DeviceId::parse("d").unwrap())
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

/// Applies what a device reported at this second.
pub(super) fn apply(twin: &mut Twin, seconds: i64, patch: Value) -> Applied {
    apply_reported(twin, &doc(patch), at(seconds))
}
