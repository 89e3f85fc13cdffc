//! The way of those who come and go. In a storm of reconnects they are let in, and taken apart, no faster than leaves
//! time for the publishes of all others: without a pace, thousands would be worked at before the next of these. While
//! nobody publishes they are faster.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::Rate;
use crate::limits::Bucket;

/// How much faster it goes while nobody publishes.
const FASTER_ALONE: u32 = 3;
/// Without a publish for so long, nobody publishes.
const ALONE_AFTER: Duration = Duration::from_millis(100);

/// Who comes and who goes, each at the same pace.
pub(crate) struct Passage {
    rate: Rate,
    coming: Mutex<Line>,
    going: Mutex<Line>,
    /// Somebody has published since this was last looked at, by who comes and by who goes.
    published: [AtomicBool; 2],
}

/// Those who wait for their turn.
struct Line {
    bucket: Bucket,
    published_at: Option<Instant>,
}

impl Passage {
    pub(crate) fn new(rate: Rate) -> Self {
        let line = || Mutex::new(Line { bucket: Bucket::full(Instant::now()), published_at: None });
        Self { rate, coming: line(), going: line(), published: Default::default() }
    }

    /// Somebody publishes.
    pub(crate) fn published(&self) {
        for published in &self.published {
            // Read first: it is set already while many publish, and stays in the caches of all processors.
            if !published.load(Ordering::Relaxed) {
                published.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Waits until one more may come.
    pub(crate) async fn come(&self) {
        self.turn(&self.coming, &self.published[0]).await;
    }

    /// Waits until one more may go.
    pub(crate) async fn go(&self) {
        self.turn(&self.going, &self.published[1]).await;
    }

    async fn turn(&self, line: &Mutex<Line>, published: &AtomicBool) {
        if !self.rate.is_limited() {
            return;
        }
        let ready = line.lock().next(self.rate, published.swap(false, Ordering::Relaxed), Instant::now());
        if let Some(at) = ready {
            sleep_until(at).await;
        }
    }
}

impl Line {
    /// Takes the next turn: when it is, if not now. Turns are in the order in which they are taken.
    fn next(&mut self, rate: Rate, published: bool, now: Instant) -> Option<Instant> {
        if published {
            self.published_at = Some(now);
        }
        let alone = self.published_at.is_none_or(|at| now.saturating_duration_since(at) > ALONE_AFTER);
        let faster = if alone { FASTER_ALONE } else { 1 };
        let rate = Rate { count: rate.count.saturating_mul(faster), ..rate };
        let ready = self.bucket.ready_at(rate, now);
        self.bucket.spend(rate, 1, now);
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_who_go_at_once_go_one_after_the_other() {
        let rate = Rate::per_second(100, 10);
        let (passage, now) = (Passage::new(rate), Instant::now());
        let go = |published, now| passage.going.lock().next(rate, published, now);
        let turns: Vec<_> = (0..60).map(|_| go(true, now)).collect();
        assert_eq!(turns[..10], [None; 10], "a few needn't wait");
        for (nth, turn) in (1_u32..).zip(&turns[10..]) {
            assert_eq!(*turn, Some(now + Duration::from_millis(10) * nth));
        }
        let later = now + Duration::from_secs(1);
        assert_eq!(go(false, later), None, "after a pause there is room again");
        let turns: Vec<_> = (0..40).map(|_| go(false, later)).collect();
        assert!(turns[39] < Some(later + Duration::from_millis(110)), "nobody published: {turns:?}");
    }

    #[tokio::test]
    async fn who_publishes_is_noticed_by_both() {
        let passage = Passage::new(Rate::per_second(1_000_000, 1_000));
        passage.published();
        for published in &passage.published {
            assert!(published.load(Ordering::Relaxed));
        }
        passage.come().await;
        assert!(passage.coming.lock().published_at.is_some() && passage.going.lock().published_at.is_none());
        passage.go().await;
        assert!(passage.going.lock().published_at.is_some());
    }
}
