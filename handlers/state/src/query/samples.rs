//! Random queries and twins that have something to say to each other, for the laws of this module.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{DeviceId, Document, Presence, Timestamp, Twin};

/// The moment of all samples.
pub(super) fn now() -> Timestamp {
    Timestamp::parse("2026-11-22T18:00:00Z").expect("a time")
}

/// Queries that are mostly well made.
pub(super) fn queries() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<f64>()
            .prop_filter("JSON has only finite ones", |n| n.is_finite())
            .prop_map(|n| format!("{n:?}")),
        (-3..30_i32).prop_map(|n| n.to_string()),
    ];
    let op = prop::sample::select(vec!["<", "<=", ">", ">="]);
    let field = "(reported\\.|tags\\.|desired\\.)?(id|has|seen|a|b|-a|é|AND)(\\.[ab])?";
    let clause = prop_oneof![
        "[a-zA-Z0-9İßΣ]{1,4}\\*?",
        "\"[a-z \\pL\\\\!-]{1,8}\"",
        (field, op.clone(), number.clone()).prop_map(|(field, op, n)| format!("{field}:{op}{n}")),
        (field, number.clone()).prop_map(|(field, n)| format!("{field}:{n}..")),
        (field, "[\\PC]{1,6}").prop_map(|(field, value)| format!("{field}:{value}")),
        (field, "[a-c*?]{1,3}").prop_map(|(field, value)| format!("{field}:{value}")),
        (field, "[\\PC]{0,6}").prop_map(|(field, value)| format!("{field}:\"{value}\"")),
        field.prop_map(|field| format!("has:{field}")),
        (op.clone(), 0..100_u32, "[smhdw]").prop_map(|(op, n, unit)| format!("seen:{op}-{n}{unit}")),
        (op, any::<i32>())
            .prop_map(|(op, s)| { format!("seen:{op}{}", Timestamp::from_micros(i64::from(s) * 1_000_003)) }),
        Just("online:true".to_owned()),
    ];
    clause.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" "))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" OR "))),
            inner.prop_map(|part| format!("-{part}")),
        ]
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (-3..30_i32).prop_map(Value::from),
        "[a-c]{0,3}|[0-9]{1,2}|[a-c] [a-c]|2026-11-2[0-9](T1[0-9]:00:00Z)?".prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!(1_795_300_000)),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            document(inner).prop_map(Value::from),
        ]
    })
}

fn document(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Document> {
    let name = "[ab]|a\\.b|id|seen|é";
    prop::collection::vec((name, value), 0..3).prop_map(|all| all.into_iter().collect())
}

prop_compose! {
    /// A twin, always of the same device.
    pub(super) fn twin()(
        reported in document(value()),
        desired in document(value()),
        tags in document(value()),
        online in any::<bool>(),
        seen in proptest::option::of(-3_i64..1),
    ) -> Twin {
        Twin {
            reported,
            desired,
            tags,
            presence: Presence { online, ..Presence::default() },
            received_at: seen.map(|hours| now().plus_micros(hours * 3_600_000_000)),
            ..Twin::new(DeviceId::parse("d").expect("an id"))
        }
    }
}
