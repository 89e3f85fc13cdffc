//! Text as queries see it: folded to lower case, cut into tokens, matched by patterns.

use std::fmt;

/// Longest string that is compared as a whole, in bytes as stored. Longer ones are found by their words only.
pub const WHOLE_BYTES_MAX: usize = 1_024;
/// Of a longer token only this many bytes count, cut at a character.
pub const TOKEN_BYTES_MAX: usize = 255;

/// Of a string only this many bytes count for comparisons and for the order, cut at a character.
pub const START_BYTES_MAX: usize = 128;
/// Most edits that a fuzzy word may differ by.
pub const EDITS_MAX: u8 = 2;

/// The text in lower case, character by character. Folding twice changes nothing.
pub fn fold(text: &str) -> String {
    // Nearly all are, and then it is a copy.
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars().flat_map(char::to_lowercase).collect()
}

/// The tokens of a text, in order: folded, then the runs of alphanumeric characters.
pub fn tokens(text: &str) -> Vec<String> {
    tokens_of(&fold(text)).map(str::to_owned).collect()
}

/// The tokens of a text that is already folded.
pub fn tokens_of(folded: &str) -> impl Iterator<Item = &str> {
    let mut behind = 0;
    std::iter::from_fn(move || {
        let (token, end) = next_token(folded, behind)?;
        behind = end;
        Some(token)
    })
}

/// The first token of a folded text behind a place, which isn't within one; and the place behind that token.
pub fn next_token(folded: &str, behind: usize) -> Option<(&str, usize)> {
    let rest = &folded[behind..];
    let start = rest.find(char::is_alphanumeric)?;
    let run = &rest[start..];
    let run = &run[..run.find(|c: char| !c.is_alphanumeric()).unwrap_or(run.len())];
    Some((&run[..run.floor_char_boundary(TOKEN_BYTES_MAX)], behind + start + run.len()))
}

/// What counts of a string for comparisons and for the order: its first [`START_BYTES_MAX`] bytes, folded, and
/// again no more of them.
pub fn start(text: &str) -> String {
    let mut folded = fold(&text[..text.floor_char_boundary(START_BYTES_MAX)]);
    folded.truncate(folded.floor_char_boundary(START_BYTES_MAX));
    folded
}

/// Whether two tokens differ by at most so many edits: a character inserted, left out or replaced, or two
/// neighbours exchanged, which then stay as they are (the optimal string alignment distance).
pub fn is_near(token: &str, other: &str, edits_max: u8) -> bool {
    let edits_max = u32::from(edits_max);
    // An edit changes the number of bytes by 4 at most, and which characters there are by 2 at most.
    if token.len().abs_diff(other.len()) > 4 * edits_max as usize
        || (marks(token) ^ marks(other)).count_ones() > 2 * edits_max
    {
        return false;
    }
    strsim::osa_distance(token, other) <= edits_max as usize
}

/// A bit for each character that there is, modulo 64.
fn marks(token: &str) -> u64 {
    token.chars().fold(0, |marks, c| marks | 1 << (u32::from(c) % 64))
}

/// Whether a stored string equals a folded one as a whole.
pub fn equals(stored: &str, folded: &str) -> bool {
    stored.len() <= WHOLE_BYTES_MAX && stored.chars().flat_map(char::to_lowercase).eq(folded.chars())
}

/// A pattern for whole strings: `*` is any run of characters, `?` exactly one, anything else itself, folded.
/// Holds at least one of the two, and isn't `*` alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// Folds the text, and writes runs of `*` as one.
    pub(crate) fn new(text: &str) -> Self {
        let mut pattern = fold(text);
        while pattern.contains("**") {
            pattern = pattern.replace("**", "*");
        }
        Self(pattern)
    }

    /// The pattern as text, folded.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a stored string matches as a whole.
    pub fn matches(&self, stored: &str) -> bool {
        stored.len() <= WHOLE_BYTES_MAX && self.matches_folded(&fold(stored))
    }

    /// Whether a string matches that is folded already, and wasn't too long as it was stored.
    pub fn matches_folded(&self, folded: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let text: Vec<char> = folded.chars().collect();
        let (mut p, mut t) = (0, 0);
        // Where to go on when it doesn't fit: behind the last `*`, which then takes one character more.
        let mut retry: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some('*') => {
                    retry = Some((p + 1, t));
                    p += 1;
                }
                Some(c) if *c == '?' || *c == text[t] => {
                    p += 1;
                    t += 1;
                }
                _ => {
                    let Some((behind, taken)) = retry else { return false };
                    retry = Some((behind, taken + 1));
                    (p, t) = (behind, taken + 1);
                }
            }
        }
        pattern[p..].iter().all(|c| *c == '*')
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_cut_into_folded_runs() {
        assert_eq!(tokens("Front-Door 2, ÉTAGE"), ["front", "door", "2", "étage"]);
        assert_eq!(tokens(" -- "), Vec::<String>::new());
        assert_eq!(tokens(&"é".repeat(200)), ["é".repeat(127)], "255 bytes end within a character");
    }

    #[test]
    fn patterns_match_whole_strings() {
        let matches = |pattern: &str, text: &str| Pattern::new(pattern).matches(text);
        assert!(matches("1.2.*", "1.2.3"));
        assert!(matches("1.2.*", "1.2."));
        assert!(!matches("1.2.*", "11.2.3"));
        assert!(matches("*DOOR*", "front Door 2"));
        assert!(matches("a?c", "aéc"));
        assert!(!matches("a?c", "ac"));
        assert!(matches("*a*b", "aab ab"));
        assert!(!matches("*a*b", "aab a"));
        assert!(matches("?*", "x") && !matches("?*", ""));
        assert!(!matches("a*", &"a".repeat(1_025)), "too long to be compared as a whole");
        assert_eq!(Pattern::new("a***B**").as_str(), "a*b*");
    }

    /// The same by the definition, slowly.
    fn matches_slowly(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|taken| matches_slowly(rest, &text[taken..])),
            [c, rest @ ..] => {
                text.first().is_some_and(|t| *c == '?' || c == t) && matches_slowly(rest, &text[1..])
            }
        }
    }

    proptest! {
        #[test]
        fn patterns_match_as_defined(pattern in "[ab*?]{0,6}", text in "[ab]{0,8}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(Pattern::new(&pattern).matches(&text), matches_slowly(&p, &t));
        }

        #[test]
        fn nearness_is_the_distance(a in "[abé]{0,6}", b in "[abé]{0,6}", edits in 0..=EDITS_MAX) {
            prop_assert_eq!(is_near(&a, &b, edits), strsim::osa_distance(&a, &b) <= usize::from(edits));
        }

        #[test]
        fn folding_and_cutting_twice_changes_nothing(text in any::<String>()) {
            prop_assert_eq!(fold(&fold(&text)), fold(&text));
            let once = tokens(&text);
            prop_assert_eq!(tokens(&once.join(" ")), once);
            prop_assert!(equals(&text, &fold(&text)) || text.len() > WHOLE_BYTES_MAX);
        }
    }
}
