//! The dispatcher: sleeps until there is something to tell, and tells it.
//!
//! **Who.** One task claims (`claims`), one writes what became of it (`completions`), and each request under
//! way is a task of its own (`desk`). **Bounds.** Rows in hand, requests under way, requests to one receiver:
//! see [`Settings`]. **Guarantee.** Each push is tried at least once before its deadline if there is a chance
//! to, and repeated under the same id until it is accepted, refused for good, or too late; a crash between
//! the answer and its writing repeats it. **Panics.** One in a request or in a call of the outbox counts as a
//! failure of it.

use std::sync::Arc;

use statecast_state::TenantId;
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::channels::Channels;
use crate::channels::mqtt::Publish;
use crate::desk::Desk;
use crate::outbox::{Claimed, Outbox};
use crate::settings::Settings;
use crate::status::{self, Status};
use crate::{claims, completions, meters};

/// Live pushes kept for a follower that is behind; one that is farther behind reads the outbox again.
pub const LIVE_PUSHES_MAX: usize = 1_024;

/// Delivers what is in an outbox until it is stopped.
pub struct Dispatcher {
    desk: Arc<Desk>,
    live: broadcast::Sender<Arc<Claimed>>,
    running: JoinHandle<()>,
}

impl Dispatcher {
    /// Starts it, in the current tokio runtime. `wake` is to be notified (`notify_one`) after each commit
    /// that wrote pushes; cancelling `stop` ends it. `mqtt` is the way to receivers of that kind.
    ///
    /// # Errors
    /// When a key or a certificate of the settings can't be read or used; says which.
    pub fn start(
        outbox: Arc<dyn Outbox>,
        settings: Settings,
        mqtt: Arc<dyn Publish>,
        wake: Arc<Notify>,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        meters::describe();
        let channels = Channels::open(&settings)?;
        let (live, _) = broadcast::channel(LIVE_PUSHES_MAX);
        // As many results as rows in hand: sending one never waits.
        let (results, written) = mpsc::channel(settings.held_rows_max.max(1));
        let desk = Desk::new(outbox, settings, channels, mqtt, live.clone(), results);
        let running = tokio::spawn(run(desk.clone(), written, wake, stop));
        Ok(Self { desk, live, running })
    }

    /// Follows what is told to live receivers, from now on: at least once each, so drop repeats by the id.
    /// A follower that lags finds the rest in the outbox.
    pub fn live(&self) -> broadcast::Receiver<Arc<Claimed>> {
        self.live.subscribe()
    }

    /// How each channel stands, and which origins of a tenant rest. Cheap to ask, for as long as it runs and after.
    pub fn statuses(&self) -> Statuses {
        Statuses(self.desk.clone())
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

/// Tells how channels stand.
#[derive(Clone)]
pub struct Statuses(Arc<Desk>);

impl Statuses {
    /// All channels, and the origins of this tenant that rest.
    pub fn of(&self, tenant: &TenantId) -> Vec<Status> {
        status::all(&self.0.channels, &self.0.gates, tenant)
    }

    /// The key that browsers subscribe with (`applicationServerKey`), in base64url; none where web push isn't
    /// configured.
    pub fn web_push_key(&self) -> Option<&str> {
        Some(self.0.channels.web_push.as_ref()?.vapid.public())
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
