//! How many devices each of many queries finds, kept up by every change.
//!
//! *States*: it begins empty at a position, with a [`Walk`]: every device is shown to it with [`Tally::exists`], a page
//! at a time, and every one that was removed with [`Tally::removed`]; between the pages and after them every change after that
//! position with [`Tally::changed`], in order.
//! *Guarantee*: once the walk is over, and it has been shown all changes up to the moment of the last page, the counts
//! are those of the fleet at the last change that it was shown.

use super::{Percolator, Query, Walk};
use crate::{Change, DeviceId, Position, Timestamp, Twin};

/// Counts of queries, each known by its place in the order in which they were given. Queries with a time
/// relative to now have no count, as theirs changes by itself.
#[derive(Debug)]
pub struct Tally {
    queries: Vec<Query>,
    counts: Vec<Option<u64>>,
    percolator: Percolator,
    position: Position,
    walk: Walk,
}

impl Tally {
    /// Of these queries, over the changes after this position.
    pub fn new(queries: Vec<Query>, position: Position) -> Self {
        let counts = queries.iter().map(|query| (!query.needs().time).then_some(0)).collect();
        let percolator = Percolator::new(&queries);
        Self { queries, counts, percolator, position, walk: Walk::begin() }
    }

    /// The device after which the next page begins, none for the first page; outer none when all were shown.
    pub fn next(&self) -> Option<Option<&DeviceId>> {
        self.walk.next()
    }

    /// A device of the page was removed by the change at `last`; it may exist again.
    pub fn removed(&mut self, device: &DeviceId, last: Position) {
        self.walk.saw(device, last, self.position);
    }

    /// A device of the page exists, and is as it is since its change at `last`.
    pub fn exists(&mut self, twin: &Twin, last: Position) {
        self.walk.saw(&twin.device, last, self.position);
        self.count(None, Some(twin));
    }

    /// A page is over, and reached up to this device; none for the last page.
    pub fn page_ends(&mut self, last: Option<DeviceId>) {
        self.walk.reached(last);
    }

    /// Shows the next change. True when a count is another now.
    pub fn changed(&mut self, change: &Change) -> bool {
        self.position = change.position;
        self.walk.is_news(change) && self.count(change.before.as_deref(), change.after.as_deref())
    }

    fn count(&mut self, before: Option<&Twin>, after: Option<&Twin>) -> bool {
        // No query that is counted depends on now.
        let now = Timestamp::from_micros(0);
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
            lasts in prop::array::uniform3(0..6_usize),
        ) {
            let queries: Vec<Query> = texts.iter().filter_map(|text| Query::parse(text).ok()).collect();
            let names = ["a", "b", "c"].map(|name| DeviceId::parse(name).unwrap());
            let mut fleet: [Option<Twin>; 3] = [None, None, None];
            let mut changes: Vec<Change> = Vec::new();
            let mut tally = Tally::new(queries.clone(), Position(begins as u64));
            for (step, (device, after)) in (1..).zip(steps) {
                let after = after.map(|twin| Twin { device: names[device].clone(), ..twin });
                if after.is_some() || fleet[device].is_some() {
                    changes.push(change(step as u64, &names[device], fleet[device].as_ref(), after.as_ref()));
                    fleet[device] = after;
                }
            }
            // Each device is a page, of a moment later than the one before; the feed lags behind it.
            let mut told = changes.iter().skip_while(|change| change.position <= Position(begins as u64)).peekable();
            let mut moment = begins;
            for (page, (name, lasts)) in names.iter().zip(lasts).enumerate() {
                moment += lasts;
                let seen = |change: &&Change| change.key.device == *name && change.position <= Position(moment as u64);
                let last = changes.iter().rfind(seen);
                if let Some((last, twin)) = last.and_then(|last| Some((last, last.after.as_ref()?))) {
                    tally.exists(twin, last.position);
                }
                for removal in changes.iter().filter(seen).filter(|change| change.after.is_none()) {
                    tally.removed(name, removal.position);
                }
                tally.page_ends((page < 2).then(|| name.clone()));
                let lag = Position((moment - lasts / 2) as u64);
                while let Some(change) = told.next_if(|change| change.position <= lag) {
                    tally.changed(change);
                }
            }
            prop_assert!(tally.next().is_none());
            for change in told {
                tally.changed(change);
            }
            for (query, count) in queries.iter().zip(tally.counts()) {
                let found = fleet.iter().flatten().filter(|twin| query.matches(twin, samples::now())).count() as u64;
                prop_assert!(count.is_none_or(|count| count == found), "{}: {count:?}, not {found}", query.text());
            }
        }
    }
}
