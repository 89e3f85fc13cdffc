//! Commits batches, and knows the fate of each whatever happens to its connection.
//!
//! Guarantee: `commit` returns when each device of the batch is committed, lost or poison, and not before. It
//! writes nothing twice: when a connection is lost in the middle, the process of the server at its other end
//! is ended first, then the database is asked whether the statement had committed ([`crate::fate`]).
//! An outage is waited out.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statecast_state::Position;

use crate::batch::{Batch, Group, Letter, Outcome, Plan};
use crate::error::poison;
use crate::owner::{Fenced, Hold, Ownership};
use crate::session::{self, Backend, Session, backoff, within};
use crate::{fate, keeper, statement};

/// A statement that takes longer is taken for lost, as if its connection were.
const COMMIT_DEADLINE: Duration = Duration::from_secs(30);
/// The questions after a loss get as long as this.
const FATE_DEADLINE: Duration = Duration::from_secs(30);

/// One connection that writes batches, one after the other. To write several at once, have several writers.
pub struct Writer {
    ownership: Arc<Ownership>,
    /// None before the first batch, after a loss, and while a statement runs.
    session: Option<Session>,
}

/// What is written in one transaction.
#[derive(Clone, Copy)]
enum Work<'a> {
    Write { groups: &'a [Group<'a>], letters: &'a [Letter<'a>] },
    Remove(Group<'a>),
}

/// What became of it.
enum Fate {
    /// Committed; the last position of each group that was written.
    Committed(HashSet<Position>),
    /// Refused for what is in a row.
    Poison(String),
}

/// Why an attempt brought no answer.
pub(crate) enum Trouble {
    Fenced,
    /// To be tried again.
    Again(sqlx::Error),
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Again(error)
    }
}

impl Writer {
    pub(crate) fn new(ownership: Arc<Ownership>) -> Self {
        Self { ownership, session: None }
    }

    /// Commits a batch. Takes as long as an outage of the database does. If the future is dropped the fate of
    /// the batch isn't known.
    ///
    /// # Errors
    /// `Fenced` when the ownership is lost; the fate of the batch isn't known then.
    pub async fn commit(&mut self, batch: &Batch) -> Result<Outcome, Fenced> {
        let plan = Plan::new(batch);
        let mut outcome = Outcome::default();
        let mut parts = vec![plan.whole()];
        while let Some(part) = parts.pop() {
            let groups = &plan.groups[part.groups.clone()];
            let letters = if part.letters { plan.letters.as_slice() } else { &[] };
            if groups.is_empty() && letters.is_empty() {
                continue;
            }
            match self.settle(Work::Write { groups, letters }).await? {
                Fate::Committed(positions) => {
                    let lost = groups.iter().filter(|group| !positions.contains(&group.last().position));
                    outcome.lost.extend(lost.map(|group| group.key().clone()));
                }
                Fate::Poison(reason) => match (part.halves(), groups) {
                    (Some(halves), _) => parts.extend(halves),
                    (None, [group]) => outcome.poison.push((group.key().clone(), reason)),
                    // Their text was made storable, and their payload is bytes.
                    (None, _) => tracing::error!(reason, "the database refused dead letters"),
                },
            }
        }
        for group in &plan.removals {
            match self.settle(Work::Remove(*group)).await? {
                Fate::Committed(positions) if positions.is_empty() => outcome.lost.push(group.key().clone()),
                Fate::Committed(_) => {}
                Fate::Poison(reason) => outcome.poison.push((group.key().clone(), reason)),
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a batch is far smaller than 2^52")]
        metrics::histogram!("statecast_db_batch_rows").record(batch.changes.len() as f64);
        Ok(outcome)
    }

    /// Writes one piece of work, however long it takes.
    async fn settle(&mut self, work: Work<'_>) -> Result<Fate, Fenced> {
        let mut doubtful = None;
        let mut outage = None;
        for attempt in 0_u32.. {
            let begun = Instant::now();
            match self.attempt(work, &mut doubtful).await {
                Ok(fate) => {
                    metrics::histogram!("statecast_db_commit_seconds").record(begun.elapsed());
                    return Ok(fate);
                }
                Err(Trouble::Fenced) => return Err(Fenced),
                Err(Trouble::Again(error)) => {
                    tracing::warn!(%error, attempt, "commit a batch: trying again");
                    metrics::counter!("statecast_db_retries_total").increment(1);
                    outage.get_or_insert_with(Outage::begin);
                    tokio::time::sleep(backoff(attempt)).await;
                }
            }
        }
        Err(Fenced) // after 2^32 attempts
    }

    /// One attempt. `doubtful` is the process of the server that ran the last one, if its end isn't known.
    async fn attempt(&mut self, work: Work<'_>, doubtful: &mut Option<Backend>) -> Result<Fate, Trouble> {
        if *self.ownership.hold.borrow() == Hold::Lost {
            return Err(Trouble::Fenced);
        }
        let mut session = match self.session.take() {
            Some(session) => session,
            None => connect(&self.ownership).await?,
        };
        if let Some(backend) = *doubtful {
            session.end(backend).await?;
            let known = within(FATE_DEADLINE, look_up(&mut session, work)).await?;
            *doubtful = None;
            if let Some(positions) = known {
                self.session = Some(session);
                return Ok(Fate::Committed(positions));
            }
        }
        *doubtful = Some(session.backend);
        let fate = match within(COMMIT_DEADLINE, run(&mut session, work)).await {
            Ok(positions) => Fate::Committed(positions),
            Err(error) => Fate::Poison(poison(&error).ok_or(error)?),
        };
        *doubtful = None;
        self.session = Some(session);
        Ok(fate)
    }
}

/// Connects to write, and makes sure that the ownership is still ours when the connection can be seen by others.
pub(crate) async fn connect(ownership: &Ownership) -> Result<Session, Trouble> {
    let hold = *ownership.hold.borrow();
    let pid = match hold {
        Hold::Held { pid } => pid,
        Hold::Lost => return Err(Trouble::Fenced),
        Hold::Interrupted => return Err(interrupted()),
    };
    let mut session = Session::open(&session::writer(ownership.options.clone())).await?;
    if keeper::holds(&mut session, pid, ownership.term).await? {
        Ok(session)
    } else {
        ownership.wake.notify_one();
        Err(interrupted())
    }
}

fn interrupted() -> Trouble {
    Trouble::Again(sqlx::Error::Io(std::io::Error::other("the lock of the owner isn't held at present")))
}

async fn run(session: &mut Session, work: Work<'_>) -> Result<HashSet<Position>, sqlx::Error> {
    match work {
        Work::Write { groups, letters } => statement::write(&mut session.connection, groups, letters).await,
        Work::Remove(group) => {
            let removed = statement::remove(&mut session.connection, group).await?;
            Ok(removed.then(|| group.last().position).into_iter().collect())
        }
    }
}

async fn look_up(session: &mut Session, work: Work<'_>) -> Result<Option<HashSet<Position>>, sqlx::Error> {
    match work {
        Work::Write { groups, letters } => fate::of_write(session, groups, letters).await,
        Work::Remove(group) => {
            let removed = fate::of_removal(session, group).await?;
            Ok(removed.then(|| HashSet::from([group.last().position])))
        }
    }
}

/// A batch waits for the database: counted from the first failure to the end.
struct Outage;

impl Outage {
    fn begin() -> Self {
        metrics::gauge!("statecast_db_outage").increment(1.0);
        Self
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        metrics::gauge!("statecast_db_outage").decrement(1.0);
    }
}
