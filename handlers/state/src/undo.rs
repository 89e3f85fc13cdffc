//! A twin as it was before a change, from what history keeps of it.

use crate::patch::merge;
use crate::{Document, Kind, Presence, Timestamp, Twin};

/// The twin before a change that made `after` of it. `inverse` is what undoes the change, and `seen` when the
/// message before it was received. None when the change created the device.
///
/// History doesn't keep the device times of what was reported: `reported_at` is empty.
pub fn undo(after: &Twin, kind: Kind, inverse: &Document, seen: Option<Timestamp>) -> Option<Twin> {
    if after.version <= 1 {
        return None;
    }
    let mut before = after.clone();
    before.version -= 1;
    before.reported_at = crate::Stamps::default();
    match kind {
        Kind::State => {
            merge(&mut before.reported, inverse);
            before.received_at = seen;
        }
        Kind::Rejected => before.received_at = seen,
        Kind::Desired => drop(merge(&mut before.desired, inverse)),
        Kind::Tags | Kind::Registered => drop(merge(&mut before.tags, inverse)),
        Kind::Presence => {
            // It is the presence before, written in full.
            let presence = serde_json::from_value::<Presence>(inverse.clone().into());
            before.presence = presence.unwrap_or_default();
        }
        // Nothing that a query sees.
        Kind::Removed | Kind::Absence | Kind::Alarm | Kind::Request => {}
    }
    Some(before)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::DeviceId;
    use serde_json::{Value, json};

    fn document(value: Value) -> Document {
        serde_json::from_value(value).unwrap()
    }

    fn at(second: i64) -> Option<Timestamp> {
        Some(Timestamp::from_micros(second * 1_000_000))
    }

    #[test]
    fn each_kind_is_undone() {
        let after = Twin {
            version: 2,
            reported: document(json!({"a":2,"b":{"c":1}})),
            desired: document(json!({"mode":"eco"})),
            tags: document(json!({"site":"lab"})),
            presence: Presence {
                online: true,
                since: at(5),
                reason: "connected".into(),
                ..Presence::default()
            },
            received_at: at(9),
            ..Twin::new(DeviceId::parse("d").unwrap())
        };
        let undone = |kind, inverse| undo(&after, kind, &document(inverse), at(3)).unwrap();
        let state = undone(Kind::State, json!({"a":1,"b":null}));
        assert_eq!((state.reported, state.received_at, state.version), (document(json!({"a":1})), at(3), 1));
        assert_eq!(undone(Kind::Desired, json!({"mode":null})).desired, document(json!({})));
        assert_eq!(undone(Kind::Tags, json!({"site":"office"})).tags, document(json!({"site":"office"})));
        assert_eq!(undone(Kind::Rejected, json!({})).received_at, at(3));
        let presence = Presence { online: false, since: None, reason: String::new(), epoch: 1, seq: 4 };
        assert_eq!(undone(Kind::Presence, json!(presence)).presence, presence);
        assert_eq!(undo(&Twin { version: 1, ..after }, Kind::State, &document(json!({})), None), None);
    }
}
