//! The way of those who come and go. In a storm of reconnects they are let in, and taken apart, no faster than leaves
//! time for the publishes of all others: without a pace, thousands would be worked at before the next of these. While
//! nobody publishes they are faster. Those who go are slower than those who come: most of them are back before their
//! turn, and a takeover is no absence that has to be written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::Rate;
use crate::limits::Bucket;

/// How much faster it goes while nobody publishes.
const FASTER_ALONE: u32 = 3;
/// How much slower those are who go.
const SLOWER_GOING: u32 = 2;
/// Without a publish for so long, nobody publishes.
const ALONE_AFTER: Duration = Duration::from_millis(100);

/// Who comes and who goes, each at its pace.
pub(crate) struct Passage {
    coming: Mutex<Line>,
    going: Mutex<Line>,
    /// Somebody has published since this was last looked at, by who comes and by who goes.
    published: [AtomicBool; 2],
}

/// Those who wait for their turn.
struct Line {
    rate: Rate,
    bucket: Bucket,
    published_at: Option<Instant>,
}

impl Passage {
    pub(crate) fn new(rate: Rate) -> Self {
        let bucket = Bucket::full(Instant::now());
        let line = |rate| Mutex::new(Line { rate, bucket, published_at: None });
        let going = Rate { period: rate.period.saturating_mul(SLOWER_GOING), ..rate };
        Self { coming: line(rate), going: line(going), published: Default::default() }
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
        let ready = line.lock().next(published.swap(false, Ordering::Relaxed), Instant::now());
        if let Some(at) = ready {
            sleep_until(at).await;
        }
    }
}

impl Line {
    /// Takes the next turn: when it is, if not now. Turns are in the order in which they are taken.
    fn next(&mut self, published: bool, now: Instant) -> Option<Instant> {
        if !self.rate.is_limited() {
            return None;
        }
        if published {
            self.published_at = Some(now);
        }
        let alone = self.published_at.is_none_or(|at| now.saturating_duration_since(at) > ALONE_AFTER);
        let faster = if alone { FASTER_ALONE } else { 1 };
        let rate = Rate { count: self.rate.count.saturating_mul(faster), ..self.rate };
        let ready = self.bucket.ready_at(rate, now);
        self.bucket.spend(rate, 1, now);
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_at_once_come_and_go_one_after_the_other() {
        let (passage, now) = (Passage::new(Rate::per_second(100, 10)), Instant::now());
        for (line, pause) in [(&passage.coming, 10), (&passage.going, 20)] {
            let next = |published, now| line.lock().next(published, now);
            let turns: Vec<_> = (0..60).map(|_| next(true, now)).collect();
            assert_eq!(turns[..10], [None; 10], "a few needn't wait");
            for (nth, turn) in (1_u32..).zip(&turns[10..]) {
                assert_eq!(*turn, Some(now + Duration::from_millis(pause) * nth));
            }
            let later = now + Duration::from_secs(2);
            assert_eq!(next(false, later), None, "after a pause there is room again");
            let turns: Vec<_> = (0..40).map(|_| next(false, later)).collect();
            let third = later + Duration::from_millis(pause) * 11;
            assert!(turns[39] < Some(third), "nobody published: {turns:?}");
        }
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
