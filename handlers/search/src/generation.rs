//! One index on disk, from its first document to the day when another takes its place.
//!
//! A generation is made empty and filled by a rebuild; its first commit with a position makes it *complete*,
//! and from then on each commit moves the position. Only a complete one is opened again after a restart, and
//! only when each of its files has the checksum that it was written with. Whatever goes wrong with one, the
//! answer is the same: it is dropped, and the next is built from the source.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use std::{fs, io};

use metrics::{gauge, histogram};
use serde::{Deserialize, Serialize};
use statecast_state::{DeviceKey, Position, Twin};
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::{Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, Searcher, Term};
use thiserror::Error;

use crate::directory::Unsynced;
use crate::schema::{self, Fields, SCHEMA_VERSION};
use crate::{SearchError, Settings};

/// Segments of about the same size that are merged into one.
const MERGED_SEGMENTS_MIN: usize = 8;
/// A segment of which more than this part is deleted is merged whatever its size.
const DELETED_RATIO_MAX: f32 = 0.5;

/// Where tantivy keeps the list of the files that it wrote.
const WRITTEN_FILES: &str = ".managed.json";

/// What a commit carries beside its documents.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    schema: u32,
    position: Position,
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
    #[error("it has another schema")]
    OtherSchema,
}

/// What searches see: set as one, so that an answer and its position belong together.
#[derive(Clone)]
pub(crate) struct View {
    /// The documents.
    pub(crate) searcher: Searcher,
    /// Where to find what in them.
    pub(crate) fields: Fields,
    /// All changes up to here are among them.
    pub(crate) position: Position,
}

/// One index on disk and its only writer. Every call blocks.
pub(crate) struct Generation {
    path: PathBuf,
    fields: Fields,
    writer: IndexWriter,
    reader: IndexReader,
    position: Option<Position>,
}

impl Generation {
    /// Makes an empty one in `path`, a directory that doesn't exist.
    pub(crate) fn create(path: &Path, settings: &Settings) -> Result<Self, Unfit> {
        fs::create_dir_all(path)?;
        let (schema, fields) = schema::build();
        let directory = Unsynced::open(path).map_err(tantivy::TantivyError::from)?;
        let index = Index::create(directory, schema, IndexSettings::default())?;
        Self::start(path, &index, fields, None, settings)
    }

    /// Opens a complete one after checking each of its files.
    pub(crate) fn open(path: &Path, settings: &Settings) -> Result<Self, Unfit> {
        let directory = Unsynced::open(path).map_err(tantivy::TantivyError::from)?;
        let index = Index::open(directory)?;
        let (schema, fields) = schema::build();
        if index.schema() != schema {
            return Err(Unfit::OtherSchema);
        }
        let meta = index.load_metas()?;
        let payload: Payload = meta
            .payload
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok())
            .ok_or(Unfit::Incomplete)?;
        if payload.schema != SCHEMA_VERSION {
            return Err(Unfit::OtherSchema);
        }
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
        Self::start(path, &index, fields, Some(payload.position), settings)
    }

    fn start(
        path: &Path,
        index: &Index,
        fields: Fields,
        position: Option<Position>,
        settings: &Settings,
    ) -> Result<Self, Unfit> {
        schema::register_tokenizer(index);
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(settings.writer_heap_bytes)
            .build();
        let writer = index.writer_with_options(options)?;
        let mut merges = LogMergePolicy::default();
        merges.set_min_num_segments(MERGED_SEGMENTS_MIN);
        merges.set_del_docs_ratio_before_merge(DELETED_RATIO_MAX);
        writer.set_merge_policy(Box::new(merges));
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { path: path.to_owned(), fields, writer, reader, position })
    }

    /// Where it is on disk.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The position of the last commit; none until it is complete.
    pub(crate) fn position(&self) -> Option<Position> {
        self.position
    }

    /// Puts each twin in the place of what there is of its device; none removes it. Not seen until the next
    /// commit.
    pub(crate) fn write<'a>(
        &mut self,
        items: impl IntoIterator<Item = (&'a DeviceKey, &'a Option<Arc<Twin>>)>,
    ) -> Result<(), Unfit> {
        for (key, twin) in items {
            self.writer.delete_term(Term::from_field_bytes(self.fields.key, &schema::key_bytes(key)));
            if let Some(twin) = twin {
                self.writer.add_document(crate::entry::document(&self.fields, key, twin))?;
            }
        }
        Ok(())
    }

    /// Makes what was written searchable, and `position` what the index starts from when it is opened again;
    /// without one it stays as incomplete as it was.
    pub(crate) fn commit(&mut self, position: Option<Position>) -> Result<(), Unfit> {
        let started = Instant::now();
        let mut commit = self.writer.prepare_commit()?;
        if let Some(position) = position.or(self.position) {
            let payload = Payload { schema: SCHEMA_VERSION, position };
            commit.set_payload(&serde_json::to_string(&payload).map_err(io::Error::from)?);
            self.position = Some(position);
        }
        commit.commit()?;
        self.reload()?;
        histogram!("statecast_search_commit_seconds").record(started.elapsed());
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

    /// What the last commit made searchable, as of `position`.
    pub(crate) fn view(&self, position: Position) -> View {
        View { searcher: self.reader.searcher(), fields: self.fields, position }
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
