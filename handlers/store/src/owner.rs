//! One process at a time owns a database, writes batches to it and gives out positions.
//!
//! Cast: the **lock**, an advisory lock that lives as long as the connection that took it; the **keeper**, the
//! task that holds this connection; the **term**, a number in the table `owner` that rises with each owner;
//! the writers ([`crate::Writer`]).
//!
//! States: *held*; *interrupted*, the connection of the keeper is gone, e.g. as the database restarts;
//! *lost*, somebody else took the lock, for good.
//!
//! Guarantee: once `own` has returned, no writer of anyone before can commit any more. A new owner takes the
//! lock, then ends every writer and waits until they are gone. A writer that connects later than that asks,
//! when it can already be seen in `pg_stat_activity`, whether its own keeper still holds the lock: either it
//! learns that it doesn't, or the new owner will see it and end it.
//!
//! When the keeper panics its connection closes, and the ownership is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::postgres::PgConnectOptions;
use statecast_state::Position;
use thiserror::Error;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

use crate::keeper::{self, Keeper};
use crate::session::{self, Session};
use crate::{Store, StoreError, Writer};

/// Positions are reserved in the database this many at a time.
const BLOCK: u64 = 1_000_000;
/// How long `own` waits for an owner that is just going.
const OWN_PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks.
const OWN_INTERVAL: Duration = Duration::from_millis(50);

/// Somebody else owns the database now: this process must write nothing more, and exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("another process owns the database now")]
pub struct Fenced;

/// Why a process can't own a database.
#[derive(Debug, Error)]
pub enum OwnError {
    /// Another process owns it, and lives.
    #[error("another process owns the database: {holder}")]
    Taken {
        /// Who, since when, as it said of itself.
        holder: String,
    },
    /// The database can't be used.
    #[error("own the database: {0}")]
    Store(#[from] StoreError),
}

/// The right to write batches. Dropped, it is given up.
pub struct Owner {
    pub(crate) ownership: Arc<Ownership>,
    keeper: JoinHandle<()>,
    /// Dropped to make the keeper end.
    _stop: oneshot::Sender<()>,
}

/// What the owner, its keeper and its writers share.
pub(crate) struct Ownership {
    pub(crate) options: PgConnectOptions,
    pub(crate) term: i64,
    pub(crate) hold: watch::Sender<Hold>,
    /// Wakes the keeper: positions run out, or a writer doubts that the lock is held.
    pub(crate) wake: Notify,
    /// The positions that may be given out.
    pub(crate) positions: Mutex<Block>,
    /// Told by the keeper after it reserved more.
    pub(crate) reserved: Notify,
}

/// Whether the lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// By this process of the server.
    Held { pid: i32 },
    /// The connection that held it is gone; the keeper tries to take it again.
    Interrupted,
    /// For good.
    Lost,
}

/// Positions from `next` up to, but not with, `end`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    pub(crate) next: u64,
    pub(crate) end: u64,
    /// The highest end that somebody has asked for.
    pub(crate) wanted: u64,
}

impl Block {
    /// How many more should be reserved now; 0 while there are enough.
    pub(crate) fn missing(self) -> u64 {
        let asked = self.wanted.saturating_sub(self.end);
        if asked > 0 || self.end - self.next < BLOCK / 2 { asked + BLOCK } else { 0 }
    }
}

impl Store {
    /// Becomes the owner of the database, which must be migrated. Waits a few seconds for an owner that is
    /// just going.
    ///
    /// # Errors
    /// `Taken` when another process owns it, and lives.
    pub async fn own(&self) -> Result<Owner, OwnError> {
        let options = session::owner(self.options.clone());
        let mut session = Session::open(&options).await.map_err(StoreError::from)?;
        let asked = Instant::now();
        while !keeper::try_lock(&mut session).await.map_err(StoreError::from)? {
            if asked.elapsed() > OWN_PATIENCE {
                let holder = keeper::holder(&mut session).await.map_err(StoreError::from)?;
                return Err(OwnError::Taken { holder });
            }
            tokio::time::sleep(OWN_INTERVAL).await;
        }
        session.end_writers().await.map_err(StoreError::from)?;
        let (term, block) = keeper::begin_term(&mut session, BLOCK).await.map_err(StoreError::from)?;
        let ownership = Arc::new(Ownership {
            options: self.options.clone(),
            term,
            hold: watch::Sender::new(Hold::Held { pid: session.backend.pid }),
            wake: Notify::new(),
            positions: Mutex::new(block),
            reserved: Notify::new(),
        });
        let (stop, stopped) = oneshot::channel();
        let keeper = Keeper { ownership: ownership.clone(), options, session: Some(session) };
        let keeper = tokio::spawn(keeper.run(stopped));
        tracing::info!(term, position = block.next, "this process owns the database");
        Ok(Owner { ownership, keeper, _stop: stop })
    }
}

impl Owner {
    /// The next position that [`Owner::reserve`] gives. Asked right after [`Store::own`]: every change below it
    /// is committed or never will be.
    pub fn next_position(&self) -> Position {
        Position(self.ownership.positions.lock().next)
    }

    /// The number of this ownership: larger than that of every one before.
    pub fn term(&self) -> u64 {
        crate::rows::unsigned(self.ownership.term)
    }

    /// Takes `n` positions and returns the first of them. Waits only in an outage that lasts until a million
    /// reserved ones are used up.
    ///
    /// # Errors
    /// `Fenced` when the ownership is lost.
    pub async fn reserve(&self, n: u64) -> Result<Position, Fenced> {
        let mut hold = self.ownership.hold.subscribe();
        loop {
            if *hold.borrow_and_update() == Hold::Lost {
                return Err(Fenced);
            }
            let reserved = self.ownership.reserved.notified();
            tokio::pin!(reserved);
            reserved.as_mut().enable();
            {
                let mut block = self.ownership.positions.lock();
                let first = block.next;
                let enough = block.end - first >= n;
                if enough {
                    block.next += n;
                } else {
                    block.wanted = block.wanted.max(first.saturating_add(n));
                }
                if block.missing() > 0 {
                    self.ownership.wake.notify_one();
                }
                if enough {
                    return Ok(Position(first));
                }
            }
            tokio::select! {
                () = reserved => {}
                _ = hold.changed() => {}
            }
        }
    }

    /// A new writer, with a connection of its own that it opens when it is first used.
    pub fn writer(&self) -> Writer {
        Writer::new(self.ownership.clone())
    }

    /// Returns when the ownership is lost for good: the process must exit.
    pub async fn lost(&self) {
        // An error means that the sender is gone, which this owner holds.
        let _ = self.ownership.hold.subscribe().wait_for(|hold| *hold == Hold::Lost).await;
    }

    /// Gives the ownership up. To be called when the writers have nothing more to write.
    pub async fn release(self) {
        let Self { keeper, _stop, .. } = self;
        drop(_stop);
        if let Err(error) = keeper.await {
            tracing::error!(%error, "the keeper of the ownership failed");
        }
    }
}
