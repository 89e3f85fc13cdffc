//! Holds the connection on which the lock of the owner lives, and takes it again after an outage.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Row};
use tokio::sync::oneshot;

use crate::owner::{Block, Fenced, Hold, Ownership};
use crate::rows::{signed, unsigned};
use crate::session::{Backend, Session, backoff, within};

/// The advisory lock of the owner: "Statecas" in ASCII.
const LOCK: i64 = 0x5374_6174_6563_6173;
/// How often the keeper asks whether its connection still lives.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long it waits for each answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// The task. See [`crate::owner`].
pub(crate) struct Keeper {
    pub(crate) ownership: Arc<Ownership>,
    pub(crate) options: PgConnectOptions,
    /// The connection that holds the lock; none while interrupted.
    pub(crate) session: Option<Session>,
}

/// Whatever happens to the task, nobody writes without it.
impl Drop for Keeper {
    fn drop(&mut self) {
        self.ownership.hold.send_replace(Hold::Lost);
    }
}

impl Keeper {
    /// Runs until the sender of `stopped` is dropped, or the ownership is lost.
    pub(crate) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        tokio::select! {
            _ = &mut stopped => {}
            Fenced = self.keep() => tracing::error!("another process owns the database now"),
        }
        self.ownership.hold.send_replace(Hold::Lost);
        if let Some(session) = self.session.take() {
            // Closing the connection gives the lock back; when that fails it is closed by being dropped.
            let _ = within(ANSWER_DEADLINE, session.connection.close()).await;
        }
    }

    async fn keep(&mut self) -> Fenced {
        loop {
            let Err(error) = self.hold().await else { return Fenced };
            tracing::warn!(%error, "the connection that holds the lock of the owner is gone");
            self.ownership.hold.send_replace(Hold::Interrupted);
            let before = self.session.take().map(|session| session.backend);
            let mut attempt = 0;
            let session = loop {
                match self.take_again(before).await {
                    Ok(Some(session)) => break session,
                    Ok(None) => return Fenced,
                    Err(error) => tracing::debug!(%error, "take the lock of the owner again"),
                }
                tokio::time::sleep(backoff(attempt)).await;
                attempt += 1;
            };
            tracing::info!("took the lock of the owner again");
            self.ownership.hold.send_replace(Hold::Held { pid: session.backend.pid });
            self.session = Some(session);
        }
    }

    /// Beats and reserves positions for as long as the connection lives. `Ok` when the ownership is lost.
    async fn hold(&mut self) -> Result<(), sqlx::Error> {
        let Some(session) = &mut self.session else { return Err(sqlx::Error::WorkerCrashed) };
        loop {
            let missing = self.ownership.positions.lock().missing();
            let reserving = reserve(session, self.ownership.term, missing);
            let Some(end) = within(ANSWER_DEADLINE, reserving).await? else { return Ok(()) };
            self.ownership.positions.lock().end = end;
            self.ownership.reserved.notify_waiters();
            tokio::select! {
                () = self.ownership.wake.notified() => {}
                () = tokio::time::sleep(HEARTBEAT) => {}
            }
        }
    }

    /// Takes the lock on a new connection; none when somebody else has it, or had it in between.
    async fn take_again(&self, before: Option<Backend>) -> Result<Option<Session>, sqlx::Error> {
        let mut session = Session::open(&self.options).await?;
        // A server that hasn't noticed yet that our old connection is gone still holds the lock for it.
        if let Some(before) = before {
            session.end(before).await?;
        }
        if !try_lock(&mut session).await? {
            return Ok(None);
        }
        let Some(end) = within(ANSWER_DEADLINE, reserve(&mut session, self.ownership.term, 0)).await? else {
            return Ok(None);
        };
        self.ownership.positions.lock().end = end;
        Ok(Some(session))
    }
}

/// Tries to take the lock for as long as the session lives.
pub(crate) async fn try_lock(session: &mut Session) -> Result<bool, sqlx::Error> {
    let lock = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK);
    within(ANSWER_DEADLINE, lock.fetch_one(&mut session.connection)).await
}

/// Who holds the lock, in words.
pub(crate) async fn holder(session: &mut Session) -> Result<String, sqlx::Error> {
    let holder = sqlx::query_scalar("SELECT holder FROM owner");
    within(ANSWER_DEADLINE, holder.fetch_one(&mut session.connection)).await
}

/// Whether the lock is held by this process of the server, in this term. Asked by writers.
pub(crate) async fn holds(session: &mut Session, pid: i32, term: i64) -> Result<bool, sqlx::Error> {
    let query = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM owner WHERE term = $3) AND EXISTS (
            SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = $1
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND objsubid = 1 AND (classid::bigint << 32) | objid::bigint = $2)",
    );
    let query = query.bind(pid).bind(LOCK).bind(term);
    within(ANSWER_DEADLINE, query.fetch_one(&mut session.connection)).await
}

/// Begins a term: says who we are, and reserves the first positions.
pub(crate) async fn begin_term(session: &mut Session, block: u64) -> Result<(i64, Block), sqlx::Error> {
    let begin = sqlx::query(
        "UPDATE owner SET term = term + 1, reserved = reserved + $1,
            holder = format('process %s, connected from %s, since %s', $2::text,
                coalesce(host(inet_client_addr()), 'the same machine'), to_char(now(), 'YYYY-MM-DD HH24:MI:SS TZ'))
         RETURNING term, reserved",
    );
    let begin = begin.bind(signed(block)).bind(std::process::id().to_string());
    let row = within(ANSWER_DEADLINE, begin.fetch_one(&mut session.connection)).await?;
    let end = unsigned(row.try_get(1)?);
    Ok((row.try_get(0)?, Block { next: end - block, end, wanted: end }))
}

/// Reserves `more` positions and answers the first that isn't reserved; none when the term is over.
async fn reserve(session: &mut Session, term: i64, more: u64) -> Result<Option<u64>, sqlx::Error> {
    let query = if more == 0 {
        sqlx::query_scalar("SELECT reserved FROM owner WHERE term = $1").bind(term)
    } else {
        sqlx::query_scalar("UPDATE owner SET reserved = reserved + $2 WHERE term = $1 RETURNING reserved")
            .bind(term)
            .bind(signed(more))
    };
    let end: Option<i64> = query.fetch_all(&mut session.connection).await?.into_iter().next();
    Ok(end.map(unsigned))
}
