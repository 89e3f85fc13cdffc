//! Times in a query: absolute, a whole day, or relative to now; and the interval that they mean.

use std::fmt;

use super::QueryError;
use super::ast::Op;
use crate::Timestamp;

const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;
/// The units of a relative time, the largest first, and their length in microseconds.
pub(super) const UNITS: [(char, i64); 5] =
    [('w', 7 * DAY_MICROS), ('d', DAY_MICROS), ('h', 3_600_000_000), ('m', 60_000_000), ('s', 1_000_000)];

/// A test of the time at which the last message was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Before or after.
    Compare(Op, Moment),
    /// Within, both ends included; at least one of them is given.
    Range(Option<Moment>, Option<Moment>),
    /// During the UTC day that begins then.
    On(Timestamp),
}

/// A time as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// So many microseconds before now.
    Ago(i64),
    /// The whole UTC day that begins then.
    Day(Timestamp),
    /// This moment.
    At(Timestamp),
}

impl Seen {
    /// The times that match: from the first, included, to the second, excluded. None means without end.
    pub fn bounds(&self, now: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
        match self {
            Self::Compare(op, moment) => {
                let (start, end) = moment.span(now);
                match op {
                    Op::Less => (None, Some(start)),
                    Op::LessEqual => (None, Some(end)),
                    Op::Greater => (Some(end), None),
                    Op::GreaterEqual => (Some(start), None),
                }
            }
            Self::Range(from, to) => (from.map(|from| from.span(now).0), to.map(|to| to.span(now).1)),
            Self::On(day) => (Some(*day), Some(day.plus_micros(DAY_MICROS))),
        }
    }

    /// Whether a time matches.
    pub fn matches(&self, time: Timestamp, now: Timestamp) -> bool {
        let (from, to) = self.bounds(now);
        from.is_none_or(|from| time >= from) && to.is_none_or(|to| time < to)
    }

    /// Whether it depends on now.
    pub fn is_relative(&self) -> bool {
        let relative = |moment: &Moment| matches!(moment, Moment::Ago(_));
        match self {
            Self::Compare(_, moment) => relative(moment),
            Self::Range(from, to) => from.iter().chain(to).any(relative),
            Self::On(_) => false,
        }
    }
}

impl Moment {
    /// Reads `-1h`, `2026-11-22` or RFC 3339; `column` is where it stands.
    pub(crate) fn parse(text: &str, column: usize) -> Result<Self, QueryError> {
        if let Some(ago) = text.strip_prefix('-') {
            return parse_ago(ago).map_err(|suggestion| {
                let error = QueryError::new(
                    column,
                    "a relative time is a number and one of s m h d w (seconds to weeks) after a minus, like -90m",
                );
                suggestion.into_iter().fold(error, QueryError::suggest)
            });
        }
        if let Some(day) = parse_day(text) {
            return Ok(Self::Day(day));
        }
        if let Some(moment) = Timestamp::parse(text) {
            return Ok(Self::At(moment));
        }
        let error = QueryError::new(
            column,
            "a time is expected: relative like -1h, a day like 2026-11-22, or like 2026-11-22T18:00:00Z",
        );
        // The minus is easily forgotten.
        Err(if parse_ago(text).is_ok() { error.suggest(format!("-{text}")) } else { error })
    }

    /// The time that it covers, the end excluded.
    fn span(self, now: Timestamp) -> (Timestamp, Timestamp) {
        match self {
            Self::Ago(micros) => {
                let moment = now.plus_micros(-micros);
                (moment, moment.plus_micros(1))
            }
            Self::Day(day) => (day, day.plus_micros(DAY_MICROS)),
            Self::At(moment) => (moment, moment.plus_micros(1)),
        }
    }
}

fn parse_day(text: &str) -> Option<Timestamp> {
    if text.len() != "2026-11-22".len() {
        return None;
    }
    Timestamp::parse(&format!("{text}T00:00:00Z"))
}

/// Reads a number and a unit; on failure perhaps what was meant, from the first letter of the unit.
fn parse_ago(text: &str) -> Result<Moment, Option<String>> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let count: i64 = digits.parse().map_err(|_| None)?;
    let first = unit.chars().next().ok_or_else(|| Some(format!("-{digits}h")))?;
    let (unit_name, micros) =
        UNITS.iter().find(|(name, _)| *name == first.to_ascii_lowercase()).ok_or(None)?;
    if unit.len() > 1 || first != *unit_name {
        return Err(Some(format!("-{digits}{unit_name}")));
    }
    count.checked_mul(*micros).map(Moment::Ago).ok_or(None)
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare(op, moment) => write!(f, "{op}{moment}"),
            Self::Range(from, to) => {
                from.map_or(Ok(()), |from| from.fmt(f))?;
                f.write_str("..")?;
                to.map_or(Ok(()), |to| to.fmt(f))
            }
            Self::On(day) => Moment::Day(*day).fmt(f),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ago(micros) => {
                let (unit, length) =
                    UNITS.iter().find(|(_, length)| micros % length == 0).unwrap_or(&UNITS[4]);
                write!(f, "-{}{unit}", micros / length)
            }
            Self::Day(day) => write!(f, "{}", day.to_datetime().date_naive()),
            Self::At(moment) => moment.fmt(f),
        }
    }
}
