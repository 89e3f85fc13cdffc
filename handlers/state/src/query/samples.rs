//! Random queries and twins that have something to say to each other, for the laws of this module.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::ast::Expr;
use super::moment::Moment;
use super::range::Range;
use crate::{DeviceId, Document, Presence, Timestamp, Twin};

/// The moment of all samples.
pub(super) fn now() -> Timestamp {
    Timestamp::parse("2026-11-22T18:00:00Z").expect("a time")
}

/// A limit of a comparison or a range.
fn limit() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{n:?}")),
        (-3..30_i32).prop_map(|n| n.to_string()),
        "v?[0-2](\\.[0-9]{1,2}){0,3}(-rc\\.?[0-9]{1,2})?",
        "[+-][0-9]{1,2}[smhdw]|now|2026-11-(1|2)[0-9]",
        any::<i32>().prop_map(|s| Timestamp::from_micros(i64::from(s) * 1_000_003).to_string()),
    ]
}

/// What may stand behind a colon.
fn test() -> impl Strategy<Value = String> {
    prop_oneof![
        (prop::sample::select(vec!["<", "<=", ">", ">="]), limit())
            .prop_map(|(op, limit)| op.to_owned() + &limit),
        (limit(), limit()).prop_map(|(from, to)| format!("{from}..{to}")),
        limit().prop_map(|from| from + ".."),
        limit(),
        "[\\PC]{1,6}",
        "[a-c*?]{1,3}",
        "\"[\\PC]{0,6}\"",
    ]
}

/// Queries that are mostly well made.
pub(super) fn queries() -> impl Strategy<Value = String> {
    let field = "(reported\\.|tags\\.|desired\\.)?(id|has|seen|a|b|-a|é|AND)(\\.[ab])?";
    let clause = prop_oneof![
        "[a-zA-Z0-9İßΣ]{1,4}\\*?",
        "[a-c]{1,4}~[12]?",
        "\"[a-z \\pL\\\\!-]{1,8}\"",
        (field, test()).prop_map(|(field, test)| format!("{field}:{test}")),
        (field, prop::collection::vec(test(), 1..3))
            .prop_map(|(field, tests)| format!("{field}:({})", tests.join(" OR "))),
        test().prop_map(|test| format!("seen:{test}")),
        field.prop_map(|field| format!("has:{field}")),
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

/// The names and values that a leaf holds, as they should be told.
pub(super) fn named(leaf: &Expr) -> Vec<String> {
    match leaf {
        Expr::Word(word) | Expr::Prefix(word) | Expr::Fuzzy { word, .. } => vec![word.clone()],
        Expr::Phrase(words) => words.clone(),
        Expr::Exists(field) => vec![field.to_string()],
        Expr::Equals { field, value } if value.quoted => vec![field.to_string(), format!("{:?}", value.text)],
        Expr::Equals { field, value } => vec![field.to_string(), value.text.clone()],
        Expr::Like { field, pattern } => vec![field.to_string(), pattern.to_string()],
        Expr::Within { field, range } => {
            let limits = match range {
                Range::Numbers(limits) => limits.ends().map(|end| end.map(ToString::to_string)),
                Range::Versions(limits) => limits.ends().map(|end| end.map(ToString::to_string)),
                Range::Times(limits) => limits.ends().map(|end| end.map(told)),
            };
            limits.into_iter().flatten().chain([field.to_string()]).collect()
        }
        Expr::Online(online) => vec![if *online { "online" } else { "offline" }.to_owned()],
        Expr::All | Expr::And(_) | Expr::Or(_) | Expr::Not(_) => Vec::new(),
    }
}

/// Of a relative time only the digits are told as they are written, and of the last hour not even these.
fn told(moment: &Moment) -> String {
    let text = moment.to_string();
    match moment {
        Moment::Relative(_) if text != "now" => {
            let digits = text.trim_matches(|c: char| !c.is_ascii_digit());
            if digits == "1" { String::new() } else { digits.to_owned() }
        }
        _ => text,
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (-3..30_i32).prop_map(Value::from),
        "[a-c]{0,3}|[0-9]{1,2}|[a-c] [a-c]|2026-11-2[0-9](T1[0-9]:00:00Z)?|v?[0-2](\\.[0-9]{1,2}){1,2}"
            .prop_map(Value::from),
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
