//! How long a device waits before it connects again.

use std::time::Duration;

use rand::Rng;

/// Longest first wait; it doubles with each failure.
const FIRST: Duration = Duration::from_millis(200);
/// Longest wait of all.
const CAP: Duration = Duration::from_secs(5);

/// The wait after so many failures in a row, 1 or more: between half of what is due and all of it, so that a
/// fleet doesn't return in step.
pub(super) fn wait(failures: u32, chance: &mut impl Rng) -> Duration {
    let due = FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(CAP);
    due.mul_f64(chance.random_range(0.5..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, sequence};

    #[test]
    fn waits_grow_to_the_cap_and_differ() {
        let mut chance = sequence(1, 1, Purpose::Timing);
        for (failures, most_ms) in [(1, 200), (2, 400), (3, 800), (6, 5_000), (u32::MAX, 5_000)] {
            let waits: Vec<u128> = (0..200).map(|_| wait(failures, &mut chance).as_millis()).collect();
            assert!(waits.iter().all(|wait| (most_ms / 2..=most_ms).contains(wait)), "{failures}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]));
        }
    }
}
