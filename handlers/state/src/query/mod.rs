//! The query language: one parser and one syntax tree, evaluated here in memory and by the search index.
//!
//! ```text
//! type:thermostat battery:<20 online:false -site:lab firmware:>=1.10.2 temperature:18..24 model:t-*
//! seen:<-1h calibration.due:<+30d "front door" termostat~ has:error (a OR b) tags.site:(lab OR office)
//! ```
//!
//! # Grammar
//! ```text
//! query   = [ or ]                          empty finds everything
//! or      = and { "OR" and }                only upper case is an operator
//! and     = not { [ "AND" ] not }           side by side means AND, which binds tighter than OR
//! not     = { "-" | "NOT" } primary         "-" stands directly before what it negates
//! primary = "(" or ")" | "*" | word | word "*" | word "~" [ "1" | "2" ] | '"' text '"'
//!         | "has:" field | field ":" test | ( "has" | field ) ":(" tests ")"
//! field   = "id" | "online" | "seen" | [ "reported." | "desired." | "tags." ] path
//! test    = "*" | value | '"' text '"' | ( "<" | "<=" | ">" | ">=" ) limit | [ limit ] ".." [ limit ]
//! tests   = as or, with a test in the place of each primary, and only "NOT" for negation
//! limit   = number | version | time
//! number  = as in JSON
//! version = [ "v" ] digits { "." digits } [ ( "-" | "+" ) name ]
//! time    = "now" | ( "-" | "+" ) digits ( "s" | "m" | "h" | "d" | "w" ) | YYYY-MM-DD | RFC 3339
//! ```
//! Within quotes `\"` is a quote and `\\` a backslash; everything else stands for itself. A word or value
//! without quotes ends at a space, a parenthesis or a quote.
//!
//! # What matches
//! Both evaluators keep to this, and a property test in the search crate demands that they agree. The parts of
//! it that are computed (paths, tokens, folding, patterns, versions, times) are functions here, for both to use.
//!
//! **Case.** Words, values, ids, units and patterns are compared without regard to upper and lower case ([`text::fold`]);
//! names of properties are not, and operators are in upper case.
//!
//! **Paths.** The path of a property is its names, joined with dots: `wifi.rssi` is `rssi` within `wifi`, and
//! also a property that is itself named `wifi.rssi`. Without a prefix a path is one
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
//! - a string that is the value as a whole;
//! - a number equal to the value as a double, when the value is written as a JSON number (`20`, `-0.5`, `1e3`);
//! - `true` and `false`, when the value is that word;
//! - a time within this day, when the value is one (`2026-11-22`).
//!
//! So `20` matches the number 20 and the string `"20"`, but not the string `"20.0"`. With quotes, `field:"20"`
//! matches strings only, and `*`, `?`, `..` and spaces stand for themselves. Strings longer than
//! [`text::WHOLE_BYTES_MAX`] bytes are never equal to anything, nor do they match a pattern; their words are found.
//!
//! **Patterns.** `*` is any run of characters, also none, and `?` is exactly one (a Unicode scalar value, after
//! folding). The whole folded string must match. Patterns match strings only, never numbers.
//!
//! **Comparisons and ranges** (`battery:<20`, `18..24`, `18..`, `..24`, both ends included). The limit says what is
//! compared; both ends of a range are of one kind.
//! - A **number** compares numbers, as doubles, and strings that are written as JSON numbers (`"19.5"`). There are no
//!   units: `uptime:>2h` is an error, as a property doesn't say whether it counts seconds.
//! - A **version** compares strings that are versions, and never numbers: number by number, so that `1.10.2` is after `1.9`
//!   and equal to `1.10.2.0`; a pre-release (`2.0-rc.1`) is before its release; what follows a `+` doesn't count
//!   ([`version::Version`]). Where the limit is a number as well (`firmware:>=1.10`), strings that are JSON
//!   numbers are compared as numbers, and other versions as versions; `v1.10` is a version only, and `1.9..1.10` too,
//!   as it would be a reversed range of numbers.
//! - A **time** compares strings in RFC 3339 or like `2026-11-22` (the beginning of that day, in UTC), and numbers of 1e8 or
//!   more, which count seconds, milliseconds, microseconds or nanoseconds since the epoch, by magnitude
//!   ([`crate::Timestamp::from_epoch`]). `-90m` is 90 minutes before now, `+7d` seven days after it; a day as a limit is
//!   the whole day in UTC (`<` before it, `<=` up to its end, `>` after it). A text without an offset from UTC
//!   is no time.
//!
//! Of strings the first [`text::START_BYTES_MAX`] bytes count, folded; if these are more than 64, the string is no
//! number, version or time.
//!
//! **`id`** is a string and takes equality and patterns. **`online`** takes `true` and `false`. **`seen`** is when
//! the last message was received, and takes comparisons and ranges of times, or one day: `seen:>-1h` is within the
//! last hour and `seen:<-1h` longer ago. A device of which nothing was ever received matches none of them.
//!
//! **Words.** A bare word is searched in all text: every string value of `reported`, `desired` and `tags`, and
//! the id; not in names of properties. Text is cut into tokens ([`text::tokens`]): folded, then the runs of
//! alphanumeric characters. A word matches a whole token; `wor*` matches tokens that begin so; `wrod~1` and `wrod~2`
//! match tokens that differ by so many edits ([`text::is_near`]), and `wrod~` is `~1`, from 8 characters on `~2`;
//! a text in quotes, or a word that is several tokens (`front-door`), matches these tokens in sequence within
//! one string. A bare `*` matches everything.
//!
//! **Negation** is the complement: `-site:lab` also matches devices that have no `site`.
//!
//! **Values in parentheses** are tests of one field: `site:(lab OR office)` is `(site:lab OR site:office)`, and
//! `n:(>5 NOT 7)` is `(n:>5 -n:7)`. A minus among them belongs to the value.
//!
//! # Limits
//! [`QUERY_BYTES_MAX`] bytes, [`CLAUSES_MAX`] clauses, [`DEPTH_MAX`] levels of parentheses and negation. Nothing
//! is silently dropped: what isn't understood is a [`QueryError`] with its column, and what is legal but probably
//! not meant is a [`Hint`].
//!
//! - [`ast`]: the syntax tree, and how it is written
//! - [`fields`]: what can be asked for, and where it is found in a twin
//! - [`text`]: folding, tokens, patterns and edits
//! - [`version`], [`moment`], [`range`]: what values are compared with
//! - `lexer`, `parser`, `clause`, `test`: from text to tree
//! - `eval`: whether a twin matches
//! - [`needs`]: what the outcome depends on, so that a change is evaluated only where it can matter
//! - [`percolator`]: many queries at once: those that a change can affect
//! - `sentence`, [`hints`]: the query told back to a person, and what they probably meant
//! - [`sort`]: the order of results

