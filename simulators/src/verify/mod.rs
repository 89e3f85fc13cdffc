//! `verify`: reads the ledger, asks the service for the history of each device in it, and compares.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use crate::api::{Api, HistoryItem, ServiceAddress};
use crate::ledger::{self, hash};
use crate::terminal::{complain, say};

mod compare;

pub(crate) use compare::{Row, Tally, compare};

/// Devices whose history is read at the same time.
const DEVICES_AT_ONCE: usize = 8;
/// Faults that are told one by one.
const FAULTS_TOLD: usize = 20;

/// What `verify` is told.
#[derive(clap::Args)]
pub(crate) struct VerifyArguments {
    /// The ledger that a fleet wrote.
    #[arg(long, value_name = "FILE")]
    ledger: PathBuf,
    #[command(flatten)]
    service: ServiceAddress,
}

/// Compares, prints the counts, and answers whether nothing was lost, duplicated or reordered.
pub(crate) async fn command(arguments: VerifyArguments) -> anyhow::Result<bool> {
    let api = Api::new(arguments.service)?;
    let tally = run(&api, &arguments.ledger).await?;
    for fault in &tally.faults {
        complain(fault);
    }
    say(&tally.line());
    say(&format!("redelivered {}", tally.redelivered));
    Ok(tally.is_clean())
}

/// Compares a ledger with the history that the service kept.
///
/// # Errors
/// When the ledger or a history can't be read.
pub(crate) async fn run(api: &Api, path: &Path) -> anyhow::Result<Tally> {
    let path = path.to_owned();
    let published =
        tokio::task::spawn_blocking(move || ledger::read(&path)).await.context("read the ledger")??;
    let runs = &published.runs;
    futures::stream::iter(&published.devices)
        .map(|(device, publishes)| async move {
            let history =
                api.history(device).await.with_context(|| format!("read the history of {device}"))?;
            let rows: Vec<Row> = history.iter().filter_map(|item| row_of(item, runs)).collect();
            anyhow::Ok(compare(device, publishes, &rows))
        })
        .buffer_unordered(DEVICES_AT_ONCE)
        .try_fold(Tally::default(), |sum, tally| async move { Ok(sum.plus(tally, FAULTS_TOLD)) })
        .await
}

/// The row of history that is a publish; none when it isn't from one of these runs.
fn row_of(item: &HistoryItem, runs: &[Arc<str>]) -> Option<Row> {
    if item.kind != "state" {
        return None;
    }
    let run = item.patch.get("run").and_then(Value::as_str)?;
    Some(Row {
        run: runs.iter().position(|known| **known == *run)?,
        seq: item.patch.get("seq").and_then(Value::as_u64)?,
        hash: hash::of_patch(&item.patch),
    })
}
