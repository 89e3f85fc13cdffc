//! Runs other programs, each with a deadline.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::Service;
use crate::service::program;

/// How long a program may run.
const RUN_MAX: Duration = Duration::from_secs(60);

/// What became of a program.
#[derive(Debug)]
pub struct Ran {
    /// What it returned; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it complained about.
    pub err: String,
}

impl Ran {
    /// What it printed, if it went well.
    ///
    /// # Errors
    /// When it didn't.
    pub fn ok(self) -> Result<String> {
        if self.code != Some(0) {
            bail!("it returned {:?}: {}{}", self.code, self.out, self.err);
        }
        Ok(self.out)
    }
}

/// Runs a program to its end. Nothing is read from the terminal.
///
/// # Errors
/// When it can't be started, or runs for more than a minute.
pub async fn run(program: impl AsRef<Path>, args: &[&str]) -> Result<Ran> {
    let program = program.as_ref();
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let running = tokio::time::timeout(RUN_MAX, command.output()).await;
    let output = running
        .with_context(|| {
            format!("{} {args:?} runs for more than {} s", program.display(), RUN_MAX.as_secs())
        })?
        .with_context(|| format!("start {}", program.display()))?;
    Ok(Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

impl Service {
    /// Runs `statecast` with these arguments, on the data directory of this service.
    ///
    /// # Errors
    /// As [`run`].
    pub async fn cli(&self, args: &[&str]) -> Result<Ran> {
        let dir = self.dir().display().to_string();
        run(program("statecast")?, &[args, &["--data-dir", &dir]].concat()).await
    }

    /// Makes an API key of a tenant.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn key(&self, tenant: &str) -> Result<String> {
        let made = self.cli(&["key", "create", "test", "--tenant", tenant]).await?.ok()?;
        Ok(made.trim().to_owned())
    }
}
