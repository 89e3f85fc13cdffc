//! What stands behind the colon of a field: a value, a pattern, a comparison or a range.

use std::cmp::Ordering;

use super::QueryError;
use super::ast::{Expr, Literal, parse_number};
use super::fields::Field;
use super::moment::{Moment, TIMES, read_span};
use super::range::{Limits, Number, Range};
use super::text::{Pattern, fold};
use super::version::Version;
use crate::Timestamp;

/// Field, value, and where the value stands (characters from 1).
pub(super) struct Test<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    pub(super) column: usize,
}

/// A limit as it was read.
enum Limit {
    Number(Number),
    Version(Version),
    Time(Moment),
}

impl Test<'_> {
    /// Reads the test of a field.
    pub(super) fn read(&self, field: Field) -> Result<Expr, QueryError> {
        if self.value.is_empty() {
            let error = self.error(0, "the value is missing");
            return Err(error.expected("a value directly after the colon").suggest(self.clause("VALUE")));
        }
        if self.value.chars().all(|c| c == '*') {
            return Ok(Expr::Exists(field));
        }
        if let Some(error) = self.foreign() {
            return Err(error);
        }
        match field {
            Field::Online => self.online(),
            Field::Seen => self.seen(),
            Field::Id if self.value.starts_with(['<', '>']) => {
                let error =
                    self.error(0, "ids can't be compared").expected("an id, or a pattern like pump-*");
                Err(error.suggest(self.clause("BEGINNING*")))
            }
            Field::Id => Ok(self.text(Field::Id)),
            property => match self.range(|at, text| self.limit(at, text))? {
                Some(limits) => Ok(Expr::Within { range: self.of_one_kind(limits)?, field: property }),
                None => Ok(self.text(property)),
            },
        }
    }

    /// Where a byte of the value stands.
    fn column(&self, at: usize) -> usize {
        self.column + self.value[..at].chars().count()
    }

    /// An error at a byte of the value.
    fn error(&self, at: usize, message: impl Into<String>) -> QueryError {
        QueryError::new(self.column(at), message)
    }

    /// The clause with another value.
    fn clause(&self, value: &str) -> String {
        format!("{}:{value}", self.name)
    }

    /// The clause with something else in the place of a part of the value.
    fn instead(&self, at: usize, part: &str, meant: &str) -> String {
        self.clause(&[&self.value[..at], meant, &self.value[at + part.len()..]].concat())
    }

    /// Signs of other query languages.
    fn foreign(&self) -> Option<QueryError> {
        let sign =
            ["!=", "<>", "==", "=<", "=>", "=", "!"].into_iter().find(|sign| self.value.starts_with(sign))?;
        let rest = &self.value[sign.len()..];
        let instead = match sign {
            "=<" => self.clause(&format!("<={rest}")),
            "=>" => self.clause(&format!(">={rest}")),
            "=" | "==" => self.clause(rest),
            _ => format!("-{}", self.clause(rest)),
        };
        let error = self.error(0, format!("{sign} means nothing here"));
        let error = error.expected("a value, <, <=, >, >=, a range like 1..2, or quotes for a text");
        Some(if rest.is_empty() { error } else { error.suggest(instead) })
    }

    /// A comparison or a range whose limits, each at a byte of the value, are read by `read`.
    fn range<T>(
        &self,
        read: impl Fn(usize, &str) -> Result<T, QueryError>,
    ) -> Result<Option<Limits<T>>, QueryError> {
        let compare = |sign: &str, make: fn(T) -> Limits<T>| {
            let rest = self.value.strip_prefix(sign)?;
            Some(read(sign.len(), rest).map(make))
        };
        let compared = compare("<=", Limits::AtMost)
            .or_else(|| compare(">=", Limits::AtLeast))
            .or_else(|| compare("<", Limits::Below))
            .or_else(|| compare(">", Limits::Above));
        if let Some(compared) = compared {
            return compared.map(Some);
        }
        let Some((from, to)) = self.value.split_once("..") else { return Ok(None) };
        let to_at = from.len() + 2;
        Ok(Some(match (from, to) {
            ("", "") => {
                let error = self.error(0, "the range has no beginning and no end");
                return Err(error.expected("1..2, 1.. or ..2").suggest(self.clause("1..2")));
            }
            ("", to) => Limits::AtMost(read(to_at, to)?),
            (from, "") => Limits::AtLeast(read(0, from)?),
            (from, to) => Limits::Between(read(0, from)?, read(to_at, to)?),
        }))
    }

    /// The limit of a property.
    fn limit(&self, at: usize, text: &str) -> Result<Limit, QueryError> {
        let folded = fold(text);
        let version = Version::read(&folded);
        if let Some(value) = parse_number(&folded) {
            return Ok(Limit::Number(Number { value, version }));
        }
        if let Some(moment) = Moment::read(text) {
            return Ok(Limit::Time(moment));
        }
        if let Some(version) = version {
            return Ok(Limit::Version(version));
        }
        let expected = format!("a number, a version like 1.10.2, or {TIMES}");
        if let Ok(span) = read_span(text) {
            let error = self.error(at, format!("properties have no unit, so {text} could be anything"));
            let error =
                error.expected("a number in the unit of the property, or a time like -2h (2 hours ago)");
            return Err(error.suggest(self.instead(at, text, &(span / 1_000_000).to_string())));
        }
        let looks_like_time = text.starts_with(['-', '+']) || text.get(4..5) == Some("-");
        if let (error, Some(meant)) = Moment::error(text, self.column(at))
            && looks_like_time
        {
            return Err(error.suggest(self.instead(at, text, &meant)));
        }
        let is_range = !self.value.starts_with(['<', '>']);
        let error = self.error(at, format!("nothing can be compared with {text:?}")).expected(expected);
        let as_text = format!("\"{}\"", self.value.replace('\\', "\\\\").replace('"', "\\\""));
        Err(if is_range { error.suggest(self.clause(&as_text)) } else { error })
    }

    /// Limits that are of one kind, and in order.
    fn of_one_kind(&self, limits: Limits<Limit>) -> Result<Range, QueryError> {
        Ok(match limits {
            Limits::Between(Limit::Number(from), Limit::Number(to)) if from.value <= to.value => {
                Range::Numbers(Limits::Between(from, to))
            }
            Limits::Between(Limit::Time(from), Limit::Time(to)) => Range::Times(self.in_order(from, to)?),
            Limits::Between(from, to) => match (from.version(), to.version()) {
                (Some(from), Some(to)) if from.compare(&to).is_le() => {
                    Range::Versions(Limits::Between(from, to))
                }
                (None, _) | (_, None) if !from.is_like(&to) => {
                    let error = self.error(0, "beginning and end can't be compared with each other");
                    return Err(error.expected("two numbers, two versions or two times"));
                }
                _ => return Err(self.reversed()),
            },
            Limits::Below(limit) => limit.one(Limits::Below, Limits::Below, Limits::Below),
            Limits::AtMost(limit) => limit.one(Limits::AtMost, Limits::AtMost, Limits::AtMost),
            Limits::Above(limit) => limit.one(Limits::Above, Limits::Above, Limits::Above),
            Limits::AtLeast(limit) => limit.one(Limits::AtLeast, Limits::AtLeast, Limits::AtLeast),
        })
    }

    /// Two times, unless the first is known to be behind the second.
    fn in_order(&self, from: Moment, to: Moment) -> Result<Limits<Moment>, QueryError> {
        // Whether a relative end lies behind an absolute one only time will tell.
        let epoch = Timestamp::from_micros(0);
        let reversed = match (from, to) {
            (Moment::Relative(from), Moment::Relative(to)) => from > to,
            (Moment::Relative(_), _) | (_, Moment::Relative(_)) => false,
            (Moment::Day(from) | Moment::At(from), to) => to.place(from, epoch) == Ordering::Greater,
        };
        if reversed { Err(self.reversed()) } else { Ok(Limits::Between(from, to)) }
    }

    fn reversed(&self) -> QueryError {
        let (from, to) = self.value.split_once("..").unwrap_or_default();
        let error = self.error(0, "the beginning of the range is behind its end");
        error.expected("the smaller or earlier one first").suggest(self.clause(&format!("{to}..{from}")))
    }

    fn online(&self) -> Result<Expr, QueryError> {
        let value = fold(self.value);
        if let Ok(online) = value.parse() {
            return Ok(Expr::Online(online));
        }
        let meant =
            [("true", true), ("yes", true), ("on", true), ("1", true), ("false", false), ("no", false)]
                .into_iter()
                .chain([("off", false), ("0", false), ("offline", false), ("online", true)])
                .min_by_key(|(word, _)| strsim::damerau_levenshtein(word, &value))
                .is_none_or(|(_, online)| online);
        let error = self.error(0, format!("{:?} is neither true nor false", self.value));
        Err(error.expected("true or false").suggest(self.clause(&meant.to_string())))
    }

    fn seen(&self) -> Result<Expr, QueryError> {
        let read = |at: usize, text: &str| {
            Moment::read(text).ok_or_else(|| {
                let (error, meant) = Moment::error(text, self.column(at));
                meant.into_iter().fold(error, |error, meant| error.suggest(self.instead(at, text, &meant)))
            })
        };
        let within = |limits| Ok(Expr::Within { field: Field::Seen, range: Range::Times(limits) });
        match self.range(read)? {
            Some(Limits::Between(from, to)) => return within(self.in_order(from, to)?),
            Some(limits) => return within(limits),
            None => {}
        }
        match Moment::read(self.value) {
            Some(day @ Moment::Day(_)) => within(Limits::Between(day, day)),
            Some(_) => {
                let error = self.error(0, "a moment is hardly ever met exactly");
                let error = error.expected("> for later, < for earlier, a range, or a day like 2026-11-22");
                Err(error.suggest(self.clause(&format!(">{}", self.value))))
            }
            None => {
                let (error, meant) = Moment::error(self.value, self.column);
                let meant = meant.map(|meant| self.clause(&format!(">{meant}")));
                Err(meant.into_iter().fold(error, QueryError::suggest))
            }
        }
    }

    /// Equality or a pattern.
    fn text(&self, field: Field) -> Expr {
        if self.value.contains(['*', '?']) {
            return Expr::Like { field, pattern: Pattern::new(self.value) };
        }
        Expr::Equals { field, value: Literal::plain(self.value) }
    }
}

impl Limit {
    /// The version that it may be.
    fn version(&self) -> Option<Version> {
        match self {
            Self::Number(number) => number.version.clone(),
            Self::Version(version) => Some(version.clone()),
            Self::Time(_) => None,
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// A range with this limit alone.
    fn one(
        self,
        numbers: fn(Number) -> Limits<Number>,
        versions: fn(Version) -> Limits<Version>,
        times: fn(Moment) -> Limits<Moment>,
    ) -> Range {
        match self {
            Self::Number(number) => Range::Numbers(numbers(number)),
            Self::Version(version) => Range::Versions(versions(version)),
            Self::Time(moment) => Range::Times(times(moment)),
        }
    }
}
