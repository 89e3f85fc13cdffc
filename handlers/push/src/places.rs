//! The places of rows in hand, from the claim to the writing of what became of them. A row takes its place with a
//! [`Held`], which travels with it and frees the place when it is dropped, however that comes about.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use statecast_state::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// Which row.
type Key = (TenantId, Uuid);

/// All places.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    taken: Arc<Mutex<HashSet<Key>>>,
}

/// The place of one row in hand.
pub(crate) struct Held {
    /// Which row.
    pub(crate) key: Key,
    taken: Arc<Mutex<HashSet<Key>>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.taken.lock().remove(&self.key);
    }
}

impl Places {
    pub(crate) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), taken: Arc::default() }
    }

    /// Waits until a fair number of rows fits, so that the database isn't asked for one at a time: at least `least`, and
    /// as many more as are free, up to `most`.
    pub(crate) async fn some(&self, least: usize, most: usize) -> OwnedSemaphorePermit {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut places =
            self.free.clone().acquire_many_owned(count(least)).await.expect("this semaphore is never closed");
        while places.num_permits() < most {
            let more = (most - places.num_permits()).min(self.free.available_permits());
            match self.free.clone().try_acquire_many_owned(count(more)) {
                Ok(permit) if more > 0 => places.merge(permit),
                _ => break,
            }
        }
        places
    }

    /// Takes one of these places for a row. None when it is in hand already: its lease ran out meanwhile.
    pub(crate) fn take(
        &self,
        tenant: &TenantId,
        id: Uuid,
        places: &mut OwnedSemaphorePermit,
    ) -> Option<Held> {
        let key = (tenant.clone(), id);
        let new = self.taken.lock().insert(key.clone());
        new.then(|| Held { key, taken: self.taken.clone(), _place: places.split(1) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_row_has_one_place_until_it_is_dropped() {
        let places = Places::new(3);
        let mut some = places.some(2, 10).await;
        assert_eq!(some.num_permits(), 3);
        let tenant = TenantId::default();
        let held = places.take(&tenant, Uuid::nil(), &mut some).unwrap();
        assert!(places.take(&tenant, Uuid::nil(), &mut some).is_none(), "it is in hand");
        drop(some);
        assert_eq!(places.free.available_permits(), 2);
        drop(held);
        assert_eq!(places.some(1, 3).await.num_permits(), 3);
        assert!(places.taken.lock().is_empty());
    }
}
