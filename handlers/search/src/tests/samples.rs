//! Random twins and queries that have something to say to each other: few names, values that nearly are others, and
//! whatever lies at a limit.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use statecast_state::{DeviceId, Document, Presence, Timestamp, Twin};

use super::fleet::now;

/// Names of properties: nested ones and one with a dot meet, one is empty, one is hidden by a built-in field.
const NAMES: &[&str] = &["a", "b", "a.b", "id", "", "b/c", "é%\\"];
/// Fields to ask for; not all of them exist.
const FIELDS: &[&str] = &[
    "a",
    "b",
    "a.b",
    "a.a",
    "b.a.b",
    "reported.id",
    "desired.a",
    "desired.a.b",
    "tags.a",
    "tags.b",
    "b/c",
    "é%\\",
    "id",
    "never",
];
/// Texts, some of which are other things as well.
const TEXTS: &[&str] = &[
    "",
    "lab",
    "LAB",
    "Front door",
    "front-door 2",
    "door front",
    "a*b?",
    "x/y",
    "true",
    "False",
    "null",
    "now",
    "İstanbul",
    "ΣΑΣ",
    "straße",
    "\u{212a}elvin",
    "日本 語",
    "e\u{301}",
    "\"quoted\\\"",
    "a\tb\nc",
    "(a OR b)",
    "-1h",
    // Numbers, versions and times, nearly and quite.
    "20",
    "20.0",
    "020",
    "2e1",
    "-5",
    "1.5",
    " 20",
    "1.10",
    "1.9.3",
    "1.10.2",
    "v1.10",
    "V2-rc.1",
    "2.0.0-rc.10+b7",
    "1.2.3.4.5.6.7.8.9",
    "192.168.1.20",
    "2026-11-22",
    "2026-11-20T18:00:00Z",
    "2026-11-22t19:00:00.5+02:00",
    "2026-11-23T00:00:00-00:30",
    "2026-11-22T18:00:00",
    "2026-11-22 18:00:00Z",
    "1795284000",
    "9999-12-31T23:59:59Z",
];
/// Words that are near others.
const WORDS: &[&str] =
    &["lab", "lba", "labs", "front", "frnot", "door", "doro", "odor", "20", "d", "7", "2026", "日本"];

/// Any number that JSON may hold.
fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => (-3..30_i32).prop_map(Value::from),
        2 => (-30..300_i32).prop_map(|tenths| Value::from(f64::from(tenths) / 10.0)),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        // Seconds, milliseconds and nanoseconds around now.
        2 => (-90_000..90_000_i64).prop_map(|s| Value::from(1_795_370_400 + s)),
        1 => (-90_000..90_000_i64).prop_map(|s| Value::from((1_795_370_400 + s) * 1_000 + 7)),
        1 => (-90_000..90_000_i64).prop_map(|s| Value::from((1_795_370_400 + s) * 1_000_000_000)),
        1 => select(vec![
            json!(-0.0), json!(1e308), json!(-1e308), json!(5e-324), json!(9_007_199_254_740_993_u64),
            json!(1e8), json!(99_999_999), json!(1e20), json!(1e11),
        ]),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => select(TEXTS).prop_map(str::to_owned),
        2 => vec(select(WORDS), 1..4).prop_map(|words| words.join(" ")),
        1 => "[0-9]{1,2}(\\.[0-9]{1,2}){0,3}(-[a-b0-9.]{1,4})?",
        1 => (-90_000_000_i64..90_000_000)
            .prop_map(|ms| Timestamp::from_micros(now().as_micros() + ms * 1_000).to_string()),
        1 => "\\PC{0,8}",
        // Around each limit on length: whole strings, tokens, what counts for comparisons.
        1 => (select(vec!["x", "İ", "K ", "1", "1.", "é"]), select(vec![63_usize, 64, 65, 128, 255, 256, 1_024, 1_025]))
            .prop_map(|(part, bytes)| {
                let text = part.repeat(bytes);
                text[..text.floor_char_boundary(bytes)].to_owned()
            }),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        5 => text().prop_map(Value::from),
        4 => number(),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 8, 3, |inner| {
        prop_oneof![vec(inner.clone(), 0..3).prop_map(Value::from), document(inner).prop_map(Value::from)]
    })
}

