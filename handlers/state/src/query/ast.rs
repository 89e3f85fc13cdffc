//! The syntax tree of a query, and its canonical text: reading that text again gives the same tree.

use std::fmt;

use serde_json::Value;

use super::fields::Field;
use super::seen::Seen;
use super::text::{self, Pattern, fold};

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
    /// A number of the property compares so. Only for properties.
    Compare {
        /// Which property.
        field: Field,
        /// How.
        op: Op,
        /// With what.
        number: f64,
    },
    /// A number of the property lies within these limits, both included, at least one of them given. Only for
    /// properties.
    Range {
        /// Which property.
        field: Field,
        /// At least this.
        from: Option<f64>,
        /// At most this.
        to: Option<f64>,
    },
    /// A connection of the device is open, or none.
    Online(bool),
    /// When the last message of the device was received.
    Seen(Seen),
}

/// How a comparison compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Smaller; for times, earlier.
    Less,
    /// Not larger.
    LessEqual,
    /// Larger; for times, later.
    Greater,
    /// Not smaller.
    GreaterEqual,
}

impl Op {
    /// Whether `left op right`.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterEqual => left >= right,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
        })
    }
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
            | Self::Compare { field, .. }
            | Self::Range { field, .. } => Some(field),
            Self::Online(_) => Some(&Field::Online),
            Self::Seen(_) => Some(&Field::Seen),
            _ => None,
        }
    }
}

impl Literal {
    /// A value as it was written without quotes.
    pub(crate) fn plain(text: &str) -> Self {
        let text = fold(text);
        let boolean = text.parse().ok();
        Self { number: parse_number(&text), boolean, text, quoted: false }
    }

    /// A value as it was written in quotes.
    pub(crate) fn quoted(text: &str) -> Self {
        Self { text: fold(text), number: None, boolean: None, quoted: true }
    }

    /// Whether one value of a property equals it.
    pub fn matches(&self, value: &Value) -> bool {
        match value {
            Value::String(stored) => text::equals(stored, &self.text),
            Value::Number(number) => self.number.is_some() && number.as_f64() == self.number,
            Value::Bool(truth) => self.boolean == Some(*truth),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        }
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
            Self::Phrase(tokens) => write!(f, "\"{}\"", tokens.join(" ")),
            Self::Exists(field) => write!(f, "has:{field}"),
            Self::Equals { field, value } => write!(f, "{field}:{value}"),
            Self::Like { field, pattern } => write!(f, "{field}:{pattern}"),
            Self::Compare { field, op, number } => write!(f, "{field}:{op}{}", Number(*number)),
            Self::Range { field, from, to } => {
                write!(f, "{field}:")?;
                from.map_or(Ok(()), |from| Number(from).fmt(f))?;
                f.write_str("..")?;
                to.map_or(Ok(()), |to| Number(to).fmt(f))
            }
            Self::Online(online) => write!(f, "online:{online}"),
            Self::Seen(seen) => write!(f, "seen:{seen}"),
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

/// Writes a number so that it is short and reads back as the same.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        if size != 0.0 && !(1e-5..1e16).contains(&size) {
            write!(f, "{:e}", self.0)
        } else {
            write!(f, "{}", self.0)
        }
    }
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
            ("x:<=1e300 y:-0.50..", "x:<=1e300 y:-0.5.."),
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
        #![proptest_config(ProptestConfig::with_cases(2_000))]

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
