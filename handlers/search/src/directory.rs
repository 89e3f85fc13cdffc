//! The files of the index: small ones stay in memory, and the disk gets them later.
//!
//! A commit makes a segment of eight files, and merges replace it within a second. On a disk that PostgreSQL
//! waits for too, making, renaming and removing these files takes longer than indexing. So what tantivy
//! writes is kept in memory while it is small, and every few seconds [`Deferred::save`] brings the disk to the
//! state of the last commit. The index is derived: after a kill it starts from the last save, and the feed
//! brings the rest; the disk isn't waited for, and what a power cut tears is found by its checksum.
//!
//! The disk always holds one whole commit: files come before the list that names them ([`HEADS`]), and a file
//! that the last list names is removed only after the next one. Files that are too large for memory go to the
//! disk at once and are read through memory maps. What is in memory doesn't notice when the disk is damaged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tantivy::Directory;
use tantivy::directory::error::{DeleteError, LockError, OpenDirectoryError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    DirectoryLock, FileHandle, Lock, MmapDirectory, OwnedBytes, WatchCallback, WatchHandle, WritePtr,
};

use crate::late_file::LateFile;

/// A file that is larger goes to the disk.
pub(crate) const FILE_BYTES_MAX: usize = 4 << 20;
/// When all that is in memory is more, any further file goes to the disk.
const MEMORY_BYTES_MAX: usize = 64 << 20;
/// What says which files there are: tantivy's own list, and the last commit. In the order of saving.
const HEADS: [&str; 2] = [".managed.json", "meta.json"];

/// A directory on disk whose small files are written late. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Deferred {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    maps: MmapDirectory,
    files: Mutex<Files>,
    /// Only one saves at a time.
    saving: Mutex<()>,
    locks: Arc<Locks>,
}

