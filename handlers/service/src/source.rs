//! Where the search index gets its truth from: the feed while it reaches back far enough, else the tables.

use std::sync::Arc;

use anyhow::Result;
use futures::FutureExt;
use futures::future::BoxFuture;
use statecast_flow::{Flow, Read};
use statecast_search::source::FeedGone;
use statecast_search::{Changes, Digest, Source};
use statecast_state::{DeviceKey, Position, Twin};
use statecast_store::Store;

/// Changes taken at a time.
const READ_MAX: usize = 4_000;

/// The tables and the feed, as the index sees them.
pub struct Truth {
    store: Store,
    flow: Flow,
}

impl Truth {
    /// Over this store and the feed of this flow.
    pub fn new(store: Store, flow: Flow) -> Self {
        Self { store, flow }
    }

    async fn read(&self, after: Position) -> Result<Changes> {
        let feed = self.flow.feed();
        feed.wait_after(after).await;
        match feed.read(after, READ_MAX) {
            Read::Changes(changes, upto) => {
                let items = changes.iter().map(|change| (change.key.clone(), change.after.clone())).collect();
                let newest = changes.last().map_or(after, |change| change.position);
                Ok(Changes { items, newest, upto })
            }
            Read::Behind(from) => self.catch_up(after, from).await,
        }
    }

    /// Reads from the history which devices changed, and from the table what they are now.
    async fn catch_up(&self, after: Position, from: Position) -> Result<Changes> {
        let rows = self.store.feed(after, from, READ_MAX).await?;
        // Asked last: what was dropped by then may be missing.
        if self.store.feed_floor().await? > after {
            return Err(FeedGone(after).into());
        }
        let newest = rows.last().map_or(after, |row| row.row.position);
        let upto = rows.last().filter(|_| rows.len() >= READ_MAX).map_or(from, |row| row.row.position);
        let mut keys: Vec<DeviceKey> = rows.into_iter().map(|row| row.key).collect();
        keys.sort();
        keys.dedup();
        let twins = self.store.twins(&keys).await?;
        Ok(Changes {
            items: keys.into_iter().zip(twins.into_iter().map(|twin| twin.map(Arc::new))).collect(),
            newest,
            upto,
        })
    }
}

impl Source for Truth {
    fn scan(
        &self,
        after: Option<DeviceKey>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(DeviceKey, Arc<Twin>)>>> {
        async move {
            let rows = self.store.scan(after.as_ref(), limit).await?;
            Ok(rows.into_iter().map(|(key, twin)| (key, Arc::new(twin))).collect())
        }
        .boxed()
    }

    fn count(&self) -> BoxFuture<'_, Result<u64>> {
        async move { Ok(self.store.count(None).await?) }.boxed()
    }

    fn digest(
        &self,
        after: Option<DeviceKey>,
        limit: usize,
        upto: Position,
    ) -> BoxFuture<'_, Result<Digest>> {
        async move {
            let range = self.store.digest(after.as_ref(), limit, upto).await?;
            // A range that isn't full is the last.
            let last = range.last.filter(|_| range.twins == limit);
            Ok(Digest { last, twins: range.twins, newer: range.newer, sum: range.sum })
        }
        .boxed()
    }

    fn twins(&self, keys: Vec<DeviceKey>) -> BoxFuture<'_, Result<Vec<Option<Arc<Twin>>>>> {
        async move {
            let twins = self.store.twins(&keys).await?;
            Ok(twins.into_iter().map(|twin| twin.map(Arc::new)).collect())
        }
        .boxed()
    }

    fn watermark(&self) -> Position {
        self.flow.feed().watermark()
    }

    fn horizon(&self) -> Position {
        self.flow.horizon()
    }

    fn committed(&self) -> BoxFuture<'_, Result<Position>> {
        async move { Ok(self.store.last_position().await?) }.boxed()
    }

    fn changes(&self, after: Position) -> BoxFuture<'_, Result<Changes>> {
        self.read(after).boxed()
    }
}
