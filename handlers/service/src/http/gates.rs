//! How many of the requests that take much may run at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// Exports that run at a time: each holds a page of ids and some twins.
const EXPORTS_MAX: usize = 8;
/// Searches with statistics that run at a time: each may gather 32 MB of values.
const FIGURES_MAX: usize = 4;

/// The gates. Cheap to clone.
#[derive(Clone)]
pub struct Gates {
    exports: Arc<Semaphore>,
    figures: Arc<Semaphore>,
    searches: Arc<Semaphore>,
}

impl Default for Gates {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
            figures: Arc::new(Semaphore::new(FIGURES_MAX)),
            searches: Arc::new(Semaphore::new(processors)),
        }
    }
}

impl Gates {
    /// Lets an export in for as long as the permit lives, or refuses it: one may take hours.
    pub(super) fn export(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let permit = self.exports.clone().try_acquire_owned();
        permit
            .map_err(|_| Problem::unavailable(format!("{EXPORTS_MAX} exports are running; try again later")))
    }

    /// Waits until statistics may be computed, which takes milliseconds.
    pub(super) async fn figures(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.figures.clone().acquire_owned().await.map_err(|_| Problem::stopping())
    }

    /// Waits until any other search may begin: as many at a time as there are processors, as more would only take turns.
    pub(super) async fn search(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.searches.clone().acquire_owned().await.map_err(|_| Problem::stopping())
    }
}