/// What is in memory.
#[derive(Debug, Default)]
struct Files {
    small: HashMap<PathBuf, Small>,
    /// Bytes of all small files.
    bytes: usize,
    /// The newest versions of [`HEADS`].
    heads: BTreeMap<PathBuf, Vec<u8>>,
    /// Whether a head changed since the last save began.
    changed: bool,
    /// Removed, but still on disk, where the saved commit may need them. A file of the same name that is written
    /// again isn't among them.
    doomed: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct Small {
    bytes: Arc<[u8]>,
    saved: bool,
}

impl Deferred {
    /// Opens a directory that exists.
    pub(crate) fn open(root: &Path) -> Result<Self, OpenDirectoryError> {
        let inner = Inner {
            root: root.to_owned(),
            maps: MmapDirectory::open(root)?,
            files: Mutex::default(),
            saving: Mutex::default(),
            locks: Arc::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Brings the disk to the state of the last commit. Nothing is done when nothing has changed. Others may
    /// read and write meanwhile.
    pub(crate) fn save(&self) -> io::Result<()> {
        let _one = self.inner.saving.lock();
        let (heads, small, doomed) = {
            let mut files = self.inner.files.lock();
            if !std::mem::take(&mut files.changed) {
                return Ok(());
            }
            let small = files.small.iter().filter(|(_, file)| !file.saved);
            let small: Vec<_> = small.map(|(path, file)| (path.clone(), file.bytes.clone())).collect();
            (files.heads.clone(), small, std::mem::take(&mut files.doomed))
        };
        let written = self.write(&heads, &small);
        let mut files = self.inner.files.lock();
        for (path, _) in small {
            match files.small.get_mut(&path) {
                Some(file) => file.saved = written.is_ok(),
                // Removed meanwhile: the commit that was saved just now may name it.
                None => drop(files.doomed.insert(path)),
            }
        }
        if written.is_err() {
            files.changed = true;
            files.doomed.extend(doomed);
            return written;
        }
        drop(files);
        for path in doomed {
            match fs::remove_file(self.inner.root.join(path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The first of these files that isn't on disk, though it was saved.
    pub(crate) fn missing(&self, mut paths: impl Iterator<Item = PathBuf>) -> io::Result<Option<PathBuf>> {
        let unsaved: BTreeSet<_> = {
            let files = self.inner.files.lock();
            files.small.iter().filter(|(_, file)| !file.saved).map(|(path, _)| path.clone()).collect()
        };
        paths
            .find_map(|path| match self.inner.root.join(&path).try_exists() {
                Ok(false) if !unsaved.contains(&path) => Some(Ok(path)),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            })
            .transpose()
    }

    fn write(&self, heads: &BTreeMap<PathBuf, Vec<u8>>, small: &[(PathBuf, Arc<[u8]>)]) -> io::Result<()> {
        for (path, bytes) in small {
            fs::write(self.inner.root.join(path), bytes)?;
        }
        for (path, bytes) in HEADS.iter().filter_map(|head| heads.get_key_value(Path::new(head))) {
            let target = self.inner.root.join(path);
            let new = target.with_extension("new");
            fs::write(&new, bytes)?;
            fs::rename(new, target)?;
        }
        Ok(())
    }

    /// Keeps a file in memory; gives it back when there is no room for it.
    pub(crate) fn keep(&self, path: &Path, bytes: Vec<u8>, saved: bool) -> Result<Arc<[u8]>, Vec<u8>> {
        let mut files = self.inner.files.lock();
        if bytes.len() > FILE_BYTES_MAX || files.bytes + bytes.len() > MEMORY_BYTES_MAX {
            return Err(bytes);
        }
        let bytes: Arc<[u8]> = bytes.into();
        files.bytes += bytes.len();
        files.doomed.remove(path);
        if let Some(old) = files.small.insert(path.to_owned(), Small { bytes: bytes.clone(), saved }) {
            files.bytes -= old.bytes.len();
        }
        Ok(bytes)
    }

    /// A new file on disk.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        self.inner.files.lock().doomed.remove(path);
        File::create(self.inner.root.join(path))
    }

    /// A small file that is on disk, taken into memory.
    fn load(&self, path: &Path) -> Option<Arc<[u8]>> {
        let file = self.inner.root.join(path);
        let length = fs::metadata(&file).ok()?.len();
        if length > FILE_BYTES_MAX as u64 {
            return None;
        }
        self.keep(path, fs::read(file).ok()?, true).ok()
    }
}

impl Directory for Deferred {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let kept = self.inner.files.lock().small.get(path).map(|file| file.bytes.clone());
        match kept.or_else(|| self.load(path)) {
            Some(bytes) => Ok(Arc::new(OwnedBytes::new(bytes))),
            None => self.inner.maps.get_file_handle(path),
        }
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        let mut files = self.inner.files.lock();
        let small = files.small.remove(path);
        files.bytes -= small.as_ref().map_or(0, |file| file.bytes.len());
        if small.is_none_or(|file| file.saved) {
            files.doomed.insert(path.to_owned());
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        let files = self.inner.files.lock();
        if files.small.contains_key(path) || files.heads.contains_key(path) {
            return Ok(true);
        }
        if files.doomed.contains(path) {
            return Ok(false);
        }
        self.inner.maps.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        // Names of segments are random, and never come again. Those of deleted documents do, after a kill.
        Ok(io::BufWriter::new(Box::new(LateFile::new(self.clone(), path.to_owned()))))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        match self.inner.files.lock().heads.get(path) {
            Some(bytes) => Ok(bytes.clone()),
            None => self.inner.maps.atomic_read(path),
        }
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let mut files = self.inner.files.lock();
        files.heads.insert(path.to_owned(), data.to_owned());
        files.changed = true;
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        // Other processes are kept out by the lock on the shelf.
        let held = Held::take(&self.inner.locks, lock).ok_or(LockError::LockBusy)?;
        Ok(DirectoryLock::from(Box::new(held)))
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

/// The locks that are held, by name.
#[derive(Debug, Default)]
struct Locks {
    held: Mutex<BTreeSet<PathBuf>>,
    released: Condvar,
}

/// Holds a lock for as long as it lives.
struct Held {
    locks: Arc<Locks>,
    name: PathBuf,
}

impl Held {
    /// None when another holds it and it isn't one to wait for.
    fn take(locks: &Arc<Locks>, lock: &Lock) -> Option<Self> {
        let mut held = locks.held.lock();
        while !held.insert(lock.filepath.clone()) {
            if !lock.is_blocking {
                return None;
            }
            locks.released.wait(&mut held);
        }
        Some(Self { locks: locks.clone(), name: lock.filepath.clone() })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.locks.held.lock().remove(&self.name);
        self.locks.released.notify_all();
    }
}
