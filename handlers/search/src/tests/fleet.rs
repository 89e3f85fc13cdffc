//! A fleet in memory: twins and their feed, as the service would give them to the index.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Value, json};
use statecast_state::query::{Query, Sort};
use statecast_state::{DeviceId, DeviceKey, Document, Position, TenantId, Timestamp, Twin};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::generation::Generation;
use crate::source::checksum;
use crate::{Changes, Digest, FeedGone, Page, Question, Search, Settings, Source, follow};

/// Long enough for a slow machine; a test that waits this long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Positions that are reserved at a time.
const RESERVED: u64 = 1_000_000;

#[derive(Default)]
pub(super) struct Fleet {
    inner: Mutex<Inner>,
    changed: Notify,
    /// How many twins were read by scans.
    pub(super) scanned: AtomicUsize,
    /// How many times all was added up.
    pub(super) passes: AtomicUsize,
    /// While it is true scans don't answer.
    pub(super) held: tokio::sync::watch::Sender<bool>,
    /// How many of the next questions fail.
    pub(super) failing: AtomicUsize,
}

#[derive(Default)]
struct Inner {
    twins: BTreeMap<DeviceKey, Arc<Twin>>,
    feed: Vec<(Position, DeviceKey, Option<Arc<Twin>>)>,
    watermark: u64,
    /// Positions that were reserved, and given to no change.
    reserved: u64,
    forgotten: u64,
}

pub(super) fn key(device: &str) -> DeviceKey {
    DeviceKey::new(TenantId::default(), DeviceId::parse(device).unwrap())
}

pub(super) fn document(value: &Value) -> Document {
    value.as_object().unwrap().clone()
}

impl Fleet {
    pub(super) fn of(count: u64) -> Arc<Self> {
        let fleet = Arc::new(Self::default());
        for n in 0..count {
            fleet.report(&format!("d{n:05}"), &json!({"n": n}));
        }
        fleet
    }

    /// A device reports its whole state; the position of the change.
    pub(super) fn report(&self, device: &str, reported: &Value) -> Position {
        let key = key(device);
        let mut inner = self.inner.lock();
        let before = inner.twins.get(&key);
        let version = before.map_or(0, |twin| twin.version) + 1;
        let twin = Twin { version, reported: document(reported), ..Twin::new(key.device.clone()) };
        let twin = Arc::new(twin);
        inner.twins.insert(key.clone(), twin.clone());
        self.commit(&mut inner, key, Some(twin))
    }

    pub(super) fn remove(&self, device: &str) -> Position {
        let mut inner = self.inner.lock();
        inner.twins.remove(&key(device));
        self.commit(&mut inner, key(device), None)
    }

    fn commit(&self, inner: &mut Inner, key: DeviceKey, twin: Option<Arc<Twin>>) -> Position {
        // Positions have gaps.
        inner.watermark += 3;
        let position = Position(inner.watermark);
        inner.feed.push((position, key, twin));
        self.changed.notify_waiters();
        position
    }

    /// Changes a twin behind the back of the feed, as a fault would.
    pub(super) fn tamper(&self, device: &str, twin: Option<Twin>) {
        let mut inner = self.inner.lock();
        match twin {
            Some(twin) => inner.twins.insert(key(device), Arc::new(twin)),
            None => inner.twins.remove(&key(device)),
        };
    }

    /// A backup is put back: the feed ends earlier than it did.
    pub(super) fn restore(&self, watermark: Position) {
        let mut inner = self.inner.lock();
        inner.feed.retain(|(position, ..)| *position <= watermark);
        inner.watermark = watermark.0;
        inner.reserved = RESERVED;
    }

    /// The feed up to here is dropped.
    pub(super) fn forget(&self, upto: Position) {
        let mut inner = self.inner.lock();
        inner.feed.retain(|(position, ..)| *position > upto);
        inner.forgotten = upto.0;
    }

    fn answer<T>(&self, answer: T) -> anyhow::Result<T> {
        let failing = self.failing.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if failing.is_ok() { Err(anyhow::anyhow!("the database is out")) } else { Ok(answer) }
    }
}

