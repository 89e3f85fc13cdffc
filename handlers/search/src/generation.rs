//! One index on disk, from the day it is complete to the day when another takes its place.
//!
//! A generation is made by a [`crate::filling::Filling`]; each commit moves its position. It is opened again
//! after a restart only when each of its files has the checksum that it was written with. Whatever goes wrong
//! with one, the answer is the same: it is dropped, and the next is built from the source.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use metrics::{gauge, histogram};
use serde::{Deserialize, Serialize};
use statecast_state::{DeviceKey, Position, Twin};
use tantivy::indexer::IndexWriterOptions;
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, Searcher};
use thiserror::Error;

use crate::columns::Columns;
use crate::directory::Deferred;
use crate::merges::Merges;
use crate::replaced::Replaced;
use crate::schema::{self, Fields};
use crate::{SearchError, entry, priority};

/// Memory for what is written between two commits; more of it becomes a segment at once. It is as little as tantivy takes:
/// its table of terms is the larger the more there is, and each commit clears it.
const HEAP_BYTES: usize = 15_000_000;

/// Where tantivy keeps the list of the files that it wrote.
const WRITTEN_FILES: &str = ".managed.json";

/// What a commit carries beside its documents.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Payload {
    /// The version of what is written into the index; see [`schema::SCHEMA_VERSION`].
    pub(crate) schema: u32,
    /// All changes up to here are in it.
    pub(crate) position: Position,
    /// The newest of them that was written, where that is known.
    #[serde(default)]
    pub(crate) newest: Position,
}

impl Payload {
    /// As tantivy keeps it.
    pub(crate) fn write(&self) -> Result<String, Unfit> {
        Ok(serde_json::to_string(self).map_err(io::Error::from)?)
    }
}

/// Why a generation can't be used.
#[derive(Debug, Error)]
pub(crate) enum Unfit {
    #[error(transparent)]
    Tantivy(#[from] tantivy::TantivyError),
    #[error("access the directory of the index")]
    Io(#[from] io::Error),
    #[error("{0} has changed since it was written")]
    Damaged(PathBuf),
    #[error("it was never completed")]
    Incomplete,
    #[error("it has other fields")]
    OtherFields,
}

/// What searches see: set as one, so that an answer and its position belong together.
#[derive(Clone)]
pub(crate) struct View {
    /// The documents.
    pub(crate) searcher: Searcher,
    /// Where to find what in them.
    pub(crate) fields: Fields,
    /// What was opened of them.
    pub(crate) columns: Arc<Columns>,
    /// All changes up to here are among them.
    pub(crate) position: Position,
}

/// One complete index on disk and its only writer. Every call blocks.
pub(crate) struct Generation {
    path: PathBuf,
    fields: Fields,
    directory: Deferred,
    writer: IndexWriter,
    reader: IndexReader,
    columns: Arc<Columns>,
    payload: Payload,
    /// What was written since the last commit.
    written: Option<Replaced>,
    /// The last state of devices that were written twice since then.
    again: HashMap<DeviceKey, Option<Arc<Twin>>>,
}

impl Generation {
    /// Opens one that is complete after checking each of its files.
    pub(crate) fn open(path: &Path) -> Result<Self, Unfit> {
        let directory = Deferred::open(path).map_err(tantivy::TantivyError::from)?;
        let index = Index::open(directory.clone())?;
        let (schema, fields) = schema::build();
        if index.schema() != schema {
            return Err(Unfit::OtherFields);
        }
        let meta = index.load_metas()?;
        let payload: Payload = meta
            .payload
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok())
            .ok_or(Unfit::Incomplete)?;
        // The one list holds every file that a segment may have, the other those that were written.
        let written = index.directory().list_managed_files();
        for file in meta.list_segment_files() {
            let expected = written.contains(&file) || path.join(&file).try_exists()?;
            if expected && !index.directory().validate_checksum(&file).unwrap_or(false) {
                return Err(Unfit::Damaged(file));
            }
        }
        if written.is_empty() {
            return Err(Unfit::Damaged(path.join(WRITTEN_FILES)));
        }
        Self::start(path, &index, fields, directory, payload)
    }

    /// Begins to write an index that has a commit with this payload.
    pub(crate) fn start(
        path: &Path,
        index: &Index,
        fields: Fields,
        directory: Deferred,
        payload: Payload,
    ) -> Result<Self, Unfit> {
        schema::register_tokenizer(index);
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(HEAP_BYTES)
            .build();
        let writer = index.writer_with_options(options)?;
        writer.set_merge_policy(Box::new(Merges));
        // tantivy counts its operations from the number that the last commit has. One that deletes must not have the
        // same: a merge of what that commit had would carry it out on a part of the segments, and take it for done.
        writer.run([])?;
        priority::lower_merges();
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self {
            path: path.to_owned(),
            fields,
            directory,
            writer,
            reader,
            columns: Arc::default(),
            payload,
            written: None,
            again: HashMap::new(),
        })
    }

