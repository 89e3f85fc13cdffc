//! The directory of the index: it holds one generation, and for the time of a rebuild two.
//!
//! A generation lies in `s{schema}-{number}`; the number rises. Whoever opens the directory takes the newest
//! one that is fit, and removes the others. A lock on the directory keeps a second process out; the kernel
//! frees it when the first one ends, however that happens.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::generation::{Generation, Unfit};
use crate::schema::SCHEMA_VERSION;
use crate::{SearchError, Settings};

/// The directory of the index.
pub(crate) struct Shelf {
    root: PathBuf,
    settings: Settings,
    _lock: File,
}

impl Shelf {
    /// Takes possession of a directory; makes it where it doesn't exist.
    pub(crate) fn open(root: &Path, settings: Settings) -> Result<Self, SearchError> {
        fs::create_dir_all(root)?;
        let lock = File::options().create(true).append(true).open(root.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root: root.to_owned(), settings, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(SearchError::InUse(root.to_owned())),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// The newest generation that is fit, or else an empty one. Removes all others.
    pub(crate) fn take(&self) -> Result<Generation, Unfit> {
        let mut found = self.list()?;
        while let Some((schema, number)) = found.pop() {
            let path = self.path(schema, number);
            let opened = if schema == SCHEMA_VERSION {
                Generation::open(&path, &self.settings)
            } else {
                Err(Unfit::OtherSchema)
            };
            match opened {
                Ok(generation) => {
                    for (schema, number) in found {
                        self.remove(&self.path(schema, number));
                    }
                    return Ok(generation);
                }
                Err(why) => {
                    warn!(index = %path.display(), %why, "an index can't be used and is dropped");
                    self.remove(&path);
                }
            }
        }
        self.create()
    }

    /// An empty generation, newer than all others.
    pub(crate) fn create(&self) -> Result<Generation, Unfit> {
        let number = self.list()?.last().map_or(1, |(_, number)| number + 1);
        let path = self.path(SCHEMA_VERSION, number);
        info!(index = %path.display(), "a new index");
        Generation::create(&path, &self.settings)
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

    /// The schema and the number of each generation, by rising number.
    fn list(&self) -> Result<Vec<(u32, u64)>, Unfit> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root)? {
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
}
