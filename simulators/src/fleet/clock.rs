//! The time of the devices: starts at zero with the run, and may go faster than ours.

use std::time::Duration;

use tokio::time::Instant;

/// Converts between our time and that of the devices.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    started: Instant,
    speed: f64,
}

impl Clock {
    /// A clock that starts now and goes `speed` times faster than ours; `speed` is above 0.
    pub(super) fn start(speed: f64) -> Self {
        Self { started: Instant::now(), speed }
    }

    /// The devices' time at this moment of ours.
    pub(super) fn at(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.started).mul_f64(self.speed)
    }

    /// Our moment at this time of the devices.
    pub(super) fn moment(&self, time: Duration) -> Instant {
        self.started + time.div_f64(self.speed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_times_faster() {
        let clock = Clock::start(10.0);
        let moment = clock.moment(Duration::from_secs(60));
        assert_eq!(moment - clock.started, Duration::from_secs(6));
        assert_eq!(clock.at(moment), Duration::from_secs(60));
    }
}
