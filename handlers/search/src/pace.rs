//! How long is rested: between two commits, between two looks, before what failed is tried again.

use std::time::Duration;

use crate::Settings;

/// The rest after a commit that took this long: as long as the commit, so that commits take up half of the time at most.
/// A commit takes as long as what piled up during the last one and its rest asks for: with room on the processor the
/// shortest rest is enough; without, each takes longer than the one before, up to the longest rest, and what piles up
/// is written once for each device.
pub(crate) fn rest(commit: Duration, settings: &Settings) -> Duration {
    let min = settings.commit_interval_min;
    commit.clamp(min, settings.commit_interval_max.max(min))
}

/// The pause after some work that may take up `percent` of the time.
pub(crate) fn share(worked: Duration, percent: u8) -> Duration {
    let percent = u32::from(percent.clamp(1, 100));
    worked.saturating_mul(100 - percent) / percent
}

/// The pause before a call that failed is repeated: doubles up to half a minute.
pub(crate) fn backoff(failures: u32) -> Duration {
    Duration::from_millis(100).saturating_mul(1 << failures.min(9)).min(Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_stretch_under_load() {
        let settings = Settings::default();
        let ms = Duration::from_millis;
        assert_eq!(rest(ms(1), &settings), ms(60));
        assert_eq!(rest(ms(80), &settings), ms(80));
        assert_eq!(rest(ms(5_000), &settings), ms(1_000));
    }

    #[test]
    fn work_takes_its_share() {
        let ms = Duration::from_millis;
        assert_eq!(share(ms(2), 2), ms(98));
        assert_eq!(share(ms(2), 100), ms(0));
        assert_eq!(share(ms(2), 0), ms(198), "never nothing at all");
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        assert_eq!(backoff(0), Duration::from_millis(100));
        assert_eq!(backoff(1), Duration::from_millis(200));
        assert_eq!(backoff(u32::MAX), Duration::from_secs(30));
    }
}
