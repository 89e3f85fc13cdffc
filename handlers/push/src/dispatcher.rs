//! The dispatcher: sleeps until there is something to tell, and tells it.
//!
//! **Who.** One task claims (`claims`), one writes what became of it (`completions`), and each request under
//! way is a task of its own (`desk`). **Bounds.** Rows in hand, requests under way, requests to one receiver:
//! see [`Settings`]. **Guarantee.** Each push is tried at least once before its deadline if there is a chance
//! to, and repeated under the same id until it is accepted, refused for good, or too late; a crash between
//! the answer and its writing repeats it. **Panics.** One in a request or in a call of the outbox counts as a
//! failure of it.

use std::sync::Arc;

use tokio::sync::{Notify, broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::desk::Desk;
use crate::outbox::{Claimed, Outbox};
use crate::settings::Settings;
use crate::webhook::Webhook;
use crate::{claims, completions, meters};

/// Live pushes kept for a follower that is behind; one that is farther behind reads the outbox again.
pub const LIVE_PUSHES_MAX: usize = 1_024;

/// Delivers what is in an outbox until it is stopped.
pub struct Dispatcher {
    live: broadcast::Sender<Arc<Claimed>>,
    running: JoinHandle<()>,
}

impl Dispatcher {
    /// Starts it, in the current tokio runtime. `wake` is to be notified (`notify_one`) after each commit
    /// that wrote pushes; cancelling `stop` ends it.
    ///
    /// # Errors
    /// When the HTTP client can't be prepared, e.g. without any root certificates.
    pub fn start(
        outbox: Arc<dyn Outbox>,
        settings: Settings,
        wake: Arc<Notify>,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        meters::describe();
        let webhook = Webhook::new(&settings)?;
        let (live, _) = broadcast::channel(LIVE_PUSHES_MAX);
        // As many results as rows in hand: sending one never waits.
        let (results, written) = mpsc::channel(settings.held_rows_max.max(1));
        let desk = Desk::new(outbox, settings, webhook, live.clone(), results);
        let running = tokio::spawn(run(desk, written, wake, stop));
        Ok(Self { live, running })
    }

    /// Follows what is told to live receivers, from now on: at least once each, so drop repeats by the id.
    /// A follower that lags finds the rest in the outbox.
    pub fn live(&self) -> broadcast::Receiver<Arc<Claimed>> {
        self.live.subscribe()
    }

    /// Resolves when it has stopped, at most three times [`Settings::stop_grace`] after `stop` was cancelled:
    /// what wasn't tried is given back, what was under way has ended or was cut off, and what became of it
    /// is written if the database can be reached.
    pub async fn stopped(self) {
        if let Err(error) = self.running.await {
            warn!("the push dispatcher ended early: {error}");
        }
    }
}

async fn run(
    desk: Arc<Desk>,
    written: mpsc::Receiver<completions::Completion>,
    wake: Arc<Notify>,
    stop: CancellationToken,
) {
    let changed = Arc::new(Notify::new());
    let last = CancellationToken::new();
    let grace = desk.settings.stop_grace;
    let mut completions =
        tokio::spawn(completions::run(desk.outbox.clone(), written, changed.clone(), last.clone()));

    claims::run(&desk, &wake, &changed, &stop).await;

    desk.give_back().await;
    desk.sends.close();
    if tokio::time::timeout(grace, desk.sends.wait()).await.is_err() {
        desk.cut.cancel();
        desk.sends.wait().await;
    }
    last.cancel();
    if tokio::time::timeout(grace, &mut completions).await.is_err() {
        warn!("what became of some pushes was not written: they are repeated when their lease is over");
        completions.abort();
    }
}
