//! What a fleet did: counts, and how long acknowledgements took.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::terminal::grouped;

/// Longest latency that is told apart, in microseconds: an hour.
const LATENCY_MAX_US: u64 = 3_600_000_000;

/// Counters that all devices of a fleet share.
#[derive(Default)]
pub(crate) struct Statistics {
    /// Publishes of state written to a socket for the first time.
    sent: AtomicU64,
    acknowledged: AtomicU64,
    /// Writings of a publish beyond its first.
    resent: AtomicU64,
    /// Readings that weren't taken because too many were unacknowledged.
    skipped: AtomicU64,
    connected: AtomicI64,
    /// Connections of a device beyond its first.
    reconnects: AtomicU64,
    obeyed: AtomicU64,
    rejected: AtomicU64,
    /// Why the last connection ended or failed.
    trouble: Mutex<Option<String>>,
    latency: Mutex<Latency>,
}

/// What can be counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    Sent,
    Resent,
    Skipped,
    Reconnect,
    Obeyed,
    Rejected,
}

struct Latency {
    /// Since the last snapshot.
    recent: Histogram<u64>,
    all: Histogram<u64>,
    last_snapshot: Instant,
    acknowledged_then: u64,
}

impl Default for Latency {
    fn default() -> Self {
        let empty = || {
            Histogram::new_with_max(LATENCY_MAX_US, 3).expect("an hour with three digits is a valid range")
        };
        Self { recent: empty(), all: empty(), last_snapshot: Instant::now(), acknowledged_then: 0 }
    }
}

impl Statistics {
    /// Counts one.
    pub(super) fn count(&self, what: Count) {
        let counter = match what {
            Count::Sent => &self.sent,
            Count::Resent => &self.resent,
            Count::Skipped => &self.skipped,
            Count::Reconnect => &self.reconnects,
            Count::Obeyed => &self.obeyed,
            Count::Rejected => &self.rejected,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// A publish was acknowledged, so long after it was written to a socket for the first time.
    pub(super) fn acknowledge(&self, after: Duration) {
        self.acknowledged.fetch_add(1, Relaxed);
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.latency.lock().recent.saturating_record(micros);
    }

    /// A device is connected until the guard is dropped.
    pub(super) fn connect(&self) -> Connected<'_> {
        self.connected.fetch_add(1, Relaxed);
        Connected(self)
    }

    /// Why a connection ended or failed.
    pub(super) fn trouble(&self, why: String) {
        *self.trouble.lock() = Some(why);
    }

    /// Publishes that were acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Relaxed)
    }

    /// Publishes that were written to a socket and aren't acknowledged.
    pub(crate) fn in_flight(&self) -> u64 {
        let acknowledged = self.acknowledged();
        self.sent.load(Relaxed).saturating_sub(acknowledged)
    }

    /// What happened so far, and since the last snapshot. One caller at a time gets the recent part.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut latency = self.latency.lock();
        let Latency { recent, all, last_snapshot, acknowledged_then } = &mut *latency;
        let acknowledged = self.acknowledged();
        let snapshot = Snapshot {
            sent: self.sent.load(Relaxed),
            acknowledged,
            in_flight: self.in_flight(),
            per_second: (acknowledged - *acknowledged_then) as f64
                / last_snapshot.elapsed().as_secs_f64().max(0.001),
            p99: percentile(recent, 99.0),
            connected: self.connected.load(Relaxed).max(0).unsigned_abs(),
            reconnects: self.reconnects.load(Relaxed),
            resent: self.resent.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
            obeyed: self.obeyed.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            trouble: self.trouble.lock().take(),
        };
        all.add(&*recent).expect("both histograms have the same range");
        recent.reset();
        (*last_snapshot, *acknowledged_then) = (Instant::now(), acknowledged);
        snapshot
    }

    /// The percentiles of all latencies up to the last snapshot, as a line for people.
    pub(crate) fn latency_line(&self) -> String {
        let all = &self.latency.lock().all;
        let [p50, p90, p99, p999, max] =
            [50.0, 90.0, 99.0, 99.9, 100.0].map(|part| milliseconds(percentile(all, part)));
        format!("publish to PUBACK: p50 {p50} p90 {p90} p99 {p99} p99.9 {p999} max {max}")
    }
}

/// A device that is connected.
pub(super) struct Connected<'a>(&'a Statistics);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connected.fetch_sub(1, Relaxed);
    }
}

/// What a fleet did, at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) in_flight: u64,
    /// Acknowledgements a second, since the last snapshot.
    pub(crate) per_second: f64,
    /// Publish to PUBACK, since the last snapshot.
    pub(crate) p99: Duration,
    pub(crate) connected: u64,
    pub(crate) reconnects: u64,
    pub(crate) resent: u64,
    pub(crate) skipped: u64,
    pub(crate) obeyed: u64,
    pub(crate) rejected: u64,
    /// Why a connection ended or failed since the last snapshot.
    pub(crate) trouble: Option<String>,
}

impl Snapshot {
    /// All of it as a line for people.
    pub(crate) fn line(&self) -> String {
        let Self { connected, reconnects, resent, skipped, obeyed, rejected, .. } = self;
        let (sent, acknowledged) = (grouped(self.sent), grouped(self.acknowledged));
        let mut line = format!(
            "sent {sent} acked {acknowledged} in flight {} rate {:.0}/s p99 {} connected {connected} \
             reconnects {reconnects} resent {resent} skipped {skipped} obeyed {obeyed} rejected {rejected}",
            self.in_flight,
            self.per_second,
            milliseconds(self.p99),
        );
        if let Some(trouble) = &self.trouble {
            line.push_str(" | last trouble: ");
            line.push_str(trouble);
        }
        line
    }
}

fn percentile(histogram: &Histogram<u64>, part: f64) -> Duration {
    Duration::from_micros(histogram.value_at_percentile(part))
}

/// A length of time in milliseconds, for people.
pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_tells_what_is_new_and_the_end_tells_all() {
        let statistics = Statistics::default();
        for millis in [1, 2, 3, 500] {
            statistics.count(Count::Sent);
            statistics.acknowledge(Duration::from_millis(millis));
        }
        statistics.count(Count::Sent);
        let first = statistics.snapshot();
        assert_eq!((first.sent, first.acknowledged, first.in_flight), (5, 4, 1));
        assert!(first.p99 >= Duration::from_millis(499), "{:?}", first.p99);
        statistics.acknowledge(Duration::from_millis(2));
        let second = statistics.snapshot();
        assert!(second.p99 < Duration::from_millis(3), "{:?}", second.p99);
        let line = statistics.latency_line();
        assert!(line.contains("p50 2.0 ms") && line.contains("max 500."), "{line}");
    }

    #[test]
    fn a_device_counts_as_connected_while_its_guard_lives() {
        let statistics = Statistics::default();
        let guard = statistics.connect();
        assert_eq!(statistics.snapshot().connected, 1);
        drop(guard);
        assert_eq!(statistics.snapshot().connected, 0);
    }
}
