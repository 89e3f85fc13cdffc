//! `statecast db`: the schema.

use anyhow::{Context, Result};
use clap::Subcommand;

use super::say;
use crate::app::Database;
use crate::config::Config;

#[derive(Subcommand)]
pub(super) enum Db {
    /// Bring the schema up to date
    Migrate,
    /// Show which migrations are applied
    Status,
}

pub(super) async fn run(command: &Db, config: &Config) -> Result<()> {
    let database = Database::open(config).await?;
    let outcome = with(command, &database).await;
    database.close().await?;
    outcome
}

async fn with(command: &Db, database: &Database) -> Result<()> {
    if let Db::Migrate = command {
        database.store.migrate().await.context("bring the schema up to date")?;
    }
    for migration in database.store.migrations().await? {
        let state = if migration.applied { "applied" } else { "to do" };
        say(&format!("{state:8} {:04} {}", migration.version, migration.name))?;
    }
    Ok(())
}
