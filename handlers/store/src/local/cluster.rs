//! The files of the server: making them, setting it up, starting and stopping it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::account::Account;
use super::binaries::Binaries;
use super::{LocalError, NAME, file, home};

/// It has no network address; the port is only a part of the name of its socket.
pub(super) const PORT: u16 = 5432;
/// `initdb` takes a second or two on a good disk.
const INIT_DEADLINE: Duration = Duration::from_secs(120);
/// Ending all connections and writing a checkpoint.
const STOP_DEADLINE: Duration = Duration::from_secs(120);
/// A new log file is begun at 10 MB, and this many are kept.
const LOG_FILES_MAX: usize = 5;
/// Of what a program says, this much is shown.
const OUTPUT_CHARS_MAX: usize = 2_000;

const SETTINGS: &str = "\
# Written by Statecast at each start. Your own settings go to postgresql.conf, below the line that includes this.
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 40

# What was acknowledged is on the disk.
fsync = on
synchronous_commit = on
full_page_writes = on

shared_buffers = 256MB
max_wal_size = 4GB
min_wal_size = 256MB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
random_page_cost = 1.1
jit = off
timezone = 'UTC'

# Twins are rewritten all the time: clean up often, a little at a time.
autovacuum_naptime = 15s
autovacuum_max_workers = 2
autovacuum_vacuum_cost_limit = 2000

# Log files of 10 MB; Statecast keeps the newest.
logging_collector = on
log_directory = 'log'
log_filename = 'postgres-%Y%m%d-%H%M%S.log'
log_rotation_age = 1d
log_rotation_size = 10MB
log_min_messages = warning
log_min_error_statement = panic
log_checkpoints = off
";

/// A server's files, which programs serve them, and as whom.
#[derive(Debug)]
pub(super) struct Cluster {
    home: PathBuf,
    pub(super) data: PathBuf,
    account: Account,
    binaries: Binaries,
}

impl Cluster {
    pub(super) async fn find(dir: &Path) -> Result<Self, LocalError> {
        let (home, account) = home::find(dir).await?;
        let data = home.join("data");
        let binaries = Binaries::choose(&data)?;
        Ok(Self { home, data, account, binaries })
    }

    /// Where its log files are.
    pub(super) fn logs(&self) -> PathBuf {
        self.data.join("log")
    }

