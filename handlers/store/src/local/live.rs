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

/// The server that runs on these files. A file that is left over, and whose number belongs to another process
/// now, is removed: PostgreSQL would believe it.
pub(super) fn find(data: &Path) -> Option<Postmaster> {
    let path = data.join("postmaster.pid");
    let text = std::fs::read_to_string(&path).ok()?;
    let pid: u32 = text.lines().next()?.trim().parse().ok()?;
    if !serves(pid, data) {
        let other_lives = Path::new("/proc").join(pid.to_string()).exists();
        if other_lives && !any_serves(data) {
            tracing::info!(pid, "removing a postmaster.pid that was left over");
            // When that fails PostgreSQL says so itself as it starts.
            let _ = std::fs::remove_file(&path);
        }
        return None;
    }
    // Its lines: number, data directory, start time, port, socket directory, address, shared memory, status.
    // While it starts the last ones are missing.
    let socket = text.lines().nth(4).map(str::trim).filter(|line| !line.is_empty())?;
    Some(Postmaster { pid, socket: socket.into() })
}

/// Whether the process is a PostgreSQL that serves these files: it works in their directory, or was started
/// with it (a root without all its rights may not see the former).
fn serves(pid: u32, data: &Path) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    let Ok(command) = std::fs::read(process.join("cmdline")) else { return false };
    let mut arguments = command.split(|byte| *byte == 0);
    let is_postgres =
        arguments.next().is_some_and(|program| program.ends_with(b"/postgres") || program == b"postgres");
    let data = data.as_os_str().as_encoded_bytes();
    let here =
        std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.as_os_str().as_encoded_bytes() == data);
    is_postgres && (here || arguments.any(|argument| argument == data))
}

/// Whether any process works on these files, e.g. one of a server whose first process was killed.
fn any_serves(data: &Path) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return true };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .any(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data))
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
        assert_eq!(find(data.path()), None);
        assert!(!path.exists(), "PostgreSQL would believe it");
    }

    #[test]
    fn a_file_of_a_dead_process_is_left_to_postgresql() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("postmaster.pid");
        std::fs::write(&path, format!("{}\n", u32::MAX)).unwrap();
        assert_eq!(find(data.path()), None);
        assert!(path.exists());
    }
}
