//! The user that the server runs as. PostgreSQL refuses to run as root, so a service that does runs it as
//! another user: `postgres`, or `nobody`. There it stays: later starts take the user that owns the files.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::{LocalError, file};

/// A user, and whether we have to change to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    uid: u32,
    gid: u32,
    change: bool,
}

impl Account {
    /// Who should run a server whose files are, or will be, in `home`.
    pub(super) async fn for_home(home: &Path) -> Result<Self, LocalError> {
        let (uid, gid) = (id(&["-u"]).await, id(&["-g"]).await);
        let (Some(uid), Some(gid)) = (uid, gid) else { return Err(LocalError::NoAccount) };
        let owner = std::fs::metadata(home).ok().map(|found| (found.uid(), found.gid()));
        match owner {
            _ if uid != 0 => match owner {
                Some((owner, _)) if owner != uid => Err(LocalError::NotOurs { path: home.to_owned(), owner }),
                _ => Ok(Self { uid, gid, change: false }),
            },
            Some((owner, group)) if owner != 0 => Ok(Self { uid: owner, gid: group, change: true }),
            _ => {
                for name in ["postgres", "nobody"] {
                    if let (Some(uid), Some(gid)) = (id(&["-u", name]).await, id(&["-g", name]).await) {
                        return Ok(Self { uid, gid, change: true });
                    }
                }
                Err(LocalError::NoAccount)
            }
        }
    }

    /// A program that will run as this user, knowing nothing of our environment that concerns PostgreSQL.
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
        if self.change {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Whether this user can reach what is in `dir`.
    pub(super) async fn may_enter(self, dir: &Path) -> bool {
        let mut test = self.command(Path::new("sh"));
        test.args(["-c", "test -x \"$1\"", "sh"]).arg(dir).current_dir("/");
        test.status().await.is_ok_and(|status| status.success())
    }

    /// Makes a directory that only this user, and root, can enter.
    pub(super) fn make_private(self, dir: &Path) -> Result<(), LocalError> {
        use std::os::unix::fs::DirBuilderExt;
        match std::fs::DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(file("make the directory", dir)(error));
            }
            _ => {}
        }
        if self.change {
            chown(dir, Some(self.uid), Some(self.gid)).map_err(file("give away", dir))?;
        }
        Ok(())
    }

    /// Whether `dir` is a directory, not a link to one, that only this user can enter.
    pub(super) fn is_private(self, dir: &Path) -> bool {
        std::fs::symlink_metadata(dir)
            .is_ok_and(|found| found.is_dir() && found.uid() == self.uid && found.mode() & 0o077 == 0)
    }

    /// Hands a file over to this user.
    pub(super) fn give(self, path: &Path) -> Result<(), LocalError> {
        if self.change {
            chown(path, Some(self.uid), Some(self.gid)).map_err(file("give away", path))?;
        }
        Ok(())
    }
}

/// Asks the system, whatever it keeps its users in.
async fn id(arguments: &[&str]) -> Option<u32> {
    let asking = Command::new("id").args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let out = tokio::time::timeout(Duration::from_secs(10), asking).await.ok()?.ok()?;
    String::from_utf8_lossy(&out.stdout).trim().parse().ok()
}
