//! Whether the server runs. Its file `postmaster.pid` says so, but may be left over from one that was killed;
//! by now another process may have the number.

use std::path::{Path, PathBuf};

/// A running server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Postmaster {
    pub(super) pid: u32,
    /// The directory of its socket.
    pub(super) socket: PathBuf,
}

/// What runs on the files of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing: it can be started.
    Nothing,
    /// It is just starting, or processes of one that was killed are just ending.
    Changing,
    /// A server.
    Live(Postmaster),
}

/// Looks what runs on these files. A `postmaster.pid` that is left over, and whose number belongs to another
/// process now, is removed: PostgreSQL would believe it.
pub(super) fn find(data: &Path) -> Found {
    let path = data.join("postmaster.pid");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let pid: Option<u32> = text.lines().next().and_then(|line| line.trim().parse().ok());
    if let Some(pid) = pid.filter(|pid| serves(*pid, data)) {
        // Its lines: number, data directory, start time, port, socket directory, address, shared memory,
        // status. While it starts the last ones are missing.
        return match text.lines().nth(4).map(str::trim) {
            None | Some("") => Found::Changing,
            Some(socket) => Found::Live(Postmaster { pid, socket: socket.into() }),
        };
    }
    if any_serves(data) {
        return Found::Changing;
    }
    if pid.is_some_and(|pid| Path::new("/proc").join(pid.to_string()).exists()) {
        tracing::info!(pid, "removing a postmaster.pid that was left over");
        // When that fails PostgreSQL says so itself as it starts.
        let _ = std::fs::remove_file(&path);
    }
    Found::Nothing
}

/// Whether the process is the first one of a PostgreSQL that serves these files: it works in their directory,
/// or was started with it (a root without all its rights may not see the former).
fn serves(pid: u32, data: &Path) -> bool {
    let command = command(pid);
    let mut arguments = command.split(|byte| *byte == 0);
    let is_postgres =
        arguments.next().is_some_and(|program| program.ends_with(b"/postgres") || program == b"postgres");
    let named = data.as_os_str().as_encoded_bytes();
    is_postgres && (works_in(pid, data) || arguments.any(|argument| argument == named))
}

/// Whether any process of PostgreSQL works on these files, e.g. of a server whose first process was killed.
fn any_serves(data: &Path) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten();
    let mut pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    // The others call themselves e.g. `postgres: checkpointer`.
    pids.any(|pid| works_in(pid, data) && (command(pid).starts_with(b"postgres: ") || serves(pid, data)))
}

fn works_in(pid: u32, data: &Path) -> bool {
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data)
}

/// Its command line, each argument ended by a zero byte; empty when there is no such process.
fn command(pid: u32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_number_of_another_process_is_not_believed() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("postmaster.pid");
        let lines =
            format!("{}\n{}\n1\n5432\n/nowhere\n\n1\nready\n", std::process::id(), data.path().display());
        std::fs::write(&path, lines).unwrap();
        assert_eq!(find(data.path()), Found::Nothing);
        assert!(!path.exists(), "PostgreSQL would believe it");
    }

    #[test]
    fn a_file_of_a_dead_process_is_left_to_postgresql() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("postmaster.pid");
        std::fs::write(&path, format!("{}\n", u32::MAX)).unwrap();
        assert_eq!(find(data.path()), Found::Nothing);
        assert!(path.exists());
    }
}