    /// Where it is on disk.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its files.
    pub(crate) fn directory(&self) -> &Deferred {
        &self.directory
    }

    /// The position of the last commit.
    pub(crate) fn position(&self) -> Position {
        self.payload.position
    }

    /// The newest change that was written into it, where that is known.
    pub(crate) fn newest(&self) -> Position {
        self.payload.newest
    }

    /// Changes up to this one are written, or will be before the next commit.
    pub(crate) fn has(&mut self, newest: Position) {
        self.payload.newest = newest.max(self.payload.newest);
    }

    /// The version of what was written into it.
    pub(crate) fn schema(&self) -> u32 {
        self.payload.schema
    }

    /// Puts each twin in the place of what there is of its device; none removes it. Not seen until the next commit.
    pub(crate) fn write<I>(&mut self, changes: I) -> Result<(), Unfit>
    where
        I: IntoIterator<Item = (DeviceKey, Option<Arc<Twin>>)>,
    {
        for (key, twin) in changes {
            let written = match &self.written {
                Some(written) => written,
                None => {
                    let replaced = Replaced::new(self.fields.key);
                    self.writer.delete_query(Box::new(replaced.clone()))?;
                    self.written.insert(replaced)
                }
            };
            if !written.add(&key) {
                self.again.insert(key, twin);
            } else if let Some(twin) = twin {
                self.writer.add_document(entry::document(&self.fields, &key, &twin))?;
            }
        }
        Ok(())
    }

    /// Whether something was written since the last commit.
    pub(crate) fn is_written(&self) -> bool {
        self.written.is_some()
    }

    /// Makes what was written searchable, and `position` what the index starts from when it is opened again.
    pub(crate) fn commit(&mut self, position: Position) -> Result<(), Unfit> {
        let started = Instant::now();
        self.written = None;
        self.write_again()?;
        let mut commit = self.writer.prepare_commit()?;
        self.payload.position = position;
        commit.set_payload(&self.payload.write()?);
        commit.commit()?;
        self.reload()?;
        histogram!("statecast_search_commit_seconds").record(started.elapsed());
        Ok(())
    }

    /// Writes devices once more, behind what they replace. Told which before the first document: what was written
    /// since the last commit may become a segment at any time, and then is asked for those to be replaced, once.
    fn write_again(&mut self) -> Result<(), Unfit> {
        let again = std::mem::take(&mut self.again);
        if again.is_empty() {
            return Ok(());
        }
        let replaced = Replaced::new(self.fields.key);
        for key in again.keys() {
            replaced.add(key);
        }
        self.writer.delete_query(Box::new(replaced))?;
        for (key, twin) in again {
            if let Some(twin) = twin {
                self.writer.add_document(entry::document(&self.fields, &key, &twin))?;
            }
        }
        Ok(())
    }

    /// Takes up the segments that merges have made since the last commit.
    pub(crate) fn reload(&mut self) -> Result<(), Unfit> {
        self.reader.reload()?;
        let searcher = self.reader.searcher();
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        {
            gauge!("statecast_search_documents").set(searcher.num_docs() as f64);
            gauge!("statecast_search_segments").set(searcher.segment_readers().len() as f64);
        }
        Ok(())
    }

    /// Brings the disk to the last commit, and looks whether all that it needs is still there.
    pub(crate) fn save(&self) -> Result<(), Unfit> {
        self.directory.save()?;
        let index = self.writer.index();
        let written = index.directory().list_managed_files();
        let meta = index.load_metas()?;
        let needed = meta.list_segment_files().into_iter().filter(|file| written.contains(file));
        match self.directory.missing(needed)? {
            Some(file) => Err(Unfit::Damaged(file)),
            None => Ok(()),
        }
    }

    /// What the last commit made searchable, as of `position`.
    pub(crate) fn view(&self, position: Position) -> View {
        let searcher = self.reader.searcher();
        self.columns.keep(&searcher);
        View { searcher, fields: self.fields, columns: Arc::clone(&self.columns), position }
    }
}

impl From<Unfit> for SearchError {
    fn from(why: Unfit) -> Self {
        match why {
            Unfit::Tantivy(error) => Self::Index(error),
            Unfit::Io(error) => Self::Io(error),
            other => Self::Io(io::Error::new(io::ErrorKind::InvalidData, other)),
        }
    }
}
