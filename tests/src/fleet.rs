//! A fleet of simulated devices with its ledger, and the comparison of the ledger with what the service kept.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::service::{program, signal};
use crate::{Service, wait};

/// How long a fleet may take to have everything acknowledged, and to write its ledger.
const FINISH_MAX: Duration = Duration::from_secs(120);
/// How long a comparison may take: it reads the history of every device.
const VERIFY_MAX: Duration = Duration::from_secs(180);

/// A fleet that publishes. Killed when dropped.
pub struct Fleet {
    child: Child,
    ledger: PathBuf,
    log: PathBuf,
    http: String,
}

/// What a comparison found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Publishes that were written to a socket.
    pub published: u64,
    /// Those that were acknowledged.
    pub acked: u64,
    /// Those that are in the history.
    pub committed: u64,
    /// Acknowledged and not in the history.
    pub lost: u64,
    /// More than once in the history.
    pub duplicated: u64,
    /// In the history after one that was published later.
    pub reordered: u64,
    /// Written to a socket more than once.
    pub redelivered: u64,
}

impl Fleet {
    /// Starts a fleet with these arguments of `statecast-sim fleet`.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(service: &Service, args: &[&str]) -> Result<Self> {
        let (ledger, log) = (service.dir().join("ledger"), service.dir().join("fleet.log"));
        let child = Command::new(program("statecast-sim")?)
            .args(["fleet", "--mqtt", &service.mqtt, "--ledger"])
            .arg(&ledger)
            .args(args)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(Stdio::inherit())
            .spawn()
            .context("start the fleet")?;
        Ok(Self { child, ledger, log, http: format!("http://{}", service.http) })
    }

    /// Waits until it has had something acknowledged.
    ///
    /// # Errors
    /// When that doesn't come.
    pub async fn under_way(&self) -> Result<()> {
        wait::until("the first acknowledgement", || async {
            // A line of the ledger for an acknowledgement is all that has this beginning.
            let ledger = std::fs::read_to_string(&self.ledger).ok()?;
            ledger.lines().any(|line| line.starts_with("A ")).then_some(())
        })
        .await
    }

    /// Has it publish no more, waits until all is acknowledged, and compares.
    ///
    /// # Errors
    /// When it doesn't end, or anything was lost, duplicated or reordered, or isn't acknowledged.
    pub async fn finish(mut self) -> Result<Tally> {
        signal(self.child.id(), "INT")?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > FINISH_MAX {
                bail!("the fleet doesn't end: {}", self.said());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let tally = self.verify().await?;
        eprintln!("{tally:?}");
        ensure!(tally.acked > 0, "nothing was acknowledged: {}", self.said());
        ensure!(tally.acked == tally.published, "not all was acknowledged: {tally:?} {}", self.said());
        Ok(tally)
    }

    async fn verify(&self) -> Result<Tally> {
        let mut verify = tokio::process::Command::new(program("statecast-sim")?);
        verify.args(["verify", "--http", &self.http, "--ledger"]).arg(&self.ledger);
        let output = verify.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(VERIFY_MAX, output).await.context("verify takes too long")??;
        let said = String::from_utf8(output.stdout)?;
        let count = |name: &str| -> Result<u64> {
            let words: Vec<&str> = said.split_whitespace().collect();
            let pair = words.windows(2).find(|pair| pair[0] == name);
            pair.and_then(|pair| pair[1].parse().ok()).with_context(|| format!("no {name} in {said:?}"))
        };
        let tally = Tally {
            published: count("published")?,
            acked: count("acked")?,
            committed: count("committed")?,
            lost: count("lost")?,
            duplicated: count("duplicated")?,
            reordered: count("reordered")?,
            redelivered: count("redelivered")?,
        };
        let faults = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{tally:?}\n{faults}");
        ensure!((tally.lost, tally.duplicated, tally.reordered) == (0, 0, 0), "{tally:?}\n{faults}");
        Ok(tally)
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // After `finish` it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
