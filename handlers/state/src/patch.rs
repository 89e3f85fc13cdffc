//! Merge patches (RFC 7396): with the time of each property for what a device reports, without it for what
//! people set, and the difference between the two.
//!
//! In a patch `null` deletes, an object merges, anything else replaces. Documents therefore hold no `null`
//! as the value of a property; within arrays, which are replaced as a whole, it may stand.
//!
//! **Time.** A property that was set at a newer device time than the message has keeps its value, and the
//! message is stale for it; an equal time applies. A deleted property leaves a tombstone, its time as a
//! negative number, so that an older message doesn't bring it back; a twin remembers
//! [`TOMBSTONES_MAX`] of them and forgets the oldest first. An object is as new as the newest time inside it,
//! tombstones included: a message that would delete it or replace it as a whole must be at least as new,
//! or nothing happens to that object. Messages that only set and delete the same leaves give the same
//! `reported` in whatever order they arrive.

use serde_json::Value;

use crate::{Document, Stamps, Timestamp, Twin};

/// Deleted properties of one twin whose time is remembered.
pub const TOMBSTONES_MAX: usize = 64;

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

/// Applies a merge patch, without times. Returns the merge patch that undoes what was done.
pub fn merge(target: &mut Document, patch: &Document) -> Document {
    let mut inverse = Document::new();
    for (name, new) in patch {
        match (new, target.get_mut(name)) {
            (Value::Object(new), Some(Value::Object(old))) => {
                let inner = merge(old, new);
                if !inner.is_empty() {
                    inverse.insert(name.clone(), Value::Object(inner));
                }
            }
            (Value::Object(new), _) => {
                let mut fresh = Document::new();
                merge(&mut fresh, new);
                let old = target.insert(name.clone(), Value::Object(fresh));
                inverse.insert(name.clone(), old.unwrap_or(Value::Null));
            }
            (Value::Null, _) => {
                if let Some(old) = target.remove(name) {
                    inverse.insert(name.clone(), old);
                }
            }
            (new, Some(old)) if new == old => {}
            (new, _) => {
                let old = target.insert(name.clone(), new.clone());
                inverse.insert(name.clone(), old.unwrap_or(Value::Null));
            }
        }
    }
    inverse
}

/// What a device must still be told: the part of `desired` that isn't so in `reported`.
///
/// Objects are compared property by property, arrays and everything else as a whole, numbers by value
/// (`1` is `1.0`). What only `reported` has doesn't count.
pub fn delta(desired: &Document, reported: &Document) -> Document {
    desired
        .iter()
        .filter_map(|(name, wanted)| {
            let differs = match (wanted, reported.get(name)) {
                (Value::Object(wanted), Some(Value::Object(found))) => {
                    let inner = delta(wanted, found);
                    (!inner.is_empty()).then_some(Value::Object(inner))
                }
                (wanted, Some(found)) if same(wanted, found) => None,
                (wanted, _) => Some(wanted.clone()),
            };
            Some((name.clone(), differs?))
        })
        .collect()
}

/// Equal, with numbers compared by value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64()
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
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
fn object_at<'a>(stamps: &'a mut Document, name: &str) -> &'a mut Document {
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

