//! The private database of a service, as its owner reaches it: through the socket in the data directory.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};

/// The data directory of the server.
pub(crate) fn data(dir: &Path) -> PathBuf {
    dir.join("postgres").join("data")
}

/// The process id of the server, and how to connect to it.
///
/// # Errors
/// When it doesn't run.
pub(crate) fn find(dir: &Path) -> Result<(u32, PgConnectOptions)> {
    let file = data(dir).join("postmaster.pid");
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    // Its lines: number, data directory, start time, port, socket directory ...
    let line = |number: usize| text.lines().nth(number).map(str::trim).context("postmaster.pid is too short");
    let options = PgConnectOptions::new_without_pgpass()
        .socket(line(4)?)
        .port(line(3)?.parse()?)
        .username("statecast")
        .database("statecast")
        .ssl_mode(PgSslMode::Disable);
    Ok((line(0)?.parse()?, options))
}

/// A connection that is set up like those with which the service writes.
///
/// # Errors
/// When there is none to be had.
pub(crate) async fn writer(options: PgConnectOptions) -> Result<PgConnection> {
    let settings = [
        ("enable_seqscan", "off"),
        ("plan_cache_mode", "force_generic_plan"),
        ("synchronous_commit", "on"),
        ("TimeZone", "UTC"),
        ("jit", "off"),
    ];
    options.options(settings).connect().await.context("connect to the private PostgreSQL")
}
