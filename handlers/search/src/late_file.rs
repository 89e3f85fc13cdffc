//! One file while it is written: in memory until it is too large for that.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use tantivy::directory::{AntiCallToken, TerminatingWrite};

use crate::directory::{Deferred, FILE_BYTES_MAX};

/// A file of a [`Deferred`] directory that isn't complete yet.
pub(crate) struct LateFile {
    directory: Deferred,
    path: PathBuf,
    bytes: Vec<u8>,
    /// Where all goes once it was too much for memory.
    file: Option<File>,
}

impl LateFile {
    /// An empty one, in memory.
    pub(crate) fn new(directory: Deferred, path: PathBuf) -> Self {
        Self { directory, path, bytes: Vec::new(), file: None }
    }

    fn spill(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.directory.create(&self.path)?;
        file.write_all(bytes)?;
        self.file = Some(file);
        Ok(())
    }
}

impl Write for LateFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(file) = &mut self.file {
            return file.write(bytes);
        }
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > FILE_BYTES_MAX {
            let all = std::mem::take(&mut self.bytes);
            self.spill(&all)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TerminatingWrite for LateFile {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        match self.directory.keep(&self.path, std::mem::take(&mut self.bytes), false) {
            Ok(_) => Ok(()),
            Err(bytes) => self.spill(&bytes),
        }
    }
}
