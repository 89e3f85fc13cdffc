//! How many devices each of many queries finds, kept up by every change.
//!
//! *States*: it begins empty at a position; every device that exists at one later moment is shown to it with
//! [`Tally::exists`], and every one that was removed between the two with [`Tally::removed`], in any order; then
//! every change after that position with [`Tally::changed`], in order.
//! *Guarantee*: once it has been shown all changes up to that moment, the counts are those of the fleet at the last
//! change that it was shown.

use std::collections::HashMap;

use super::{Percolator, Query};
use crate::{Change, DeviceId, Position, Timestamp, Twin};

/// Counts of queries, each known by its place in the order in which they were given. Queries with a time
/// relative to now have no count, as theirs changes by itself.
#[derive(Debug)]
pub struct Tally {
    queries: Vec<Query>,
    counts: Vec<Option<u64>>,
    percolator: Percolator,
    position: Position,
    /// Devices that were shown with changes that are yet to come, and the last of these.
    ahead: HashMap<DeviceId, Position>,
}

impl Tally {
    /// Of these queries, over the changes after this position.
    pub fn new(queries: Vec<Query>, position: Position) -> Self {
        let counts = queries.iter().map(|query| (!query.needs().time).then_some(0)).collect();
        let percolator = Percolator::new(&queries);
        Self { queries, counts, percolator, position, ahead: HashMap::new() }
    }

    /// A device was removed by the change at `last`; it may exist again.
    pub fn removed(&mut self, device: DeviceId, last: Position) {
        self.is_ahead(device, last);
    }

    /// A device exists, and is as it is since its change at `last`.
    pub fn exists(&mut self, twin: &Twin, last: Position) {
        self.is_ahead(twin.device.clone(), last);
        // No query that is counted depends on now.
        let now = Timestamp::from_micros(0);
        for (query, count) in self.queries.iter().zip(&mut self.counts) {
            if let Some(count) = count.as_mut().filter(|_| query.matches(twin, now)) {
                *count += 1;
            }
        }
    }

    fn is_ahead(&mut self, device: DeviceId, last: Position) {
        if last > self.position {
            let known = self.ahead.entry(device).or_insert(last);
            *known = last.max(*known);
        }
    }

    /// Shows the next change. True when a count is another now.
    pub fn changed(&mut self, change: &Change) -> bool {
        self.position = change.position;
        match self.ahead.get(&change.key.device) {
            Some(last) if change.position < *last => return false,
            Some(last) if change.position == *last => {
                self.ahead.remove(&change.key.device);
                return false;
            }
            _ => {}
        }
        let now = Timestamp::from_micros(0);
        let (before, after) = (change.before.as_deref(), change.after.as_deref());
        let mut any = false;
        for number in self.percolator.affected(before, after) {
            let (query, count) = (&self.queries[number as usize], &mut self.counts[number as usize]);
            let Some(count) = count else { continue };
            let matches = |twin: Option<&Twin>| twin.is_some_and(|twin| query.matches(twin, now));
            match (matches(before), matches(after)) {
                (false, true) => *count += 1,
                (true, false) => *count = count.saturating_sub(1),
                _ => continue,
            }
            any = true;
        }
        any
    }

    /// Nothing else happened up to here.
    pub fn reached(&mut self, position: Position) {
        self.position = self.position.max(position);
    }

    /// Up to where changes were shown.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The counts, in the order of the queries; none for one with a time relative to now.
    pub fn counts(&self) -> &[Option<u64>] {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::query::samples;
    use crate::{DeviceKey, Document, Kind, TenantId};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn change(position: u64, device: &DeviceId, before: Option<&Twin>, after: Option<&Twin>) -> Change {
        let shared = |twin: &Twin| Arc::new(twin.clone());
        Change {
            key: DeviceKey::new(TenantId::default(), device.clone()),
            position: Position(position),
            kind: Kind::State,
            before: before.map(shared),
            after: after.map(shared),
            patch: Document::new(),
            inverse: Document::new(),
            stale: false,
            ahead: false,
            received_at: Timestamp::from_micros(0),
            device_time: None,
            message: None,
            requests: Vec::new(),
            pushes: Vec::new(),
            decisions: Vec::new(),
            alarms: Vec::new(),
            events: Vec::new(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Whatever the fleet did before, between and after, the counts come out right.
        #[test]
        fn counts_are_those_of_the_fleet(
            texts in prop::collection::vec(samples::queries(), 1..6),
            steps in prop::collection::vec((0..3_usize, proptest::option::weighted(0.7, samples::twin())), 1..20),
            begins in 0..10_usize,
            lasts in 0..10_usize,
        ) {
            let queries: Vec<Query> = texts.iter().filter_map(|text| Query::parse(text).ok()).collect();
            let names = ["a", "b", "c"].map(|name| DeviceId::parse(name).unwrap());
            let mut fleet: [Option<Twin>; 3] = [None, None, None];
            let mut changes: Vec<Change> = Vec::new();
            let mut tally = Tally::new(queries.clone(), Position(begins as u64));
            let shown_at = begins + lasts;
            for (step, (device, after)) in (1..).zip(steps) {
                let after = after.map(|twin| Twin { device: names[device].clone(), ..twin });
                if after.is_some() || fleet[device].is_some() {
                    changes.push(change(step as u64, &names[device], fleet[device].as_ref(), after.as_ref()));
                    fleet[device] = after;
                }
            }
            let at = |position: usize| changes.iter().filter(move |change| change.position.0 <= position as u64);
            for name in &names {
                let Some(last) = at(shown_at).rfind(|change| change.key.device == *name) else { continue };
                if let Some(twin) = &last.after {
                    tally.exists(twin, last.position);
                }
            }
            for removal in at(shown_at).filter(|change| change.after.is_none()) {
                tally.removed(removal.key.device.clone(), removal.position);
            }
            for change in changes.iter().filter(|change| change.position.0 > begins as u64) {
                tally.changed(change);
            }
            if changes.last().is_none_or(|last| last.position.0 < shown_at as u64) {
                tally.reached(Position(shown_at as u64));
            }
            for (query, count) in queries.iter().zip(tally.counts()) {
                let found = fleet.iter().flatten().filter(|twin| query.matches(twin, samples::now())).count() as u64;
                prop_assert!(count.is_none_or(|count| count == found), "{}: {count:?}, not {found}", query.text());
            }
        }
    }
}
