//! An index while it is filled with all that there is. Nobody sees it, and each device is written once.
//!
//! So there is nothing to replace, nothing to merge, and as many threads write as there are processors.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, thread};

use statecast_state::{DeviceKey, Position, Twin};
use tantivy::indexer::{IndexWriterOptions, NoMergePolicy};
use tantivy::store::Compressor;
use tantivy::{Index, IndexSettings, IndexWriter};

use crate::directory::Deferred;
use crate::entry;
use crate::generation::{Generation, Payload, Unfit};
use crate::schema::{self, Fields};

/// More threads make more and smaller segments, and each takes its memory.
const THREADS_MAX: usize = 4;
/// Memory for what each writes: a segment is what fits in.
const HEAP_BYTES: usize = 50_000_000;

/// An index that isn't complete. Calls block.
pub(crate) struct Filling {
    path: PathBuf,
    fields: Fields,
    directory: Deferred,
    index: Index,
    writer: IndexWriter,
    schema_version: u32,
}

impl Filling {
    /// An empty one in `path`, a directory that doesn't exist.
    pub(crate) fn create(path: &Path, schema_version: u32) -> Result<Self, Unfit> {
        fs::create_dir_all(path)?;
        let (schema, fields) = schema::build();
        let directory = Deferred::open(path).map_err(tantivy::TantivyError::from)?;
        // Nothing is stored beside terms and columns, so there is nothing to compress.
        let store = IndexSettings {
            docstore_compression: Compressor::None,
            docstore_compress_dedicated_thread: false,
            ..IndexSettings::default()
        };
        let index = Index::create(directory.clone(), schema, store)?;
        schema::register_tokenizer(&index);
        let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let options = IndexWriterOptions::builder()
            .num_worker_threads(threads)
            .memory_budget_per_thread(HEAP_BYTES)
            .build();
        let writer = index.writer_with_options(options)?;
        writer.set_merge_policy(Box::new(NoMergePolicy));
        Ok(Self { path: path.to_owned(), fields, directory, index, writer, schema_version })
    }

    /// Where it is on disk.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds devices that it doesn't have. Several may do so at a time.
    pub(crate) fn add(&self, page: &[(DeviceKey, Arc<Twin>)]) -> Result<(), Unfit> {
        for (key, twin) in page {
            self.writer.add_document(entry::document(&self.fields, key, twin))?;
        }
        Ok(())
    }

    /// It has everything, as of `position`, and `newest` is a change that it has.
    pub(crate) fn finish(self, position: Position, newest: Position) -> Result<Generation, Unfit> {
        let Self { path, fields, directory, index, mut writer, schema_version } = self;
        let payload = Payload { schema: schema_version, position, newest };
        let mut commit = writer.prepare_commit()?;
        commit.set_payload(&payload.write()?);
        commit.commit()?;
        // Makes room for the writer that follows the feed.
        writer.wait_merging_threads()?;
        directory.save()?;
        Generation::start(&path, &index, fields, directory, payload)
    }
}
