//! When what was deleted is forgotten.

use serde_json::Value;

use crate::{Document, Stamps};

/// Deleted properties of one twin whose time is remembered.
pub const TOMBSTONES_MAX: usize = 64;

/// Keeps the [`TOMBSTONES_MAX`] newest tombstones.
pub(super) fn forget_oldest(stamps: &mut Stamps) {
    let mut times = Vec::new();
    tombstones(&stamps.0, &mut times);
    if times.len() <= TOMBSTONES_MAX {
        return;
    }
    times.sort_unstable();
    let excess = times.len() - TOMBSTONES_MAX;
    let cutoff = times[excess];
    // Many may have the time of the cutoff, when one message deleted them: only some of those go.
    let mut ties = excess - times.partition_point(|time| *time < cutoff);
    drop_tombstones(&mut stamps.0, cutoff, &mut ties);
}

fn tombstones(stamps: &Document, times: &mut Vec<i64>) {
    for stamp in stamps.values() {
        match stamp {
            Value::Object(inner) => tombstones(inner, times),
            leaf => times.extend(leaf.as_i64().filter(|micros| *micros < 0).map(i64::saturating_abs)),
        }
    }
}

/// Drops the tombstones older than `cutoff`, and `ties` of those that are as old.
fn drop_tombstones(stamps: &mut Document, cutoff: i64, ties: &mut usize) {
    stamps.retain(|_, stamp| {
        if let Value::Object(inner) = stamp {
            drop_tombstones(inner, cutoff, ties);
            return true;
        }
        let Some(time) = stamp.as_i64().filter(|micros| *micros < 0).map(i64::saturating_abs) else {
            return true;
        };
        let tie = time == cutoff && *ties > 0;
        *ties -= usize::from(tie);
        time >= cutoff && !tie
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Twin;
    use crate::patch::apply_reported;
    use crate::patch::samples::{apply, at, twin};
    use serde_json::json;

    #[test]
    fn the_oldest_tombstones_are_forgotten() {
        let count = |twin: &Twin| {
            let mut times = Vec::new();
            tombstones(&twin.reported_at.0, &mut times);
            (times.len(), times.into_iter().min())
        };
        let mut twin = twin();
        for second in 1..=70 {
            apply(&mut twin, second, json!({format!("p{second}"):null,"o":{"keep":1}}));
        }
        assert_eq!(count(&twin), (64, Some(7_000_000)));
        let many: Document = (0..100).map(|i| (format!("q{i}"), Value::Null)).collect();
        apply_reported(&mut twin, &many, at(100));
        assert_eq!(count(&twin), (64, Some(100_000_000)), "of many with one time, some stay");
        assert_eq!(twin.reported_at.0["o"], json!({"keep":70_000_000}));
    }
}
