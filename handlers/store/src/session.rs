//! How each kind of connection is set up. The application name says what a connection is for, to people who
//! look at `pg_stat_activity`, and to a new owner that ends the writers of the one before.

use std::future::Future;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection};
use sqlx::types::chrono::{DateTime, Utc};
use sqlx::{ConnectOptions, Postgres, Row};

/// The name of connections that write batches. A new owner ends those of anyone else.
pub const WRITER: &str = "statecast-writer";
/// The name of the connection that holds the lock of the owner.
pub const OWNER: &str = "statecast-owner";
/// The name of all others.
pub const READER: &str = "statecast";

/// Within this time a connection is there or the attempt is given up.
pub(crate) const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Within this time a process of the server that was told to end is gone.
const GONE_DEADLINE: Duration = Duration::from_secs(20);
/// How often to look whether it is gone.
const GONE_INTERVAL: Duration = Duration::from_millis(10);

/// Connections of the pool: for reads and small writes.
///
/// Every table is read by its index, however small it was when the statement was planned: a plan that was
/// made for an empty table must not be there still when it has a million rows.
pub(crate) fn reader(options: PgConnectOptions) -> PgConnectOptions {
    common(options, READER).options([("statement_timeout", "30s"), ("enable_seqscan", "off")])
}

/// Connections that write batches: one plan for all batches, made once.
pub(crate) fn writer(options: PgConnectOptions) -> PgConnectOptions {
    common(options, WRITER).options([
        ("enable_seqscan", "off"),
        ("plan_cache_mode", "force_generic_plan"),
        ("synchronous_commit", "on"),
    ])
}

/// The connection that holds the lock. The server notices within half a minute when our machine is gone.
pub(crate) fn owner(options: PgConnectOptions) -> PgConnectOptions {
    common(options, OWNER).options([
        ("tcp_keepalives_idle", "10"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "4"),
    ])
}

fn common(options: PgConnectOptions, name: &str) -> PgConnectOptions {
    options.application_name(name).options([("TimeZone", "UTC"), ("jit", "off")])
}

/// A connection of our own, and which process of the server is at its other end.
pub(crate) struct Session {
    pub(crate) connection: PgConnection,
    pub(crate) backend: Backend,
}

/// A process of the server. The time tells it from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) pid: i32,
    started: DateTime<Utc>,
}

impl Session {
    /// Connects; the connection can be seen in `pg_stat_activity` by then.
    pub(crate) async fn open(options: &PgConnectOptions) -> Result<Self, sqlx::Error> {
        let opening = async {
            let mut connection = options.connect().await?;
            let myself = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()";
            let rows = sqlx::query(myself).fetch_all(&mut connection).await?;
            let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
            let backend = Backend { pid: row.try_get(0)?, started: row.try_get(1)? };
            Ok(Self { connection, backend })
        };
        within(CONNECT_DEADLINE, opening).await
    }

    /// Ends a process of the server and waits until it is gone: what it had begun is then either committed or
    /// never will be.
    pub(crate) async fn end(&mut self, backend: Backend) -> Result<(), sqlx::Error> {
        let end =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2";
        self.until_none(|| sqlx::query(end).bind(backend.pid).bind(backend.started)).await
    }

    /// Ends all writers of this database, whoever they belong to, and waits until they are gone.
    pub(crate) async fn end_writers(&mut self) -> Result<(), sqlx::Error> {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = $1 AND datname = current_database() AND pid <> pg_backend_pid()";
        self.until_none(|| sqlx::query(end).bind(WRITER)).await
    }

    /// Repeats a statement until it answers no row.
    async fn until_none<'q>(
        &mut self,
        statement: impl Fn() -> sqlx::query::Query<'q, Postgres, PgArguments>,
    ) -> Result<(), sqlx::Error> {
        let waiting = async {
            while !statement().fetch_all(&mut self.connection).await?.is_empty() {
                tokio::time::sleep(GONE_INTERVAL).await;
            }
            Ok(())
        };
        within(GONE_DEADLINE, waiting).await
    }
}

/// Waits for the database, but not for ever.
pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Io(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("no answer within {} s", limit.as_secs()),
        ))),
    }
}

/// How long to wait before attempt number `attempt` (0 is the first repetition): 50 ms, doubled each time, at
/// most 2 s, and less by up to half so that not all come at once.
pub(crate) fn backoff(attempt: u32) -> Duration {
    let full = Duration::from_millis(50).saturating_mul(1 << attempt.min(6)).min(Duration::from_secs(2));
    full.mul_f64(rand::random_range(0.5..=1.0))
}
