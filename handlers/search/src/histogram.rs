//! Histograms: how many values lie in each interval, those in between included that are empty.

use statecast_state::query::{Field, Interval};
use tantivy::u64_to_f64;

use crate::SearchError;
use crate::values::{Texts, Values};

/// Most histograms in one search.
pub const HISTOGRAMS_MAX: usize = 8;
/// Most buckets of one histogram.
pub const BUCKETS_MAX: usize = 500;
/// Buckets where no interval was asked for, about.
const BUCKETS_FITTING: f64 = 20.0;

/// Up to here a double tells one whole number from the next.
const WHOLE_MAX: f64 = 9e15;
const SECOND: f64 = 1e6;
const DAY: f64 = 86_400.0 * SECOND;
const WEEK: f64 = 7.0 * DAY;
/// 1970 began on a Thursday.
const FIRST_MONDAY: f64 = 4.0 * DAY;
/// Intervals of time that people think in, in seconds.
const TIMES: [f64; 16] = [
    1.0,
    5.0,
    15.0,
    60.0,
    300.0,
    900.0,
    3_600.0,
    10_800.0,
    21_600.0,
    43_200.0,
    86_400.0,
    604_800.0,
    2_419_200.0,
    7_257_600.0,
    31_449_600.0,
    314_496_000.0,
];

/// The values of one field, counted by intervals.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramCounts {
    /// Which field.
    pub field: Field,
    /// How wide a bucket is; never [`Interval::Fitting`].
    pub interval: Interval,
    /// Where each bucket begins (a number, or microseconds since the epoch), and how many values are in it, each
    /// element of an array counted; without a gap from the first to the last that isn't empty.
    pub buckets: Vec<(f64, usize)>,
}

/// What strings are to be read as for these intervals.
pub(crate) fn texts(interval: Interval) -> Texts {
    if matches!(interval, Interval::Time(_)) { Texts::Times } else { Texts::Ignored }
}

/// Counts values.
///
/// # Errors
/// `Refused` when there would be more than [`BUCKETS_MAX`] buckets.
pub(crate) fn count(
    field: &Field,
    interval: Interval,
    mut values: Values,
) -> Result<HistogramCounts, SearchError> {
    let times = values.times;
    let sorted = values.sorted();
    let ends = sorted.first().zip(sorted.last()).map(|(first, last)| (u64_to_f64(*first), u64_to_f64(*last)));
    let interval = match (interval, times) {
        (Interval::Fitting, true) => fitting_time(ends),
        (Interval::Fitting, false) => Interval::Number(fitting(ends)),
        (given, _) => given,
    };
    let scale = Scale::of(interval);
    let Some((min, max)) = ends else {
        return Ok(HistogramCounts { field: field.clone(), interval, buckets: Vec::new() });
    };
    let (first, last) = (scale.bucket(min), scale.bucket(max));
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    if last - first >= BUCKETS_MAX as f64 || first.abs().max(last.abs()) > WHOLE_MAX {
        return Err(SearchError::Refused("a histogram may have at most 500 buckets: ask for wider ones"));
    }
    let mut buckets: Vec<(f64, usize)> = Vec::new();
    for bits in sorted {
        let bucket = scale.bucket(u64_to_f64(*bits));
        while buckets.last().is_none_or(|(last, _)| *last < bucket) {
            buckets.push((buckets.last().map_or(first, |(last, _)| last + 1.0), 0));
        }
        if let Some((_, count)) = buckets.last_mut() {
            *count += 1;
        }
    }
    let buckets = buckets.into_iter().map(|(bucket, count)| (scale.start(bucket), count)).collect();
    Ok(HistogramCounts { field: field.clone(), interval, buckets })
}

/// From numbers to buckets and back.
struct Scale {
    origin: f64,
    width: f64,
}

impl Scale {
    #[expect(clippy::cast_precision_loss, reason = "a double has room for the microseconds of centuries")]
    fn of(interval: Interval) -> Self {
        match interval {
            Interval::Fitting => Self { origin: 0.0, width: 1.0 },
            Interval::Number(width) => Self { origin: 0.0, width },
            Interval::Time(micros) if micros as f64 % WEEK == 0.0 => {
                Self { origin: FIRST_MONDAY, width: micros as f64 }
            }
            Interval::Time(micros) => Self { origin: 0.0, width: micros as f64 },
        }
    }

    /// In which bucket a number lies. The division may round across an edge: where buckets begin decides.
    fn bucket(&self, number: f64) -> f64 {
        let bucket = ((number - self.origin) / self.width).floor();
        if number >= self.start(bucket + 1.0) {
            bucket + 1.0
        } else if number < self.start(bucket) {
            bucket - 1.0
        } else {
            bucket
        }
    }

    /// Where a bucket begins. A width such as 0.1 has no exact double, its reciprocal has.
    fn start(&self, bucket: f64) -> f64 {
        let reciprocal = (1.0 / self.width).round();
        if self.width < 1.0 && (1.0 / reciprocal).to_bits() == self.width.to_bits() {
            return bucket / reciprocal;
        }
        self.origin + bucket * self.width
    }
}