    /// Starts it, and makes its files if there are none.
    pub(super) async fn start(&self, limit: Duration) -> Result<(), LocalError> {
        if !self.data.exists() {
            self.init().await?;
        }
        let sockets = self.configure()?;
        // Left over from one that was killed; the number in it may belong to another process by now. The
        // directory is ours alone, and nothing runs on these files.
        for name in [format!(".s.PGSQL.{PORT}.lock"), format!(".s.PGSQL.{PORT}")] {
            match std::fs::remove_file(sockets.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(file("clean up", &sockets)(error));
                }
                _ => {}
            }
        }
        // What it says before its own log is open.
        let log = self.home.join("start.log");
        std::fs::write(&log, "").map_err(file("write", &log))?;
        self.account.give(&log)?;
        // `pg_ctl` gives it a session of its own: Ctrl-C is ours alone.
        let mut start = self.program("pg_ctl");
        start.args(["start", "-w", "-s", "-t"]).arg(limit.as_secs().to_string());
        start.arg("-D").arg(&self.data).arg("-l").arg(&log);
        run(start, limit + Duration::from_secs(10)).await.map_err(|error| match error {
            LocalError::Program { program, output } => {
                let said = std::fs::read_to_string(newest(&self.logs()).unwrap_or(log)).unwrap_or_default();
                let last = said.lines().rev().take(10).collect::<Vec<_>>().into_iter().rev();
                let last = last.collect::<Vec<_>>().join("\n");
                LocalError::Program { program, output: shorten(&format!("{output}\n{last}")) }
            }
            other => other,
        })
    }

    /// Stops it. Connections are ended, transactions under way are rolled back.
    pub(super) async fn stop(&self) -> Result<(), LocalError> {
        let mut stop = self.program("pg_ctl");
        stop.args(["stop", "-w", "-s", "-m", "fast", "-t"]).arg(STOP_DEADLINE.as_secs().to_string());
        stop.arg("-D").arg(&self.data);
        run(stop, STOP_DEADLINE + Duration::from_secs(10)).await
    }

    /// Makes the files beside their place, and moves them there when they are complete.
    async fn init(&self) -> Result<(), LocalError> {
        let new = self.home.join("data.new");
        if new.exists() {
            std::fs::remove_dir_all(&new).map_err(file("remove", &new))?;
        }
        let mut init = self.program("initdb");
        init.arg("-D").arg(&new).args(["-U", NAME, "-A", "trust", "-E", "UTF8", "--no-instructions"]);
        let locale = if has_c_utf8().await { "--locale=C.UTF-8" } else { "--locale=C" };
        run(
            {
                init.arg(locale);
                init
            },
            INIT_DEADLINE,
        )
        .await?;
        let conf = new.join("postgresql.conf");
        let text = std::fs::read_to_string(&conf).map_err(file("read", &conf))?;
        std::fs::write(&conf, format!("{text}\ninclude_if_exists = 'statecast.conf'\n"))
            .map_err(file("write", &conf))?;
        std::fs::rename(&new, &self.data).map_err(file("move", &new))
    }

    /// Writes its settings; answers the directory of its socket.
    fn configure(&self) -> Result<PathBuf, LocalError> {
        let sockets = home::socket_dir(&self.home, self.account)?;
        let quoted = sockets.to_string_lossy().replace('\'', "''");
        let compression = if self.binaries.has_lz4() { "lz4" } else { "on" };
        let path = self.data.join("statecast.conf");
        let text = format!(
            "{SETTINGS}wal_compression = {compression}\nunix_socket_directories = '{quoted}'\nport = {PORT}\n"
        );
        std::fs::write(&path, text).map_err(file("write", &path))?;
        self.account.give(&path)?;
        Ok(sockets)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = self.account.command(&self.binaries.dir.join(name));
        command.current_dir(&self.home);
        command
    }
}

/// Removes all but the newest log files.
pub(super) fn prune(logs: &Path) {
    let files = by_age(logs);
    for path in &files[..files.len().saturating_sub(LOG_FILES_MAX)] {
        if let Err(error) = std::fs::remove_file(path) {
            tracing::warn!(%error, path = %path.display(), "remove an old log file of PostgreSQL");
        }
    }
}

fn newest(logs: &Path) -> Option<PathBuf> {
    by_age(logs).pop()
}

/// The log files, oldest first: their names begin with the time.
fn by_age(logs: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(logs).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files
}

/// Whether the system knows the locale that sorts by code point and knows upper and lower case of all.
async fn has_c_utf8() -> bool {
    let mut ask = Command::new("locale");
    ask.arg("-a").stdin(std::process::Stdio::null()).kill_on_drop(true);
    let answer = tokio::time::timeout(Duration::from_secs(10), ask.output()).await;
    let Ok(Ok(out)) = answer else { return false };
    String::from_utf8_lossy(&out.stdout).lines().any(|name| matches!(name, "C.utf8" | "C.UTF-8"))
}

async fn run(mut command: Command, limit: Duration) -> Result<(), LocalError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let failed = |output: String| LocalError::Program { program, output: shorten(&output) };
    match tokio::time::timeout(limit, command.output()).await {
        Err(_) => Err(failed(format!("no end within {} s", limit.as_secs()))),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Ok(Ok(out)) if out.status.success() => Ok(()),
        Ok(Ok(out)) => Err(failed(format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        ))),
    }
}

fn shorten(text: &str) -> String {
    text.trim().chars().take(OUTPUT_CHARS_MAX).collect()
}
