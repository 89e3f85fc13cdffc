//! What in a twin made it match: which values, and where in their text. Told as offsets, so that whoever shows them
//! decides how, and nothing that a device reports can become markup.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ast::Expr;
use super::eval;
use super::fields::Field;
use super::text::{TOKEN_BYTES_MAX, equals, is_near};
use crate::{Document, Timestamp, Twin};

/// Most values that are told of one twin.
pub const HIGHLIGHTS_MAX: usize = 50;
/// Most places that are told of one value.
pub const RANGES_MAX: usize = 100;

/// A value that made a twin match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Highlight {
    /// Where it is in the twin, as a JSON Pointer (RFC 6901), such as `/reported/name`.
    pub at: String,
    /// Which characters of it, from the first to behind the last, counted from 0 in Unicode scalar values; in order
    /// and apart from each other. Empty for what isn't a string: it matched as a whole.
    pub ranges: Vec<[usize; 2]>,
}

/// By pointer, the ranges that were found.
type Found = BTreeMap<String, Vec<[usize; 2]>>;

/// The values of a twin that fulfil a part of the query which isn't negated. Nothing when the twin doesn't match.
pub(super) fn highlights(expr: &Expr, twin: &Twin, now: Timestamp) -> Vec<Highlight> {
    let mut found = Found::new();
    if eval::matches(expr, twin, now) {
        gather(expr, twin, now, &mut found);
    }
    found.into_iter().map(|(at, ranges)| Highlight { at, ranges: apart(ranges) }).collect()
}

/// Of what is known to match.
fn gather(expr: &Expr, twin: &Twin, now: Timestamp, found: &mut Found) {
    match expr {
        Expr::And(members) => members.iter().for_each(|member| gather(member, twin, now, found)),
        Expr::Or(members) => {
            for member in members.iter().filter(|member| eval::matches(member, twin, now)) {
                gather(member, twin, now, found);
            }
        }
        Expr::Not(_) | Expr::All => {}
        Expr::Word(_) | Expr::Prefix(_) | Expr::Fuzzy { .. } | Expr::Phrase(_) => {
            visit(twin, &mut |_, pointer, value| {
                let ranges = value.as_str().map(|text| places(expr, text)).unwrap_or_default();
                if !ranges.is_empty() {
                    note(found, pointer, ranges);
                }
            });
        }
        leaf => match leaf.field() {
            Some(Field::Online) => note(found, "/presence/online", Vec::new()),
            Some(Field::Seen) => note(found, "/received_at", Vec::new()),
            Some(field) => visit(twin, &mut |its, pointer, value| {
                if its == field && holds(leaf, value, now) {
                    let whole = value.as_str().map(|text| [0, text.chars().count()]);
                    note(found, pointer, Vec::from_iter(whole));
                }
            }),
            None => {}
        },
    }
}

fn note(found: &mut Found, pointer: &str, ranges: Vec<[usize; 2]>) {
    if found.contains_key(pointer) || found.len() < HIGHLIGHTS_MAX {
        found.entry(pointer.to_owned()).or_default().extend(ranges);
    }
}

/// Whether one value fulfils what a leaf asks of a field.
fn holds(leaf: &Expr, value: &Value, now: Timestamp) -> bool {
    match leaf {
        Expr::Exists(_) => true,
        Expr::Equals { field: Field::Id, value: literal } => {
            value.as_str().is_some_and(|id| equals(id, &literal.text))
        }
        Expr::Equals { value: literal, .. } => literal.matches(value),
        Expr::Like { pattern, .. } => value.as_str().is_some_and(|text| pattern.matches(text)),
        Expr::Within { range, .. } => range.matches(value, now),
        _ => false,
    }
}

/// Where a text has the words of a leaf.
fn places(leaf: &Expr, text: &str) -> Vec<[usize; 2]> {
    let tokens = tokens(text);
    let single = |test: &dyn Fn(&str) -> bool| {
        tokens.iter().filter(|token| test(&token.text)).map(|token| token.range).collect()
    };
    match leaf {
        Expr::Word(word) => single(&|token| token == word),
        Expr::Prefix(start) => single(&|token| token.starts_with(start.as_str())),
        Expr::Fuzzy { word, edits } => single(&|token| is_near(token, word, *edits)),
        Expr::Phrase(words) => tokens
            .windows(words.len())
            .filter(|window| window.iter().map(|token| &token.text).eq(words))
            .filter_map(|window| Some([window.first()?.range[0], window.last()?.range[1]]))
            .collect(),
        _ => Vec::new(),
    }
}

/// A token of a text, and which characters it was.
struct Token {
    text: String,
    range: [usize; 2],
}

