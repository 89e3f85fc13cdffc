//! Histograms: how many values lie in each interval of numbers or of time. `battery:10` counts by tens, `seen:1h`
//! by the hour, and `temperature` by what suits its values.

use std::fmt;

use super::QueryError;
use super::ast::parse_number;
use super::fields::Field;
use super::list::{field, items};
use super::moment::{in_units, read_span};

/// What to count, and how finely.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Whose values.
    pub field: Field,
    /// How wide the buckets are.
    pub interval: Interval,
}

/// How wide a bucket is. Buckets begin at multiples of it; of time, at multiples since the beginning of 1970 in
/// UTC, and weeks on Mondays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Interval {
    /// About twenty buckets, of a round width.
    Fitting,
    /// This much, of numbers; finite and above 0.
    Number(f64),
    /// So many microseconds, of times; above 0.
    Time(i64),
}

impl Histogram {
    /// Reads fields with commas between them, each with `:` and a width, or without. An empty text is none at all.
    ///
    /// # Errors
    /// `QueryError` when one isn't understood, stands there twice, or there are more than `histograms_max`.
    pub fn parse(text: &str, histograms_max: usize) -> Result<Vec<Self>, QueryError> {
        let same = |left: &Self, right: &Self| left.field == right.field;
        items(text, histograms_max, same, |part, column| match part.split_once(':') {
            None => Ok(Self { field: field(part, column)?, interval: Interval::Fitting }),
            Some((name, width)) => {
                let field = field(name, column)?;
                let column = column + name.chars().count() + 1;
                let interval = Interval::parse(width).filter(|interval| interval.fits(&field));
                interval.map(|interval| Self { field, interval }).ok_or_else(|| {
                    let expected = "a number above 0, or of time a number and one of s m h d w";
                    let error = QueryError::new(column, "this is no width").expected(expected);
                    error.suggest(if name == "seen" { "1h" } else { "10" })
                })
            }
        })
    }
}

impl Interval {
    fn parse(text: &str) -> Option<Self> {
        if let Some(width) = parse_number(text) {
            return (width > 0.0).then_some(Self::Number(width));
        }
        read_span(text).ok().filter(|micros| *micros > 0).map(Self::Time)
    }

    /// `seen` is a time, and nothing else.
    fn fits(self, field: &Field) -> bool {
        *field != Field::Seen || matches!(self, Self::Time(_))
    }
}

/// Written as it is read; nothing for one that fits.
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fitting => Ok(()),
            Self::Number(width) => write!(f, "{width}"),
            Self::Time(micros) => {
                let (count, unit, _) = in_units(*micros);
                write!(f, "{count}{unit}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn histograms_are_read() {
        let read = Histogram::parse("battery:2.5, seen:90m,tags.installed:1w,temperature", 4).unwrap();
        let intervals: Vec<_> = read.iter().map(|histogram| histogram.interval).collect();
        let (minute, week) = (60_000_000, 7 * 24 * 3_600_000_000);
        assert_eq!(
            intervals,
            [Interval::Number(2.5), Interval::Time(90 * minute), Interval::Time(week), Interval::Fitting]
        );
        assert_eq!(intervals.iter().map(ToString::to_string).collect::<Vec<_>>(), ["2.5", "90m", "1w", ""]);
    }

    #[test]
    fn mistakes_are_found_at_their_column() {
        for (text, column) in [
            ("a:0", 3),
            ("a:-1", 3),
            ("a:1x", 3),
            ("a,bc:1é", 6),
            ("seen:5", 6),
            ("a:1e999", 3),
            ("a:9999999999999999w", 3),
            ("a,a:5", 3),
            (":5", 1),
        ] {
            assert_eq!(Histogram::parse(text, 9).unwrap_err().column, column, "{text}");
        }
        assert!(Histogram::parse("a,b,c", 2).is_err());
    }
}
