//! What each handler cost, for `/v1/usage`: counted in memory, written every 10 s while there is something.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use statecast_state::{TenantId, Timestamp};
use statecast_store::Store;
use statecast_store::usage::UsageRow;
use tokio::sync::Notify;
use tracing::warn;

/// How long counts stay in memory.
const WRITE_INTERVAL: Duration = Duration::from_secs(10);

/// Counts of one handler for one tenant since they were last written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reports that went through the handler.
    pub invocations: u64,
    /// Those that it refused or failed on.
    pub failed: u64,
    /// Wall time, in microseconds.
    pub wall_us: u64,
    /// What would be billed in units of 1 ms, each invocation rounded up, in milliseconds.
    pub billed_1ms: u64,
    /// What would be billed in units of 100 ms, each invocation rounded up, in milliseconds.
    pub billed_100ms: u64,
}

impl Counts {
    /// Adds one invocation.
    pub fn add(&mut self, wall: Duration, failed: bool) {
        let wall_us = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        self.invocations += 1;
        self.failed += u64::from(failed);
        self.wall_us += wall_us;
        self.billed_1ms += wall_us.div_ceil(1_000).max(1);
        self.billed_100ms += wall_us.div_ceil(100_000).max(1) * 100;
    }

    fn merge(&mut self, other: Self) {
        self.invocations += other.invocations;
        self.failed += other.failed;
        self.wall_us += other.wall_us;
        self.billed_1ms += other.billed_1ms;
        self.billed_100ms += other.billed_100ms;
    }
}

type Key = (TenantId, &'static str);

/// The counts that are not yet written.
#[derive(Clone, Default)]
pub struct Meter {
    counts: Arc<Mutex<HashMap<Key, Counts>>>,
    something: Arc<Notify>,
}

impl Meter {
    /// Adds what one activation counted.
    pub fn add(&self, tenant: &TenantId, counted: &[(&'static str, Counts)]) {
        let mut counts = self.counts.lock();
        for (handler, count) in counted {
            counts.entry((tenant.clone(), handler)).or_default().merge(*count);
        }
        drop(counts);
        self.something.notify_one();
    }

    /// Writes for ever: sleeps until something was counted, then an interval, then writes.
    pub async fn run(&self, store: &Store) {
        loop {
            self.something.notified().await;
            tokio::time::sleep(WRITE_INTERVAL).await;
            self.write(store).await;
        }
    }

    /// Writes what there is now. What can't be written is kept for the next time.
    pub async fn write(&self, store: &Store) {
        let taken = std::mem::take(&mut *self.counts.lock());
        if taken.is_empty() {
            return;
        }
        let bucket = hour(SystemTime::now().into());
        let rows: Vec<UsageRow> = taken
            .iter()
            .map(|((tenant, handler), counts)| UsageRow {
                tenant: tenant.clone(),
                handler,
                bucket,
                invocations: counts.invocations,
                failed: counts.failed,
                wall_us: counts.wall_us,
                billed_1ms: counts.billed_1ms,
                billed_100ms: counts.billed_100ms,
            })
            .collect();
        if let Err(error) = store.add_usage(&rows).await {
            warn!(%error, "write usage: kept for the next time");
            let mut counts = self.counts.lock();
            for (key, count) in taken {
                counts.entry(key).or_default().merge(count);
            }
            drop(counts);
            self.something.notify_one();
        }
    }
}

/// The full hour that a moment is in.
fn hour(at: Timestamp) -> Timestamp {
    const HOUR_US: i64 = 3_600 * 1_000_000;
    Timestamp::from_micros(at.as_micros().div_euclid(HOUR_US) * HOUR_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_invocation_is_rounded_up() {
        let mut counts = Counts::default();
        counts.add(Duration::from_micros(3), false);
        counts.add(Duration::from_micros(1_001), true);
        counts.add(Duration::from_micros(50_000), false);
        assert_eq!(
            counts,
            Counts { invocations: 3, failed: 1, wall_us: 51_004, billed_1ms: 1 + 2 + 50, billed_100ms: 300 }
        );
    }
}
