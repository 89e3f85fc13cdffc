//! The index finds what the definition finds, in the order of the definition.

use std::cmp::Ordering;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use statecast_state::query::fields::visit_properties;
use statecast_state::query::{By, Field, Query, Sort, SortKey, text};
use statecast_state::{DeviceId, DeviceKey, Document, Position, Presence, TenantId, Timestamp, Twin};

use super::fleet::{empty, ids, now};
use crate::{Search, Settings};

/// The names of properties; two of them meet, and one can't be named.
const NAMES: &[&str] = &["a", "b", "a.b", "site", "id", "", "b/c"];
const FIELDS: &[&str] = &[
    "a",
    "b",
    "a.b",
    "a.a",
    "b.a.b",
    "site",
    "reported.id",
    "desired.a",
    "tags.site",
    "tags.a.b",
    "b/c",
    "id",
];
const TEXTS: &[&str] = &[
    "lab",
    "LAB",
    "Front door",
    "front-door 2",
    "20",
    "1.2.3",
    "true",
    "",
    "İstanbul",
    "ΣΑΣ",
    "a*b?",
    "x/y",
];
const VALUES: &[&str] = &[
    "lab",
    "20",
    "-1",
    "20.0",
    "true",
    "false",
    "0",
    "1e300",
    "l*",
    "*",
    "*a*",
    "?ab",
    "1.2.*",
    "\"front door\"",
    "\"20\"",
    "\"\"",
    "İstanbul",
    "*stanbul",
    "<20",
    "<=20",
    ">18.5",
    ">=0",
    "0..20",
    "18.5..",
    "..-1",
    "9007199254740993",
    ">9007199254740992",
    "d1",
    "D*",
    "x/y",
];
const WORDS: &[&str] = &[
    "lab",
    "front",
    "fro*",
    "\"front door\"",
    "front-door",
    "\"door 2\"",
    "\"lab lab\"",
    "20",
    "d1",
    "d*",
    "σας",
    "*",
    "online:true",
    "online:false",
    "has:seen",
    "seen:>-1h",
    "seen:<-1h",
    "seen:2026-11-22",
    "has:id",
    "seen:2026-11-22T17:00:00Z..",
];
const SORTS: &[&str] =
    &["", "id", "-id", "a", "-a", "site,-b", "-seen,a", "online,-a.b", "tags.site,-reported.id"];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        proptest::sample::select(TEXTS).prop_map(Value::from),
        proptest::sample::select(vec![
            json!(20),
            json!(20.0),
            json!(18.5),
            json!(-1),
            json!(0),
            json!(-0.0),
            json!(1e300),
            json!(9_007_199_254_740_993_u64),
            json!(u64::MAX),
            json!(i64::MIN),
        ]),
        any::<bool>().prop_map(Value::from),
        Just(json!("x".repeat(1_025))),
        Just(json!("İ".repeat(512))),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(prop_oneof![inner.clone(), Just(Value::Null)], 0..3).prop_map(Value::from),
            properties(inner).prop_map(Value::from),
        ]
    })
}

fn properties(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Document> {
    vec((proptest::sample::select(NAMES), value), 0..4)
        .prop_map(|all| all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

prop_compose! {
    fn twin()(
        reported in properties(value()),
        desired in properties(value()),
        tags in properties(scalar()),
        online in any::<bool>(),
        seen in proptest::option::of(-3_i64..1),
    ) -> Twin {
        Twin {
            version: 1,
            reported,
            desired,
            tags,
            presence: Presence { online, ..Presence::default() },
            received_at: seen.map(|hours| now().plus_micros(hours * 3_600_000_000)),
            ..Twin::new(DeviceId::parse("d").unwrap())
        }
    }
}

fn query() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        3 => (proptest::sample::select(FIELDS), proptest::sample::select(VALUES))
            .prop_map(|(field, value)| format!("{field}:{value}"))
            .prop_filter("not every field takes every test", |text| Query::parse(text).is_ok()),
        1 => proptest::sample::select(FIELDS).prop_map(|field| format!("has:{field}")),
        2 => proptest::sample::select(WORDS).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            inner.prop_map(|a| format!("-({a})")),
        ]
    })
}

