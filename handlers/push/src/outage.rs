//! The database can't be reached: said once when it begins and once when it is over, and waited out with
//! pauses that double from 50 ms up to 2 s, the upper half of each by chance.

use std::time::{Duration, Instant};

use tracing::{info, warn};

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Whether the last call failed, and for how long that has been so.
#[derive(Default)]
pub(crate) struct Outage {
    since: Option<Instant>,
    failures: u32,
}

impl Outage {
    /// A call failed: waits before it is repeated.
    pub(crate) async fn failed(&mut self, error: &anyhow::Error) {
        if self.since.is_none() {
            warn!("{error:#}; pushes wait");
            self.since = Some(Instant::now());
        }
        let pause = pause(self.failures, rand::random());
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(pause).await;
    }

    /// A call succeeded.
    pub(crate) fn over(&mut self) {
        self.failures = 0;
        if let Some(since) = self.since.take() {
            info!("the outbox answers again, after {:.1} s", since.elapsed().as_secs_f32());
        }
    }
}

fn pause(failures: u32, chance: f64) -> Duration {
    let doubled = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(failures)).min(PAUSE_MAX);
    doubled.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_two_seconds() {
        assert_eq!(pause(0, 0.0), Duration::from_millis(25));
        assert_eq!(pause(0, 1.0), Duration::from_millis(50));
        assert_eq!(pause(3, 1.0), Duration::from_millis(400));
        assert_eq!(pause(u32::MAX, 1.0), Duration::from_secs(2));
    }
}
