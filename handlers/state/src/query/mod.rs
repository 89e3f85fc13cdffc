//! The query language: one parser and one syntax tree, evaluated here in memory and by the search index.
//!
//! ```text
//! type:thermostat battery:<20 online:false -site:lab firmware:1.2.* temperature:18..24
//! seen:<-1h "front door" has:error (a OR b)
//! ```
//!
//! # Grammar
//! ```text
//! query   = [ or ]                          empty finds everything
//! or      = and { "OR" and }                only upper case is an operator
//! and     = not { [ "AND" ] not }           side by side means AND, which binds tighter than OR
//! not     = { "-" | "NOT" } primary         "-" stands directly before what it negates
//! primary = "(" or ")" | "*" | word | word "*" | '"' text '"' | "has:" field | field ":" test
//! field   = "id" | "online" | "seen" | [ "reported." | "desired." | "tags." ] path
//! test    = "*" | value | '"' text '"' | ( "<" | "<=" | ">" | ">=" ) limit | [ limit ] ".." [ limit ]
//! ```
//! Within quotes `\"` is a quote and `\\` a backslash; everything else stands for itself. A word or value
//! without quotes ends at a space, a parenthesis or a quote.
//!
//! # What matches
//! Both evaluators keep to this, and a property test in the search crate demands that they agree. The parts of
//! it that are computed (paths, tokens, folding, patterns, times) are functions here, for both to use.
//!
//! **Paths.** The path of a property is its names, joined with dots: `wifi.rssi` is `rssi` within `wifi`, and
//! also a property that is itself named `wifi.rssi`. Names are case-sensitive. Without a prefix a path is one
//! of `reported`; `reported.id:` names a property that is hidden by a built-in field. Names that hold a space
//! or one of `: ( ) " < > * ? ,` or a control character can't be named in a query.
//! Arrays are transparent: the values of a property are the elements of its array, at any depth, and objects
//! within arrays are looked into as if there were no array ([`fields::visit_properties`]). A test matches when any of
//! the values does.
//!
//! **Existence.** `has:field` and `field:*` match when there is a property with this path, whatever its value
//! (an object or an empty array too). `has:seen` matches when a message was ever received; `has:id` and
//! `has:online` always match.
//!
//! **Equality.** `field:value` matches
//! - a string that is the value as a whole when both are folded to lower case ([`text::fold`]);
//! - a number equal to the value as a double, when the value is written as a JSON number (`20`, `-0.5`, `1e3`);
//! - `true` and `false`, when the value is that word.
//!
//! So `20` matches the number 20 and the string `"20"`. With quotes, `field:"20"` matches strings only, and
//! `*`, `?`, `..` and spaces stand for themselves. Strings longer than [`text::WHOLE_BYTES_MAX`] bytes are never
//! equal to anything, nor do they match a pattern; their words are found.
//!
//! **Patterns.** `*` is any run of characters, also none, and `?` is exactly one (a Unicode scalar value, after
//! folding). The whole folded string must match. Patterns match strings only, never numbers.
//!
//! **Comparisons and ranges** (`battery:<20`, `18..24`, `18..`, `..24`, both ends included) match numbers only,
//! compared as doubles.
//!
//! **`id`** is a string and takes equality and patterns. **`online`** takes `true` and `false`. **`seen`** is when
//! the last message was received, and takes comparisons and ranges of times, or one day: `-1h` is an hour
//! before now (`s m h d w`), so `seen:>-1h` is within the last hour and `seen:<-1h` longer ago; `2026-11-22`
//! is that whole day in UTC (`<` before it, `<=` up to its end, `>` after it); anything else is RFC 3339.
//! A device of which nothing was ever received matches none of them.
//!
//! **Words.** A bare word is searched in all text: every string value of `reported`, `desired` and `tags`, and
//! the id; not in names of properties. Text is cut into tokens ([`text::tokens`]): folded to lower case, then
//! the runs of alphanumeric characters. A word matches a whole token; `wor*` matches tokens that begin so; a
//! text in quotes, or a word that is several tokens (`front-door`), matches these tokens in sequence within
//! one string. A bare `*` matches everything.
//!
//! **Negation** is the complement: `-site:lab` also matches devices that have no `site`.
//!
//! # Limits
//! [`QUERY_BYTES_MAX`] bytes, [`CLAUSES_MAX`] clauses, [`DEPTH_MAX`] levels of parentheses and negation. Nothing
//! is silently dropped: what isn't understood is a [`QueryError`] with its column.
//!
//! - [`ast`]: the syntax tree, and how it is written
//! - [`fields`]: what can be asked for, and where it is found in a twin
//! - [`text`]: folding, tokens and patterns
//! - [`seen`]: times, absolute and relative to now
//! - `lexer`, `parser`: from text to tree
//! - `eval`: whether a twin matches
//! - [`sort`]: the order of results

