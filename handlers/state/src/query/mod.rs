//! The query language: one parser and one syntax tree, evaluated here in memory and by the search index.
//!
//! What can be written and what it matches is defined in `docs/query-language.md`, which is included at the end. Both
//! evaluators keep to it, and a property test in the search crate demands that they agree. What is computed (paths,
//! tokens, folding, patterns, edits, versions, times) are functions here, for both to use.
//!
//! - [`ast`]: the syntax tree, and how it is written
//! - [`fields`]: what can be asked for, and where it is found in a twin
//! - [`text`]: folding, tokens, patterns and edits
//! - [`version`], [`moment`], [`range`]: what values are compared with
//! - `lexer`, `parser`, `clause`, `test`: from text to tree
//! - `eval`: whether a twin matches
//! - [`needs`]: what the outcome depends on, so that a change is evaluated only where it can matter
//! - `turns`: when time alone may change it
//! - [`percolator`]: many queries at once: those that a change can affect
//! - `sentence`, [`hints`]: the query told back to a person, and what they probably meant
//! - [`saved`], [`tally`]: queries under a name, and how many devices each finds
//! - [`walk`]: all devices looked at while they change
//! - [`highlight`]: what in a twin made it match
//! - [`cursor`]: what could complete a query that is being written
//! - [`list`], [`sort`], [`histogram`]: what is named beside a query: fields, the order of results, what to count
#![doc = include_str!("../../../../docs/query-language.md")]

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
mod turns;
pub mod percolator;
mod sentence;
pub mod hints;
pub mod saved;
pub mod tally;
pub mod walk;
pub mod highlight;
pub mod cursor;
pub mod list;
pub mod sort;
pub mod histogram;
#[cfg(test)]
mod samples;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub use ast::{Expr, Literal};
pub use fields::Field;
pub use highlight::Highlight;
pub use hints::Hint;
pub use histogram::{Histogram, Interval};
pub use moment::Moment;
pub use needs::{Needs, Touched};
pub use percolator::Percolator;
pub use range::{Limits, Range};
pub use saved::{SavedQuery, SavedQueryForm};
pub use sort::{By, Sort, SortKey};
pub use tally::Tally;
pub use text::Pattern;
pub use walk::Walk;

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

    /// Without what is relative to now: it matches every twin that this one matches or will match by time alone.
    pub fn ever(&self) -> Self {
        let expr = turns::ever(&self.expr, true);
        Self { text: expr.to_string(), expr, mentions: Vec::new() }
    }

    /// The next moment after `now` at which it may change its mind about a twin that stays as it is; none when it
    /// never does. Until that moment, excluded, the outcome is the same as now.
    pub fn turns(&self, twin: &Twin, now: Timestamp) -> Option<Timestamp> {
        turns::turns(&self.expr, twin, now)
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
