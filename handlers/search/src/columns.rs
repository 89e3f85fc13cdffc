//! The columns of segments, opened once each: to open one takes as long as to read hundreds of its values, and a segment
//! doesn't change.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use tantivy::columnar::{Column, DynamicColumn, NumericalType};
use tantivy::index::SegmentId;
use tantivy::{Searcher, SegmentReader};

/// Most names of columns that are kept open for a segment.
const NAMES_MAX: usize = 256;

/// The columns that were asked for, as long as their segment is there.
#[derive(Default)]
pub(crate) struct Columns(RwLock<HashMap<SegmentId, Named>>);

/// The columns of a segment by name, one for each type of values.
type Named = HashMap<String, Arc<[DynamicColumn]>>;

impl Columns {
    /// The columns of this name in a segment, one for each type of values.
    pub(crate) fn named(&self, reader: &SegmentReader, name: &str) -> tantivy::Result<Arc<[DynamicColumn]>> {
        let segment = reader.segment_id();
        if let Some(known) = self.0.read().get(&segment).and_then(|named| named.get(name)) {
            return Ok(Arc::clone(known));
        }
        let handles = reader.fast_fields().dynamic_column_handles(name)?;
        let columns: Arc<[_]> = handles.iter().map(|handle| handle.open()).collect::<io::Result<_>>()?;
        let mut open = self.0.write();
        let named = open.entry(segment).or_default();
        if named.len() < NAMES_MAX {
            named.insert(name.to_owned(), Arc::clone(&columns));
        }
        Ok(columns)
    }

    /// Closes those of segments that are gone.
    pub(crate) fn keep(&self, searcher: &Searcher) {
        let there: HashSet<_> = searcher.segment_readers().iter().map(SegmentReader::segment_id).collect();
        self.0.write().retain(|segment, _| there.contains(segment));
    }
}

/// The numbers among these, as doubles.
pub(crate) fn numbers(columns: &[DynamicColumn]) -> Option<Column<f64>> {
    let mut numbers = columns.iter().filter(|column| column.column_type().numerical_type().is_some());
    numbers.find_map(|column| match column.clone().coerce_numerical(NumericalType::F64) {
        Some(DynamicColumn::F64(column)) => Some(column),
        _ => None,
    })
}
