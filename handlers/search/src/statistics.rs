//! Statistics: what the numbers of a field come to, and how many different values it has. Exact, as they are computed
//! from all values.

use tantivy::u64_to_f64;

use crate::values::Values;

/// Most fields of which one search may ask for statistics.
pub const STATISTICS_MAX: usize = 8;
/// Which percentiles are told.
pub const PERCENTILES: [u8; 7] = [1, 5, 25, 50, 75, 95, 99];

/// What the values of a field come to, in all devices that match.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Devices that have a single value of it at least: a number, a string, true or false.
    pub devices: usize,
    /// Numbers among the values; each element of an array counts.
    pub count: usize,
    /// Different values, whether numbers or not. Strings are told apart by their first 128 bytes in lower case.
    pub cardinality: usize,
    /// What the numbers come to; none where there is no number.
    pub numbers: Option<Numbers>,
    /// The numbers are times, in microseconds since the epoch.
    pub times: bool,
}

/// What numbers come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Their mean.
    pub mean: f64,
    /// For each of [`PERCENTILES`] the smallest number that is not below so many percent of all (nearest rank).
    pub percentiles: [f64; PERCENTILES.len()],
}

impl Statistics {
    pub(crate) fn of(mut values: Values) -> Self {
        values.others.sort_unstable();
        values.others.dedup();
        let (devices, others, times) = (values.devices, values.others.len(), values.times);
        let sorted = values.sorted();
        let distinct = sorted.chunk_by(|left, right| left == right).count();
        Self {
            devices,
            count: sorted.len(),
            cardinality: distinct + others,
            numbers: Numbers::of(sorted),
            times,
        }
    }
}

impl Numbers {
    fn of(sorted: &[u64]) -> Option<Self> {
        let (min, max) = (u64_to_f64(*sorted.first()?), u64_to_f64(*sorted.last()?));
        let percentile = |percent: u8| {
            let rank = (sorted.len() * usize::from(percent)).div_ceil(100);
            sorted.get(rank.saturating_sub(1)).map_or(max, |bits| u64_to_f64(*bits))
        };
        let percentiles = PERCENTILES.map(percentile);
        Some(Self { min, max, mean: mean(sorted), percentiles })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count")]
fn mean(sorted: &[u64]) -> f64 {
    let count = sorted.len() as f64;
    let mean = sorted.iter().map(|bits| u64_to_f64(*bits)).sum::<f64>() / count;
    // The sum of very large numbers has no room in a double, their mean has.
    if mean.is_finite() { mean } else { sorted.iter().map(|bits| u64_to_f64(*bits) / count).sum() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tantivy::f64_to_u64;

    use super::*;

    fn of(numbers: &[f64]) -> Statistics {
        let numbers: Vec<_> = numbers.iter().copied().map(f64_to_u64).collect();
        Statistics::of(Values { devices: numbers.len(), numbers, others: vec![7, 7], times: false })
    }

    #[test]
    fn figures_of_a_hundred_numbers() {
        let numbers: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let found = of(&numbers);
        assert_eq!((found.devices, found.count, found.cardinality), (100, 100, 101));
        let percentiles = [1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0];
        assert_eq!(found.numbers, Some(Numbers { min: 1.0, max: 100.0, mean: 50.5, percentiles }));
        assert_eq!(of(&[]).numbers, None);
        assert_eq!(of(&[f64::MAX, f64::MAX]).numbers.map(|numbers| numbers.mean), Some(f64::MAX));
    }

    proptest! {
        /// So many percent are not above a percentile, and fewer are below it.
        #[test]
        fn percentiles_are_what_they_say(numbers in prop::collection::vec(-1e6..1e6_f64, 1..200)) {
            let found = of(&numbers).numbers.expect("there are numbers");
            for (percent, value) in PERCENTILES.iter().zip(found.percentiles) {
                let share = |count: usize| count * 100;
                let wanted = numbers.len() * usize::from(*percent);
                prop_assert!(share(numbers.iter().filter(|number| **number <= value).count()) >= wanted);
                prop_assert!(share(numbers.iter().filter(|number| **number < value).count()) < wanted.max(1));
            }
        }
    }
}