/// An index of these twins, written in several commits, some of them twice.
fn index(dir: &std::path::Path, twins: &[Arc<Twin>]) -> Search {
    let search = Search::open(dir, Settings::default()).unwrap();
    let mut generation = empty(&search);
    let stranger = TenantId::parse("stranger").unwrap();
    for (nth, twin) in twins.iter().enumerate() {
        let own = DeviceKey::new(TenantId::default(), twin.device.clone());
        let other = DeviceKey::new(stranger.clone(), twin.device.clone());
        let before = Some(twins[(nth + 1) % twins.len()].clone());
        let twin = Some(twin.clone());
        generation.write([(own.clone(), before.clone()), (other, before)]).unwrap();
        if nth % 7 == 0 {
            generation.commit(Position(1)).unwrap();
        }
        generation.write([(own, twin)]).unwrap();
    }
    generation.commit(Position(1)).unwrap();
    search.show(generation.view(Position(1)));
    search
}

/// What decides the place of a twin, by the definition: the kind, a number, a text.
fn place(twin: &Twin, field: &Field) -> (u8, f64, String) {
    let mut values = Vec::new();
    let mut take = |value: &Value| match value {
        Value::Number(number) => values.push((0, number.as_f64().unwrap(), String::new())),
        Value::String(string) => {
            let start = &string[..string.floor_char_boundary(128)];
            let folded = text::fold(start);
            values.push((1, 0.0, folded[..folded.floor_char_boundary(128)].to_owned()));
        }
        Value::Bool(truth) => values.push((2, f64::from(u8::from(*truth)), String::new())),
        _ => {}
    };
    match field {
        Field::Id => return (1, 0.0, twin.device.to_string()),
        Field::Online => take(&json!(twin.presence.online)),
        Field::Seen => take(&twin.received_at.map_or(Value::Null, |at| json!(at.as_micros()))),
        field => {
            let (document, path) = field.locate(twin).unwrap();
            visit_properties(document, &mut |its, value| {
                if its == path {
                    take(value);
                }
            });
        }
    }
    let first = values.iter().map(|(kind, ..)| *kind).min();
    values.into_iter().find(|(kind, ..)| Some(*kind) == first).unwrap_or((3, 0.0, String::new()))
}

fn compare(left: &Twin, right: &Twin, sort: &[SortKey]) -> Ordering {
    for key in sort {
        let By::Field(field) = &key.by else { panic!("relevance has tests of its own") };
        let ((kind, number, text), (its_kind, its_number, its_text)) =
            (place(left, field), place(right, field));
        let by_value = number.partial_cmp(&its_number).unwrap().then_with(|| text.cmp(&its_text));
        let by_value = if key.descending { by_value.reverse() } else { by_value };
        let ordering = kind.cmp(&its_kind).then(by_value);
        if ordering.is_ne() {
            return ordering;
        }
    }
    left.device.cmp(&right.device)
}

fn expected(twins: &[Arc<Twin>], query: &str, sort: &[SortKey], now: Timestamp) -> Vec<String> {
    let query = Query::parse(query).unwrap();
    let mut found: Vec<_> = twins.iter().filter(|twin| query.matches(twin, now)).collect();
    found.sort_by(|left, right| compare(left, right, sort));
    found.into_iter().map(|twin| twin.device.to_string()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_index_and_the_definition_agree(
        twins in vec(twin(), 1..40),
        queries in vec((query(), proptest::sample::select(SORTS)), 40),
        page in 1_usize..10,
    ) {
        let twins: Vec<_> = twins
            .into_iter()
            .enumerate()
            .map(|(nth, twin)| Arc::new(Twin { device: DeviceId::parse(&format!("d{nth}")).unwrap(), ..twin }))
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let search = index(dir.path(), &twins);
        for (query, sort) in queries {
            let keys = Sort::parse(sort).unwrap();
            let expected = expected(&twins, &query, &keys, now());
            prop_assert_eq!(ids(&search, &query, sort, page), expected, "{} by {}", query, sort);
        }
    }
}
