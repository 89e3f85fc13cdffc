//! Where the files of the server live, and where its socket.

use std::path::{Path, PathBuf};

use super::account::Account;
use super::{LocalError, file};

/// For data directories that the user of the server can't reach, e.g. below `/root`.
const ELSEWHERE: &str = "/var/lib/statecast";
/// The path of a socket has at most 107 bytes; this leaves room for its name.
const SOCKET_DIR_BYTES_MAX: usize = 85;
/// Remembers a socket directory that isn't below the home.
const REMEMBERED: &str = "socket.path";

/// The directory of everything that belongs to the server: `postgres` in the data directory. When the user of
/// the server can't reach it, it is elsewhere, and `postgres` is a link to it.
pub(super) async fn find(dir: &Path) -> Result<(PathBuf, Account), LocalError> {
    let home = dir.join("postgres");
    if home.symlink_metadata().is_ok() {
        let home = std::fs::canonicalize(&home).map_err(file("follow the link", &home))?;
        let account = Account::for_home(&home).await?;
        account.make_private(&home)?;
        return Ok((home, account));
    }
    let account = Account::for_home(&home).await?;
    if account.may_enter(dir).await {
        account.make_private(&home)?;
        return Ok((home, account));
    }
    let elsewhere = Path::new(ELSEWHERE);
    std::fs::create_dir_all(elsewhere).map_err(file("make the directory", elsewhere))?;
    let target = elsewhere.join(random_name());
    account.make_private(&target)?;
    std::os::unix::fs::symlink(&target, &home).map_err(file("link", &home))?;
    Ok((target, account))
}

/// The directory of the socket: below the home if its path is short enough for a socket, else a private one
/// below the directory for temporary files, remembered in the home.
pub(super) fn socket_dir(home: &Path, account: Account) -> Result<PathBuf, LocalError> {
    let below = home.join("socket");
    if below.as_os_str().len() <= SOCKET_DIR_BYTES_MAX {
        account.make_private(&below)?;
        return Ok(below);
    }
    let remembered = home.join(REMEMBERED);
    if let Ok(path) = std::fs::read_to_string(&remembered) {
        let path = PathBuf::from(path.trim());
        // Temporary files are cleaned up by others, and a name there may be taken by others.
        if account.is_private(&path) {
            return Ok(path);
        }
    }
    let temporary = std::env::temp_dir();
    let parent = if temporary.as_os_str().len() < 50 { temporary.as_path() } else { Path::new("/tmp") };
    let path = parent.join(format!("statecast-{}", random_name()));
    account.make_private(&path)?;
    std::fs::write(&remembered, path.as_os_str().as_encoded_bytes()).map_err(file("write", &remembered))?;
    Ok(path)
}

/// Sixteen characters that nobody can foresee.
fn random_name() -> String {
    format!("{:016x}", rand::random::<u64>())
}
