//! Does to the private database of a service what goes wrong in the world: it hangs, it is killed.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use crate::Service;
use crate::service::signal;

/// Ticks of a processor in a second, as `/proc` counts them.
const TICKS_PER_SECOND: u64 = 100;

/// A database none of whose processes does anything. Thaws when dropped.
pub struct Frozen(Vec<u32>);

impl Frozen {
    /// Lets it go on where it was.
    pub fn thaw(self) {
        drop(self);
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            // One that ended meanwhile needs nothing.
            drop(signal(*pid, "CONT"));
        }
    }
}

impl Service {
    /// Stops every process of the database where it is (SIGSTOP): connections stay open, and nothing answers.
    ///
    /// # Errors
    /// When there is none.
    pub fn freeze_database(&self) -> Result<Frozen> {
        let first = self.postgres_pid()?;
        let mut frozen = Frozen(vec![first]);
        // The first one makes the others, so with it stopped there will be no more of them.
        signal(first, "STOP")?;
        for pid in children(first) {
            frozen.0.push(pid);
            // One that is just ending may be gone.
            drop(signal(pid, "STOP"));
        }
        Ok(frozen)
    }

    /// All processes of the database, the first one first.
    ///
    /// # Errors
    /// When there is none.
    pub fn database_pids(&self) -> Result<Vec<u32>> {
        let first = self.postgres_pid()?;
        Ok([vec![first], children(first)].concat())
    }

    /// A connection of our own to the database.
    ///
    /// # Errors
    /// When it can't be reached.
    pub async fn database(&self) -> Result<PgConnection> {
        let file = self.dir().join("postgres/data/postmaster.pid");
        let text = fs::read_to_string(file).context("read postmaster.pid")?;
        let socket = PathBuf::from(text.lines().nth(4).context("the socket")?);
        let options = PgConnectOptions::new_without_pgpass().socket(socket).username("statecast");
        Ok(options.database("statecast").application_name("test").connect().await?)
    }

    /// Time that the processors spent on the service alone, in milliseconds.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu_ms(&self) -> Result<u64> {
        cpu_ms(self.pid())
    }
}

/// Time that the processors spent on a process, in milliseconds.
///
/// # Errors
/// When it is gone.
pub fn cpu_ms(pid: u32) -> Result<u64> {
    let stat = stat(pid).context("no such process")?;
    let ticks = |field: usize| stat.get(field).and_then(|text| text.parse::<u64>().ok()).context("a number");
    Ok((ticks(11)? + ticks(12)?) * 1_000 / TICKS_PER_SECOND)
}

/// The process group and the session of a process; none when it is gone.
pub fn group_and_session(pid: u32) -> Option<(u32, u32)> {
    let stat = stat(pid)?;
    Some((stat.get(2)?.parse().ok()?, stat.get(3)?.parse().ok()?))
}

/// Whether a process runs; one that has ended and wasn't waited for doesn't.
pub fn alive(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.first().is_some_and(|state| state != "Z"))
}

fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten();
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let parent = parent.to_string();
    pids.filter(|pid| stat(*pid).is_some_and(|stat| stat.get(1) == Some(&parent))).collect()
}

/// The fields of `/proc/PID/stat` from the state on: state, parent, group, session ...
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}
