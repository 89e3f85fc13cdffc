//! The shared pool of connections, for reads and small writes, and the migrations.

use std::future::Future;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::{StoreError, session};

/// A call that takes longer is given up. A little longer than the statement timeout of the session, so that
/// the server gives up first where it can.
const CALL_DEADLINE: Duration = Duration::from_secs(35);
/// Within this time a connection of the pool is free or the call is given up.
const ACQUIRE_DEADLINE: Duration = Duration::from_secs(10);

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// The shared pool. Cheap to clone; all clones share the connections.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: PgPool,
    pub(crate) options: PgConnectOptions,
}

/// One step that brought, or will bring, the tables to where this version of Statecast needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its number; they are applied in this order.
    pub version: i64,
    /// What it does, in words.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
}

impl Store {
    /// Connects, with at most `connections_max` connections at once. Doesn't migrate.
    ///
    /// # Errors
    /// When the database can't be reached or refuses the user.
    pub async fn connect(options: PgConnectOptions, connections_max: u32) -> Result<Self, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(ACQUIRE_DEADLINE)
            .connect_with(session::reader(options.clone()))
            .await?;
        Ok(Self { pool, options })
    }

    /// Brings the tables up to date. Several processes may do so at once.
    ///
    /// # Errors
    /// When a migration fails, or the tables are of a newer version.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        Ok(MIGRATOR.run(&self.pool).await?)
    }

    /// All migrations that this version knows, oldest first.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn migrations(&self) -> Result<Vec<Migration>, StoreError> {
        let begun: bool = deadline(
            sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&self.pool),
        )
        .await?;
        let applied: Vec<i64> = if begun {
            let versions = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success");
            deadline(versions.fetch_all(&self.pool)).await?
        } else {
            Vec::new()
        };
        let known = MIGRATOR.iter().filter(|step| !step.migration_type.is_down_migration());
        Ok(known
            .map(|step| Migration {
                version: step.version,
                name: step.description.to_string(),
                applied: applied.contains(&step.version),
            })
            .collect())
    }

    /// How to connect to the same database.
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Asks the database whether it is there.
    ///
    /// # Errors
    /// When it isn't.
    pub async fn ping(&self) -> Result<(), StoreError> {
        deadline(sqlx::query("SELECT 1").execute(&self.pool)).await.map(drop)
    }

    /// Closes all connections, after what they are doing is done.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Waits for the database, but not for ever.
pub(crate) async fn deadline<T>(call: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(CALL_DEADLINE, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StoreError::Slow(CALL_DEADLINE)),
    }
}
