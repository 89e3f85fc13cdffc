//! How a fleet behaves as a whole: when the next reading is due, and when all lose their connection. Pure, in
//! the devices' time.

use std::time::Duration;

/// A burst comes once in each of these,
const BURST_EVERY: f64 = 300.0;
/// so long after it begins, in seconds,
const BURST_FROM: f64 = 20.0;
/// lasts until here,
const BURST_TO: f64 = 30.0;
/// and readings come so many times faster.
const BURST_FACTOR: f64 = 10.0;
/// A storm comes once in each of these,
const STORM_EVERY: f64 = 120.0;
/// so long after it begins, in seconds.
const STORM_AT: f64 = 30.0;

/// How a fleet behaves as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// Each device reports once in its period.
    Steady,
    /// As steady, and ten times as often for 10 s in every 5 min.
    Burst,
    /// As steady, and every 2 min all lose their connection in the same moment.
    Storm,
}

impl Profile {
    /// When the next reading is due after one at `time`, if `interval` lies between two in quiet times.
    pub(super) fn next_reading(self, time: Duration, interval: Duration) -> Duration {
        if self != Self::Burst {
            return time + interval;
        }
        let (mut at, mut left) = (time.as_secs_f64(), interval.as_secs_f64());
        // Each step ends at the next beginning or end of a burst, at least 10 s on in a cycle of 300 s.
        loop {
            let in_cycle = at.rem_euclid(BURST_EVERY);
            let (factor, until) = match in_cycle {
                before if before < BURST_FROM => (1.0, BURST_FROM),
                within if within < BURST_TO => (BURST_FACTOR, BURST_TO),
                _ => (1.0, BURST_EVERY + BURST_FROM),
            };
            let span = until - in_cycle;
            if left <= span * factor {
                return Duration::from_secs_f64(at + left / factor).max(time);
            }
            left -= span * factor;
            at += span;
        }
    }

    /// When all lose their connection next, after `time`; none for a fleet to which that doesn't happen.
    pub(super) fn next_storm(self, time: Duration) -> Option<Duration> {
        if self != Self::Storm {
            return None;
        }
        let number = ((time.as_secs_f64() - STORM_AT) / STORM_EVERY).floor() + 1.0;
        Some(Duration::from_secs_f64(number.max(0.0) * STORM_EVERY + STORM_AT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn readings(profile: Profile, period: Duration, from: u64, to: u64) -> usize {
        let mut at = Duration::ZERO;
        let mut count = 0;
        while at < SECOND * u32::try_from(to).unwrap_or(u32::MAX) {
            count += usize::from(at >= Duration::from_secs(from));
            at = profile.next_reading(at, period);
        }
        count
    }

    #[test]
    fn a_burst_is_ten_times_as_much_for_ten_seconds() {
        // A device each second: 300 in five minutes, and 90 more in the burst.
        assert_eq!(readings(Profile::Steady, SECOND, 0, 300), 300);
        assert_eq!(readings(Profile::Burst, SECOND, 20, 30), 100);
        assert_eq!(readings(Profile::Burst, SECOND, 0, 300), 390);
        assert_eq!(readings(Profile::Burst, SECOND, 0, 3_000), 3_900);
    }

    #[test]
    fn a_storm_comes_every_two_minutes() {
        assert_eq!(Profile::Storm.next_storm(Duration::ZERO), Some(SECOND * 30));
        assert_eq!(Profile::Storm.next_storm(SECOND * 30), Some(SECOND * 150));
        assert_eq!(Profile::Storm.next_storm(SECOND * 149), Some(SECOND * 150));
        assert_eq!(Profile::Steady.next_storm(SECOND), None);
    }

    proptest::proptest! {
        /// A burst only brings readings forward, by ten times at most, and never lets time stand still.
        #[test]
        fn a_burst_brings_readings_forward(at_ms in 0_u64..2_000_000, interval_ms in 1_u64..2_000_000) {
            let (at, interval) = (Duration::from_millis(at_ms), Duration::from_millis(interval_ms));
            let wait = Profile::Burst.next_reading(at, interval) - at;
            let slack = Duration::from_micros(1);
            proptest::prop_assert!(wait <= interval + slack && wait + slack >= interval / 10, "{wait:?}");
        }
    }
}
