//! Times in a query: absolute, a whole day, or relative to now; and which values of a twin are times.

use std::cmp::Ordering;
use std::fmt;

use super::QueryError;
use crate::Timestamp;

const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;
/// The units of a relative time, the largest first, their length in microseconds, and their names.
const UNITS: [(char, i64, &str); 5] = [
    ('w', 7 * DAY_MICROS, "week"),
    ('d', DAY_MICROS, "day"),
    ('h', 3_600_000_000, "hour"),
    ('m', 60_000_000, "minute"),
    ('s', 1_000_000, "second"),
];
/// Smaller numbers aren't times: seconds since the epoch up to March 1973.
const EPOCH_MIN: f64 = 1e8;
/// What may stand where a time is expected.
pub(super) const TIMES: &str = "a time: now, -90m (s m h d w before now), +7d (after it), a day like 2026-11-22, or 2026-11-22T18:00:00Z";

/// A time as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// So many microseconds after now; before it when negative.
    Relative(i64),
    /// The whole UTC day that begins then.
    Day(Timestamp),
    /// This moment.
    At(Timestamp),
}

impl Moment {
    /// Reads `now`, `-1h`, `+7d`, `2026-11-22` or RFC 3339; none when it is no time.
    pub(super) fn read(text: &str) -> Option<Self> {
        match text.as_bytes().first()? {
            b'n' | b'N' if text.eq_ignore_ascii_case("now") => Some(Self::Relative(0)),
            b'-' => read_span(&text[1..]).ok().map(|span| Self::Relative(-span)),
            b'+' => read_span(&text[1..]).ok().map(Self::Relative),
            _ => read_day(text).map(Self::Day).or_else(|| Timestamp::parse(text).map(Self::At)),
        }
    }

    /// Why a text that stands at `column` is no time, and what was perhaps meant.
    pub(super) fn error(text: &str, column: usize) -> (QueryError, Option<String>) {
        let error = QueryError::new(column, format!("{text:?} is no time")).expected(TIMES);
        let sign = if text.starts_with('+') { '+' } else { '-' };
        let meant = match read_span(text.trim_start_matches(['-', '+'])) {
            // The minus is easily forgotten.
            Ok(_) => Some(format!("{sign}{text}")),
            Err(Some(span)) => Some(format!("{sign}{span}")),
            Err(None) if Timestamp::parse(&format!("{text}Z")).is_some() => Some(format!("{text}Z")),
            Err(None) if text.eq_ignore_ascii_case("yesterday") => Some("-1d".into()),
            Err(None) => None,
        };
        (error, meant)
    }

    /// Where a time lies: before this one, at or within it, or after it.
    pub(super) fn place(self, time: Timestamp, now: Timestamp) -> Ordering {
        let (start, length) = match self {
            Self::Relative(micros) => (now.plus_micros(micros), 1),
            Self::Day(day) => (day, DAY_MICROS),
            Self::At(moment) => (moment, 1),
        };
        if time < start {
            Ordering::Less
        } else if time.micros_since(start) < length {
            Ordering::Equal
        } else {
            Ordering::Greater
        }
    }
}

/// The time that a string says, which is folded already: RFC 3339, or a day, which is its beginning in UTC.
pub fn of_text(folded: &str) -> Option<Timestamp> {
    read_day(folded).or_else(|| Timestamp::parse(folded))
}

/// The time that a number says: seconds, milliseconds, microseconds or nanoseconds since the epoch, told apart by
/// magnitude, from 1973 on.
pub fn of_number(number: f64) -> Option<Timestamp> {
    if number < EPOCH_MIN { None } else { Timestamp::from_epoch(number) }
}

fn read_day(text: &str) -> Option<Timestamp> {
    if text.len() != "2026-11-22".len() {
        return None;
    }
    Timestamp::parse(&format!("{text}T00:00:00Z"))
}

/// Reads a number and a unit, as microseconds; on failure perhaps what was meant, from the first letter of the
/// unit.
pub(crate) fn read_span(text: &str) -> Result<i64, Option<String>> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let count: i64 = digits.parse().map_err(|_| None)?;
    let first = unit.chars().next().ok_or_else(|| Some(format!("{digits}h")))?;
    let (name, micros, word) =
        UNITS.iter().find(|(name, ..)| *name == first.to_ascii_lowercase()).ok_or(None)?;
    if unit.len() == 1 && first == *name {
        return count.checked_mul(*micros).ok_or(None);
    }
    let unit = unit.to_ascii_lowercase();
    let meant = unit.len() == 1 || word.starts_with(unit.trim_end_matches('s'));
    Err(meant.then(|| format!("{digits}{name}")))
}

/// The largest unit that divides a span, and how many of it: `(2, "hour")`.
pub(crate) fn in_units(micros: i64) -> (u64, char, &'static str) {
    let span = micros.unsigned_abs();
    let whole = |length: i64| span != 0 && span.is_multiple_of(length.unsigned_abs());
    let (unit, length, word) =
        UNITS.iter().copied().find(|(_, length, _)| whole(*length)).unwrap_or(UNITS[4]);
    (span / length.unsigned_abs(), unit, word)
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relative(0) => f.write_str("now"),
            Self::Relative(micros) => {
                let (count, unit, _) = in_units(*micros);
                write!(f, "{}{count}{unit}", if *micros < 0 { '-' } else { '+' })
            }
            Self::Day(day) => write!(f, "{}", day.to_datetime().date_naive()),
            Self::At(moment) => moment.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn some_values_are_times() {
        let day = Timestamp::parse("2026-11-22T00:00:00Z");
        assert!(day.is_some());
        for text in ["2026-11-22", "2026-11-22t00:00:00z", "2026-11-22t02:00:00.000+02:00"] {
            assert_eq!(of_text(text), day, "{text}");
        }
        for text in ["", "2026-11-22t00:00:00", "2026-11", "today", "-1h", "now", "1795305600"] {
            assert_eq!(of_text(text), None, "{text}");
        }
        for number in [1_795_305_600.0, 1.795_305_6e12, 1.795_305_6e15, 1.795_305_6e18] {
            assert_eq!(of_number(number), day, "{number}");
        }
        for number in [0.0, -1.8e9, 21.5, 9.9e7, 1e300] {
            assert_eq!(of_number(number), None, "{number}");
        }
    }

    proptest! {
        /// The index keeps strings folded, the evaluator sees them as they are.
        #[test]
        fn folding_changes_no_time(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]([Tt _][0-2][0-9]:00:00(\\.[0-9]{1,9})?([Zz]|[+-]0[0-9]:00))?") {
            let folded = super::super::text::fold(&text);
            prop_assert_eq!(of_text(&folded), of_text(&text));
        }
    }
}
