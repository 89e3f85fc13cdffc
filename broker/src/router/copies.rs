//! The router gives a link one copy of a message for each of its filters that matches; the subscriber gets one.

use std::collections::BTreeMap;

/// Most messages of one link of which more copies are expected: more than the router keeps of small ones.
const EXPECTED_MAX: usize = 8 * 1024;

/// The messages of one link of which more copies are expected, by number, and how many.
#[derive(Default)]
pub(super) struct Copies(BTreeMap<u64, usize>);

impl Copies {
    /// Is this the first copy of a message? So many are expected in all, by the filters that are in force now; one
    /// that doesn't come, because a filter is new or the router skipped it, is forgotten some day.
    pub(super) fn is_first(&mut self, number: u64, expected: usize) -> bool {
        if let Some(more) = self.0.get_mut(&number) {
            *more -= 1;
            if *more == 0 {
                self.0.remove(&number);
            }
            return false;
        }
        if expected > 1 {
            self.0.insert(number, expected - 1);
            if self.0.len() > EXPECTED_MAX {
                self.0.pop_first();
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_copies_the_first_counts() {
        let mut copies = Copies::default();
        let seen = [(1, 2), (2, 3), (1, 2), (3, 1), (2, 3), (4, 0), (2, 3)];
        let first: Vec<bool> = seen.iter().map(|(number, all)| copies.is_first(*number, *all)).collect();
        assert_eq!(first, [true, true, false, true, false, true, false]);
        assert!(copies.0.is_empty(), "nothing is kept of what came in full");
    }

    #[test]
    fn what_never_comes_is_forgotten() {
        let mut copies = Copies::default();
        for number in 0..20_000 {
            assert!(copies.is_first(number, 2));
        }
        assert_eq!(copies.0.len(), EXPECTED_MAX);
    }
}
