//! The way of those who come and go. In a storm of reconnects they are let in, and taken apart, no faster than the rest
//! of the machine's time allows: without a pace, thousands would be worked at before the next publish of all others.

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::Rate;
use crate::limits::Bucket;

/// Who comes and who goes, each at the same pace.
pub(crate) struct Passage {
    rate: Rate,
    coming: Mutex<Bucket>,
    going: Mutex<Bucket>,
}

impl Passage {
    pub(crate) fn new(rate: Rate) -> Self {
        let full = || Mutex::new(Bucket::full(Instant::now()));
        Self { rate, coming: full(), going: full() }
    }

    /// Waits until one more may come.
    pub(crate) async fn come(&self) {
        self.turn(&self.coming).await;
    }

    /// Waits until one more may go.
    pub(crate) async fn go(&self) {
        self.turn(&self.going).await;
    }

    async fn turn(&self, bucket: &Mutex<Bucket>) {
        if self.rate.is_limited()
            && let Some(at) = self.next(bucket, Instant::now())
        {
            sleep_until(at).await;
        }
    }

    /// Takes the next turn: when it is, if not now. Turns are in the order in which they are taken.
    fn next(&self, bucket: &Mutex<Bucket>, now: Instant) -> Option<Instant> {
        let mut bucket = bucket.lock();
        let ready = bucket.ready_at(self.rate, now);
        bucket.spend(self.rate, 1, now);
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn many_who_go_at_once_go_one_after_the_other() {
        let (passage, now) = (Passage::new(Rate::per_second(100, 10)), Instant::now());
        let go = |now| passage.next(&passage.going, now);
        let turns: Vec<_> = (0..60).map(|_| go(now)).collect();
        assert_eq!(turns[..10], [None; 10], "a few needn't wait");
        for (nth, turn) in (1_u32..).zip(&turns[10..]) {
            assert_eq!(*turn, Some(now + Duration::from_millis(10) * nth));
        }
        assert_eq!(passage.next(&passage.coming, now), None, "who comes doesn't wait for who goes");
        assert_eq!(go(now + Duration::from_secs(1)), None, "after a pause there is room again");
    }
}
