//! Chance that can be repeated: all of it follows from one seed, which is printed.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// What chance is used for; each purpose has a sequence of its own, so that the network's accidents don't
/// change what a device measures.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// What a device is and measures.
    Device = 1,
    /// When it connects, reports, waits and drops its connection.
    Timing = 2,
}

/// The sequence of device `index` in the run with this seed.
pub(crate) fn sequence(seed: u64, index: usize, purpose: Purpose) -> StdRng {
    // The multiplier is that of splitmix64: neighbours in, strangers out.
    let mixed = (index as u64 * 4 + purpose as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    StdRng::seed_from_u64(seed ^ mixed.rotate_left(17))
}

/// A seed for a run that was given none; small enough to be typed again.
pub(crate) fn fresh_seed() -> u64 {
    u64::from(rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_sequence_and_each_device_its_own() {
        let first = |seed, index, purpose| sequence(seed, index, purpose).random::<u64>();
        assert_eq!(first(7, 3, Purpose::Device), first(7, 3, Purpose::Device));
        let mut all: Vec<u64> = (0..1_000)
            .flat_map(|index| [first(7, index, Purpose::Device), first(7, index, Purpose::Timing)])
            .chain((0..1_000).map(|index| first(8, index, Purpose::Device)))
            .collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 3_000);
    }
}
