//! What must hold for every document and every patch.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::samples::{at, doc, twin};
use super::timed::object_at;
use super::{apply_reported, delta, merge};
use crate::{Document, Twin};

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
        apply_reported(&mut timed, &doc(patch.clone()), at(1));
        assert_eq!(Value::Object(timed.reported), result, "{target} + {patch}, timed");
    }
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