pub mod ast;
pub mod fields;
pub mod text;
pub mod seen;
mod lexer;
mod parser;
mod eval;
pub mod sort;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub use ast::{Expr, Literal, Op};
pub use fields::Field;
pub use seen::{Moment, Seen};
pub use sort::{Sort, SortKey};
pub use text::Pattern;

use crate::{Timestamp, Twin};

/// Longest query, in bytes.
pub const QUERY_BYTES_MAX: usize = 1_024;
/// Most clauses (leaves of the tree) in a query.
pub const CLAUSES_MAX: usize = 64;
/// Deepest nesting of parentheses and negations.
pub const DEPTH_MAX: usize = 16;

/// A query that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    text: String,
    expr: Expr,
}

impl Query {
    /// Reads a query. An empty one matches every device.
    ///
    /// # Errors
    /// `QueryError`, for the first thing that isn't understood or is over a limit.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        Ok(Self { expr: parser::parse(text)?, text: text.to_owned() })
    }

    /// Whether the twin matches at the moment `now`.
    pub fn matches(&self, twin: &Twin, now: Timestamp) -> bool {
        eval::matches(&self.expr, twin, now)
    }

    /// The query as it was written. [`Expr`] displays as the canonical form.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The syntax tree.
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// The fields that it asks for, each once, sorted. Bare words ask for none and read all text.
    pub fn fields(&self) -> Vec<&Field> {
        let mut fields = Vec::new();
        self.expr.visit(&mut |leaf| fields.extend(leaf.field()));
        fields.sort_unstable();
        fields.dedup();
        fields
    }

    /// Whether its answer may change as time passes, without any change of a twin.
    pub fn uses_time(&self) -> bool {
        let mut relative = false;
        self.expr.visit(&mut |leaf| relative |= matches!(leaf, Expr::Seen(seen) if seen.is_relative()));
        relative
    }
}

impl FromStr for Query {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        Self::parse(text)
    }
}

/// Why a query wasn't understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct QueryError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong, as a sentence without a full stop.
    pub message: String,
    /// What could be written instead.
    pub suggestion: Option<String>,
}

impl QueryError {
    /// An error at a column, without a suggestion.
    pub(crate) fn new(column: usize, message: impl Into<String>) -> Self {
        Self { column, message: message.into(), suggestion: None }
    }

    /// The same, with something to write instead.
    pub(crate) fn suggest(self, suggestion: impl Into<String>) -> Self {
        Self { suggestion: Some(suggestion.into()), ..self }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean {suggestion}?"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{DeviceId, Presence};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn now() -> Timestamp {
        Timestamp::parse("2026-11-22T18:00:00Z").unwrap()
    }

    fn twin() -> Twin {
        let document = |value: Value| serde_json::from_value(value).unwrap();
        Twin {
            reported: document(json!({
                "type":"Thermostat","battery":19,"temperature":21.5,"code":"20","level":20,"on":true,"word":"TRUE",
                "firmware":"1.2.10","wifi":{"rssi":-70,"ssid":"Front Door"},"a.b":5,
                "list":[1,[2,"x"],{"port":80},null],"empty":{},"nothing":[],"id":"inner","big":9_007_199_254_740_993_u64,
            })),
            desired: document(json!({"mode":"eco"})),
            tags: document(json!({"site":"lab","rooms":["ward-5","Hall"]})),
            presence: Presence { online: true, ..Presence::default() },
            received_at: Some(now().plus_micros(-1_800_000_000)),
            ..Twin::new(DeviceId::parse("pump-07:A").unwrap())
        }
    }

