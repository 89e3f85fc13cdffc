//! Checks all the time, and never when nothing happens: a pass over all devices after each change, slow enough
//! to take only a small part of the time. What changes during a pass is looked at in the next one, so a fleet
//! that has gone quiet is checked once more, and not again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use metrics::counter;
use statecast_state::Position;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::pace;
use crate::status::Checked;
use crate::verify::Verified;
use crate::{Search, Source};

/// Between the first change that isn't checked and the pass that does it: it finds others too.
const PASS_DELAY: Duration = Duration::from_secs(10);

/// Compares the index with `source`, and repairs it, until `stop`. May work for `percent` of the time (1 to 100).
pub async fn check(search: Search, source: Arc<dyn Source>, percent: u8, stop: CancellationToken) {
    check_after(PASS_DELAY, search, source, percent, stop).await;
}

/// The same with another delay before each pass.
pub(crate) async fn check_after(
    delay: Duration,
    search: Search,
    source: Arc<dyn Source>,
    percent: u8,
    stop: CancellationToken,
) {
    let pause = |worked| sleep(pace::share(worked, percent));
    let passes = async {
        let (mut checked, mut failures) = (None, 0);
        loop {
            search.moved_on(checked).await;
            sleep(delay).await;
            let position = search.position();
            match search.verify(&*source, pause).await {
                Ok(found) => {
                    report(&search, position, found);
                    (checked, failures) = (Some(position), 0);
                }
                Err(error) => {
                    warn!(error = format!("{error:#}"), "the index can't be compared with the table");
                    sleep(pace::backoff(failures)).await;
                    failures += 1;
                }
            }
        }
    };
    stop.run_until_cancelled(passes).await;
}

fn report(search: &Search, position: Position, found: Verified) {
    let Verified { checked, repaired, .. } = found;
    counter!("statecast_search_checked_total").increment(checked as u64);
    counter!("statecast_search_differed_total").increment(found.differed() as u64);
    counter!("statecast_search_repaired_total").increment(repaired as u64);
    if found.differed() > 0 {
        warn!(%position, ?found, "the index differed from the table");
    } else {
        info!(%position, checked, "the index is equal to the table");
    }
    search.checked(Checked { at: SystemTime::now().into(), position, found });
}
