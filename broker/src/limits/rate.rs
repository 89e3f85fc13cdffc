//! How often something may happen.

use std::time::Duration;

use tokio::time::Instant;

/// So many in a period in the long run, and so many at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many in a period; 0 for any number.
    pub count: u32,
    /// The period; never 0.
    pub period: Duration,
    /// How many at once; at least 1 counts.
    pub burst: u32,
}

impl Rate {
    /// As often as it comes.
    pub const UNLIMITED: Self = Self::per_second(0, 0);

    /// So many a second, 0 for any number, and so many at once.
    pub const fn per_second(count: u32, burst: u32) -> Self {
        Self { count, period: Duration::from_secs(1), burst }
    }

    /// Is there a limit at all?
    pub(crate) fn is_limited(self) -> bool {
        self.count > 0
    }

    /// How long it takes until so many may happen again.
    fn time_for(self, amount: u32) -> Duration {
        let nanos = (self.period.as_nanos() * u128::from(amount)).checked_div(self.count.into());
        Duration::from_nanos(nanos.map_or(0, |nanos| u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    fn time_for_burst(self) -> Duration {
        self.time_for(self.burst.max(1))
    }
}

/// A token bucket. It knows nothing but when it will be full; what may happen at a [`Rate`] is up to its caller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    full_at: Instant,
}

impl Bucket {
    /// A full one.
    pub(crate) fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Until when to wait before the next thing may happen; none when it may now.
    pub(crate) fn ready_at(&self, rate: Rate, now: Instant) -> Option<Instant> {
        let lack = (self.missing(now) + rate.time_for(1)).checked_sub(rate.time_for_burst())?;
        (!lack.is_zero()).then(|| now + lack)
    }

    /// Notes that so much happened, even if that was more than was left.
    pub(crate) fn spend(&mut self, rate: Rate, amount: u32, now: Instant) {
        self.full_at = self.full_at.max(now) + rate.time_for(amount);
    }

    /// Takes one; false when there is none.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let ready = self.ready_at(rate, now).is_none();
        if ready {
            self.spend(rate, 1, now);
        }
        ready
    }

    /// How many are missing until it is full, a part counting as one.
    pub(crate) fn spent(&self, rate: Rate, now: Instant) -> u32 {
        let one = rate.time_for(1).as_nanos().max(1);
        u32::try_from(self.missing(now).as_nanos().div_ceil(one)).unwrap_or(u32::MAX)
    }

    fn missing(&self, now: Instant) -> Duration {
        self.full_at.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_then_one_at_a_time() {
        let (rate, start) = (Rate::per_second(10, 3), Instant::now());
        let mut bucket = Bucket::full(start);
        let taken = (0..5).filter(|_| bucket.take(rate, start)).count();
        assert_eq!((taken, bucket.spent(rate, start)), (3, 3));
        let next = bucket.ready_at(rate, start).expect("it is empty");
        assert_eq!(next, start + Duration::from_millis(100));
        assert!(bucket.take(rate, next) && !bucket.take(rate, next));
    }

    #[test]
    fn what_was_spent_beyond_the_burst_is_waited_for() {
        let (rate, start) = (Rate::per_second(1_000, 1_000), Instant::now());
        let mut bucket = Bucket::full(start);
        assert_eq!(bucket.ready_at(rate, start), None);
        bucket.spend(rate, 5_000, start);
        assert_eq!(bucket.ready_at(rate, start), Some(start + Duration::from_millis(4_001)));
    }

    proptest! {
        /// Whatever the moments of asking, no more is let through than the burst and what the time allows.
        #[test]
        fn never_more_than_the_rate(
            count in 1..50_u32, burst in 1..20_u32, steps in prop::collection::vec(0..200_u64, 1..200),
        ) {
            let (rate, start) = (Rate::per_second(count, burst), Instant::now());
            let mut bucket = Bucket::full(start);
            let (mut now, mut taken) = (start, 0);
            for step in steps {
                now += Duration::from_millis(step);
                taken += u32::from(bucket.take(rate, now));
            }
            let allowed = now.duration_since(start).as_secs_f64() * f64::from(count) + f64::from(burst);
            prop_assert!(f64::from(taken) <= allowed + 1e-6);
        }
    }
}
