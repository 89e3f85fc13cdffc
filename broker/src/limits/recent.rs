//! A bounded memory of who came lately.

use std::collections::HashMap;
use std::hash::Hash;

/// A map that forgets who wasn't asked for since the last `max` others: two generations, of which the older is
/// dropped when the younger is full. It never holds more than twice `max`.
pub(crate) struct Recent<K, V> {
    max: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Hash + Eq + Copy, V> Recent<K, V> {
    pub(crate) fn new(max: usize) -> Self {
        Self { max: max.max(1), young: HashMap::new(), old: HashMap::new() }
    }

    /// What is remembered, without refreshing it.
    pub(crate) fn get(&self, key: K) -> Option<&V> {
        self.young.get(&key).or_else(|| self.old.get(&key))
    }

    /// What is remembered, or something new.
    pub(crate) fn get_or_insert_with(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        if !self.young.contains_key(&key) && self.young.len() >= self.max {
            self.old = std::mem::take(&mut self.young);
        }
        let Self { young, old, .. } = self;
        young.entry(key).or_insert_with(|| old.remove(&key).unwrap_or_else(new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_the_recent_ones_stay() {
        let mut recent = Recent::new(10);
        *recent.get_or_insert_with(0, || 0) = 7;
        for other in 1..1_000 {
            assert_eq!(*recent.get_or_insert_with(0, || 0), 7, "asked for all the time");
            recent.get_or_insert_with(other, || 0);
            assert!(recent.young.len() + recent.old.len() <= 20);
        }
        assert_eq!(recent.get(1), None);
    }
}
