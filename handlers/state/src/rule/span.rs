//! How long something lasts, in whole seconds: written like `90s`, `10m`, `1h`, `2d`, `1w`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::query::moment;

/// A length of time, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u32);

impl Span {
    /// So many seconds.
    pub const fn from_secs(seconds: u32) -> Self {
        Self(seconds)
    }

    /// Reads a number and one of `s m h d w`; none for anything else, and for what doesn't fit into 32 bits of
    /// seconds.
    pub fn parse(text: &str) -> Option<Self> {
        let micros = moment::read_span(text).ok()?;
        u32::try_from(micros / 1_000_000).ok().map(Self)
    }

    /// The same in microseconds.
    pub fn as_micros(self) -> i64 {
        i64::from(self.0) * 1_000_000
    }
}

/// In the largest unit that leaves nothing over.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit, _) = moment::in_units(self.as_micros());
        write!(f, "{count}{unit}")
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("expected a length of time like 90s, 10m, 1h, 2d or 1w"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_and_written_alike() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h", 3_600), ("2d", 172_800), ("1w", 604_800)] {
            assert_eq!(Span::parse(text), Some(Span::from_secs(seconds)));
            assert_eq!(Span::from_secs(seconds).to_string(), text);
        }
        assert_eq!(Span::from_secs(3_601).to_string(), "3601s");
        for wrong in ["", "10", "m", "10 m", "-10m", "10M", "1.5h", "99999999999w"] {
            assert_eq!(Span::parse(wrong), None, "{wrong:?}");
        }
    }
}
