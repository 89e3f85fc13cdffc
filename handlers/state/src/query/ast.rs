//! The syntax tree of a query, and its canonical text: reading that text again gives the same tree.

use std::fmt;

use serde_json::Value;

use super::fields::Field;
use super::moment::Moment;
use super::range::{Limits, Range};
use super::text::{self, Pattern, fold};
use crate::Timestamp;

/// A query, or a part of one.
///
/// `And` and `Or` have at least two members, none of them of the same kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// Every device.
    All,
    /// All of these.
    And(Vec<Expr>),
    /// At least one of these.
    Or(Vec<Expr>),
    /// Not this.
    Not(Box<Expr>),
    /// A token in any text.
    Word(String),
    /// A token in any text that begins so.
    Prefix(String),
    /// A token in any text that differs by few edits ([`text::is_near`]).
    Fuzzy {
        /// The token.
        word: String,
        /// At most so many; 1 or 2.
        edits: u8,
    },
    /// These tokens, at least two, one after another within one text.
    Phrase(Vec<String>),
    /// There is such a property.
    Exists(Field),
    /// A value of the property is this one. Never for `online` and `seen`.
    Equals {
        /// Which property.
        field: Field,
        /// What it should be.
        value: Literal,
    },
    /// A string of the property matches as a whole. Never for `online` and `seen`.
    Like {
        /// Which property.
        field: Field,
        /// What it should look like.
        pattern: Pattern,
    },
    /// A value of the property lies within limits, or the time at which the last message was received. Never
    /// for `id` and `online`.
    Within {
        /// Which property, or `seen`.
        field: Field,
        /// Between what; times for `seen`.
        range: Range,
    },
    /// A connection of the device is open, or none.
    Online(bool),
}

/// A value to be equal to, and all that it may mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Literal {
    /// The string that it matches, folded to lower case.
    pub text: String,
    /// The number that it matches; none when it isn't written as one, or in quotes.
    pub number: Option<f64>,
    /// The truth that it matches; none when it is another word, or in quotes.
    pub boolean: Option<bool>,
    /// The UTC day within which a time matches it; none when it isn't written as a day, or in quotes.
    pub day: Option<Moment>,
    /// It was written in quotes, and matches strings only.
    pub quoted: bool,
}

impl Expr {
    /// Calls `f` for each leaf, from left to right.
    pub fn visit<'a>(&'a self, f: &mut impl FnMut(&'a Expr)) {
        match self {
            Self::And(members) | Self::Or(members) => members.iter().for_each(|member| member.visit(f)),
            Self::Not(inner) => inner.visit(f),
            leaf => f(leaf),
        }
    }

    /// The field that a leaf asks for; none for words, and for what isn't a leaf.
    pub fn field(&self) -> Option<&Field> {
        match self {
            Self::Exists(field)
            | Self::Equals { field, .. }
            | Self::Like { field, .. }
            | Self::Within { field, .. } => Some(field),
            Self::Online(_) => Some(&Field::Online),
            _ => None,
        }
    }
}

impl Literal {
    /// A value as it was written without quotes.
    pub(crate) fn plain(text: &str) -> Self {
        let text = fold(text);
        let boolean = text.parse().ok();
        let day = Moment::read(&text).filter(|moment| matches!(moment, Moment::Day(_)));
        Self { number: parse_number(&text), boolean, day, text, quoted: false }
    }

    /// A value as it was written in quotes.
    pub(crate) fn quoted(text: &str) -> Self {
        Self { text: fold(text), number: None, boolean: None, day: None, quoted: true }
    }

    /// Whether one value of a property equals it.
    pub fn matches(&self, value: &Value) -> bool {
        let is = match value {
            Value::String(stored) => text::equals(stored, &self.text),
            Value::Number(number) => self.number.is_some() && number.as_f64() == self.number,
            Value::Bool(truth) => self.boolean == Some(*truth),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        };
        // A day doesn't depend on now.
        is || self.during().is_some_and(|day| day.matches(value, Timestamp::from_micros(0)))
    }

    /// The times that it matches.
    pub fn during(&self) -> Option<Range> {
        self.day.map(|day| Range::Times(Limits::Between(day, day)))
    }
}

/// Reads a number written as in JSON, and finite.
pub(crate) fn parse_number(text: &str) -> Option<f64> {
    serde_json::from_str::<f64>(text).ok()?;
    text.parse().ok()
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::And(members) => join(f, members, " "),
            Self::Or(members) => join(f, members, " OR "),
            Self::Not(inner) if matches!(**inner, Self::And(_) | Self::Or(_)) => write!(f, "-({inner})"),
            Self::Not(inner) => write!(f, "-{inner}"),
            Self::Word(token) => f.write_str(token),
            Self::Prefix(token) => write!(f, "{token}*"),
            Self::Fuzzy { word, edits } => write!(f, "{word}~{edits}"),
            Self::Phrase(tokens) => write!(f, "\"{}\"", tokens.join(" ")),
            Self::Exists(field) => write!(f, "has:{field}"),
            Self::Equals { field, value } => write!(f, "{field}:{value}"),
            Self::Like { field, pattern } => write!(f, "{field}:{pattern}"),
            // A single day is written as such only where that can't be taken for equality.
            Self::Within {
                field: Field::Seen,
                range: Range::Times(Limits::Between(day @ Moment::Day(_), to)),
            } if day == to => {
                write!(f, "seen:{day}")
            }
            Self::Within { field, range } => write!(f, "{field}:{range}"),
            Self::Online(online) => write!(f, "online:{online}"),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.quoted {
            return f.write_str(&self.text);
        }
        write!(f, "\"{}\"", self.text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// Members of `AND` or `OR`. AND binds tighter, so that only an OR within it needs parentheses.
fn join(f: &mut fmt::Formatter<'_>, members: &[Expr], between: &str) -> fmt::Result {
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        match member {
            Expr::Or(_) => write!(f, "({member})")?,
            member => write!(f, "{member}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::query::{QUERY_BYTES_MAX, Query, samples::queries};
    use proptest::prelude::*;

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
            ("x:<=1E+300 y:-0.50.. z:..1.10 v:1.2..v1.10.0", "x:<=1e300 y:>=-0.5 z:<=1.10 v:1.2..v1.10.0"),
            (
                "site:(lab OR (\"a b\" -5..-1)) has:(a b)",
                "(site:lab OR site:\"a b\" site:-5..-1) has:a has:b",
            ),
            ("-t:(NOT <-1 OR >-60m x*)", "-(-t:<-1 OR t:>-1h t:x*)"),
            ("termostat~ Word~ x~2", "termostat~2 word~1 x~2"),
            (
                "due:<+14d due:-36h..NOW due:2026-01-01..2026-01-01",
                "due:<+2w due:-36h..now due:2026-01-01..2026-01-01",
            ),
            (
                "seen:<-120m seen:2026-11-22 seen:>2026-11-22T01:00:00+01:00",
                "seen:<-2h seen:2026-11-22 seen:>2026-11-22T00:00:00Z",
            ),
        ] {
            assert_eq!(Query::parse(query).unwrap().expr().to_string(), canonical, "{query}");
        }
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
        }
        Ok(true)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, max_global_rejects: 20_000, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_reads_back(text in queries()) {
            prop_assume!(reads_back(&text)?);
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
