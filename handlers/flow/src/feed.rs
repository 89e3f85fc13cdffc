//! What was committed, in the order of positions. The index, the live streams and the devices' downlinks read it.
//!
//! *Guarantee*: a reader that has read up to a position has seen every committed change up to it; nothing is
//! shown at or below a position at which a reader may already stand.
//! *Bound*: the last `bytes_max` bytes are kept; who is further behind is told so, and reads the history.
//! Readers pull: a slow one costs nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::RwLock;
use statecast_state::{Change, Position};
use tokio::sync::watch;

/// The feed. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    inner: Arc<Inner>,
}

struct Inner {
    kept: RwLock<Kept>,
    watermark: watch::Sender<Position>,
    bytes_max: usize,
}

/// What is in memory: everything after `from`, up to the watermark.
struct Kept {
    from: Position,
    changes: VecDeque<(Arc<Change>, usize)>,
    bytes: usize,
    /// Batches that were resolved before an earlier one, by their sequence number.
    early: BTreeMap<u64, (Vec<Arc<Change>>, Position)>,
    next_batch: u64,
}

/// What a reader gets.
pub enum Read {
    /// Changes in order, and the position up to which nothing more will come.
    Changes(Vec<Arc<Change>>, Position),
    /// What the reader needs is no longer in memory: it must read the history up to this position.
    Behind(Position),
}

impl Feed {
    /// A feed that begins after `from`, and keeps about `bytes_max` bytes.
    pub fn new(from: Position, bytes_max: usize) -> Self {
        let kept = Kept { from, changes: VecDeque::new(), bytes: 0, early: BTreeMap::new(), next_batch: 0 };
        Self {
            inner: Arc::new(Inner {
                kept: RwLock::new(kept),
                watermark: watch::Sender::new(from),
                bytes_max,
            }),
        }
    }

    /// The position at or below which everything is resolved.
    pub fn watermark(&self) -> Position {
        *self.inner.watermark.borrow()
    }

    /// Waits until there is something after the position.
    pub async fn wait_after(&self, position: Position) {
        self.wait_for(|watermark| watermark > position).await;
    }

    /// Waits until everything up to the position is resolved.
    pub async fn reached(&self, position: Position) {
        self.wait_for(|watermark| watermark >= position).await;
    }

    async fn wait_for(&self, is_there: impl Fn(Position) -> bool) {
        // The sender lives in `self`, so this can't fail.
        drop(self.inner.watermark.subscribe().wait_for(|watermark| is_there(*watermark)).await);
    }

    /// Reads up to `max` changes after a position.
    pub fn read(&self, after: Position, max: usize) -> Read {
        let kept = self.inner.kept.read();
        if after < kept.from {
            return Read::Behind(kept.from);
        }
        let start = kept.changes.partition_point(|(change, _)| change.position <= after);
        let changes: Vec<_> =
            kept.changes.range(start..).take(max).map(|(change, _)| change.clone()).collect();
        let upto = match changes.last() {
            Some(last) if start + changes.len() < kept.changes.len() => last.position,
            _ => self.watermark().max(after),
        };
        Read::Changes(changes, upto)
    }

    /// Takes in a resolved batch: what of it was committed, and its last position. Batches are numbered from 0 in
    /// the order of their positions, and may be resolved in any order.
    pub fn resolved(
        &self,
        batch: u64,
        changes: Vec<Arc<Change>>,
        last: Position,
        weigh: fn(&Change) -> usize,
    ) {
        let mut kept = self.inner.kept.write();
        kept.early.insert(batch, (changes, last));
        let mut watermark = None;
        loop {
            let next = kept.next_batch;
            let Some((changes, last)) = kept.early.remove(&next) else { break };
            kept.next_batch += 1;
            for change in changes {
                let bytes = weigh(&change);
                kept.bytes += bytes;
                kept.changes.push_back((change, bytes));
            }
            watermark = Some(last);
        }
        while kept.bytes > self.inner.bytes_max {
            let Some((change, bytes)) = kept.changes.pop_front() else { break };
            kept.bytes -= bytes;
            kept.from = change.position;
        }
        // Within the lock, so that a reader never sees a watermark without its changes or the reverse.
        if let Some(watermark) = watermark {
            self.inner.watermark.send_replace(watermark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statecast_state::{DeviceId, DeviceKey, Document, Kind, TenantId, Timestamp};

    fn change(position: u64) -> Arc<Change> {
        Arc::new(Change {
            key: DeviceKey::new(TenantId::default(), DeviceId::parse("a").expect("valid")),
            position: Position(position),
            kind: Kind::State,
            before: None,
            after: None,
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
        })
    }

    fn positions(read: Read) -> (Vec<u64>, u64) {
        match read {
            Read::Changes(changes, upto) => (changes.iter().map(|c| c.position.0).collect(), upto.0),
            Read::Behind(from) => panic!("behind {from}"),
        }
    }

    #[test]
    fn a_later_batch_waits_for_an_earlier_one() {
        let feed = Feed::new(Position(10), 1_000);
        feed.resolved(1, vec![change(13)], Position(14), |_| 1);
        assert_eq!(positions(feed.read(Position(10), 9)), (vec![], 10));
        feed.resolved(0, vec![change(11)], Position(12), |_| 1);
        assert_eq!(positions(feed.read(Position(10), 9)), (vec![11, 13], 14));
        assert_eq!(positions(feed.read(Position(10), 1)), (vec![11], 11));
        assert_eq!(positions(feed.read(Position(11), 1)), (vec![13], 14));
        assert_eq!(positions(feed.read(Position(14), 1)), (vec![], 14));
    }

    #[test]
    fn who_is_too_far_behind_is_told() {
        let feed = Feed::new(Position(0), 2);
        for n in 0..5 {
            feed.resolved(n, vec![change(n + 1)], Position(n + 1), |_| 1);
        }
        assert!(matches!(feed.read(Position(2), 9), Read::Behind(Position(3))));
        assert_eq!(positions(feed.read(Position(3), 9)), (vec![4, 5], 5));
    }
}