/// The tokens as [`super::text::tokens`] cuts them, with their places.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut open = false;
    for (at, c) in text.chars().enumerate() {
        // One character may fold to several, not all of them letters.
        for folded in c.to_lowercase() {
            if !folded.is_alphanumeric() {
                open = false;
                continue;
            }
            match tokens.last_mut().filter(|_| open) {
                Some(token) => {
                    token.text.push(folded);
                    token.range[1] = at + 1;
                }
                None => tokens.push(Token { text: folded.to_string(), range: [at, at + 1] }),
            }
            open = true;
        }
    }
    for token in &mut tokens {
        token.text.truncate(token.text.floor_char_boundary(TOKEN_BYTES_MAX));
    }
    tokens
}

/// In order, without what overlaps.
fn apart(mut ranges: Vec<[usize; 2]>) -> Vec<[usize; 2]> {
    ranges.sort_unstable();
    let mut apart: Vec<[usize; 2]> = Vec::new();
    for [start, end] in ranges {
        match apart.last_mut().filter(|last| start < last[1]) {
            Some(last) => last[1] = last[1].max(end),
            None => apart.push([start, end]),
        }
    }
    apart.truncate(RANGES_MAX);
    apart
}

/// Calls `f` with field, pointer and value of the id and of every property of a twin; an element of an array has the
/// field of the array.
fn visit(twin: &Twin, f: &mut impl FnMut(&Field, &str, &Value)) {
    f(&Field::Id, "/device", &twin.device.as_str().into());
    let mut below = |root: &str, field: fn(String) -> Field, document: &Document| {
        for (name, value) in document {
            let mut f = |path: &str, pointer: &str, value: &Value| f(&field(path.to_owned()), pointer, value);
            visit_value(name, &step(root, name), value, &mut f);
        }
    };
    below("/reported", Field::Reported, &twin.reported);
    below("/desired", Field::Desired, &twin.desired);
    below("/tags", Field::Tags, &twin.tags);
}

fn visit_value(path: &str, pointer: &str, value: &Value, f: &mut impl FnMut(&str, &str, &Value)) {
    f(path, pointer, value);
    match value {
        Value::Object(inner) => {
            for (name, value) in inner {
                visit_value(&format!("{path}.{name}"), &step(pointer, name), value, f);
            }
        }
        Value::Array(items) => {
            for (nth, value) in items.iter().enumerate() {
                visit_value(path, &format!("{pointer}/{nth}"), value, f);
            }
        }
        _ => {}
    }
}

fn step(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::DeviceId;
    use crate::query::{Query, text};

    fn found(query: &str, reported: Value) -> Vec<(String, Vec<[usize; 2]>)> {
        let reported = serde_json::from_value(reported).unwrap();
        let twin = Twin { reported, ..Twin::new(DeviceId::parse("pump-07").unwrap()) };
        let now = Timestamp::parse("2026-11-22T18:00:00Z").unwrap();
        let found = Query::parse(query).unwrap().highlights(&twin, now);
        found.into_iter().map(|highlight| (highlight.at, highlight.ranges)).collect()
    }

    #[test]
    fn what_matched_is_told_with_its_place() {
        let state = json!({"name":"Éclair pump, PUMP 2","n":5,"a/b":{"c~d":["x",["Pump"]]},"wifi.rssi":-70});
        let at = |pointer: &str, ranges: &[[usize; 2]]| (pointer.to_owned(), ranges.to_vec());
        for (query, expected) in [
            (
                "pump",
                vec![
                    at("/device", &[[0, 4]]),
                    at("/reported/a~1b/c~0d/1/0", &[[0, 4]]),
                    at("/reported/name", &[[7, 11], [13, 17]]),
                ],
            ),
            ("\"pump 2\" écl* eclair~1", vec![at("/reported/name", &[[0, 6], [13, 19]])]),
            ("n:>4 -name:x", vec![at("/reported/n", &[])]),
            (
                "id:PUMP-07 (n:6 OR wifi.rssi:..0)",
                vec![at("/device", &[[0, 7]]), at("/reported/wifi.rssi", &[])],
            ),
            ("a/b.c~d:p*", vec![at("/reported/a~1b/c~0d/1/0", &[[0, 4]])]),
            ("online:false", vec![at("/presence/online", &[])]),
            ("nothing", vec![]),
            ("-nothing", vec![]),
        ] {
            assert_eq!(found(query, state.clone()), expected, "{query}");
        }
    }

    proptest! {
        #[test]
        fn tokens_are_those_of_the_language(text in "[aÉİß 1-]{0,12}|.{0,20}") {
            let ours: Vec<_> = tokens(&text).into_iter().map(|token| token.text).collect();
            prop_assert_eq!(ours, text::tokens(&text));
        }

        /// What matches by a word is highlighted somewhere.
        #[test]
        fn a_word_that_is_found_is_shown(text in "[ab É]{0,10}", word in "[abé]{1,2}") {
            let matches = text::tokens(&text).contains(&word);
            prop_assert_eq!(!found(&word, json!({"t": text})).is_empty(), matches);
        }
    }
}
