//! Which terms of a dictionary are near a text: an automaton, so that most of a dictionary isn't even read.
//!
//! It lets through all that are near by [`is_near`](statecast_state::query::text::is_near): who uses it asks that too.

use tantivy::Term;
use tantivy::query::{DfaWrapper, FuzzyTermQuery};
use tantivy::schema::Field;
use tantivy_fst::Automaton;

/// Longer texts are near anything, as the automaton of one would take megabytes.
const TEXT_BYTES_MAX: usize = 64;

/// The terms that begin with a prefix, behind which something near a text follows.
pub(crate) struct Near {
    prefix: Vec<u8>,
    edits: Option<DfaWrapper>,
}

/// How far a term was read.
#[derive(Clone)]
pub(crate) enum Place {
    /// So many bytes, and they are those of the prefix.
    Within(usize),
    /// The prefix, and then some, with the state of `edits`.
    Behind(u32),
    /// It begins in another way.
    Elsewhere,
}

impl Near {
    pub(crate) fn new(prefix: Vec<u8>, text: &str, edits_max: u8) -> Self {
        // The automaton is about the text alone, whatever the field.
        let term = || Term::from_field_text(Field::from_field_id(0), text);
        let short = text.len() <= TEXT_BYTES_MAX;
        let edits = short.then(|| FuzzyTermQuery::new(term(), edits_max, true).automaton().ok()).flatten();
        Self { prefix, edits }
    }

    fn at(&self, place: usize) -> Place {
        if place < self.prefix.len() {
            Place::Within(place)
        } else {
            Place::Behind(self.edits.as_ref().map_or(0, Automaton::start))
        }
    }
}

impl Automaton for Near {
    type State = Place;

    fn start(&self) -> Place {
        self.at(0)
    }

    fn is_match(&self, place: &Place) -> bool {
        matches!(place, Place::Behind(state) if self.edits.as_ref().is_none_or(|edits| edits.is_match(state)))
    }

    fn can_match(&self, place: &Place) -> bool {
        match place {
            Place::Within(_) => true,
            Place::Behind(state) => self.edits.as_ref().is_none_or(|edits| edits.can_match(state)),
            Place::Elsewhere => false,
        }
    }

    fn accept(&self, place: &Place, byte: u8) -> Place {
        match place {
            Place::Within(place) if self.prefix[*place] == byte => self.at(place + 1),
            Place::Behind(state) => {
                Place::Behind(self.edits.as_ref().map_or(0, |edits| edits.accept(state, byte)))
            }
            _ => Place::Elsewhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statecast_state::query::text::{EDITS_MAX, is_near};

    use super::*;

    fn accepts(near: &Near, term: &[u8]) -> bool {
        let end = term.iter().fold(near.start(), |place, byte| near.accept(&place, *byte));
        assert!(near.can_match(&end) || !near.is_match(&end), "what matches can match");
        near.is_match(&end)
    }

    proptest! {
        #[test]
        fn what_is_near_is_let_through(a in "[abé]{0,7}", b in "[abé]{0,7}", edits in 1..=EDITS_MAX) {
            let near = Near::new(b"t\0".to_vec(), &a, edits);
            let term = ["t\0", &b].concat();
            prop_assert!(accepts(&near, term.as_bytes()) || !is_near(&b, &a, edits), "{a} {b}");
            prop_assert!(!accepts(&near, b.as_bytes()), "without the prefix");
        }
    }

    #[test]
    fn what_is_far_is_not() {
        let near = Near::new(b"t\0".to_vec(), "kitchen", 2);
        assert!(accepts(&near, b"t\0ktichem") && !accepts(&near, b"t\0kerosene") && !accepts(&near, b"t\0"));
        let long = Near::new(b"t\0".to_vec(), &"long".repeat(20), 1);
        assert!(accepts(&long, b"t\0anything") && !accepts(&long, b"u\0anything"));
    }
}
