//! The demo ends well by itself: its ledger agrees with the service, a search finds something, a push arrives.

use anyhow::{Context, Result, ensure};
use statecast_tests::service::program;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// A bounded demo takes its time, a first start, and what a slow machine adds.
const DEMO_MAX: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_demo_exits_well() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let demo = Command::new(program("statecast-sim")?)
        .arg("demo")
        .arg("--data-dir")
        .arg(dir.path().join("demo"))
        .env("DEMO_SECONDS", "15")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(DEMO_MAX, demo).await.context("the demo doesn't end")??;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}:\n{said}\n{errors}", output.status);
    ensure!(said.contains("lost 0 duplicated 0 reordered 0"), "{said}");
    Ok(())
}
