//! Room for a publish: the pace of its client, its bytes in the total in flight, and a place where it goes. At once, or waited for.

use std::sync::Arc;

use futures::FutureExt as _;
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::{Session, Waited};
use crate::Delivery;
use crate::broker::Hub;
use crate::ending::Ending;
use crate::limits::Limit;

/// Room for one publish: its bytes in the total in flight, and a place where it goes.
pub(super) struct Room {
    pub(super) bytes: OwnedSemaphorePermit,
    pub(super) place: Place,
}

/// A place where a publish goes.
pub(super) enum Place {
    /// In the channel of deliveries, for the service's own topics.
    Delivery(OwnedPermit<Delivery>),
    /// Among those that wait for the router, for all others.
    Router(OwnedSemaphorePermit),
}

impl Session {
    /// May the client publish now without being faster than its rate? If not, that is waited for.
    pub(super) fn keeps_pace(&mut self) -> bool {
        let Some((ready_at, limit)) = self.pace.ready_at(&self.hub.config, Instant::now()) else {
            return true;
        };
        limit.count();
        self.wait = Some(Box::pin(sleep_until(ready_at).map(|()| Waited::Pace)));
        false
    }

    /// Room for a publish of this many bytes, at once or not at all; then it is waited for.
    pub(super) fn take_room(&mut self, bytes: usize, own: bool) -> Option<Room> {
        if let Some(room) = self.room.take() {
            return Some(room);
        }
        let hub = &self.hub;
        let bytes = share(bytes, hub);
        match Arc::clone(&hub.bytes).try_acquire_many_owned(bytes) {
            Ok(bytes) => {
                if let Some(place) = place_at_once(hub, own) {
                    return Some(Room { bytes, place });
                }
            }
            Err(_) => Limit::BytesInFlight.count(),
        }
        let room = wait_for_room(Arc::clone(hub), bytes, own);
        self.wait = Some(Box::pin(room.map(Waited::Room)));
        None
    }
}

/// What a publish takes of the total in flight: never more than all of it, or it would wait for ever.
pub(super) fn share(bytes: usize, hub: &Hub) -> u32 {
    let most = hub.config.bytes_in_flight_max.min(Semaphore::MAX_PERMITS);
    u32::try_from(bytes.min(most)).unwrap_or(u32::MAX)
}

fn place_at_once(hub: &Hub, own: bool) -> Option<Place> {
    if own {
        hub.deliveries.clone().try_reserve_owned().ok().map(Place::Delivery)
    } else {
        Arc::clone(&hub.router.places).try_acquire_owned().ok().map(Place::Router)
    }
}

/// Waits for room. An error when nobody takes deliveries any more.
pub(super) async fn wait_for_room(hub: Arc<Hub>, bytes: u32, own: bool) -> Result<Room, Ending> {
    // The place first: what waits for it must not hold bytes that another could use.
    let place = if own {
        Place::Delivery(hub.deliveries.clone().reserve_owned().await.map_err(|_| Ending::Stopping)?)
    } else {
        let place = Arc::clone(&hub.router.places).acquire_owned().await;
        Place::Router(place.map_err(|_| Ending::Stopping)?)
    };
    let bytes = Arc::clone(&hub.bytes).acquire_many_owned(bytes).await.map_err(|_| Ending::Stopping)?;
    Ok(Room { bytes, place })
}
