//! Time: microseconds since the epoch, and the ways in which devices write it.

use std::fmt;

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A moment: microseconds since 1970-01-01T00:00:00Z. Read and written as RFC 3339 in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the epoch, clamped to the years 0000-9999.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(-62_167_219_200_000_000, 253_402_300_799_999_999))
    }

    /// Microseconds since the epoch.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// The same moment as a calendar date and time.
    pub fn to_datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }

    /// This moment, `micros` later (earlier when negative).
    #[must_use]
    pub fn plus_micros(self, micros: i64) -> Self {
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to this moment; negative when it is later.
    pub fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads RFC 3339 with an offset, e.g. `2026-11-22T18:00:00Z`.
    pub fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|t| Self::from_micros(t.timestamp_micros()))
    }

    /// Reads a number that counts seconds, milliseconds, microseconds or nanoseconds since the epoch, told apart
    /// by magnitude; none from 1e20 on.
    pub fn from_epoch(number: f64) -> Option<Self> {
        let scale = match number.abs() {
            n if n < 1e11 => 1e6,
            n if n < 1e14 => 1e3,
            n if n < 1e17 => 1.0,
            n if n < 1e20 => 1e-3,
            _ => return None,
        };
        #[expect(clippy::cast_possible_truncation, reason = "the match above bounds it")]
        Some(Self::from_micros((number * scale).round() as i64))
    }

    /// Reads what a device may send as `_at`: RFC 3339, or a number that counts seconds, milliseconds,
    /// microseconds or nanoseconds since the epoch, told apart by magnitude (fractions allowed).
    pub fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => {
                // Integers are scaled as integers: a double has no room for 19 digits of nanoseconds.
                if let Some(whole) = number.as_i64() {
                    let micros = match whole.unsigned_abs() {
                        0..100_000_000_000 => whole.checked_mul(1_000_000)?,
                        100_000_000_000..100_000_000_000_000 => whole.checked_mul(1_000)?,
                        100_000_000_000_000..100_000_000_000_000_000 => whole,
                        _ => whole / 1_000,
                    };
                    return Some(Self::from_micros(micros));
                }
                number.as_f64().and_then(Self::from_epoch)
            }
            _ => None,
        }
    }
}

impl From<std::time::SystemTime> for Timestamp {
    fn from(time: std::time::SystemTime) -> Self {
        Self::from_micros(DateTime::<Utc>::from(time).timestamp_micros())
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self::from_micros(time.timestamp_micros())
    }
}

/// A time as text, written by hand: an answer may hold thousands of them.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    bytes: [u8; 27],
    length: usize,
}

impl Text {
    /// RFC 3339 in UTC, with no digits of a second more than it takes: none, three or six.
    pub(crate) fn of(time: Timestamp) -> Self {
        let time = time.to_datetime();
        let mut bytes = *b"0000-00-00T00:00:00.000000Z";
        let mut put = |at: std::ops::Range<usize>, mut number: u32| {
            for digit in bytes[at].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        let micros = time.nanosecond() / 1_000;
        put(0..4, time.year().unsigned_abs());
        put(5..7, time.month());
        put(8..10, time.day());
        put(11..13, time.hour());
        put(14..16, time.minute());
        put(17..19, time.second());
        put(20..26, micros);
        let end = match micros {
            0 => 19,
            micros if micros % 1_000 == 0 => 23,
            _ => 26,
        };
        bytes[end] = b'Z';
        Self { bytes, length: end + 1 }
    }

    fn as_str(&self) -> &str {
        // Digits and signs are always valid.
        str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Text::of(*self).as_str())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Text::of(*self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("expected a time as in RFC 3339"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::SecondsFormat;
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        #[test]
        fn it_is_written_as_chrono_does(micros in any::<i64>(), unit in 0..3_u32) {
            let unit = 1_000_i64.pow(unit);
            for micros in [micros, micros / 1_000_000 % 100_000_000_000 / unit * unit] {
                let time = Timestamp::from_micros(micros);
                let expected = time.to_datetime().to_rfc3339_opts(SecondsFormat::AutoSi, true);
                prop_assert_eq!(time.to_string(), expected.clone());
                prop_assert_eq!(json!(time), json!(expected));
            }
        }
    }

    #[test]
    fn magnitude_tells_the_unit() {
        let expected = Timestamp::parse("2023-11-14T22:13:20Z");
        for value in [
            json!(1_700_000_000),
            json!(1_700_000_000_000_i64),
            json!(1_700_000_000_000_000_i64),
            json!(1_700_000_000_000_000_000_i64),
            json!(1_700_000_000.0),
            json!("2023-11-14T22:13:20Z"),
            json!("2023-11-15T00:13:20+02:00"),
        ] {
            assert_eq!(Timestamp::from_json(&value), expected, "{value}");
        }
        assert_eq!(Timestamp::from_json(&json!("yesterday")), None);
        assert_eq!(Timestamp::from_json(&json!(true)), None);
        assert_eq!(Timestamp::from_json(&json!(1e300)), None);
    }
}
