//! Keeps the server running for as long as the service does: one that was killed, or stopped by somebody else, is
//! started again, and recovers what it had committed.
//!
//! *States*: there; missed once; being started. It is believed to be gone when two looks in a row find neither it
//! nor any process of it. A start that fails is tried again, ever less often.
//! *Guarantee*: after [`Guard::stop`] nothing is started any more.
//! *Meanwhile* the service gets by as in any outage: writers wait, receipts wait, nothing is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::START_DEADLINE;
use super::cluster::{self, Cluster};
use super::live::{self, Found};

/// How often it looks whether the server is there: a few small files are read.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Looks in a row that must find nothing.
const MISSES: u32 = 2;
/// Longest pause between two starts that fail.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Old log files are removed once in so many looks.
const PRUNE_LOOKS: u32 = 600;

/// The task that looks after the server. Dropped without [`Guard::stop`] it just ends.
#[derive(Debug)]
pub(super) struct Guard {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Guard {
    /// Begins to look after a server that runs.
    pub(super) fn start(cluster: Arc<Cluster>) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop: Some(stop), task: tokio::spawn(watch(cluster, stopped)) }
    }

    /// Ends it. A start that is under way is finished first, so that there is a server to be stopped.
    pub(super) async fn stop(mut self) {
        drop(self.stop.take());
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the guard of PostgreSQL failed");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(cluster: Arc<Cluster>, mut stopped: oneshot::Receiver<()>) {
    let (mut looks, mut missed, mut pause) = (0, 0, LOOK_INTERVAL);
    loop {
        if looks % PRUNE_LOOKS == 0 {
            cluster::prune(&cluster.logs());
        }
        looks += 1;
        tokio::select! {
            _ = &mut stopped => return,
            () = tokio::time::sleep(pause) => {}
        }
        missed = if live::find(&cluster.data) == Found::Nothing { missed + 1 } else { 0 };
        if missed < MISSES {
            continue;
        }
        tracing::warn!("PostgreSQL is gone, though nobody here stopped it: starting it again");
        match cluster.start(START_DEADLINE).await {
            Ok(()) => (missed, pause) = (0, LOOK_INTERVAL),
            Err(error) => {
                pause = (pause * 2).min(PAUSE_MAX);
                tracing::error!(%error, "start PostgreSQL again");
            }
        }
    }
}