fn document(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Document> {
    let name = prop_oneof![
        20 => select(NAMES).prop_map(str::to_owned),
        // Longer than a query may be: it can't be asked for.
        1 => Just("n".repeat(1_030)),
    ];
    vec((name, value), 0..4).prop_map(|all| all.into_iter().collect())
}

prop_compose! {
    pub(super) fn twin()(
        reported in document(value()),
        desired in document(value()),
        tags in document(scalar()),
        online in any::<bool>(),
        seen in proptest::option::of(-7_200_i64..1),
    ) -> Twin {
        Twin {
            version: 1,
            reported,
            desired,
            tags,
            presence: Presence { online, ..Presence::default() },
            received_at: seen.map(|seconds| now().plus_micros(seconds * 1_000_000)),
            ..Twin::new(DeviceId::parse("d").unwrap())
        }
    }
}

/// A time as a limit.
fn time() -> impl Strategy<Value = String> {
    prop_oneof![
        "-([0-9]{1,2}[smhdw])|\\+[0-9]{1,2}[smhdw]|now",
        "2026-11-2[0-4]",
        (-90_000_i64..90_000).prop_map(|s| now().plus_micros(s * 1_000_000).to_string()),
    ]
}

/// A number or a version as a limit.
fn amount() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (-3..30_i32).prop_map(|n| n.to_string()),
        2 => number().prop_map(|n| n.as_f64().unwrap_or(0.0).to_string()),
        3 => "v?[0-3](\\.[0-9]{1,2}){0,3}(-rc\\.?[0-9])?",
    ]
}

/// One limit or two, in order or not: what isn't a query is left out.
fn limits(limit: impl Strategy<Value = String> + Clone) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (select(vec!["<", "<=", ">", ">="]), limit.clone()).prop_map(|(sign, limit)| sign.to_owned() + &limit),
        1 => (limit.clone(), limit.clone()).prop_map(|(from, to)| format!("{from}..{to}")),
        1 => (limit, any::<bool>()).prop_map(|(limit, from)| if from { limit + ".." } else { "..".to_owned() + &limit }),
    ]
}

/// A text in quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A value that is equal to some: as it is, in quotes, or with a part left open.
fn equal() -> impl Strategy<Value = String> {
    let open = |text: String, at: usize, sign: char| {
        let mut chars: Vec<char> =
            text.chars().filter(|c| !c.is_whitespace() && !"()\"".contains(*c)).collect();
        chars.insert(at.min(chars.len()), sign);
        chars.into_iter().collect::<String>()
    };
    prop_oneof![
        2 => text().prop_map(|text| quoted(&text)),
        2 => text().prop_map(|text| text.split_whitespace().next().unwrap_or("x").replace(['(', ')', '"'], "")),
        2 => number().prop_map(|number| number.to_string()),
        1 => select(vec!["true", "FALSE", "2026-11-22", "*", "?*"]).prop_map(str::to_owned),
        2 => (text(), 0_usize..6, select(vec!['*', '?'])).prop_map(move |(text, at, sign)| open(text, at, sign)),
    ]
}

fn test() -> impl Strategy<Value = String> {
    prop_oneof![3 => equal(), 2 => limits(amount().boxed()), 2 => limits(time().boxed())]
}

/// A clause. Those that aren't understood are no loss.
fn clause() -> impl Strategy<Value = String> {
    let field = || select(FIELDS);
    prop_oneof![
        8 => (field(), test()).prop_map(|(field, test)| format!("{field}:{test}")),
        1 => (field(), vec(test(), 1..4), select(vec![" ", " OR ", " AND ", " NOT "]))
            .prop_map(|(field, tests, joint)| format!("{field}:({})", tests.join(joint))),
        1 => field().prop_map(|field| format!("has:{field}")),
        2 => limits(time().boxed()).prop_map(|limits| format!("seen:{limits}")),
        1 => select(vec!["online:true", "online:false", "has:seen", "has:id", "seen:2026-11-22", "*", "id:D-1*", "id:d-?"])
            .prop_map(str::to_owned),
        2 => (select(WORDS), select(vec!["", "*", "~", "~1", "~2"])).prop_map(|(word, sign)| word.to_owned() + sign),
        1 => (select(WORDS), select(WORDS)).prop_map(|(a, b)| format!("\"{a} {b}\"")),
        1 => text().prop_map(|text| quoted(&text)),
    ]
    .prop_filter("a clause that is understood", |text| statecast_state::Query::parse(text).is_ok())
}

/// A query.
pub(super) fn query() -> impl Strategy<Value = String> {
    clause().prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            inner.prop_map(|a| format!("-({a})")),
        ]
    })
}
