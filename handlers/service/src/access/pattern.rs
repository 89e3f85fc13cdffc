//! Topic patterns: MQTT filters in which `{device}` stands for the device that asks.
//!
//! A wildcard on the first level never stands for the service's own names (`devices`, `changes`) nor for one that
//! begins with `$`: who is to have those is given them by name. So `#` means: all that clients tell each other.
//!
//! A placeholder takes a whole level, and only a device id is put there, in which no `+`, `#` or `/` can stand
//! (CVE-2017-7650). There is none for the client id: a client chooses that itself, so it proves nothing.

use thiserror::Error;

/// Longest pattern, in bytes: as long as the longest topic.
const PATTERN_BYTES_MAX: usize = 512;
/// Stands for the device that asks.
const DEVICE: &str = "{device}";

/// The first levels of the service's own topics.
pub const OWN: [&str; 2] = ["devices", "changes"];

/// Why a text isn't a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("column {column}: {problem}")]
pub struct BadPattern {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: &'static str,
}

/// Topics that are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Box<[Level]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    /// This one.
    Text(Box<str>),
    /// The device that asks.
    Device,
    /// `+`
    Any,
    /// `#`
    Rest,
}

impl Level {
    fn parse(text: &str, last: bool) -> Result<Self, &'static str> {
        match text {
            "#" if last => Ok(Self::Rest),
            "#" => Err("`#` stands last"),
            "+" => Ok(Self::Any),
            DEVICE => Ok(Self::Device),
            _ if text.contains(['+', '#']) => Err("a wildcard takes a whole level"),
            _ if text.contains(['{', '}']) => {
                Err("the only placeholder is `{device}`, and takes a whole level")
            }
            _ if text.contains(char::is_control) => Err("a control character can't stand in a topic"),
            _ => Ok(Self::Text(text.into())),
        }
    }

    /// Does it stand for all that this level of a filter stands for?
    fn covers(&self, level: &str, device: Option<&str>) -> bool {
        match self {
            Self::Text(text) => **text == *level,
            Self::Device => device == Some(level),
            Self::Any => level != "#",
            Self::Rest => true,
        }
    }
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Says where it is wrong, and how.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let whole = |problem| Err(BadPattern { column: 1, problem });
        if text.is_empty() {
            return whole("a pattern isn't empty");
        }
        if text.len() > PATTERN_BYTES_MAX {
            return whole("a pattern has at most 512 bytes");
        }
        if text.starts_with("$share/") {
            return whole("a group isn't named: the filter behind it counts");
        }
        let mut levels = Vec::new();
        let mut column = 1;
        let mut rest = text.split('/').peekable();
        while let Some(level) = rest.next() {
            let last = rest.peek().is_none();
            levels.push(Level::parse(level, last).map_err(|problem| BadPattern { column, problem })?);
            column += level.chars().count() + 1;
        }
        Ok(Self(levels.into()))
    }

    /// Is everything that the filter matches allowed by this pattern, for this device? A topic is a filter that
    /// matches itself. If the first level of the filter is a wildcard, the names that none stands for don't count.
    pub fn covers(&self, filter: &str, device: Option<&str>) -> bool {
        let mut pattern = self.0.iter();
        for (depth, level) in filter.split('/').enumerate() {
            match pattern.next() {
                Some(Level::Any | Level::Rest) if depth == 0 && is_named_only(level) => return false,
                Some(Level::Rest) => return true,
                Some(own) if own.covers(level, device) => {}
                _ => return false,
            }
        }
        // `a/#` matches `a` as well (MQTT 5, 4.7.1.2).
        matches!(pattern.next(), None | Some(Level::Rest))
    }
}

/// Does no wildcard stand for this first level?
pub fn is_named_only(level: &str) -> bool {
    level.starts_with('$') || OWN.contains(&level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn covers(pattern: &str, filter: &str) -> bool {
        Pattern::parse(pattern).expect("a pattern").covers(filter, Some("d"))
    }

    #[test]
    fn bad_ones_say_where() {
        for (bad, column) in [
            ("", 1),
            ("a/#/b", 3),
            ("a/b+", 3),
            ("é/x/{devise}", 5),
            ("a/x{device}", 3),
            ("$share/g/a", 1),
            ("a/\u{7}", 3),
        ] {
            assert_eq!(Pattern::parse(bad).map_err(|bad| bad.column), Err(column), "{bad}");
        }
        assert!(Pattern::parse(&"x".repeat(513)).is_err());
    }

    #[test]
    fn a_filter_is_covered_if_all_that_it_matches_is() {
        for (pattern, filter) in [
            ("a/b", "a/b"),
            ("a/#", "a"),
            ("a/#", "a/#"),
            ("a/#", "a/+/c"),
            ("a/+", "a/b"),
            ("+/b", "+/b"),
            ("#", "a/b"),
            ("#", "#"),
            ("devices/{device}/state", "devices/d/state"),
            ("devices/{device}/#", "devices/d/#"),
            ("devices/+/state", "devices/d/state"),
            ("$SYS/#", "$SYS/x"),
        ] {
            assert!(covers(pattern, filter), "{pattern} {filter}");
        }
        for (pattern, filter) in [
            ("a/b", "a/+"),
            ("a/+", "a/#"),
            ("a/+", "a"),
            ("a/b/#", "a/#"),
            ("+/b", "#"),
            ("devices/{device}/state", "devices/e/state"),
            ("devices/{device}/state", "devices/+/state"),
            ("devices/{device}/#", "devices/#"),
            ("#", "devices/d/state"),
            ("+/d/state", "devices/d/state"),
            ("#", "changes/d"),
            ("#", "$SYS/x"),
            ("+/x", "$SYS/x"),
        ] {
            assert!(!covers(pattern, filter), "{pattern} {filter}");
        }
        let own = Pattern::parse("devices/{device}/state").expect("a pattern");
        assert!(!own.covers("devices/d/state", None), "who is no device");
    }

    proptest! {
        /// What a covered filter matches is covered: nobody gets by a wildcard what was not granted.
        #[test]
        fn nothing_slips_through(
            pattern in "(a|\\+|devices|\\{device\\})(/(a|b|\\+|\\{device\\})){0,2}(/#)?",
            filter in "(a|\\+|devices)(/(a|b|d|\\+)){0,2}(/#)?",
            topic in "(a|b|devices)(/(a|b|d)){0,3}",
        ) {
            // A filter is a pattern without a placeholder, so it knows which topics it matches.
            if covers(&pattern, &filter) && covers(&filter, &topic) {
                prop_assert!(covers(&pattern, &topic));
            }
        }
    }
}
