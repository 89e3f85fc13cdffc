//! How far ahead it is known which devices become absent: the database is asked for the next of them, not for all.
//!
//! *States*: no rule is about absence: nothing is read; else the timers up to [`Horizon::read_at`] are set, and the
//! next are read then.
//! *Guarantee*: a device is read before it has been absent for as long as a rule says. What is read at a time reaches
//! ahead half of the shortest length at most: a device that is seen later than that can only become absent beyond it,
//! and is read again by then. The other half is for messages that wait to be committed.
//! *Bound*: `TIMERS_MAX` timers a read, and one read a second.

use std::time::Duration;

use statecast_state::{TenantId, Timestamp};
use statecast_store::Store;
use statecast_store::silent::Due;
use tracing::warn;

use crate::timers::{Timer, Timers, Why};

/// Timers read at a time.
const TIMERS_MAX: usize = 10_000;
/// From one read to the next, at least.
const PAUSE: Duration = Duration::from_secs(1);

/// Up to when the timers of absence are set.
pub(crate) struct Horizon {
    started_at: Timestamp,
    /// The lengths of absence that rules are about, in microseconds.
    lengths: Vec<(TenantId, i64)>,
    /// What has been read: everything that is due up to here.
    read: Due,
    /// When to read further; none while no rule is about absence.
    read_at: Option<Timestamp>,
}

impl Horizon {
    /// Nothing is read yet. Absence counts from `started_at` at the earliest.
    pub(crate) fn new(started_at: Timestamp) -> Self {
        Self { started_at, lengths: Vec::new(), read: beginning(), read_at: None }
    }

    /// Begins anew, for other rules: devices that have been absent for long are looked at again.
    pub(crate) fn reset(&mut self, lengths: Vec<(TenantId, i64)>, now: Timestamp) {
        let earliest = self.read_at.map_or(now, |_| later(now, PAUSE));
        self.read_at = (!lengths.is_empty()).then_some(earliest);
        self.lengths = lengths;
        self.read = beginning();
    }

    /// When to call [`Self::extend`]; none while no rule is about absence.
    pub(crate) fn read_at(&self) -> Option<Timestamp> {
        self.read_at
    }

    /// Reads which devices are due next, and sets their timers. When the database can't be read, it is tried again.
    pub(crate) async fn extend(&mut self, store: &Store, timers: &Timers, now: Timestamp) {
        let Some(shortest_us) = self.lengths.iter().map(|(_, length)| *length).min() else { return };
        let until = now.plus_micros(shortest_us / 2);
        let read = store.silent(&self.lengths, self.started_at, &self.read, until, TIMERS_MAX).await;
        let dues = match read {
            Ok(dues) => dues,
            Err(error) => {
                warn!(%error, "look for absent devices: trying again");
                self.read_at = Some(later(now, PAUSE));
                return;
            }
        };
        self.read = match dues.last() {
            Some(last) if dues.len() >= TIMERS_MAX => last.clone(),
            _ => Due { at: until, key: None },
        };
        self.read_at = Some(self.read.at.max(later(now, PAUSE)));
        for Due { at, key } in dues {
            if let Some(key) = key {
                timers.set(Timer { due: at, key, why: Why::Absence });
            }
        }
    }
}

/// Before everything.
pub(crate) fn beginning() -> Due {
    Due { at: Timestamp::from_micros(i64::MIN), key: None }
}

/// So much later.
pub(crate) fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.plus_micros(i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
}
