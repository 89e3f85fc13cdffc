//! The columns of segments, opened once each: to open one takes as long as to read hundreds of its values, and a segment
//! doesn't change. The ids of their devices, read once: to find one in its dictionary is to read hundreds. And what
//! queries matched in them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use tantivy::columnar::{Column, DynamicColumn, NumericalType, StrColumn};
use tantivy::index::SegmentId;
use tantivy::{DocId, Searcher, SegmentReader};

use crate::repeated::{Matched, Repeated};
use crate::schema::ID_COLUMN;

/// Most names of columns that are kept open for a segment.
const NAMES_MAX: usize = 256;
/// Most ids of a segment that are kept: a few dozen megabytes of them.
const IDS_MAX: usize = 1 << 20;

/// What was asked for, as long as its segment is there.
#[derive(Default)]
pub(crate) struct Columns(RwLock<HashMap<SegmentId, Opened>>);

/// What was opened of a segment.
#[derive(Default)]
struct Opened {
    /// The columns by name, one for each type of values.
    named: HashMap<String, Arc<[DynamicColumn]>>,
    ids: Arc<OnceLock<Texts>>,
    repeated: Repeated,
}

impl Columns {
    /// The columns of this name in a segment, one for each type of values.
    pub(crate) fn named(&self, reader: &SegmentReader, name: &str) -> tantivy::Result<Arc<[DynamicColumn]>> {
        let segment = reader.segment_id();
        if let Some(known) = self.0.read().get(&segment).and_then(|opened| opened.named.get(name)) {
            return Ok(Arc::clone(known));
        }
        let handles = reader.fast_fields().dynamic_column_handles(name)?;
        let columns: Arc<[_]> = handles.iter().map(|handle| handle.open()).collect::<io::Result<_>>()?;
        let mut open = self.0.write();
        let opened = open.entry(segment).or_default();
        if opened.named.len() < NAMES_MAX {
            opened.named.insert(name.to_owned(), Arc::clone(&columns));
        }
        Ok(columns)
    }

    /// The ids of the devices of a segment; none when it has no documents.
    pub(crate) fn ids(&self, reader: &SegmentReader) -> tantivy::Result<Option<Ids>> {
        let columns = self.named(reader, ID_COLUMN)?;
        let Some(column) = texts(&columns).cloned() else { return Ok(None) };
        let open = self.0.read();
        let read = open.get(&reader.segment_id()).map(|opened| Arc::clone(&opened.ids));
        Ok(Some(Ids { column, read: read.unwrap_or_default() }))
    }

    /// What this query matched in a segment, also what was deleted since; see [`crate::repeated`].
    pub(crate) fn matched(&self, reader: &SegmentReader, key: &str) -> Option<Matched> {
        self.0.read().get(&reader.segment_id())?.repeated.get(key)
    }

    /// Keeps what a query matched in a segment.
    pub(crate) fn keep_matched(&self, reader: &SegmentReader, key: &Arc<str>, docs: &[DocId]) {
        let matched = Matched::of(docs);
        self.0.write().entry(reader.segment_id()).or_default().repeated.put(key, matched, reader.max_doc());
    }

    /// Closes those of segments that are gone.
    pub(crate) fn keep(&self, searcher: &Searcher) {
        let there: HashSet<_> = searcher.segment_readers().iter().map(SegmentReader::segment_id).collect();
        self.0.write().retain(|segment, _| there.contains(segment));
    }
}

/// The ids of a segment, in their order.
pub(crate) struct Ids {
    pub(crate) column: StrColumn,
    /// All of them, once one is asked for.
    read: Arc<OnceLock<Texts>>,
}

/// Strings, one after the other.
struct Texts {
    all: String,
    ends: Vec<usize>,
}

impl Ids {
    /// The id with this ordinal.
    pub(crate) fn get(&self, ord: u64) -> io::Result<String> {
        if self.column.num_terms() > IDS_MAX {
            let mut id = String::new();
            self.column.ord_to_str(ord, &mut id)?;
            return Ok(id);
        }
        if self.read.get().is_none() {
            self.read.set(self.read_all()?).ok();
        }
        let id = usize::try_from(ord).ok().and_then(|ord| self.read.get()?.get(ord));
        Ok(id.unwrap_or_default().to_owned())
    }

    fn read_all(&self) -> io::Result<Texts> {
        let mut texts = Texts { all: String::new(), ends: Vec::with_capacity(self.column.num_terms()) };
        let mut stream = self.column.dictionary().stream()?;
        while stream.advance() {
            let id = str::from_utf8(stream.key());
            texts.all.push_str(id.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?);
            texts.ends.push(texts.all.len());
        }
        Ok(texts)
    }
}

impl Texts {
    fn get(&self, nth: usize) -> Option<&str> {
        let start = nth.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.all.get(start..*self.ends.get(nth)?)
    }
}

/// The strings among these.
pub(crate) fn texts(columns: &[DynamicColumn]) -> Option<&StrColumn> {
    columns.iter().find_map(|column| match column {
        DynamicColumn::Str(texts) => Some(texts),
        _ => None,
    })
}

/// The numbers among these, as doubles.
pub(crate) fn numbers(columns: &[DynamicColumn]) -> Option<Column<f64>> {
    let mut numbers = columns.iter().filter(|column| column.column_type().numerical_type().is_some());
    numbers.find_map(|column| match column.clone().coerce_numerical(NumericalType::F64) {
        Some(DynamicColumn::F64(column)) => Some(column),
        _ => None,
    })
}
