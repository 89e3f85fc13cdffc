//! Lengths of time on the command line: `250ms`, `60s`, `5m`, `2h`; a bare number counts seconds.

use std::time::Duration;

/// Longest that can be asked for: a thousand days.
const SECONDS_MAX: f64 = 86_400.0 * 1_000.0;

/// Reads a length of time, for clap.
///
/// # Errors
/// A sentence, when it isn't a number with one of the units, is negative, or is longer than 1,000 days.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_seconds = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        other => return Err(format!("{other:?} isn't a unit of time: write ms, s, m, h or d")),
    };
    let number: f64 = digits.parse().map_err(|_| format!("{text:?} isn't a length of time, such as 60s"))?;
    let seconds = number * unit_seconds;
    if (0.0..=SECONDS_MAX).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("{text} isn't between 0 and 1000 days"))
    }
}

/// Reads a length of time that isn't zero, for clap.
///
/// # Errors
/// As [`parse`], and when it is shorter than a millisecond.
pub(crate) fn parse_positive(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        short if short < Duration::from_millis(1) => Err("must be at least 1ms".into()),
        length => Ok(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("2h"), Ok(Duration::from_secs(7_200)));
        assert_eq!(parse("7"), Ok(Duration::from_secs(7)));
        for wrong in ["", "s", "5 s", "5y", "-1s", "NaN", "inf", "9999d", "é"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse_positive("0s").is_err());
    }
}