/// Keeps the [`TOMBSTONES_MAX`] newest tombstones.
fn forget_oldest(stamps: &mut Stamps) {
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
    use crate::DeviceId;
    use proptest::prelude::*;
    use serde_json::json;

    fn doc(value: Value) -> Document {
        serde_json::from_value(value).unwrap()
    }

    fn twin() -> Twin {
        Twin::new(DeviceId::parse("d").unwrap())
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn apply(twin: &mut Twin, seconds: i64, patch: Value) -> Applied {
        apply_reported(twin, &doc(patch), at(seconds))
    }

    /// RFC 7396, appendix A: those vectors in which target and patch are objects.
    #[test]
    fn the_vectors_of_the_rfc() {
        for (target, patch, result) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            let mut merged = doc(target.clone());
            merge(&mut merged, &doc(patch.clone()));
            assert_eq!(Value::Object(merged), result, "{target} + {patch}");
            let mut timed = Twin { reported: doc(target.clone()), ..twin() };
            apply(&mut timed, 1, patch.clone());
            assert_eq!(Value::Object(timed.reported), result, "{target} + {patch}, timed");
        }
    }

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

    #[test]
    fn delta_is_what_differs() {
        let desired = doc(json!({"a":1,"b":{"x":1,"y":2},"c":[1,{"n":2}],"d":"on","e":{},"f":{"g":1}}));
        let reported =
            doc(json!({"a":1.0,"b":{"x":1,"y":3,"z":0},"c":[1.0,{"n":2.0}],"more":1,"e":{"k":1},"f":7}));
        assert_eq!(Value::Object(delta(&desired, &reported)), json!({"b":{"y":2},"d":"on","f":{"g":1}}));
        let large = doc(json!({"n":9_007_199_254_740_993_u64}));
        assert!(
            !delta(&large, &doc(json!({"n":9_007_199_254_740_992_u64}))).is_empty(),
            "integers are exact"
        );
    }

    fn scalar() -> impl Strategy<Value = Value> {
        prop_oneof![
            (-2_i64..3).prop_map(Value::from),
            Just(json!(1.0)),
            any::<bool>().prop_map(Value::from),
            "[ab]{0,2}".prop_map(Value::from),
        ]
    }

    /// A document, or a patch when `nulls` is set.
    fn documents(nulls: bool) -> impl Strategy<Value = Document> {
        let null = if nulls { 2 } else { 0 };
        let leaf = prop_oneof![
            4 => scalar(),
            null => Just(Value::Null),
            1 => prop::collection::vec(prop_oneof![scalar(), Just(Value::Null)], 0..3).prop_map(Value::from),
        ];
        let value = leaf.prop_recursive(3, 24, 4, |inner| {
            prop::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
        });
        prop::collection::btree_map("[abc]", value, 0..4).prop_map(|map| map.into_iter().collect())
    }

    /// Timed messages that set and delete the same leaves: `a`, `b`, `o.x`, `o.y`, `o.p.z`.
    fn leaf_messages() -> impl Strategy<Value = (Vec<Document>, Vec<usize>)> {
        let message =
            prop::collection::vec((0_usize..5, prop_oneof![2 => scalar(), 1 => Just(Value::Null)]), 1..4)
                .prop_map(|leaves| {
                    let mut patch = Document::new();
                    for (leaf, value) in leaves {
                        merge_raw(
                            &mut patch,
                            [&["a"][..], &["b"], &["o", "x"], &["o", "y"], &["o", "p", "z"]][leaf],
                            value,
                        );
                    }
                    patch
                });
        prop::collection::vec(message, 1..8).prop_flat_map(|messages| {
            let order: Vec<usize> = (0..messages.len()).collect();
            (Just(messages), Just(order).prop_shuffle())
        })
    }

    /// Sets a value in a patch, nulls included.
    fn merge_raw(patch: &mut Document, path: &[&str], value: Value) {
        match path {
            [name] => {
                patch.insert((*name).into(), value);
            }
            [name, rest @ ..] => merge_raw(object_at(patch, name), rest, value),
            [] => {}
        }
    }

    proptest! {
        #[test]
        fn the_inverse_undoes(before in documents(false), patch in documents(true)) {
            let mut target = before.clone();
            let inverse = merge(&mut target, &patch);
            prop_assert_eq!(inverse.is_empty(), target == before);
            merge(&mut target, &inverse);
            prop_assert_eq!(target, before);
        }

        #[test]
        fn the_timed_inverse_undoes(messages in prop::collection::vec((documents(true), 1_i64..6), 1..6)) {
            let mut twin = twin();
            for (patch, time) in messages {
                let before = twin.reported.clone();
                let applied = apply_reported(&mut twin, &patch, at(time));
                prop_assert_eq!(applied.changed, twin.reported != before);
                let mut undone = twin.reported.clone();
                merge(&mut undone, &applied.inverse);
                prop_assert_eq!(undone, before);
            }
        }

        #[test]
        fn merging_twice_is_merging_once(mut target in documents(false), patch in documents(true)) {
            merge(&mut target, &patch);
            prop_assert_eq!(merge(&mut target, &patch), Document::new());
        }

        #[test]
        fn rising_times_are_a_plain_merge(patches in prop::collection::vec(documents(true), 1..6)) {
            let (mut twin, mut plain) = (twin(), Document::new());
            for (second, patch) in (1..).zip(&patches) {
                let applied = apply_reported(&mut twin, patch, at(second));
                prop_assert!(!applied.stale);
                prop_assert_eq!(applied.inverse, merge(&mut plain, patch));
            }
            prop_assert_eq!(twin.reported, plain);
        }

        #[test]
        fn order_does_not_matter((messages, order) in leaf_messages()) {
            let (mut in_order, mut shuffled) = (twin(), twin());
            for (index, patch) in messages.iter().enumerate() {
                apply_reported(&mut in_order, patch, at(index as i64 + 1));
            }
            for index in order {
                apply_reported(&mut shuffled, &messages[index], at(index as i64 + 1));
            }
            prop_assert_eq!(in_order.reported, shuffled.reported);
            prop_assert_eq!(in_order.reported_at, shuffled.reported_at);
        }

        #[test]
        fn a_device_that_takes_the_delta_is_as_desired(desired in documents(false), mut reported in documents(false)) {
            let difference = delta(&desired, &reported);
            merge(&mut reported, &difference);
            prop_assert_eq!(delta(&desired, &reported), Document::new());
        }
    }
}
