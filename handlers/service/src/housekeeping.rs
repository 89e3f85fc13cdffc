//! What time brings: partitions for the days to come, and the end of what is kept too long. Twice a day.

use std::time::{Duration, SystemTime};

use statecast_state::Timestamp;
use statecast_store::{Store, StoreError};
use tracing::warn;

use crate::config::Retention;

/// How often it looks. Partitions are made a week ahead, so that a few missed rounds do no harm.
const INTERVAL: Duration = Duration::from_secs(12 * 3_600);
/// Microseconds of a day.
const DAY_US: i64 = 24 * 3_600 * 1_000_000;

/// Keeps house for ever.
pub async fn run(store: Store, retention: Retention) {
    let mut rounds = tokio::time::interval(INTERVAL);
    loop {
        rounds.tick().await;
        if let Err(error) = round(&store, &retention, SystemTime::now().into()).await {
            warn!(%error, "housekeeping: left for the next round");
        }
    }
}

async fn round(store: &Store, retention: &Retention, now: Timestamp) -> Result<(), StoreError> {
    store.ensure_partitions(now).await?;
    if retention.history_days > 0 {
        let oldest = now.plus_micros(-i64::from(retention.history_days) * DAY_US);
        store.drop_before(oldest).await?;
        store.trim_alarms(oldest).await?;
    }
    store.trim_dead_letters(retention.dead_letter_bytes_max).await?;
    let told_before = now.plus_micros(-i64::from(retention.delivery_days) * DAY_US);
    store.trim_pushes(told_before).await?;
    store.trim_requests(told_before).await?;
    Ok(())
}
