//! The comparison itself: what was published, against what is in the history. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::ledger::Publish;
use crate::ledger::hash::Hash;

/// A row of history that says it is a publish of the ledger's device.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// The number of the run in the ledger.
    pub(crate) run: usize,
    /// Its number within the run.
    pub(crate) seq: u64,
    /// The hash of what it says.
    pub(crate) hash: Hash,
}

/// What came out of a comparison.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// Publishes that were written to a socket.
    pub(crate) published: u64,
    /// Publishes whose acknowledgement arrived.
    pub(crate) acknowledged: u64,
    /// Publishes that are in the history with what they said, acknowledged or not.
    pub(crate) committed: u64,
    /// Acknowledged publishes that aren't: missing, or there with something else in them.
    pub(crate) lost: u64,
    /// Rows beyond the first of the same publish.
    pub(crate) duplicated: u64,
    /// Publishes that come after one with a higher number.
    pub(crate) reordered: u64,
    /// Publishes that were written to a socket more than once.
    pub(crate) redelivered: u64,
    /// The first faults, a sentence each.
    pub(crate) faults: Vec<String>,
}

impl Tally {
    /// The counts, as the contract words them.
    pub(crate) fn line(&self) -> String {
        format!(
            "published {} acked {} committed {} lost {} duplicated {} reordered {}",
            self.published, self.acknowledged, self.committed, self.lost, self.duplicated, self.reordered
        )
    }

    /// Nothing lost, duplicated or reordered.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.reordered == 0
    }

    /// Both together, with at most so many faults told.
    pub(crate) fn plus(mut self, other: Self, faults_max: usize) -> Self {
        self.published += other.published;
        self.acknowledged += other.acknowledged;
        self.committed += other.committed;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.redelivered += other.redelivered;
        self.faults.extend(other.faults);
        self.faults.truncate(faults_max);
        self
    }
}

