//! How fast one client publishes: messages and bytes. At the rate its publishes wait in the socket; none is dropped.

use tokio::time::Instant;

use super::Limit;
use super::rate::Bucket;
use crate::Config;

/// What one connection has published lately. Nothing, and no memory, where there is no limit.
#[derive(Default)]
pub(crate) struct Pace(Option<Box<Buckets>>);

struct Buckets {
    messages: Bucket,
    bytes: Bucket,
}

impl Pace {
    /// Until when the next publish has to wait, and for which limit; none when it needn't.
    pub(crate) fn ready_at(&self, config: &Config, now: Instant) -> Option<(Instant, Limit)> {
        let Buckets { messages, bytes } = self.0.as_deref()?;
        let messages = messages.ready_at(config.publishes, now).map(|at| (at, Limit::Publishes));
        let bytes = bytes.ready_at(config.publish_bytes, now).map(|at| (at, Limit::PublishBytes));
        messages.into_iter().chain(bytes).max_by_key(|(at, _)| *at)
    }

    /// A publish of so many bytes went on.
    pub(crate) fn spend(&mut self, config: &Config, bytes: usize, now: Instant) {
        if !config.publishes.is_limited() && !config.publish_bytes.is_limited() {
            return;
        }
        let full = || Box::new(Buckets { messages: Bucket::full(now), bytes: Bucket::full(now) });
        let buckets = self.0.get_or_insert_with(full);
        buckets.messages.spend(config.publishes, 1, now);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        buckets.bytes.spend(config.publish_bytes, bytes, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rate;
    use std::time::Duration;

    #[test]
    fn the_slower_of_both_counts() {
        let config = Config {
            publishes: Rate::per_second(10, 2),
            publish_bytes: Rate::per_second(1_000, 1_000),
            ..Config::default()
        };
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.ready_at(&config, start), None);
        pace.spend(&config, 10, start);
        pace.spend(&config, 10, start);
        assert_eq!(
            pace.ready_at(&config, start),
            Some((start + Duration::from_millis(100), Limit::Publishes))
        );
        let later = start + Duration::from_secs(10);
        pace.spend(&config, 2_000, later);
        let ready_at = later + Duration::from_millis(1_001);
        assert_eq!(pace.ready_at(&config, later), Some((ready_at, Limit::PublishBytes)));
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.spend(&Config::default(), 1_000_000, now);
        assert!(pace.0.is_none());
    }
}
