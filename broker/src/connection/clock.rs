//! The deadlines of one connection, as a plain function of what happened when.

use std::time::Duration;

use tokio::time::Instant;

use crate::Config;
use crate::ending::Ending;

/// When the things happened that have a deadline.
pub(super) struct Clock {
    /// One and a half times what the client asked for; none when it asked for none.
    keep_alive: Option<Duration>,
    packet_deadline: Duration,
    write_deadline: Duration,
    /// When the client was last heard, or the last moment at which its silence was ours to answer for.
    heard_at: Instant,
    /// Since when the beginning of a packet waits for its end.
    partial_since: Option<Instant>,
    /// Since when the client takes nothing of what is to be written.
    stalled_since: Option<Instant>,
}

impl Clock {
    /// Starts now; `keep_alive_s` is as in CONNECT: seconds, 0 for none.
    pub(super) fn new(config: &Config, keep_alive_s: u16, now: Instant) -> Self {
        let keep_alive = Duration::from_secs(keep_alive_s.into()).mul_f32(1.5);
        Self {
            keep_alive: (keep_alive_s > 0).then_some(keep_alive),
            packet_deadline: config.packet_deadline,
            write_deadline: config.write_deadline,
            heard_at: now,
            partial_since: None,
            stalled_since: None,
        }
    }

    /// Bytes came from the client; or it couldn't send any, because we don't read, or owes us none, because it
    /// may well wait for an answer of ours.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// The input ends in the middle of a packet, and we do read; or not.
    pub(super) fn partial(&mut self, partial: bool, now: Instant) {
        note(&mut self.partial_since, partial, now);
    }

    /// The output couldn't be written; or it could, at least in part.
    pub(super) fn stalled(&mut self, stalled: bool, now: Instant) {
        note(&mut self.stalled_since, stalled, now);
    }

    /// The next moment at which a deadline may have passed.
    pub(super) fn next(&self) -> Option<Instant> {
        let keep_alive = self.keep_alive.map(|limit| self.heard_at + limit);
        let partial = self.partial_since.map(|since| since + self.packet_deadline);
        let stalled = self.stalled_since.map(|since| since + self.write_deadline);
        [keep_alive, partial, stalled].into_iter().flatten().min()
    }

    /// Which deadline has passed.
    pub(super) fn expired(&self, now: Instant) -> Option<Ending> {
        let passed = |since: Instant, limit: Duration| now.duration_since(since) >= limit;
        if self.stalled_since.is_some_and(|since| passed(since, self.write_deadline)) {
            Some(Ending::Stuck)
        } else if self.partial_since.is_some_and(|since| passed(since, self.packet_deadline)) {
            Some(Ending::HalfPacket)
        } else if self.keep_alive.is_some_and(|limit| passed(self.heard_at, limit)) {
            Some(Ending::KeepAlive)
        } else {
            None
        }
    }
}

fn note(since: &mut Option<Instant>, is_so: bool, now: Instant) {
    if !is_so {
        *since = None;
    } else if since.is_none() {
        *since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_ends_after_one_and_a_half_keep_alives() {
        let start = Instant::now();
        let mut clock = Clock::new(&Config::default(), 10, start);
        assert_eq!(clock.next(), Some(start + 15 * SECOND));
        assert_eq!(clock.expired(start + 14 * SECOND), None);
        assert_eq!(clock.expired(start + 15 * SECOND), Some(Ending::KeepAlive));
        clock.heard(start + 14 * SECOND);
        assert_eq!(clock.expired(start + 28 * SECOND), None);
    }

    #[test]
    fn no_keep_alive_means_no_deadline() {
        let start = Instant::now();
        let clock = Clock::new(&Config::default(), 0, start);
        assert_eq!(clock.next(), None);
        assert_eq!(clock.expired(start + 100_000 * SECOND), None);
    }

    #[test]
    fn a_half_packet_and_a_full_socket_have_their_own() {
        let start = Instant::now();
        let mut clock = Clock::new(&Config::default(), 0, start);
        clock.partial(true, start);
        clock.partial(true, start + 9 * SECOND);
        assert_eq!(clock.expired(start + 10 * SECOND), Some(Ending::HalfPacket));
        clock.partial(false, start + 10 * SECOND);
        clock.stalled(true, start + 10 * SECOND);
        assert_eq!(clock.next(), Some(start + 40 * SECOND));
        assert_eq!(clock.expired(start + 40 * SECOND), Some(Ending::Stuck));
    }
}
