//! Compares the index with the table, and puts right what differs.
//!
//! A range of devices at a time is compared by a checksum: that of the index at its position, and that of the
//! table of what hasn't changed since. Only where they differ devices are looked at one by one, and as both
//! move meanwhile, a difference counts only when it stays: the twin is read, the index is given the time to
//! reach what was committed by then, and the twin is read again; an index that shows a version from the one to
//! the other is right. What still differs after a few rounds is written again by the follower, from the table.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::Context;
use statecast_state::DeviceKey;
use tracing::warn;

use crate::range::{self, Range};
use crate::source::{Digest, checksum};
use crate::{Search, Source};

/// Devices that are compared at a time.
const RANGE_DEVICES: usize = 1_000;
/// How often a difference is looked at before it counts.
const ROUNDS: u32 = 5;
/// Between two looks.
const ROUND_PAUSE: Duration = Duration::from_millis(50);
/// Devices that differ, named in the log for each range.
const NAMED_MAX: usize = 5;
/// How long the index may take to reach what was committed.
const REACH_TIMEOUT: Duration = Duration::from_secs(60);

/// What a comparison found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    /// Twins that were compared.
    pub checked: usize,
    /// Twins that the index didn't have.
    pub missing: usize,
    /// Documents without a twin.
    pub extra: usize,
    /// Twins of which the index had another version.
    pub different: usize,
    /// How many of all these agree now.
    pub repaired: usize,
}

impl Verified {
    /// Devices that were not the same in both.
    pub fn differed(&self) -> usize {
        self.missing + self.extra + self.different
    }
}

/// The versions of a device that was looked at, in the table and in the index; 0 where it isn't, and the highest of all
/// where the index has it more than once.
#[derive(Debug, Clone, Copy)]
struct Look {
    before: u64,
    indexed: u64,
    after: u64,
}

impl Look {
    fn agrees(self) -> bool {
        (self.before..=self.after).contains(&self.indexed)
    }
}

impl Search {
    /// Compares every twin of `source` with the index that follows it, and repairs what differs. After each range of
    /// some devices it calls `pause` with the time that the range took, and waits for what that makes.
    ///
    /// # Errors
    /// When the source fails, the index can't be read, or nobody follows.
    pub async fn verify<P: Future<Output = ()>>(
        &self,
        source: &dyn Source,
        mut pause: impl FnMut(Duration) -> P,
    ) -> anyhow::Result<Verified> {
        let mut verified = Verified::default();
        let mut after = None;
        loop {
            let begun = Instant::now();
            let last = self.verify_range(source, after, &mut verified).await?;
            if last.is_none() {
                return Ok(verified);
            }
            after = last;
            pause(begun.elapsed()).await;
        }
    }

    /// Compares the devices after `after`, some of them: as they were at the position of what searches see, by a
    /// checksum, and only if that differs one by one. Returns the last key of the range, none when it was the last.
    async fn verify_range(
        &self,
        source: &dyn Source,
        after: Option<DeviceKey>,
        verified: &mut Verified,
    ) -> anyhow::Result<Option<DeviceKey>> {
        let view = self.view()?;
        let table =
            source.digest(after.clone(), RANGE_DEVICES, view.position).await.context("add up twins")?;
        verified.checked += table.twins;
        let Digest { last, newer, sum, .. } = table;
        let range = Range { after: after.clone(), last: last.clone() };
        let newer: HashSet<_> = newer.into_iter().collect();
        let indexed = tokio::task::spawn_blocking(move || range::read(&view, &range))
            .await?
            .context("read the index")?;
        let unchanged = indexed.iter().filter(|(key, _)| !newer.contains(*key));
        let indexed_sum = unchanged.fold(0, |sum, (key, version)| sum ^ checksum(key, *version));
        if indexed_sum != sum {
            let page = source.scan(after, RANGE_DEVICES).await.context("scan twins")?;
            let twins: HashMap<_, _> = page.into_iter().map(|(key, twin)| (key, twin.version)).collect();
            let wrong = twins.iter().filter(|(key, version)| indexed.get(*key) != Some(*version));
            let extra = indexed.keys().filter(|key| !twins.contains_key(*key));
            let suspects: HashSet<_> = wrong.map(|(key, _)| key).chain(extra).cloned().collect();
            self.settle(source, suspects.into_iter().collect(), verified).await?;
        }
        Ok(last)
    }

    /// Looks again at devices that seem to differ; counts and repairs those that do.
    async fn settle(
        &self,
        source: &dyn Source,
        suspects: Vec<DeviceKey>,
        verified: &mut Verified,
    ) -> anyhow::Result<()> {
        let differ = self.differing(source, suspects).await?;
        if differ.is_empty() {
            return Ok(());
        }
        for (key, look) in differ.iter().take(NAMED_MAX) {
            warn!(tenant = %key.tenant, device = %key.device, ?look, "the index has another version than the table");
        }
        for look in differ.values() {
            match look {
                Look { indexed: 0, .. } => verified.missing += 1,
                Look { after: 0, .. } => verified.extra += 1,
                _ => verified.different += 1,
            }
        }
        let keys: Vec<_> = differ.into_keys().collect();
        let count = keys.len();
        self.repair(keys.clone()).await.context("repair the index")?;
        verified.repaired += count - self.differing(source, keys).await?.len();
        Ok(())
    }

    /// Those of the suspects that differ however often one looks.
    async fn differing(
        &self,
        source: &dyn Source,
        mut suspects: Vec<DeviceKey>,
    ) -> anyhow::Result<HashMap<DeviceKey, Look>> {
        let mut differ = HashMap::new();
        for round in 0..ROUNDS {
            if suspects.is_empty() {
                break;
            }
            tokio::time::sleep(ROUND_PAUSE * round).await;
            let before = twin_versions(source, &suspects).await?;
            self.reach(source).await?;
            let indexed = self.versions(suspects.clone()).await?;
            let after = twin_versions(source, &suspects).await?;
            let looks = before.into_iter().zip(indexed).zip(after);
            let looks = looks.map(|((before, indexed), after)| Look { before, indexed, after });
            differ = suspects.into_iter().zip(looks).filter(|(_, look)| !look.agrees()).collect();
            suspects = differ.keys().cloned().collect();
        }
        Ok(differ)
    }

    /// Waits until the index has what is committed now.
    async fn reach(&self, source: &dyn Source) -> anyhow::Result<()> {
        self.wait(source.horizon(), REACH_TIMEOUT).await.context("wait for the index")
    }

    /// The version of each device in the index, 0 for one that isn't there.
    async fn versions(&self, keys: Vec<DeviceKey>) -> anyhow::Result<Vec<u64>> {
        let view = self.view()?;
        let look_up =
            move || keys.iter().map(|key| range::version(&view, key)).collect::<tantivy::Result<_>>();
        tokio::task::spawn_blocking(look_up).await?.context("read the index")
    }
}

async fn twin_versions(source: &dyn Source, keys: &[DeviceKey]) -> anyhow::Result<Vec<u64>> {
    let twins = source.twins(keys.to_vec()).await.context("load twins")?;
    Ok(twins.into_iter().map(|twin| twin.map_or(0, |twin| twin.version)).collect())
}