pub mod ast;
pub mod fields;
pub mod text;
pub mod version;
pub mod moment;
pub mod range;
mod lexer;
mod parser;
mod clause;
mod test;
mod eval;
pub mod needs;
pub mod percolator;
mod sentence;
pub mod hints;
pub mod sort;
#[cfg(test)]
mod samples;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub use ast::{Expr, Literal};
pub use fields::Field;
pub use hints::Hint;
pub use moment::Moment;
pub use needs::{Needs, Touched};
pub use percolator::Percolator;
pub use range::{Limits, Range};
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
    mentions: Vec<hints::Mention>,
}

impl Query {
    /// Reads a query. An empty one matches every device.
    ///
    /// # Errors
    /// `QueryError`, for the first thing that isn't understood or is over a limit.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let (expr, mentions) = parser::parse(text)?;
        Ok(Self { text: text.to_owned(), expr, mentions })
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

    /// The query as an English sentence, without a capital at its beginning and without a full stop.
    pub fn sentence(&self) -> String {
        sentence::sentence(&self.expr)
    }

    /// What is probably not meant: properties that no device has, and operators in lower case. `exists` says
    /// whether any device has a property, `all` gives those that there are; it is called only when one is missing.
    pub fn hints(&self, exists: impl Fn(&Field) -> bool, all: impl FnOnce() -> Vec<Field>) -> Vec<Hint> {
        hints::hints(&self.mentions, exists, all)
    }

    /// What its outcome depends on: which changes of a twin can affect it, and whether time does.
    pub fn needs(&self) -> Needs {
        Needs::of(&self.expr)
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
    /// What may stand there, in words.
    pub expected: Option<String>,
    /// What could be written instead: a clause.
    pub suggestion: Option<String>,
}

impl QueryError {
    /// An error at a column, without more.
    pub(crate) fn new(column: usize, message: impl Into<String>) -> Self {
        Self { column, message: message.into(), expected: None, suggestion: None }
    }

    /// The same, with what may stand there.
    pub(crate) fn expected(self, expected: impl Into<String>) -> Self {
        Self { expected: Some(expected.into()), ..self }
    }

    /// The same, with something to write instead.
    pub(crate) fn suggest(self, suggestion: impl Into<String>) -> Self {
        Self { suggestion: Some(suggestion.into()), ..self }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean {suggestion}?"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
