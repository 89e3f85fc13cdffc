//! The way of those who come and go. Only a few of them stand in the line of deliveries at a time: a storm of
//! reconnects would stand in front of what all others publish.

use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

use crate::Delivery;

/// Connections that wait at one time to tell that they came or went.
const PASSING_MAX: usize = 64;

/// The turns.
pub(crate) struct Passage(Semaphore);

impl Default for Passage {
    fn default() -> Self {
        Self(Semaphore::new(PASSING_MAX))
    }
}

impl Passage {
    /// Waits for a turn and a place to tell that a connection came or went. None when nobody takes deliveries any
    /// more.
    pub(crate) async fn enter<'a>(
        &'a self,
        deliveries: &'a mpsc::Sender<Delivery>,
    ) -> Option<(SemaphorePermit<'a>, mpsc::Permit<'a, Delivery>)> {
        let turn = self.0.acquire().await.ok()?;
        Some((turn, deliveries.reserve().await.ok()?))
    }
}
