//! The directory of the index: it holds one generation, and for the time of a rebuild two.
//!
//! A generation lies in `s{schema}-{number}`; the number rises. Whoever opens the directory takes the newest
//! one that is fit, and removes the others. A lock on the directory keeps a second process out; the kernel
//! frees it when the first one ends, however that happens.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{info, warn};

use crate::filling::Filling;
use crate::generation::{Generation, Unfit};
use crate::{SearchError, Settings};

/// The directory of the index.
pub(crate) struct Shelf {
    root: PathBuf,
    settings: Settings,
    /// The highest number that a generation has had: the files of one may be gone while it is still written.
    highest: AtomicU64,
    _lock: File,
}

impl Shelf {
    /// Takes possession of a directory; makes it where it doesn't exist.
    pub(crate) fn open(root: &Path, settings: Settings) -> Result<Self, SearchError> {
        fs::create_dir_all(root)?;
        let highest = list(root)?.last().map_or(0, |(_, number)| *number);
        let lock = File::options().create(true).append(true).open(root.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {
                Ok(Self { root: root.to_owned(), settings, highest: AtomicU64::new(highest), _lock: lock })
            }
            Err(TryLockError::WouldBlock) => Err(SearchError::InUse(root.to_owned())),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// The newest generation that is fit, of whatever schema: one with the same fields can answer. Removes all
    /// others.
    pub(crate) fn take(&self) -> Result<Option<Generation>, Unfit> {
        fs::create_dir_all(&self.root)?;
        let mut taken = None;
        for (schema, number) in list(&self.root)?.into_iter().rev() {
            let path = self.path(schema, number);
            if taken.is_none() {
                match Generation::open(&path) {
                    Ok(generation) => {
                        taken = Some(generation);
                        continue;
                    }
                    Err(why) => warn!(index = %path.display(), %why, "an index can't be used and is dropped"),
                }
            }
            self.remove(&path);
        }
        Ok(taken)
    }

    /// An empty generation to be filled, newer than all others.
    pub(crate) fn create(&self) -> Result<Filling, Unfit> {
        fs::create_dir_all(&self.root)?;
        let number = self.highest.fetch_add(1, Ordering::Relaxed) + 1;
        let path = self.path(self.settings.schema_version, number);
        info!(index = %path.display(), "a new index");
        Filling::create(&path, self.settings.schema_version).inspect_err(|_| self.remove(&path))
    }

    /// Removes a generation that is no longer written. Searches that still read it are not disturbed.
    pub(crate) fn remove(&self, path: &Path) {
        if let Err(error) = fs::remove_dir_all(path) {
            warn!(index = %path.display(), %error, "an old index can't be removed");
        }
    }

    fn path(&self, schema: u32, number: u64) -> PathBuf {
        self.root.join(format!("s{schema}-{number}"))
    }
}

/// The schema and the number of each generation, by rising number.
fn list(root: &Path) -> io::Result<Vec<(u32, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        let parsed = name
            .to_str()
            .and_then(|name| name.strip_prefix('s')?.split_once('-'))
            .and_then(|(schema, number)| Some((schema.parse().ok()?, number.parse().ok()?)));
        found.extend(parsed);
    }
    found.sort_unstable_by_key(|(_, number)| *number);
    Ok(found)
}
