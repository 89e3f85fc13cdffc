//! The private server: a PostgreSQL that belongs to a data directory, for who has none of their own. It is
//! the installed one, it speaks only through a socket in a private directory, and it outlives a crash of ours.
//!
//! - [`binaries`]: which versions are installed
//! - [`account`]: the user that it runs as: ours, or another one when we are root, which PostgreSQL refuses
//! - [`home`]: where its files live, and where its socket
//! - [`cluster`]: making it, setting it up, starting and stopping it
//! - [`live`]: whether it runs already
//! - [`guard`]: starts it again when somebody else ended it
//!
//! States: none yet; stopped; live and ours; live and somebody else's, who holds the lock file of the data
//! directory: then we are a guest, and stop nothing.
//!
//! Guarantee: after a `kill -9` of the service the server lives on and is adopted by the next start. A process
//! id that was left behind is believed only when that process is a PostgreSQL of this very directory.

mod binaries;
mod account;
mod home;
mod cluster;
mod live;
mod guard;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use thiserror::Error;

use cluster::Cluster;
use guard::Guard;
use live::{Found, Postmaster};

/// Starting includes recovery after a crash, which reads up to 4 GB of log again.
const START_DEADLINE: Duration = Duration::from_secs(300);
/// How often to look whether it is ready.
const START_INTERVAL: Duration = Duration::from_millis(50);
/// The user within the server, and its database.
const NAME: &str = "statecast";

/// Why there is no private server.
#[derive(Debug, Error)]
pub enum LocalError {
    /// Nothing is installed that could be started.
    #[error(
        "no PostgreSQL {} or newer is installed: `apt-get install postgresql` (or your system's like of it), \
         or give the URL of a database",
        binaries::MAJOR_MIN
    )]
    NotInstalled,
    /// The data was written by a version that isn't installed.
    #[error(
        "the data in {path} was written by PostgreSQL {data}, and installed is {installed}: \
         `apt-get install postgresql-{data}`, or bring the data over with pg_upgrade"
    )]
    WrongMajor {
        /// Where the data is.
        path: PathBuf,
        /// What wrote it.
        data: String,
        /// What there is.
        installed: String,
    },
    /// The service runs as root, which PostgreSQL refuses, and there is no other user to run it as.
    #[error("PostgreSQL doesn't run as root, and there is neither a user `postgres` nor `nobody`")]
    NoAccount,
    /// The files belong to somebody else.
    #[error("{path} belongs to the user number {owner}: run the service as that user, or as root")]
    NotOurs {
        /// Which directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// A file or directory can't be used.
    #[error("{what} {path}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A program of PostgreSQL failed.
    #[error("{program} failed: {output}")]
    Program {
        /// Which.
        program: String,
        /// What it said, shortened.
        output: String,
    },
    /// It didn't get ready.
    #[error("PostgreSQL in {path} wasn't ready within {} s: {last}", START_DEADLINE.as_secs())]
    NotReady {
        /// Where its files are.
        path: PathBuf,
        /// The last thing that was heard of it.
        last: String,
    },
    /// It runs but can't be used.
    #[error("use the private PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
}

/// A running private server. Dropped without [`Local::stop`] it runs on, and the next start adopts it.
#[derive(Debug)]
pub struct Local {
    cluster: Arc<Cluster>,
    postmaster: Postmaster,
    /// The lock of the data directory; none for a guest.
    lock: Option<File>,
    /// Looks after the server; none for a guest.
    guard: Option<Guard>,
}

impl Local {
    /// Starts the server of a data directory, or adopts the one that runs, and makes its database if need be.
    ///
    /// # Errors
    /// Each says what to do about it.
    pub async fn start(dir: &Path) -> Result<Self, LocalError> {
        std::fs::create_dir_all(dir).map_err(file("make the directory", dir))?;
        let dir = std::fs::canonicalize(dir).map_err(file("find", dir))?;
        let lock = lock(&dir.join("postgres.lock"))?;
        let cluster = Cluster::find(&dir).await?;
        let began = Instant::now();
        let mut started = false;
        loop {
            let last = match live::find(&cluster.data) {
                Found::Live(postmaster) => match ready(&postmaster).await {
                    Ok(()) => return Ok(Self::running(cluster, postmaster, lock)),
                    Err(error) => error.to_string(),
                },
                Found::Changing => "its processes are just starting or ending".to_owned(),
                Found::Nothing if lock.is_some() && !started => {
                    cluster.start(START_DEADLINE).await?;
                    started = true;
                    continue;
                }
                Found::Nothing => "it doesn't run".to_owned(),
            };
            if began.elapsed() > START_DEADLINE {
                return Err(LocalError::NotReady { path: cluster.data, last });
            }
            tokio::time::sleep(START_INTERVAL).await;
        }
    }

    fn running(cluster: Cluster, postmaster: Postmaster, lock: Option<File>) -> Self {
        tracing::info!(pid = postmaster.pid, data = %cluster.data.display(), guest = lock.is_none(), "PostgreSQL runs");
        let cluster = Arc::new(cluster);
        let guard = lock.is_some().then(|| Guard::start(cluster.clone()));
        Self { cluster, postmaster, lock, guard }
    }

    /// How to connect to its database.
    pub fn options(&self) -> PgConnectOptions {
        options(&self.postmaster.socket, NAME)
    }

    /// The process id of the server that was there at first.
    pub fn pid(&self) -> u32 {
        self.postmaster.pid
    }

    /// Stops the server, which ends all connections to it. A guest leaves it running.
    ///
    /// # Errors
    /// When it didn't stop in time.
    pub async fn stop(mut self) -> Result<(), LocalError> {
        if let Some(guard) = self.guard.take() {
            guard.stop().await;
        }
        if self.lock.is_some() {
            self.cluster.stop().await?;
        }
        self.lock = None;
        Ok(())
    }
}

/// Who holds the lock starts and stops the server. The system gives it back when the process ends, however.
fn lock(path: &Path) -> Result<Option<File>, LocalError> {
    let lock = File::options().create(true).truncate(false).write(true).open(path);
    let lock = lock.map_err(file("open", path))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(file("lock", path)(source)),
    }
}

fn options(socket: &Path, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(socket)
        .port(cluster::PORT)
        .username(NAME)
        .database(database)
        .ssl_mode(PgSslMode::Disable)
}

/// Whether it answers, and has our database: made here if need be.
async fn ready(postmaster: &Postmaster) -> Result<(), sqlx::Error> {
    let work = async {
        let mut connection: PgConnection = options(&postmaster.socket, "postgres").connect().await?;
        let known = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(NAME);
        if known.fetch_all(&mut connection).await?.is_empty() {
            sqlx::raw_sql("CREATE DATABASE statecast").execute(&mut connection).await?;
        }
        connection.close().await
    };
    crate::session::within(START_DEADLINE, work).await
}

fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LocalError {
    let path = path.to_owned();
    move |source| LocalError::File { what, path, source }
}
