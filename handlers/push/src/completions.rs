//! Writes what became of many pushes at once: while one call is under way, the next batch gathers. A
//! database that fails is waited out; nothing is lost meanwhile, as what isn't written stays in hand and
//! in hand is bounded.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::meters;
use crate::outage::Outage;
use crate::outbox::{Finished, Outbox, Outcome, call};
use crate::places::Held;

/// Most results written with one call.
const ROWS_MAX: usize = 500;

/// What became of a push, and the place that it takes until that is written.
pub(crate) struct Completion {
    pub(crate) finished: Finished,
    pub(crate) channel: &'static str,
    pub(crate) held: Held,
}

/// Runs until `last` says that no more results come, and all were written.
pub(crate) async fn run(
    outbox: Arc<dyn Outbox>,
    mut results: mpsc::Receiver<Completion>,
    changed: Arc<Notify>,
    last: CancellationToken,
) {
    let mut batch = Vec::with_capacity(ROWS_MAX);
    loop {
        tokio::select! {
            biased;
            _ = results.recv_many(&mut batch, ROWS_MAX) => {}
            () = last.cancelled() => {}
        }
        if batch.is_empty() {
            return;
        }
        write(outbox.as_ref(), &batch).await;
        for completion in batch.drain(..) {
            let Completion { finished, channel, held } = completion;
            meters::finished(channel, &finished.outcome);
            tell(&finished);
            drop(held);
        }
        // Some are to be tried again, and others may have waited for one of these.
        changed.notify_one();
    }
}

/// Repeats the call until it succeeds.
async fn write(outbox: &dyn Outbox, batch: &[Completion]) {
    let rows: Vec<Finished> = batch.iter().map(|completion| completion.finished.clone()).collect();
    let mut outage = Outage::default();
    while let Err(error) = call("write what became of pushes", outbox.finish(rows.clone())).await {
        outage.failed(&error).await;
    }
    outage.over();
}

/// Of a receiver that is gone, people should know; of a single push, the list of deliveries tells.
fn tell(finished: &Finished) {
    if let Outcome::ReceiverGone { error } = &finished.outcome {
        info!(tenant = %finished.tenant, push = %finished.id, "a receiver is gone, and disabled: {error}");
    }
}
