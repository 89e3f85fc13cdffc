//! What is committed at once, and what became of it.

use std::ops::Range;

use bytes::Bytes;
use statecast_state::{Change, DeviceKey, TenantId, Timestamp};
use uuid::Uuid;

/// What is committed at once.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    /// Changes with their positions. Those of one device are next to each other and in order: each `before`
    /// is the `after` of the one before it. A device must not be in two batches that are under way.
    pub changes: Vec<Change>,
    /// Messages that could not be applied.
    pub dead_letters: Vec<DeadLetter>,
}

/// A message that could not be applied, kept for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Whose.
    pub tenant: TenantId,
    /// The device that sent it or that it is for, as text, since it may not be a device id.
    pub device: Option<String>,
    /// Where it was published; for HTTP, the path.
    pub topic: String,
    /// What it was, as it came.
    pub payload: Bytes,
    /// Why it could not be applied.
    pub reason: String,
    /// When it was received.
    pub received_at: Timestamp,
}

/// What became of a batch. What is in neither list is committed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The twin had another version than the first change rests on: nothing of that device was written.
    pub lost: Vec<DeviceKey>,
    /// The database refuses what is in the rows of the device, and would do so each time; with its reason.
    /// Nothing of that device was written.
    pub poison: Vec<(DeviceKey, String)>,
}

/// The changes of one device in a batch: what is written or not as a whole.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a> {
    /// At least one change, all of one device.
    pub(crate) changes: &'a [Change],
}

impl<'a> Group<'a> {
    pub(crate) fn first(self) -> &'a Change {
        &self.changes[0]
    }

    pub(crate) fn last(self) -> &'a Change {
        &self.changes[self.changes.len() - 1]
    }

    pub(crate) fn key(self) -> &'a DeviceKey {
        &self.first().key
    }

    /// The index of the last removal among the changes, if there is one.
    pub(crate) fn removal(self) -> Option<usize> {
        self.changes.iter().rposition(|change| change.after.is_none())
    }
}

/// A dead letter with the id under which it is stored; made before the first attempt and kept for all.
pub(crate) struct Letter<'a> {
    pub(crate) id: Uuid,
    pub(crate) letter: &'a DeadLetter,
}

/// A batch, sorted for writing: by key, which is the order of the index.
pub(crate) struct Plan<'a> {
    /// Devices whose twin is created or updated.
    pub(crate) groups: Vec<Group<'a>>,
    /// Devices that are removed in this batch (and perhaps come again); rare.
    pub(crate) removals: Vec<Group<'a>>,
    pub(crate) letters: Vec<Letter<'a>>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(batch: &'a Batch) -> Self {
        let all = batch.changes.chunk_by(|a, b| a.key == b.key).map(|changes| Group { changes });
        let (mut groups, removals): (Vec<_>, Vec<_>) = all.partition(|group| group.removal().is_none());
        groups.sort_by(|a, b| a.key().cmp(b.key()));
        let letters = batch.dead_letters.iter().map(|letter| Letter { id: Uuid::now_v7(), letter }).collect();
        Self { groups, removals, letters }
    }

    /// Everything that is written by one statement as long as nothing is wrong with a row.
    pub(crate) fn whole(&self) -> Part {
        Part { groups: 0..self.groups.len(), letters: true }
    }
}

/// What is written by one statement: some of the groups, by index, and perhaps the dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) groups: Range<usize>,
    pub(crate) letters: bool,
}

impl Part {
    /// Two smaller parts, between two devices, to find the one that the database refuses; none when it is
    /// found. Dead letters leave first: nothing in them is ever refused.
    pub(crate) fn halves(&self) -> Option<[Self; 2]> {
        let Range { start, end } = self.groups;
        if self.letters && start < end {
            return Some([
                Self { groups: start..start, letters: true },
                Self { groups: start..end, letters: false },
            ]);
        }
        if end - start < 2 {
            return None;
        }
        let middle = start + (end - start) / 2;
        Some([start..middle, middle..end].map(|groups| Self { groups, letters: false }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Cutting in halves ends, and reaches each device exactly once.
        #[test]
        fn halving_isolates_each_device(devices in 0_usize..200, letters: bool) {
            let mut parts = vec![Part { groups: 0..devices, letters }];
            let (mut alone, mut with_letters) = (Vec::new(), 0);
            while let Some(part) = parts.pop() {
                if let Some(halves) = part.halves() {
                    parts.extend(halves);
                } else {
                    with_letters += usize::from(part.letters);
                    prop_assert!(part.groups.len() <= 1);
                    prop_assert!(part.groups.is_empty() || !part.letters);
                    alone.extend(part.groups);
                }
            }
            alone.sort_unstable();
            prop_assert_eq!(alone, (0..devices).collect::<Vec<_>>());
            prop_assert_eq!(with_letters, usize::from(letters));
        }
    }
}
