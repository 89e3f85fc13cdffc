//! A battery: it falls from reading to reading, and is changed when it is empty.

use rand::Rng;
use rand::rngs::StdRng;

use super::rounded;

/// At this level, in percent, somebody comes and changes it.
const CHANGED_AT: f64 = 1.0;

/// A battery and how fast it falls.
pub(super) struct Battery {
    level: f64,
    fall: f64,
}

impl Battery {
    /// A battery somewhere in its life, most of them in the first half of it.
    pub(super) fn new(chance: &mut StdRng) -> Self {
        let used: f64 = chance.random();
        Self { level: 100.0 - 97.0 * used.powf(1.3), fall: chance.random_range(0.005..0.05) }
    }

    /// What is left, in percent, with one digit after the point.
    pub(super) fn level(&self) -> f64 {
        rounded(self.level, 1)
    }

    /// Uses a little of it.
    pub(super) fn drain(&mut self, chance: &mut StdRng) {
        self.level -= self.fall * chance.random_range(0.5..1.5);
        if self.level < CHANGED_AT {
            self.level = 100.0;
        }
    }
}
