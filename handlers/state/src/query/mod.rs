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
//! or one of `: ( ) " < > * ? , { }` or a control character can't be named in a query.
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
//! - `lexer`, `parser`, `clause`: from text to tree
//! - `eval`: whether a twin matches
//! - [`highlight`]: what in a twin made it match
//! - [`cursor`]: what could complete a query that is being written
//! - [`list`], [`sort`], [`histogram`]: what is named beside a query: fields, the order of results, what to count

pub mod ast;
pub mod fields;
pub mod text;
pub mod seen;
mod lexer;
mod parser;
mod clause;
mod eval;
pub mod list;
pub mod sort;
pub mod histogram;
pub mod highlight;
pub mod cursor;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub use ast::{Expr, Literal, Op};
pub use fields::Field;
pub use highlight::Highlight;
pub use histogram::{Histogram, Interval};
pub use seen::{Moment, Seen};
pub use sort::{By, Sort, SortKey};
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

    /// The values of the twin that made it match, and where in them; at most [`highlight::HIGHLIGHTS_MAX`].
    pub fn highlights(&self, twin: &Twin, now: Timestamp) -> Vec<Highlight> {
        highlight::highlights(&self.expr, twin, now)
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
}