    fn finds(query: &str) -> bool {
        Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error}")).matches(&twin(), now())
    }

    #[test]
    fn what_matches_and_what_does_not() {
        for (query, expected) in [
            ("", true),
            ("*", true),
            // Equality.
            ("type:thermostat", true),
            ("type:thermo", false),
            ("Type:thermostat", false),
            ("reported.type:THERMOSTAT", true),
            ("battery:19", true),
            ("battery:19.0", true),
            ("battery:1.9e1", true),
            ("battery:\"19\"", false),
            ("code:20", true),
            ("code:20.0", false),
            ("code:\"20\"", true),
            ("level:20", true),
            ("on:TRUE", true),
            ("on:\"true\"", false),
            ("word:true", true),
            ("wifi.ssid:\"front door\"", true),
            ("wifi.ssid:\"front\"", false),
            ("wifi:\"front door\"", false),
            ("a.b:5", true),
            ("big:9007199254740992", true),
            // Arrays.
            ("list:1", true),
            ("list:2", true),
            ("list:X", true),
            ("list.port:80", true),
            ("list:80", false),
            ("tags.rooms:hall", true),
            ("list:null", false),
            // Existence.
            ("has:wifi", true),
            ("has:wifi.rssi", true),
            ("wifi:*", true),
            ("has:empty has:nothing", true),
            ("has:error", false),
            ("has:tags.site", true),
            ("has:site", false),
            ("has:id has:online has:seen", true),
            // Patterns.
            ("firmware:1.2.*", true),
            ("firmware:1.2.?", false),
            ("firmware:1.?.1?", true),
            ("battery:1*", false),
            ("type:*MO*", true),
            // Comparisons.
            ("battery:<20", true),
            ("battery:<19", false),
            ("battery:<=19 battery:>=19", true),
            ("battery:>18.9", true),
            ("code:<30", false),
            ("type:>0", false),
            ("wifi.rssi:<-60", true),
            ("temperature:18..24", true),
            ("temperature:21.5..21.5", true),
            ("temperature:22..", false),
            ("temperature:..22", true),
            ("wifi.rssi:-80..-60", true),
            ("list:>1", true),
            ("missing:<1", false),
            // Built in.
            ("id:PUMP-07:a", true),
            ("id:pump*", true),
            ("id:pump", false),
            ("reported.id:inner", true),
            ("online:true", true),
            ("online:False", false),
            ("seen:>-1h", true),
            ("seen:<-1h", false),
            ("seen:<-29m seen:>-31m", true),
            ("seen:-1h..", true),
            ("seen:-1h..-45m", false),
            ("seen:2026-11-22", true),
            ("seen:>2026-11-22", false),
            ("seen:>=2026-11-22", true),
            ("seen:<=2026-11-22", true),
            ("seen:<2026-11-22", false),
            ("seen:2026-11-20..2026-11-22", true),
            ("seen:>2026-11-22T17:29:59Z", true),
            ("seen:<2026-11-22T19:29:59+02:00", false),
            ("seen:<=2026-11-22T17:30:00Z", true),
            ("seen:<2026-11-22T17:30:00Z", false),
            // Words.
            ("thermostat", true),
            ("THERMO*", true),
            ("thermo", false),
            ("eco lab hall", true),
            ("\"front door\"", true),
            ("\"door front\"", false),
            ("ward-5", true),
            ("\"hall ward\"", false),
            ("pump", true),
            ("battery", false),
            ("19", false),
            // Putting together.
            ("-tags.site:lab", false),
            ("-site:lab", true),
            ("NOT battery:>20", true),
            ("--online:true", true),
            ("lab AND eco", true),
            ("lab AND nowhere", false),
            ("nowhere OR lab", true),
            ("nowhere lab OR eco", true),
            ("nowhere (lab OR eco)", false),
            ("-(nowhere OR elsewhere)", true),
            ("and", false),
        ] {
            assert_eq!(finds(query), expected, "{query}");
        }
    }

    #[test]
    fn a_device_that_was_never_heard_matches_no_time() {
        let silent = Twin::new(DeviceId::parse("d").unwrap());
        let finds = |query: &str| Query::parse(query).unwrap().matches(&silent, now());
        assert!(!finds("seen:<-1h") && !finds("seen:>-1h") && !finds("has:seen"));
        assert!(finds("-seen:>-1h") && finds("id:d") && finds("d"));
    }

    #[test]
    fn long_strings_are_found_by_their_words_only() {
        let text = format!("needle {}", "x".repeat(text::WHOLE_BYTES_MAX));
        let mut twin = twin();
        twin.reported.insert("long".into(), text.into());
        let finds = |query: &str| Query::parse(query).unwrap().matches(&twin, now());
        assert!(finds("needle") && finds("has:long"));
        assert!(!finds("long:needle*"));
    }

    #[test]
    fn errors_say_where_and_what_instead() {
        for (query, column, suggestion) in [
            ("battery<20", 8, Some("battery:<20")),
            ("é battery:<x", 12, None),
            ("battery:<-1h", 10, Some("seen:<-1h")),
            ("battery:=20", 9, Some("battery:20")),
            ("battery:", 9, Some("battery:VALUE")),
            ("battery: 20", 9, Some("battery:VALUE")),
            ("battery:24..18", 9, Some("battery:18..24")),
            ("battery:..", 9, Some("battery:1..2")),
            ("path:../etc", 8, Some("path:\"../etc\" for the text")),
            (":x", 1, None),
            ("a..b:1", 1, None),
            ("a<b:1", 2, None),
            ("tags:lab", 1, Some("tags.NAME")),
            ("has:", 5, None),
            ("has:\"x\"", 5, None),
            ("has:a*", 6, None),
            ("site:(a OR b)", 6, Some("(site:a OR site:b)")),
            ("online:ture", 8, Some("online:true")),
            ("online:no", 8, Some("online:false")),
            ("online:\"true\"", 8, None),
            ("seen:<1h", 7, Some("-1h")),
            ("seen:<-1hour", 7, Some("-1h")),
            ("seen:-1h", 6, Some("seen:>-1h")),
            ("seen:-1h..-2h", 6, Some("seen:-2h..-1h")),
            ("seen:<-99999999999999999w", 7, None),
            ("seen:yesterday", 6, None),
            ("id:<5", 4, Some("id:BEGINNING*")),
            ("fo*o", 3, Some("FIELD:fo*o")),
            ("front-do*", 1, Some("FIELD:front-do*")),
            ("!!", 1, None),
            ("\"\"", 1, None),
            ("a \"b", 3, None),
            ("a\"b\"", 2, None),
            ("\"a\"b", 4, None),
            ("(a", 1, None),
            ("a)", 2, None),
            ("a ()", 4, None),
            ("OR a", 1, Some("\"OR\" for the word")),
            ("a AND", 6, None),
            ("a OR OR b", 6, Some("\"OR\" for the word")),
            ("a -", 3, None),
            ("NOT", 4, None),
        ] {
            let error = Query::parse(query).expect_err(query);
            assert_eq!((error.column, error.suggestion.as_deref()), (column, suggestion), "{query}: {error}");
        }
        assert_eq!(
            Query::parse("online:ture").unwrap_err().to_string(),
            "column 8: online is true or false; did you mean online:true?"
        );
    }

    #[test]
    fn limits_hold() {
        assert!(Query::parse(&format!("{}a", "é".repeat(600))).is_err());
        assert_eq!(Query::parse(&"é".repeat(600)).unwrap_err().column, 513);
        assert!(Query::parse(&"a ".repeat(64)).is_ok());
        assert!(Query::parse(&"a ".repeat(65)).unwrap_err().message.contains("64 clauses"));
        let nested = |levels: usize| format!("{}a{}", "(".repeat(levels), ")".repeat(levels));
        assert!(Query::parse(&nested(16)).is_ok());
        assert_eq!(Query::parse(&nested(17)).unwrap_err().column, 17);
        assert!(Query::parse(&format!("{}a", "-".repeat(17))).is_err());
        assert!(Query::parse(&"(".repeat(1_024)).is_err());
    }

    #[test]
    fn a_query_knows_its_fields_and_whether_time_matters() {
        let query = Query::parse("b:1 (tags.a:x OR -b:>2) word seen:<2026-01-01").unwrap();
        assert_eq!(
            query.fields().iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["seen", "b", "tags.a"]
        );
        assert!(!query.uses_time());
        assert!(Query::parse("a OR -seen:-2h..-1h").unwrap().uses_time());
        assert_eq!(query.text(), "b:1 (tags.a:x OR -b:>2) word seen:<2026-01-01");
    }

    #[test]
    fn the_canonical_text_is_short() {
        for (query, canonical) in [
            ("", "*"),
            ("  A   b ", "a b"),
            ("(a AND (b c)) OR d", "a b c OR d"),
            ("(a OR b) OR (c d)", "a OR b OR c d"),
            ("NOT (a OR b) -(c d) NOT -e", "-(a OR b) -(c d) --e"),
            ("x:* Y:\"A \\\"b\\\\\"", "has:x Y:\"a \\\"b\\\\\""),
            ("reported.x:1 reported.seen:2 reported.tags.y:3", "x:1 reported.seen:2 reported.tags.y:3"),
            ("front-DOOR wor* f:1.**", "\"front door\" wor* f:1.*"),
            ("x:<=1e300 y:-0.50..", "x:<=1e300 y:-0.5.."),
            (
                "seen:<-120m seen:2026-11-22 seen:>2026-11-22T01:00:00+01:00",
                "seen:<-2h seen:2026-11-22 seen:>2026-11-22T00:00:00Z",
            ),
        ] {
            assert_eq!(Query::parse(query).unwrap().expr().to_string(), canonical, "{query}");
        }
    }

    /// Queries that are mostly well made.
    fn queries() -> impl Strategy<Value = String> {
        let number = prop_oneof![
            any::<f64>()
                .prop_filter("JSON has only finite ones", |n| n.is_finite())
                .prop_map(|n| format!("{n:?}")),
            (-100..100_i32).prop_map(|n| n.to_string()),
        ];
        let op = prop::sample::select(vec!["<", "<=", ">", ">="]);
        let field = "(reported\\.|tags\\.|desired\\.)?(id|has|seen|a|-a|é|AND)(\\.[ab])?";
        let clause = prop_oneof![
            "[a-zA-Z0-9İßΣ]{1,4}\\*?",
            "\"[a-z \\pL\\\\!-]{1,8}\"",
            (field, op.clone(), number.clone()).prop_map(|(field, op, n)| format!("{field}:{op}{n}")),
            (field, number.clone()).prop_map(|(field, n)| format!("{field}:{n}..")),
            (field, "[\\PC]{1,6}").prop_map(|(field, value)| format!("{field}:{value}")),
            (field, "[\\PC]{0,6}").prop_map(|(field, value)| format!("{field}:\"{value}\"")),
            field.prop_map(|field| format!("has:{field}")),
            (op, 0..100_u32, "[smhdw]").prop_map(|(op, n, unit)| format!("seen:{op}-{n}{unit}")),
            (op_days(), any::<i32>()).prop_map(|(op, s)| {
                format!("seen:{op}{}", Timestamp::from_micros(i64::from(s) * 1_000_003))
            }),
            Just("online:true".to_owned()),
        ];
        clause.prop_recursive(4, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" "))),
                prop::collection::vec(inner.clone(), 2..4)
                    .prop_map(|parts| format!("({})", parts.join(" OR "))),
                inner.prop_map(|part| format!("-{part}")),
            ]
        })
    }

    fn op_days() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["<", "<=", ">", ">="])
    }

    /// Reading the canonical text of a query gives the same tree.
    fn reads_back(text: &str) -> Result<bool, TestCaseError> {
        let Ok(query) = Query::parse(text) else { return Ok(false) };
        let canonical = query.expr().to_string();
        if canonical.len() <= QUERY_BYTES_MAX {
            let again = Query::parse(&canonical);
            let again =
                again.map_err(|error| TestCaseError::fail(format!("{text} -> {canonical}: {error}")))?;
            prop_assert_eq!(again.expr(), query.expr(), "{} -> {}", text, canonical);
            prop_assert_eq!(again.matches(&twin(), now()), query.matches(&twin(), now()));
        }
        Ok(true)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_written_reads_back(text in queries()) {
            reads_back(&text)?;
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            reads_back(&text)?;
        }

        #[test]
        fn no_text_of_signs_panics(text in "([ab*?:.<>=()\"\\\\ -]|OR|seen:|has:|\\.\\.|-1h){0,12}") {
            reads_back(&text)?;
        }
    }
}
