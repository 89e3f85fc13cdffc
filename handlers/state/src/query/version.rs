//! Versions like `1.10.2`, `v2` or `2.0.0-rc.1`, compared number by number.

use std::cmp::Ordering;
use std::fmt;

/// Most numbers of a version, and most digits of each.
const NUMBERS_MAX: usize = 8;
const DIGITS_MAX: usize = 18;

/// A version: numbers with dots between them, perhaps a `v` before them, perhaps `-` and a name of a
/// pre-release behind them. What follows a `+` doesn't count. Compare with [`Version::compare`]: versions that
/// are written differently may be equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// As it was written, folded.
    text: String,
    /// Without zeros at the end.
    numbers: Vec<u64>,
    /// Empty for a release.
    pre: String,
}

impl Version {
    /// Reads a version from a folded text; none when it isn't one. Without `v` and without a dot nothing can
    /// follow the number, so that a date isn't a version.
    pub fn read(folded: &str) -> Option<Self> {
        let bare = folded.strip_prefix('v').unwrap_or(folded);
        let end = bare.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(bare.len());
        let (digits, suffix) = bare.split_at(end);
        let mut numbers = Vec::new();
        for digits in digits.split('.') {
            if digits.is_empty() || digits.len() > DIGITS_MAX || numbers.len() == NUMBERS_MAX {
                return None;
            }
            numbers.push(digits.parse().ok()?);
        }
        let plain = numbers.len() == 1 && bare.len() == folded.len();
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_');
        if !suffix.is_empty() && (plain || !suffix.starts_with(['-', '+']) || !suffix.chars().all(known)) {
            return None;
        }
        let pre = suffix.split('+').next().unwrap_or_default().trim_start_matches('-').to_owned();
        numbers.truncate(numbers.iter().rposition(|number| *number != 0).map_or(0, |last| last + 1));
        Some(Self { text: folded.to_owned(), numbers, pre })
    }

    /// Which comes first: number by number, where one that is missing is 0; then a pre-release before its
    /// release, and pre-releases by their names, runs of digits as numbers.
    pub fn compare(&self, other: &Self) -> Ordering {
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| self.pre.is_empty().cmp(&other.pre.is_empty()))
            .then_with(|| runs(&self.pre).cmp(runs(&other.pre)))
    }
}

/// A part of the name of a pre-release. Numbers come before names.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Run<'a> {
    /// Its digits without zeros before them: the more there are, the larger it is.
    Number(usize, &'a str),
    Name(&'a str),
}

fn runs(text: &str) -> impl Iterator<Item = Run<'_>> {
    text.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()).map(|run| {
        let run = str::from_utf8(run).unwrap_or_default();
        if !run.starts_with(|c: char| c.is_ascii_digit()) {
            return Run::Name(run);
        }
        let digits = run.trim_start_matches('0');
        Run::Number(digits.len(), digits)
    })
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn compare(a: &str, b: &str) -> Ordering {
        Version::read(a).unwrap().compare(&Version::read(b).unwrap())
    }

    #[test]
    fn versions_are_told_from_other_texts() {
        for text in
            ["1", "1.2", "v1", "1.10.2", "192.168.1.10", "2.0.0-rc.1", "1.2+build7", "v3-beta", "01.002"]
        {
            assert!(Version::read(text).is_some(), "{text}");
        }
        for text in [
            "",
            "v",
            "1.",
            ".1",
            "1..2",
            "-1",
            "1e3",
            "2026-11-22",
            "1.2 beta",
            "1.2-é",
            "1.2beta",
            "vv1",
            "a1.2",
        ] {
            assert!(Version::read(text).is_none(), "{text}");
        }
        assert!(Version::read("1.1.1.1.1.1.1.1.1").is_none() && Version::read(&"1".repeat(19)).is_none());
    }

    #[test]
    fn versions_compare_number_by_number() {
        let rising =
            ["0.9", "1.0.0-alpha", "1.0.0-rc.2", "1.0.0-rc.10", "1", "1.2", "1.2.1", "1.9.9", "1.10", "v2"];
        for (nth, a) in rising.iter().enumerate() {
            for (mth, b) in rising.iter().enumerate() {
                assert_eq!(compare(a, b), nth.cmp(&mth), "{a} {b}");
            }
        }
        for (a, b) in [("1.2", "v1.2.0"), ("1.2+a", "1.2+b"), ("01.02", "1.2"), ("0.0", "0")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_one(texts in prop::collection::vec("v?[0-2](\\.[0-2]{1,2}){1,2}(-[a0.]{0,3})?", 3)) {
            let [a, b, c] = &texts[..] else { unreachable!() };
            prop_assert_eq!(compare(a, b), compare(b, a).reverse());
            if compare(a, b).is_le() && compare(b, c).is_le() {
                prop_assert!(compare(a, c).is_le());
            }
        }
    }
}
