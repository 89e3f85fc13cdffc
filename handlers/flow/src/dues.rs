//! Which alarms time changes next: the database is asked for those of the next minute, not for all.
//!
//! *Guarantee*: an alarm that is due is looked at, also after a restart, and again when that came to nothing. Those that are committed while it is read
//! set their timers themselves ([`Timers::follow`]): how far is read is said before it is.
//! *Bound*: [`TIMERS_MAX`] timers a read, and one read a second.

use std::time::Duration;

use statecast_state::Timestamp;
use statecast_store::Store;
use statecast_store::silent::Due;
use tracing::warn;

use crate::horizon::{beginning, later};
use crate::timers::{Timer, Timers, Why};

/// Timers read at a time.
const TIMERS_MAX: usize = 10_000;
/// How far ahead is read.
const AHEAD: Duration = Duration::from_secs(60);
/// From one read to the next, at least.
const PAUSE: Duration = Duration::from_secs(1);

/// Up to when the timers of alarms are set.
pub(crate) struct Dues {
    read: Due,
    /// When to read further.
    read_at: Timestamp,
}

impl Dues {
    /// Nothing is read yet.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { read: beginning(), read_at: now }
    }

    /// When to call [`Self::extend`].
    pub(crate) fn read_at(&self) -> Timestamp {
        self.read_at
    }

    /// Reads which alarms are due next, and sets their timers. When the database can't be read, it is tried again.
    pub(crate) async fn extend(&mut self, store: &Store, timers: &Timers, now: Timestamp) {
        let until = later(now, AHEAD);
        timers.read_alarms_until(until);
        let dues = match store.due_alarms(&self.read, until, TIMERS_MAX).await {
            Ok(dues) => dues,
            Err(error) => {
                warn!(%error, "look for alarms that are due: trying again");
                self.read_at = later(now, PAUSE);
                return;
            }
        };
        (self.read, self.read_at) = match dues.last() {
            Some(last) if dues.len() >= TIMERS_MAX => (last.clone(), later(now, PAUSE)),
            // From the beginning: what a look came to nothing for is looked at again.
            _ => (beginning(), later(now, AHEAD / 2)),
        };
        for Due { at, key } in dues {
            if let Some(key) = key {
                timers.set(Timer { due: at, key, why: Why::Alarm });
            }
        }
    }
}
