//! Facets: how many of the devices that match have each value of a property.

use std::cmp::Reverse;
use std::collections::HashMap;

use statecast_state::query::Field;
use tantivy::{DocId, SegmentReader};

use crate::order::{FieldColumns, Value};

/// Most facets in one search.
pub const FACETS_MAX: usize = 16;
/// Most values of one facet in an answer.
pub const FACET_VALUES_MAX: usize = 50;

/// The values of one property.
#[derive(Debug, Clone, PartialEq)]
pub struct FacetCounts {
    /// Which property.
    pub field: Field,
    /// The most frequent values, at most [`FACET_VALUES_MAX`], the most frequent first: a number, a bool, or
    /// the first 128 bytes of a string in lower case; and how many devices have it, alone or in an array.
    pub values: Vec<(serde_json::Value, usize)>,
    /// How many more values there are.
    pub more: usize,
}

/// Counts over all segments.
pub(crate) struct Facets<'a> {
    fields: &'a [Field],
    /// For each field, by value.
    counts: Vec<HashMap<Value, usize>>,
}

/// Counts within one segment, by kind and number of the value.
pub(crate) struct SegmentFacets {
    fields: Vec<FieldCounts>,
    seen: Vec<(u8, u64)>,
}

/// The columns of one field, and how many documents have each value of them.
struct FieldCounts {
    columns: FieldColumns,
    counts: HashMap<(u8, u64), usize>,
}

impl<'a> Facets<'a> {
    pub(crate) fn new(fields: &'a [Field]) -> Self {
        Self { fields, counts: fields.iter().map(|_| HashMap::new()).collect() }
    }

    pub(crate) fn segment(&self, reader: &SegmentReader) -> tantivy::Result<SegmentFacets> {
        let open =
            |field| Ok(FieldCounts { columns: FieldColumns::open(reader, field)?, counts: HashMap::new() });
        let fields = self.fields.iter().map(open).collect::<tantivy::Result<_>>()?;
        Ok(SegmentFacets { fields, seen: Vec::new() })
    }

    pub(crate) fn add(&mut self, segment: SegmentFacets) -> tantivy::Result<()> {
        for (total, FieldCounts { columns, counts }) in self.counts.iter_mut().zip(segment.fields) {
            for ((kind, number), count) in counts {
                *total.entry(columns.value(kind, number)?).or_default() += count;
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Vec<FacetCounts> {
        self.fields
            .iter()
            .zip(self.counts)
            .map(|(field, counts)| most_frequent(field.clone(), counts))
            .collect()
    }
}

fn most_frequent(field: Field, counts: HashMap<Value, usize>) -> FacetCounts {
    let mut values: Vec<_> = counts.into_iter().collect();
    values.sort_unstable_by(|(left, more), (right, less)| {
        Reverse(more).cmp(&Reverse(less)).then_with(|| left.compare(right, false))
    });
    let more = values.len().saturating_sub(FACET_VALUES_MAX);
    values.truncate(FACET_VALUES_MAX);
    let values = values.into_iter().map(|(value, count)| (value.to_json(), count)).collect();
    FacetCounts { field, values, more }
}

impl SegmentFacets {
    pub(crate) fn count(&mut self, doc: DocId) {
        for FieldCounts { columns, counts } in &mut self.fields {
            // A value that stands in an array twice is still one device.
            self.seen.clear();
            self.seen.extend(columns.each(doc));
            self.seen.sort_unstable();
            self.seen.dedup();
            for value in &self.seen {
                *counts.entry(*value).or_default() += 1;
            }
        }
    }
}
