//! Facets: how many of the devices that match have each value of a property, and what the values of other fields come
//! to in these devices.

use std::cmp::Reverse;
use std::collections::HashMap;

use statecast_state::query::Field;
use tantivy::{DocId, SegmentReader};

use crate::columns::Columns;
use crate::order::{FieldColumns, Value};
use crate::statistics::Statistics;
use crate::values::{Room, SegmentValues, Texts, Values};

/// Most facets in one search.
pub const FACETS_MAX: usize = 8;
/// Most values of one facet in an answer.
pub const FACET_VALUES_MAX: usize = 50;
/// Most fields whose statistics are told for each value.
pub const FACET_STATISTICS_MAX: usize = 4;

/// The values of one property.
#[derive(Debug, Clone, PartialEq)]
pub struct FacetCounts {
    /// Which property.
    pub field: Field,
    /// The most frequent values, at most [`FACET_VALUES_MAX`], the most frequent first.
    pub values: Vec<FacetValue>,
    /// How many more values there are.
    pub more: usize,
}

/// One value of a property.
#[derive(Debug, Clone, PartialEq)]
pub struct FacetValue {
    /// A number, a bool, or the first 128 bytes of a string in lower case.
    pub value: serde_json::Value,
    /// How many devices have it, alone or in an array.
    pub count: usize,
    /// What the fields that were asked for come to in these devices.
    pub stats: Vec<Statistics>,
}

/// Counts over all segments.
pub(crate) struct Facets<'a> {
    fields: &'a [Field],
    stats: &'a [Field],
    /// For each field, by value.
    found: Vec<HashMap<Value, Found>>,
}

/// The devices that have a value.
#[derive(Default)]
struct Found {
    count: usize,
    /// Their values of the fields of which statistics are wanted.
    values: Vec<Values>,
}

/// Counts within one segment, by kind and number of the value.
pub(crate) struct SegmentFacets {
    fields: Vec<(FieldColumns, SegmentCounts)>,
    stats: Vec<FieldColumns>,
    seen: Vec<(u8, u64)>,
}

/// Looked into for each device: the hash of the standard library would take a quarter of the time.
type SegmentCounts = HashMap<(u8, u64), SegmentFound, foldhash::fast::RandomState>;

#[derive(Default)]
struct SegmentFound {
    count: usize,
    values: Vec<SegmentValues>,
}

impl<'a> Facets<'a> {
    pub(crate) fn new(fields: &'a [Field], stats: &'a [Field]) -> Self {
        // Without a facet there is nothing to tell them for.
        let stats = if fields.is_empty() { &[] } else { stats };
        Self { fields, stats, found: fields.iter().map(|_| HashMap::new()).collect() }
    }

    pub(crate) fn segment(
        &self,
        columns: &Columns,
        reader: &SegmentReader,
    ) -> tantivy::Result<SegmentFacets> {
        let open = |field| FieldColumns::open(columns, reader, field);
        let fields = self.fields.iter().map(|field| Ok((open(field)?, SegmentCounts::default())));
        Ok(SegmentFacets {
            fields: fields.collect::<tantivy::Result<_>>()?,
            stats: self.stats.iter().map(open).collect::<tantivy::Result<_>>()?,
            seen: Vec::new(),
        })
    }

    pub(crate) fn add(&mut self, segment: SegmentFacets) -> tantivy::Result<()> {
        for (total, (columns, found)) in self.found.iter_mut().zip(segment.fields) {
            for ((kind, number), found) in found {
                let total = total.entry(columns.value(kind, number)?).or_default();
                total.count += found.count;
                total.values.resize_with(self.stats.len(), Values::default);
                for ((total, columns), values) in
                    total.values.iter_mut().zip(&segment.stats).zip(found.values)
                {
                    total.append(values.finish(columns, Texts::Distinct)?);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Vec<FacetCounts> {
        let fields = self.fields.iter().zip(self.found);
        fields.map(|(field, found)| most_frequent(field.clone(), found)).collect()
    }
}

fn most_frequent(field: Field, found: HashMap<Value, Found>) -> FacetCounts {
    let mut values: Vec<_> = found.into_iter().collect();
    values.sort_unstable_by(|(left, more), (right, less)| {
        Reverse(more.count).cmp(&Reverse(less.count)).then_with(|| left.compare(right, false))
    });
    let more = values.len().saturating_sub(FACET_VALUES_MAX);
    values.truncate(FACET_VALUES_MAX);
    let values = values.into_iter().map(|(value, found)| FacetValue {
        value: value.to_json(),
        count: found.count,
        stats: found.values.into_iter().map(Statistics::of).collect(),
    });
    FacetCounts { field, values: values.collect(), more }
}

impl SegmentFacets {
    pub(crate) fn count(&mut self, doc: DocId, room: &mut Room) {
        for (columns, found) in &mut self.fields {
            // A value that stands in an array twice is still one device.
            self.seen.clear();
            columns.each(doc, |value| self.seen.push(value));
            if self.seen.len() > 1 {
                self.seen.sort_unstable();
                self.seen.dedup();
            }
            for value in &self.seen {
                let found = found.entry(*value).or_default();
                found.count += 1;
                found.values.resize_with(self.stats.len(), SegmentValues::default);
                for (columns, values) in self.stats.iter().zip(&mut found.values) {
                    values.add(columns, doc, room);
                }
            }
        }
    }
}
