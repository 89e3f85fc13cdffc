//! Compares the index with the table, and puts right what differs.
//!
//! Both move while they are compared. So a difference counts only when it stays: the twin is read, the index
//! is given the time to reach what was committed by then, and the twin is read again; an index that shows a
//! version from the one to the other is right. What still differs after a few rounds is written again by the
//! follower, from the table.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use statecast_state::{DeviceId, DeviceKey, TenantId};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocSet, SegmentReader, TERMINATED, TantivyError};

use crate::generation::View;
use crate::postings::is_alive;
use crate::schema::{self, VERSION_COLUMN};
use crate::{Search, Source};

/// Devices that are compared at a time.
const PAGE_DEVICES: usize = 1_000;
/// How often a difference is looked at before it counts.
const ROUNDS: u32 = 5;
/// Between two looks.
const ROUND_PAUSE: Duration = Duration::from_millis(50);
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

/// The versions of a device that was looked at; 0 where it isn't.
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
    /// Compares every twin of `source` with the index that follows it, and repairs what differs.
    ///
    /// # Errors
    /// When the source fails, the index can't be read, or nobody follows.
    pub async fn verify(&self, source: &dyn Source) -> anyhow::Result<Verified> {
        let mut verified = Verified::default();
        let mut after = None;
        loop {
            let page = source.scan(after.clone(), PAGE_DEVICES).await.context("scan twins")?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            verified.checked += page.len();
            self.reach(source).await?;
            let keys: Vec<_> = page.iter().map(|(key, _)| key.clone()).collect();
            let indexed = self.versions(keys.clone()).await?;
            let differ = page.iter().zip(indexed).filter(|((_, twin), version)| twin.version != *version);
            self.settle(source, differ.map(|((key, _), _)| key.clone()).collect(), &mut verified).await?;
        }
        // The other way round: documents whose device isn't in the table.
        let view = self.view();
        for segment in 0..view.searcher.segment_readers().len() {
            let mut after = Vec::new();
            loop {
                let (keys, last) = self.keys(&view, segment, after).await?;
                let twins = source.twins(keys.clone()).await.context("load twins")?;
                let extra =
                    keys.into_iter().zip(twins).filter(|(_, twin)| twin.is_none()).map(|(key, _)| key);
                self.settle(source, extra.collect(), &mut verified).await?;
                match last {
                    Some(last) => after = last,
                    None => break,
                }
            }
        }
        Ok(verified)
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
        self.wait(source.watermark(), REACH_TIMEOUT).await.context("wait for the index")
    }

    /// The version of each device in the index, 0 for one that isn't there.
    async fn versions(&self, keys: Vec<DeviceKey>) -> anyhow::Result<Vec<u64>> {
        let view = self.view();
        let look_up = move || keys.iter().map(|key| version(&view, key)).collect::<tantivy::Result<_>>();
        tokio::task::spawn_blocking(look_up).await?.context("read the index")
    }

    /// A page of the keys of documents in a segment, those after the term `after`; and the last term of the
    /// page, none when there are no more.
    async fn keys(
        &self,
        view: &View,
        segment: usize,
        after: Vec<u8>,
    ) -> anyhow::Result<(Vec<DeviceKey>, Option<Vec<u8>>)> {
        let view = view.clone();
        tokio::task::spawn_blocking(move || keys_of_segment(&view, segment, &after))
            .await?
            .context("read the index")
    }
}

async fn twin_versions(source: &dyn Source, keys: &[DeviceKey]) -> anyhow::Result<Vec<u64>> {
    let twins = source.twins(keys.to_vec()).await.context("load twins")?;
    Ok(twins.into_iter().map(|twin| twin.map_or(0, |twin| twin.version)).collect())
}

fn version(view: &View, key: &DeviceKey) -> tantivy::Result<u64> {
    let term = schema::key_bytes(key);
    for reader in view.searcher.segment_readers() {
        if let Some(doc) = alive_doc(view, reader, &term)? {
            return Ok(reader.fast_fields().u64(VERSION_COLUMN)?.first(doc).unwrap_or(0));
        }
    }
    Ok(0)
}

/// The document with this key that isn't deleted.
fn alive_doc(view: &View, reader: &SegmentReader, term: &[u8]) -> tantivy::Result<Option<u32>> {
    let inverted = reader.inverted_index(view.fields.key)?;
    let Some(info) = inverted.terms().get(term)? else { return Ok(None) };
    let mut postings = inverted.read_postings_from_terminfo(&info, IndexRecordOption::Basic)?;
    while postings.doc() != TERMINATED && !is_alive(reader, postings.doc()) {
        postings.advance();
    }
    Ok((postings.doc() != TERMINATED).then(|| postings.doc()))
}

fn keys_of_segment(
    view: &View,
    segment: usize,
    after: &[u8],
) -> tantivy::Result<(Vec<DeviceKey>, Option<Vec<u8>>)> {
    let reader = &view.searcher.segment_readers()[segment];
    let inverted = reader.inverted_index(view.fields.key)?;
    let mut terms = inverted.terms().range().gt(after).into_stream()?;
    let mut keys = Vec::new();
    while terms.advance() {
        if alive_doc(view, reader, terms.key())?.is_some() {
            keys.push(read_key(terms.key()).ok_or_else(|| {
                TantivyError::InternalError("the index holds a key that isn't one".to_owned())
            })?);
        }
        if keys.len() == PAGE_DEVICES {
            return Ok((keys, Some(terms.key().to_vec())));
        }
    }
    Ok((keys, None))
}

fn read_key(term: &[u8]) -> Option<DeviceKey> {
    let (tenant, device) = std::str::from_utf8(term).ok()?.split_once('\0')?;
    Some(DeviceKey::new(TenantId::parse(tenant).ok()?, DeviceId::parse(device).ok()?))
}
