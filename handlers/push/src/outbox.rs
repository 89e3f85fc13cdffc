//! What the dispatcher asks of the database: rows to send, and a place to write what became of them.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures::FutureExt;
use futures::future::BoxFuture;
use statecast_state::Timestamp;
pub use statecast_state::push::{Claimed, Finished, Outcome};

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
