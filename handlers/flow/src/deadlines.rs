//! When the time of requests for desired state is up: their rows say so, and timers are set an hour ahead.
//!
//! *Guarantee*: a request that is open has a timer before its deadline. What is read reaches an hour ahead, and is read
//! anew every half hour; what is asked for meanwhile gets its timer when it is committed, if it is due within an hour.
//! A look that came to nothing is repeated by the next read, and a restart begins with one.
//! *Bound*: timers for the requests that run out within an hour, each at most a few times.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use statecast_state::{Change, Timestamp};
use statecast_store::silent::Due;
use statecast_store::{Store, StoreError};
use tracing::warn;

use crate::horizon::later;
use crate::timers::{Timer, Timers, Why};

/// How far ahead timers are set.
const AHEAD: Duration = Duration::from_secs(3_600);
/// From one read to the next.
const PERIOD: Duration = Duration::from_secs(1_800);
/// Pause after a failed read.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Requests read at a time.
const ROWS_MAX: usize = 1_000;

/// Sets timers for the requests that were just made and are due soon.
pub(crate) fn watch(timers: &Timers, committed: &[Arc<Change>]) {
    for change in committed {
        for request in change.requests.iter().filter(|request| request.state.is_open()) {
            if request.deadline <= later(change.received_at, AHEAD) {
                timers.set(Timer { due: request.deadline, key: change.key.clone(), why: Why::Deadline });
            }
        }
    }
}

/// Sets timers for those that are in the table, for ever.
pub(crate) async fn read(store: &Store, timers: &Timers) {
    loop {
        let until = later(SystemTime::now().into(), AHEAD);
        match read_until(store, timers, until).await {
            Ok(()) => tokio::time::sleep(PERIOD).await,
            Err(error) => {
                warn!(%error, "look for requests whose time is up: trying again");
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }
}

async fn read_until(store: &Store, timers: &Timers, until: Timestamp) -> Result<(), StoreError> {
    let mut after = Due { at: Timestamp::from_micros(i64::MIN), key: None };
    loop {
        let dues = store.requests_due(&after, until, ROWS_MAX).await?;
        let is_last = dues.len() < ROWS_MAX;
        for Due { at, key } in &dues {
            let timer = |key| Timer { due: *at, key, why: Why::Deadline };
            key.clone().map(timer).into_iter().for_each(|timer| timers.set(timer));
        }
        match dues.into_iter().next_back() {
            Some(last) if !is_last => after = last,
            _ => return Ok(()),
        }
    }
}
