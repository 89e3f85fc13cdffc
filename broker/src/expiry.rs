//! When a message runs out (MQTT 5, 3.3.2.3.3).

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The moment from which all others are counted.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The moment after which a message isn't delivered any more. A plain number, so that it can cross the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Expiry {
    /// Milliseconds since [`START`].
    millis: u64,
}

impl Expiry {
    /// So many seconds from now.
    pub(crate) fn after(seconds: u32) -> Self {
        let now = u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX);
        Self { millis: now.saturating_add(u64::from(seconds) * 1000) }
    }

    /// At this time of day.
    pub(crate) fn at(time: SystemTime) -> Self {
        let left = time.duration_since(SystemTime::now()).unwrap_or_default();
        let millis = if left.is_zero() { 0 } else { (START.elapsed() + left).as_millis() };
        Self { millis: u64::try_from(millis).unwrap_or(u64::MAX) }
    }

    /// The time of day.
    pub(crate) fn to_time(self) -> SystemTime {
        let now = SystemTime::now();
        let (at, elapsed) = (Duration::from_millis(self.millis), START.elapsed());
        if at > elapsed { now + (at - elapsed) } else { now - (elapsed - at) }
    }

    /// The moment.
    pub(crate) fn to_instant(self) -> Instant {
        *START + Duration::from_millis(self.millis)
    }

    /// What is left now, in seconds, rounded up. None when it has run out.
    pub(crate) fn left(self) -> Option<u32> {
        let left = Duration::from_millis(self.millis).checked_sub(START.elapsed())?;
        u32::try_from(left.as_millis().div_ceil(1000)).ok().filter(|left| *left > 0)
    }

    /// As a number that is never 0.
    pub(crate) fn to_number(self) -> u64 {
        self.millis.saturating_add(1)
    }

    /// From such a number; none from 0.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        number.checked_sub(1).map(|millis| Self { millis })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_shrinks() {
        assert_eq!(Expiry::after(0).left(), None);
        assert_eq!(Expiry::after(10).left(), Some(10));
        let long = Expiry::after(u32::MAX);
        assert_eq!(long.left(), Some(u32::MAX));
        let half_over = Expiry { millis: Expiry::after(10).millis - 4500 };
        assert_eq!(half_over.left(), Some(6));
        assert_eq!(Expiry { millis: 0 }.left(), None);
    }

    #[test]
    fn crosses_as_a_time_of_day() {
        assert_eq!(Expiry::at(Expiry::after(100).to_time()).left(), Some(100));
        assert_eq!(Expiry::at(SystemTime::UNIX_EPOCH).left(), None);
        assert!(Expiry { millis: 0 }.to_time() <= SystemTime::now());
    }

    #[test]
    fn crosses_as_a_number() {
        let expiry = Expiry::after(3);
        assert_eq!(Expiry::from_number(expiry.to_number()), Some(expiry));
        assert_eq!(Expiry::from_number(0), None);
    }
}