impl Source for Fleet {
    fn scan(&self, after: Option<DeviceKey>, limit: usize) -> BoxFuture<'_, anyhow::Result<Page>> {
        Box::pin(async move {
            let mut held = self.held.subscribe();
            drop(held.wait_for(|held| !held).await);
            let inner = self.inner.lock();
            let behind = |key: &DeviceKey| after.as_ref().is_none_or(|after| key > after);
            let page: Vec<_> = inner
                .twins
                .iter()
                .filter(|(key, _)| behind(key))
                .take(limit)
                .map(|(key, twin)| (key.clone(), twin.clone()))
                .collect();
            self.scanned.fetch_add(page.len(), Ordering::SeqCst);
            self.answer(page)
        })
    }

    fn count(&self) -> BoxFuture<'_, anyhow::Result<u64>> {
        Box::pin(async { self.answer(self.inner.lock().twins.len() as u64) })
    }

    fn digest(
        &self,
        after: Option<DeviceKey>,
        limit: usize,
        upto: Position,
    ) -> BoxFuture<'_, anyhow::Result<Digest>> {
        Box::pin(async move {
            let inner = self.inner.lock();
            let changed = inner.feed.iter().filter(|(position, ..)| *position > upto);
            let changed: std::collections::BTreeSet<_> = changed.map(|(_, key, _)| key).collect();
            let range = inner.twins.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
            let mut digest = Digest::default();
            for (key, twin) in range.take(limit) {
                digest.twins += 1;
                if changed.contains(key) {
                    digest.newer.push(key.clone());
                } else {
                    digest.sum ^= checksum(key, twin.version);
                }
                digest.last = Some(key.clone());
            }
            digest.last = digest.last.filter(|_| digest.twins == limit);
            self.passes.fetch_add(usize::from(digest.last.is_none()), Ordering::SeqCst);
            self.answer(digest)
        })
    }

    fn twins(&self, keys: Vec<DeviceKey>) -> BoxFuture<'_, anyhow::Result<Vec<Option<Arc<Twin>>>>> {
        Box::pin(async move {
            let inner = self.inner.lock();
            self.answer(keys.iter().map(|key| inner.twins.get(key).cloned()).collect())
        })
    }

    fn watermark(&self) -> Position {
        let inner = self.inner.lock();
        Position(inner.watermark + inner.reserved)
    }

    fn horizon(&self) -> Position {
        self.watermark()
    }

    fn committed(&self) -> BoxFuture<'_, anyhow::Result<Position>> {
        Box::pin(async { self.answer(Position(self.inner.lock().watermark)) })
    }

    fn changes(&self, after: Position) -> BoxFuture<'_, anyhow::Result<Changes>> {
        Box::pin(async move {
            loop {
                let changed = self.changed.notified();
                {
                    let inner = self.inner.lock();
                    if after.0 < inner.forgotten {
                        return Err(FeedGone(after).into());
                    }
                    let start = inner.feed.partition_point(|(position, ..)| *position <= after);
                    let items: Vec<_> = inner.feed[start..].iter().take(1_000).collect();
                    if let Some((upto, ..)) = items.last() {
                        let upto = *upto;
                        let items =
                            items.into_iter().map(|(_, key, twin)| (key.clone(), twin.clone())).collect();
                        return self.answer(Changes { items, newest: upto, upto });
                    }
                }
                changed.await;
            }
        })
    }
}

/// An index that follows a fleet.
pub(super) struct Running {
    pub(super) search: Search,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    pub(super) async fn start(dir: &Path, fleet: &Arc<Fleet>) -> Self {
        Self::start_with(dir, fleet, Settings::default()).await
    }

    pub(super) async fn start_with(dir: &Path, fleet: &Arc<Fleet>, settings: Settings) -> Self {
        let (dir, stop) = (dir.to_owned(), CancellationToken::new());
        let search = tokio::task::spawn_blocking(move || Search::open(&dir, settings));
        let search = search.await.unwrap().unwrap();
        let task = tokio::spawn(follow(search.clone(), fleet.clone(), stop.clone()));
        Self { search, stop, task }
    }

    /// Waits until the index has all that the fleet has.
    pub(super) async fn caught_up(&self, fleet: &Fleet) {
        self.search.wait(fleet.watermark(), PATIENCE).await.unwrap();
    }

    /// Compares index and fleet, without a pause.
    pub(super) async fn verify(&self, fleet: &Fleet) -> anyhow::Result<crate::Verified> {
        self.search.verify(fleet, |_| std::future::ready(())).await
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// The ids that match, all pages, in order.
    pub(super) fn ids(&self, query: &str, sort: &str) -> Vec<String> {
        ids(&self.search, query, sort, 1_000)
    }

    pub(super) fn total(&self, query: &str) -> usize {
        let query = Query::parse(query).unwrap();
        self.search.search(&Question::new(&TenantId::default(), &query, now())).unwrap().total
    }
}

/// An empty index that nobody follows, to be written by hand.
pub(super) fn empty(search: &Search) -> Generation {
    search.take_hands().unwrap().shelf.create().unwrap().finish(Position(0), Position(0)).unwrap()
}

pub(super) fn now() -> Timestamp {
    Timestamp::parse("2026-11-22T18:00:00Z").unwrap()
}

/// The ids that match, page by page.
pub(super) fn ids(search: &Search, query: &str, sort: &str, page: usize) -> Vec<String> {
    let (tenant, query) = (TenantId::default(), Query::parse(query).unwrap());
    let sort = Sort::parse(sort).unwrap();
    let (mut ids, mut cursor) = (Vec::new(), None);
    loop {
        let question = Question::new(&tenant, &query, now());
        let found = search
            .search(&Question { sort: &sort, limit: page, cursor: cursor.as_deref(), ..question })
            .unwrap();
        ids.extend(found.ids.iter().map(ToString::to_string));
        cursor = found.next_cursor;
        if cursor.is_none() {
            assert_eq!(ids.len(), found.total);
            return ids;
        }
        assert_eq!(found.ids.len(), page, "a page that isn't the last is full");
    }
}
