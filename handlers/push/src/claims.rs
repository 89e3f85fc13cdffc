//! Takes rows out of the outbox when woken, or when one is due; never on a timer while nothing is due.

use std::sync::Arc;
use std::time::Duration;

use statecast_state::Timestamp;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;

use crate::desk::Desk;
use crate::outage::Outage;
use crate::outbox::call;
use crate::policy::now;

/// Shortest pause after a claim that found nothing although a row was due: the clock of the database may be
/// a little behind ours.
const EMPTY_PAUSE: Duration = Duration::from_millis(100);
/// Longest sleep towards a row that waits for its time: the clock may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Claims until it is stopped. A claim under way is then awaited a little, as rows that nobody knows to be
/// claimed wait for the end of their lease.
pub(crate) async fn run(desk: &Arc<Desk>, wake: &Notify, changed: &Notify, stop: &CancellationToken) {
    let mut outage = Outage::default();
    while let Some(mut room) = stop.run_until_cancelled(room(desk)).await {
        // Listens from before the claim on, so that what is committed during it isn't missed.
        let woken = wake.notified();
        let limit = room.num_permits();
        let asked_at = now();
        let claim = call("claim pushes", desk.outbox.claim(limit, desk.settings.lease));
        let claimed = tokio::select! {
            claimed = claim => claimed,
            () = stopped_for(stop, desk.settings.stop_grace) => return,
        };
        let rows = match claimed {
            Ok(rows) => rows,
            Err(error) => {
                stop.run_until_cancelled(outage.failed(&error)).await;
                continue;
            }
        };
        outage.over();
        let found = rows.len();
        desk.take(rows, &mut room).await;
        drop(room);
        if stop.is_cancelled() {
            return;
        }
        desk.start();
        if found < limit {
            stop.run_until_cancelled(rest(desk, woken, changed, (found == 0).then_some(asked_at))).await;
        }
    }
}

async fn stopped_for(stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}

/// Room for a claim.
async fn room(desk: &Desk) -> OwnedSemaphorePermit {
    let most = desk.settings.claim_rows_max;
    let least = (most / 5).clamp(1, (desk.settings.held_rows_max / 4).max(1));
    desk.places.some(least, most).await
}

/// Sleeps until woken or until a row is due. `nothing_at` is when a claim found nothing, if it did.
async fn rest(desk: &Desk, woken: Notified<'_>, changed: &Notify, nothing_at: Option<Timestamp>) {
    tokio::pin!(woken);
    let mut outage = Outage::default();
    loop {
        let due = match call("ask when a push is due", desk.outbox.next_due()).await {
            Ok(due) => due,
            Err(error) => {
                outage.failed(&error).await;
                continue;
            }
        };
        outage.over();
        let until = due.map(|at| {
            let least = if Some(at) <= nothing_at { EMPTY_PAUSE } else { Duration::ZERO };
            Duration::from_micros(at.micros_since(now()).max(0).unsigned_abs()).max(least)
        });
        tokio::select! {
            () = &mut woken => return,
            // Something was put off: perhaps it is due before all others.
            () = changed.notified() => {}
            () = sleep(until) => if until <= Some(SLEEP_MAX) { return },
        }
    }
}

async fn sleep(until: Option<Duration>) {
    match until {
        Some(pause) => tokio::time::sleep(pause.min(SLEEP_MAX)).await,
        None => std::future::pending().await,
    }
}