/// The width that is 1, 2 or 5 times a power of ten and gives at most about twenty buckets.
fn fitting(ends: Option<(f64, f64)>) -> f64 {
    let (min, max) = ends.unwrap_or_default();
    // Numbers that are nearly the same must not need more digits than a double has.
    let finest = min.abs().max(max.abs()) / 1e12;
    let wanted = (max / BUCKETS_FITTING - min / BUCKETS_FITTING).max(finest);
    if max <= min && finest < 1.0 {
        return 1.0;
    }
    let exponent = wanted.log10().floor();
    let tens = |digit: f64| {
        if exponent < 0.0 { digit / 10_f64.powf(-exponent) } else { digit * 10_f64.powf(exponent) }
    };
    [1.0, 2.0, 5.0].into_iter().map(tens).find(|width| *width >= wanted).unwrap_or_else(|| 10.0 * tens(1.0))
}

/// The same for times.
fn fitting_time(ends: Option<(f64, f64)>) -> Interval {
    let wanted = ends.map_or(0.0, |(min, max)| (max - min) / BUCKETS_FITTING / SECOND);
    let seconds = TIMES.into_iter().find(|seconds| *seconds >= wanted).unwrap_or(TIMES[TIMES.len() - 1]);
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds of a few years")]
    Interval::Time((seconds * SECOND) as i64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use tantivy::f64_to_u64;

    use super::*;

    fn of(interval: Interval, numbers: &[f64]) -> Result<HistogramCounts, SearchError> {
        let numbers = numbers.iter().copied().map(f64_to_u64).collect();
        let times = matches!(interval, Interval::Time(_));
        count(&Field::Id, interval, Values { numbers, times, ..Values::default() })
    }

    #[test]
    fn values_are_counted_by_intervals() {
        let buckets = |interval, numbers: &[f64]| of(interval, numbers).unwrap().buckets;
        let tens = buckets(Interval::Number(10.0), &[-0.1, 9.9, 0.0, 30.0]);
        assert_eq!(tens, [(-10.0, 1), (0.0, 2), (10.0, 0), (20.0, 0), (30.0, 1)]);
        assert_eq!(buckets(Interval::Number(0.1), &[0.35, 0.5]), [(0.3, 1), (0.4, 0), (0.5, 1)]);
        assert_eq!(buckets(Interval::Fitting, &[5.0]), [(5.0, 1)]);
        assert_eq!(buckets(Interval::Fitting, &[]), []);
        assert_eq!(buckets(Interval::Fitting, &[1e300, 1e300]).len(), 1);
        assert_eq!(buckets(Interval::Fitting, &[-1.7e308, 1.7e308]).len(), 18);
        assert!(of(Interval::Number(1.0), &[1e20]).is_err());
        assert!(of(Interval::Number(1.0), &[0.0, 500.0]).is_err());
        assert!(of(Interval::Number(1e-300), &[-1e300, 1e300]).is_err());
        let mean_width = of(Interval::Fitting, &[0.0, 100.0]).unwrap().interval;
        assert_eq!(mean_width, Interval::Number(5.0));
    }

    #[test]
    fn weeks_begin_on_mondays() {
        let week = Interval::Time(7 * 86_400_000_000);
        // 2026-11-22 is a Sunday, the week of which began on the 16th.
        let sunday = 1_795_305_600e6;
        assert_eq!(
            of(week, &[sunday, sunday + DAY]).unwrap().buckets,
            [(sunday - 6.0 * DAY, 1), (sunday + DAY, 1)]
        );
    }

    #[test]
    fn a_value_on_an_edge_begins_its_bucket() {
        for (width, digit) in [(0.1, 1.0), (0.05, 5.0), (0.02, 2.0), (0.01, 1.0), (0.5, 5.0)] {
            let tens = if width < 0.1 { 100.0 } else { 10.0 };
            let edges: Vec<f64> = (-240..240).map(|nth| f64::from(nth) * digit / tens).collect();
            let expected: Vec<_> = edges.iter().map(|edge| (*edge, 1)).collect();
            assert_eq!(of(Interval::Number(width), &edges).unwrap().buckets, expected, "{width}");
        }
    }

    proptest! {
        /// Each value is in one bucket, and a fitting interval always fits.
        #[test]
        fn nothing_is_lost(numbers in prop::collection::vec(-1e9..1e9_f64, 1..100), fine in -9..9_i32) {
            let numbers: Vec<f64> = numbers.iter().map(|number| number * 10_f64.powi(fine)).collect();
            let found = of(Interval::Fitting, &numbers).unwrap();
            prop_assert_eq!(found.buckets.iter().map(|(_, count)| count).sum::<usize>(), numbers.len());
            prop_assert!(found.buckets.len() <= 22, "{} buckets", found.buckets.len());
        }
    }
}
