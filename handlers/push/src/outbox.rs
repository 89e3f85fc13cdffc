//! What the dispatcher asks of the database: rows to send, and a place to write what became of them.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures::FutureExt;
use futures::future::BoxFuture;
use statecast_state::rule::Receiver;
use statecast_state::{Push, TenantId, Timestamp};
use uuid::Uuid;

/// The outbox. An error of any call is waited out and the call repeated; a call may be cut off after
/// [`CALL_SECONDS_MAX`], and must then have done either all of its work or nothing.
pub trait Outbox: Send + Sync + 'static {
    /// Takes up to `limit` rows that are due, the longest due first, and leases them: nobody else is given
    /// them until they are finished or `lease` is over. Counts the attempt.
    fn claim(&self, limit: usize, lease: Duration) -> BoxFuture<'_, anyhow::Result<Vec<Claimed>>>;

    /// Writes what became of rows. A row that is finished already stays as it is.
    fn finish(&self, results: Vec<Finished>) -> BoxFuture<'_, anyhow::Result<()>>;

    /// When the next row can be claimed: the earliest next attempt or end of a lease, in the past when one
    /// is due; none when no row waits.
    fn next_due(&self) -> BoxFuture<'_, anyhow::Result<Option<Timestamp>>>;
}

/// A row of the outbox that is ours to send while its lease lasts.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Whose.
    pub tenant: TenantId,
    /// What to tell.
    pub push: Push,
    /// Whom, as it is now.
    pub receiver: Receiver,
    /// Which attempt this is; 1 is the first.
    pub attempt: u32,
}

/// What became of a claimed row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Whose.
    pub tenant: TenantId,
    /// Which push.
    pub id: Uuid,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a push. The texts are of one line, without control characters, and short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver accepted it; for a live receiver, it was handed to those who follow.
    Delivered {
        /// The HTTP status, 200-299.
        status: u16,
    },
    /// The attempt failed: the next one is at this time.
    Retry {
        /// When; before the deadline of the push.
        at: Timestamp,
        /// Why it failed.
        error: String,
    },
    /// It was not tried, for want of room or because the service stops: the attempt doesn't count.
    Postponed {
        /// When to claim it again.
        at: Timestamp,
    },
    /// It is given up.
    Dead {
        /// Why.
        error: String,
    },
    /// The receiver said that it is gone (410): it is to be disabled, and all its pushes are dead.
    ReceiverGone {
        /// What it said.
        error: String,
    },
}

/// Longest that a call of the outbox may take, in seconds.
pub const CALL_SECONDS_MAX: u64 = 30;

/// Awaits a call of the outbox: with a deadline, and a panic is a failure like any other.
pub(crate) async fn call<T>(what: &'static str, work: BoxFuture<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    let work = AssertUnwindSafe(work).catch_unwind();
    match tokio::time::timeout(Duration::from_secs(CALL_SECONDS_MAX), work).await {
        Ok(Ok(result)) => result.context(what),
        Ok(Err(_panic)) => Err(anyhow!("{what}: it panicked")),
        Err(_elapsed) => Err(anyhow!("{what}: no answer within {CALL_SECONDS_MAX} s")),
    }
}
