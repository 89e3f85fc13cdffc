//! Limits that a value lies within: numbers, versions or times.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

use super::ast::parse_number;
use super::moment::{self, Moment};
use super::text;
use super::version::Version;
use crate::Timestamp;

/// Longer strings are no numbers, versions or times. In bytes, folded.
const QUANTITY_BYTES_MAX: usize = 64;

/// What a value is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Range {
    /// Numbers, strings that look like numbers, and versions where each limit can also be read as one.
    Numbers(Limits<Number>),
    /// Strings that look like versions.
    Versions(Limits<Version>),
    /// Strings and numbers that say a time.
    Times(Limits<Moment>),
}

/// One limit or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits<T> {
    /// `<`: smaller, earlier.
    Below(T),
    /// `<=`: not larger, not later.
    AtMost(T),
    /// `>`: larger, later.
    Above(T),
    /// `>=`: not smaller, not earlier.
    AtLeast(T),
    /// `..`: from the one to the other, both included.
    Between(T, T),
}

/// A number as a limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    /// Its value, never infinite.
    pub value: f64,
    /// The version that was perhaps meant: `1.10` is 1.1 for numbers, but after `1.9.3` for versions.
    pub version: Option<Version>,
}

impl Range {
    /// Whether one value of a property lies within.
    pub fn matches(&self, value: &Value, now: Timestamp) -> bool {
        match value {
            Value::Number(number) => number.as_f64().is_some_and(|number| self.number(number, now)),
            // Most strings are none of it, and need no folding to be told from it.
            Value::String(text) => looks_so(text) && self.text(&text::start(text), now),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
        }
    }

    /// Whether a number lies within.
    pub fn number(&self, number: f64, now: Timestamp) -> bool {
        match self {
            Self::Numbers(limits) => limits.hold(|limit| number.partial_cmp(&limit.value)),
            Self::Versions(_) => false,
            Self::Times(_) => moment::of_number(number).is_some_and(|time| self.time(time, now)),
        }
    }

    /// Whether a string lies within, of which the beginning is given ([`text::start`]).
    pub fn text(&self, start: &str, now: Timestamp) -> bool {
        if start.len() > QUANTITY_BYTES_MAX || !looks_so(start) {
            return false;
        }
        match self {
            Self::Numbers(limits) => match parse_number(start) {
                Some(number) => limits.hold(|limit| number.partial_cmp(&limit.value)),
                None => Version::read(start).is_some_and(|version| {
                    limits.hold(|limit| limit.version.as_ref().map(|limit| version.compare(limit)))
                }),
            },
            Self::Versions(limits) => {
                Version::read(start).is_some_and(|version| limits.hold(|limit| Some(version.compare(limit))))
            }
            Self::Times(_) => moment::of_text(start).is_some_and(|time| self.time(time, now)),
        }
    }

    /// Whether a time lies within.
    pub fn time(&self, time: Timestamp, now: Timestamp) -> bool {
        matches!(self, Self::Times(limits) if limits.hold(|limit| Some(limit.place(time, now))))
    }

    /// Whether it depends on now.
    pub fn is_relative(&self) -> bool {
        let Self::Times(limits) = self else { return false };
        limits.ends().into_iter().flatten().any(|moment| matches!(moment, Moment::Relative(_)))
    }
}

/// Whether a string may be a number, a version or a time, by its first character.
fn looks_so(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | 'v' | 'V'))
}

impl<T> Limits<T> {
    /// Whether a value lies within, of which `place` says how it compares with a limit; not when it can't be
    /// compared.
    fn hold(&self, place: impl Fn(&T) -> Option<Ordering>) -> bool {
        let is = |limit, test: fn(Ordering) -> bool| place(limit).is_some_and(test);
        match self {
            Self::Below(limit) => is(limit, Ordering::is_lt),
            Self::AtMost(limit) => is(limit, Ordering::is_le),
            Self::Above(limit) => is(limit, Ordering::is_gt),
            Self::AtLeast(limit) => is(limit, Ordering::is_ge),
            Self::Between(from, to) => is(from, Ordering::is_ge) && is(to, Ordering::is_le),
        }
    }

