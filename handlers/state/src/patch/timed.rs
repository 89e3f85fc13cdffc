//! A merge patch with the time of each property.

use serde_json::Value;

use super::tombstones::forget_oldest;
use crate::{Document, Timestamp, Twin};

/// What a timed patch did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Applied {
    /// The merge patch that undoes what was done to `reported`.
    pub inverse: Document,
    /// At least one property was set at a newer time, and stayed.
    pub stale: bool,
    /// `reported` isn't what it was. False when the message only confirmed it, or was stale as a whole.
    pub changed: bool,
}

/// Applies what a device reported at `at` to `reported`, and notes the time of each property.
///
/// Times before 1970 count as 1970.
pub fn apply_reported(twin: &mut Twin, patch: &Document, at: Timestamp) -> Applied {
    let mut merge = Timed { at: at.as_micros().max(1), stale: false, buried: false };
    let inverse = merge.object(&mut twin.reported, &mut twin.reported_at.0, patch);
    if merge.buried {
        forget_oldest(&mut twin.reported_at);
    }
    Applied { changed: !inverse.is_empty(), inverse, stale: merge.stale }
}

/// One timed merge under way.
struct Timed {
    /// The time of the message: microseconds since the epoch, at least 1, so that its negative is a tombstone.
    at: i64,
    /// Something was newer.
    stale: bool,
    /// A tombstone was written.
    buried: bool,
}

impl Timed {
    /// Merges one level, whose times are `stamps`. Returns the inverse.
    fn object(&mut self, values: &mut Document, stamps: &mut Document, patch: &Document) -> Document {
        let mut inverse = Document::new();
        for (name, new) in patch {
            if let (Value::Object(new), Some(Value::Object(old))) = (new, values.get_mut(name)) {
                let inner = self.object(old, object_at(stamps, name), new);
                if !inner.is_empty() {
                    inverse.insert(name.clone(), Value::Object(inner));
                }
                continue;
            }
            if stamps.get(name).and_then(newest).is_some_and(|stored| stored > self.at) {
                self.stale = true;
                continue;
            }
            let old = match new {
                Value::Null => {
                    stamps.insert(name.clone(), Value::from(-self.at));
                    self.buried = true;
                    values.remove(name)
                }
                Value::Object(new) => {
                    let (mut fresh, mut fresh_stamps) = (Document::new(), Document::new());
                    self.object(&mut fresh, &mut fresh_stamps, new);
                    stamps.insert(name.clone(), Value::Object(fresh_stamps));
                    Some(values.insert(name.clone(), Value::Object(fresh)).unwrap_or(Value::Null))
                }
                new => {
                    stamps.insert(name.clone(), Value::from(self.at));
                    match values.get_mut(name) {
                        Some(old) if old == new => None,
                        Some(old) => Some(std::mem::replace(old, new.clone())),
                        None => {
                            values.insert(name.clone(), new.clone());
                            Some(Value::Null)
                        }
                    }
                }
            };
            if let Some(old) = old {
                inverse.insert(name.clone(), old);
            }
        }
        inverse
    }
}

/// The stamps of the object `name`, made when there are none.
pub(super) fn object_at<'a>(stamps: &'a mut Document, name: &str) -> &'a mut Document {
    let entry = stamps.entry(name).or_insert_with(|| Value::Object(Document::new()));
    if !entry.is_object() {
        *entry = Value::Object(Document::new());
    }
    entry.as_object_mut().expect("it was made an object above")
}

/// The newest time in a stamp, tombstones included; none for an object without any.
fn newest(stamp: &Value) -> Option<i64> {
    match stamp {
        Value::Object(inner) => inner.values().filter_map(newest).max(),
        leaf => leaf.as_i64().map(i64::saturating_abs),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::patch::samples::{apply, doc, twin};
    use serde_json::json;

    #[test]
    fn a_newer_property_keeps_its_value() {
        let mut twin = twin();
        apply(&mut twin, 10, json!({"a":1,"w":{"x":1}}));
        let applied = apply(&mut twin, 9, json!({"a":2,"b":3,"w":{"x":2,"y":2}}));
        assert_eq!(Value::Object(twin.reported.clone()), json!({"a":1,"b":3,"w":{"x":1,"y":2}}));
        assert_eq!(
            applied,
            Applied { inverse: doc(json!({"b":null,"w":{"y":null}})), stale: true, changed: true }
        );
        assert_eq!(
            twin.reported_at.0,
            doc(json!({"a":10_000_000,"b":9_000_000,"w":{"x":10_000_000,"y":9_000_000}}))
        );

        let applied = apply(&mut twin, 10, json!({"a":2}));
        assert_eq!((applied.stale, twin.reported["a"].clone()), (false, json!(2)), "an equal time applies");
        let applied = apply(&mut twin, 11, json!({"a":2}));
        assert_eq!(applied, Applied::default(), "confirmed, not changed");
        assert_eq!(twin.reported_at.0["a"], 11_000_000);
    }

    #[test]
    fn an_old_message_does_not_bring_back_what_was_deleted() {
        let mut twin = twin();
        apply(&mut twin, 5, json!({"a":1}));
        apply(&mut twin, 7, json!({"a":null,"never":null}));
        for patch in [json!({"a":1}), json!({"a":{"b":1}}), json!({"a":null}), json!({"never":1})] {
            assert_eq!(apply(&mut twin, 6, patch), Applied { stale: true, ..Applied::default() });
        }
        assert!(twin.reported.is_empty());
        assert_eq!(twin.reported_at.0["a"], -7_000_000);
        assert_eq!(serde_json::to_value(&twin.reported_at).unwrap(), json!({}), "tombstones aren't shown");
        apply(&mut twin, 8, json!({"a":1}));
        assert_eq!(twin.reported["a"], 1);
    }

    #[test]
    fn an_object_is_as_new_as_what_is_newest_in_it() {
        let mut twin = twin();
        apply(&mut twin, 5, json!({"a":{"x":1,"y":1}}));
        apply(&mut twin, 8, json!({"a":{"y":null}}));
        for patch in [json!({"a":1}), json!({"a":null}), json!({"a":[]})] {
            let applied = apply(&mut twin, 7, patch);
            assert_eq!((applied.stale, applied.changed), (true, false));
        }
        let applied = apply(&mut twin, 8, json!({"a":1}));
        assert_eq!(applied.inverse, doc(json!({"a":{"x":1}})));
        assert_eq!(twin.reported_at.0["a"], 8_000_000);

        assert!(apply(&mut twin, 7, json!({"a":{"z":1}})).stale, "an object onto a newer scalar");
        let applied = apply(&mut twin, 9, json!({"a":{"z":1,"gone":null}}));
        assert_eq!(applied.inverse, doc(json!({"a":1})));
        assert_eq!(twin.reported_at.0["a"], json!({"z":9_000_000,"gone":-9_000_000}));
    }

    #[test]
    fn times_before_1970_count_as_1970() {
        let mut twin = twin();
        apply(&mut twin, -50, json!({"a":1,"b":null}));
        assert_eq!(twin.reported_at.0, doc(json!({"a":1,"b":-1})));
    }
}
