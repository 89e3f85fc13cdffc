//! Which versions of PostgreSQL are installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::LocalError;

/// The oldest version that is used.
pub(super) const MAJOR_MIN: u32 = 14;

/// The programs of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) major: u32,
    pub(super) dir: PathBuf,
}

impl Binaries {
    /// The version that wrote `data`, or the newest when there is no data yet.
    pub(super) fn choose(data: &Path) -> Result<Self, LocalError> {
        let mut installed = installed();
        let Ok(written) = std::fs::read_to_string(data.join("PG_VERSION")) else {
            return installed.pop_last().map(|(_, binaries)| binaries).ok_or(LocalError::NotInstalled);
        };
        let written = written.trim();
        match written.parse().ok().and_then(|major: u32| installed.remove(&major)) {
            Some(binaries) => Ok(binaries),
            None => Err(LocalError::WrongMajor {
                path: data.to_owned(),
                data: written.to_owned(),
                installed: match installed.keys().map(u32::to_string).collect::<Vec<_>>().join(", ") {
                    none if none.is_empty() => "none".to_owned(),
                    some => some,
                },
            }),
        }
    }

    /// Whether it was built with LZ4, which costs less than its own compression.
    pub(super) fn has_lz4(&self) -> bool {
        let config = Command::new(self.dir.join("pg_config")).arg("--configure").output();
        self.major >= 15
            && config.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("--with-lz4"))
    }
}

/// What is installed, by major version. What the system's packages install counts before what is in `PATH`.
fn installed() -> BTreeMap<u32, Binaries> {
    let mut found = BTreeMap::new();
    for dir in candidates() {
        if let Some(major) = major(&dir).filter(|major| *major >= MAJOR_MIN) {
            found.entry(major).or_insert(Binaries { major, dir });
        }
    }
    found
}

fn candidates() -> Vec<PathBuf> {
    // Debian and Ubuntu, then Red Hat, then Homebrew.
    let mut dirs = Vec::new();
    for (parent, prefix) in
        [("/usr/lib/postgresql", ""), ("/usr", "pgsql-"), ("/opt/homebrew/opt", "postgresql@")]
    {
        let entries = std::fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok);
        let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        dirs.extend(named.map(|entry| entry.path().join("bin")));
    }
    dirs.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    if let Ok(out) = Command::new("pg_config").arg("--bindir").output() {
        dirs.push(PathBuf::from(String::from_utf8_lossy(&out.stdout).trim()));
    }
    dirs.retain(|dir| ["postgres", "initdb", "pg_ctl"].iter().all(|program| dir.join(program).is_file()));
    dirs
}

fn major(dir: &Path) -> Option<u32> {
    let out = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&out.stdout))
}

/// The major version in e.g. `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)` or `... 19beta1`.
fn parse_version(text: &str) -> Option<u32> {
    let version = text.split("(PostgreSQL)").nth(1)?.trim_start();
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_version("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(parse_version("postgres: command not found"), None);
    }
}