    /// The lower and the upper limit.
    pub fn ends(&self) -> [Option<&T>; 2] {
        match self {
            Self::Below(to) | Self::AtMost(to) => [None, Some(to)],
            Self::Above(from) | Self::AtLeast(from) => [Some(from), None],
            Self::Between(from, to) => [Some(from), Some(to)],
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbers(limits) => limits.fmt(f),
            Self::Versions(limits) => limits.fmt(f),
            Self::Times(limits) => limits.fmt(f),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Limits<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(limit) => write!(f, "<{limit}"),
            Self::AtMost(limit) => write!(f, "<={limit}"),
            Self::Above(limit) => write!(f, ">{limit}"),
            Self::AtLeast(limit) => write!(f, ">={limit}"),
            Self::Between(from, to) => write!(f, "{from}..{to}"),
        }
    }
}

/// Writes a number so that it is short and reads back as the same.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(version) = &self.version {
            return version.fmt(f);
        }
        let size = self.value.abs();
        if size != 0.0 && !(1e-5..1e16).contains(&size) {
            write!(f, "{:e}", self.value)
        } else {
            write!(f, "{}", self.value)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::query::{Query, samples};
    use crate::{DeviceId, Twin};
    use serde_json::{Value, json};

    fn within(value: &Value, test: &str) -> bool {
        let mut twin = Twin::new(DeviceId::parse("d").unwrap());
        twin.reported.insert("x".into(), value.clone());
        Query::parse(&format!("x:{test}")).unwrap().matches(&twin, samples::now())
    }

    #[test]
    fn each_kind_of_value_meets_its_kind_of_limit() {
        for (value, tests, others) in [
            (json!(19), "<20 <=19 >-1 18..20 19..", ">19 <-1d >2020-01-01 >1.2.3 <v20"),
            // Strings that look like numbers count as such, unless the limit is a version.
            (json!("19.50"), "<19.6 >=19.5 >v19.6 >19.6.0", ">19.6 <-1d"),
            (json!("-5"), "<0 -6..-5", "<v1 >-1d"),
            (
                json!("1.10.2"),
                ">1.9 >=1.10 <1.11 >v1 1.10.2..1.10.2 1.9..1.10.2 1.9..1.11",
                "<1.10 >2 <-1 <1e3 -1..5",
            ),
            (json!("V1.2-RC1"), "<1.2 <v1.2.0 >v1.2-alpha", ">=1.2"),
            (json!("192.168.1.20"), "192.168.1.3..192.168.1.100", "<192.168.1.3"),
            (
                json!("2026-11-20T18:00:00Z"),
                "<-1d >-3d <now >2026-11-19 -2d..-1d <=2026-11-20T18:00:00Z",
                ">2026-11-20 >-1d <5 >v5",
            ),
            (json!("2026-11-20"), "2026-11-20 <=2026-11-20 <-42h -66h..", ">2026-11-20 >1 >1.2.3"),
            (json!("2026-11-29t20:00:00+02:00"), ">now <+8d +7d..+7d 2026-11-29", "<now >+7d"),
            (json!(1_795_200_000), ">-2d <now <=2026-11-20 2026-11-20 >5", "<2026-11-20 >2026-11-20"),
            (json!(1_795_200_000_123_u64), ">-2d <now", ">now"),
            (json!("2026-11-20 18:00:00"), "", "<now >now 2026-11-20"),
            (json!(true), "", "<1 >v0 <now"),
            (json!(["x", {"a":1}, ["v3"]]), ">v2", "<v2"),
            (json!(format!("1.{}", "0".repeat(80))), "", "<5 >0"),
        ] {
            for test in tests.split(' ').filter(|test| !test.is_empty()) {
                assert!(within(&value, test), "{value} {test}");
            }
            for test in others.split(' ') {
                assert!(!within(&value, test), "{value} {test}");
            }
        }
    }
}