/// Compares the publishes of one device, by run and seq, with the rows of its history, oldest first.
///
/// Content counts for the first row of a publish, order for the first rows within a run.
pub(crate) fn compare(device: &str, publishes: &BTreeMap<(usize, u64), Publish>, rows: &[Row]) -> Tally {
    let mut tally = Tally::default();
    let mut first: HashMap<(usize, u64), Hash> = HashMap::with_capacity(publishes.len());
    let mut highest: HashMap<usize, u64> = HashMap::new();
    for row in rows {
        if first.contains_key(&(row.run, row.seq)) {
            tally.duplicated += 1;
            tally.faults.push(format!("{device}: seq {} is there again", row.seq));
            continue;
        }
        first.insert((row.run, row.seq), row.hash);
        let highest = highest.entry(row.run).or_insert(row.seq);
        if row.seq < *highest {
            tally.reordered += 1;
            tally.faults.push(format!("{device}: seq {} comes after seq {highest}", row.seq));
        }
        *highest = row.seq.max(*highest);
    }
    for (key, publish) in publishes {
        let found = first.get(key);
        let committed = found == Some(&publish.hash);
        tally.published += 1;
        tally.acknowledged += u64::from(publish.acknowledged);
        tally.committed += u64::from(committed);
        tally.redelivered += u64::from(publish.sendings > 1);
        if publish.acknowledged && !committed {
            tally.lost += 1;
            let fate = if found.is_some() { "altered" } else { "missing" };
            tally.faults.push(format!("{device}: seq {} was acknowledged and is {fate}", key.1));
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publishes(acknowledged: &[bool]) -> BTreeMap<(usize, u64), Publish> {
        let publish = |(index, acknowledged): (usize, &bool)| {
            let seq = index as u64 + 1;
            ((0, seq), Publish { hash: Hash(seq), acknowledged: *acknowledged, sendings: 1 })
        };
        acknowledged.iter().enumerate().map(publish).collect()
    }

    fn rows(seqs: &[u64]) -> Vec<Row> {
        seqs.iter().map(|seq| Row { run: 0, seq: *seq, hash: Hash(*seq) }).collect()
    }

    fn line(acknowledged: &[bool], seqs: &[u64]) -> String {
        compare("d", &publishes(acknowledged), &rows(seqs)).line()
    }

    #[test]
    fn a_history_as_it_should_be_is_clean() {
        let tally = compare("d", &publishes(&[true, true, true]), &rows(&[1, 2, 3]));
        assert_eq!(tally.line(), "published 3 acked 3 committed 3 lost 0 duplicated 0 reordered 0");
        assert!(tally.is_clean() && tally.faults.is_empty());
    }

    #[test]
    fn what_was_acknowledged_and_is_missing_is_lost() {
        assert_eq!(
            line(&[true; 3], &[1, 3]),
            "published 3 acked 3 committed 2 lost 1 duplicated 0 reordered 0"
        );
        assert_eq!(line(&[true; 3], &[]), "published 3 acked 3 committed 0 lost 3 duplicated 0 reordered 0");
    }

    #[test]
    fn what_was_never_acknowledged_may_be_there_or_not() {
        let acknowledged = [true, false, false];
        assert_eq!(
            line(&acknowledged, &[1]),
            "published 3 acked 1 committed 1 lost 0 duplicated 0 reordered 0"
        );
        assert_eq!(
            line(&acknowledged, &[1, 2]),
            "published 3 acked 1 committed 2 lost 0 duplicated 0 reordered 0"
        );
        // Even so it may not be there twice.
        let tally = compare("d", &publishes(&acknowledged), &rows(&[1, 2, 2]));
        assert!(!tally.is_clean());
    }

    #[test]
    fn a_second_row_is_a_duplicate_but_no_disorder() {
        let expected = "published 3 acked 3 committed 3 lost 0 duplicated 2 reordered 0";
        assert_eq!(line(&[true; 3], &[1, 2, 3, 1, 2]), expected);
    }

    #[test]
    fn a_row_after_one_with_a_higher_number_is_reordered() {
        let expected = "published 4 acked 4 committed 4 lost 0 duplicated 0 reordered 2";
        assert_eq!(line(&[true; 4], &[1, 4, 2, 3]), expected);
    }

    #[test]
    fn altered_content_is_lost_content() {
        let mut altered = rows(&[1, 2, 3]);
        altered[1].hash = Hash(99);
        let tally = compare("d", &publishes(&[true; 3]), &altered);
        assert_eq!((tally.lost, tally.committed, tally.duplicated), (1, 2, 0));
        assert_eq!(tally.faults, ["d: seq 2 was acknowledged and is altered"]);
    }

    #[test]
    fn runs_are_compared_each_for_itself() {
        let mut both = publishes(&[true, true]);
        both.insert((1, 1), Publish { hash: Hash(7), acknowledged: true, sendings: 2 });
        let mut both_rows = rows(&[1, 2]);
        both_rows.push(Row { run: 1, seq: 1, hash: Hash(7) });
        let tally = compare("d", &both, &both_rows);
        assert!(tally.is_clean());
        assert_eq!(tally.redelivered, 1);
    }

    #[test]
    fn sums_keep_the_first_faults() {
        let lost = || compare("d", &publishes(&[true; 3]), &[]);
        let sum = lost().plus(lost(), 4);
        assert_eq!((sum.lost, sum.faults.len()), (6, 4));
    }

    proptest::proptest! {
        /// Any subset of rows taken away loses exactly the acknowledged ones among them.
        #[test]
        fn each_missing_row_is_counted_once(
            fates in proptest::collection::vec((proptest::bool::ANY, proptest::bool::ANY), 0..60)
        ) {
            let acknowledged: Vec<bool> = fates.iter().map(|(acknowledged, _)| *acknowledged).collect();
            let kept: Vec<u64> = (1..).zip(&fates).filter(|(_, (_, kept))| *kept).map(|(seq, _)| seq).collect();
            let tally = compare("d", &publishes(&acknowledged), &rows(&kept));
            let expected = fates.iter().filter(|(acknowledged, kept)| *acknowledged && !*kept).count() as u64;
            proptest::prop_assert_eq!(tally.lost, expected);
            proptest::prop_assert_eq!(tally.committed, kept.len() as u64);
            proptest::prop_assert_eq!((tally.duplicated, tally.reordered), (0, 0));
        }
    }
}
