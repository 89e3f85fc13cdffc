//! Facets: how many of the devices that match have each value of a property, and what the values of other fields come
//! to in these devices.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use statecast_state::query::Field;
use tantivy::{DocId, SegmentReader};

use crate::columns::Columns;
use crate::fields::{BLOCK, FieldColumns, Slot};
use crate::order::Value;
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

/// Counts within one segment.
pub(crate) struct SegmentFacets {
    fields: Vec<(FieldColumns, SegmentCounts)>,
    stats: Vec<FieldColumns>,
}

/// The values of one field, and what is found of each.
#[derive(Default)]
struct SegmentCounts {
    /// Looked into for each device: the hash of the standard library would take a quarter of the time.
    known: HashMap<Slot, usize, foldhash::fast::RandomState>,
    found: Vec<(Slot, SegmentFound)>,
}

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
        })
    }

    pub(crate) fn add(&mut self, segment: SegmentFacets) -> tantivy::Result<()> {
        for (total, (columns, counts)) in self.found.iter_mut().zip(segment.fields) {
            for (value, found) in counts.found {
                let total = total.entry(columns.value(value)?).or_default();
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
    pub(crate) fn count(&mut self, docs: &[DocId], room: &mut Room) {
        for (columns, counts) in &mut self.fields {
            // Which documents have which of the values that were found.
            let mut members = Vec::with_capacity(BLOCK);
            columns.each(docs, |nth, values| match values {
                [value] => members.push((nth, counts.count(*value, self.stats.len()))),
                values => {
                    // A value that stands in an array twice is still one device.
                    let values: BTreeSet<_> = values.iter().collect();
                    members.extend(
                        values.into_iter().map(|value| (nth, counts.count(*value, self.stats.len()))),
                    );
                }
            });
            for (stat, columns) in self.stats.iter().enumerate() {
                let mut members = members.iter().peekable();
                columns.each(docs, |nth, values| {
                    while let Some((_, found)) = members.next_if(|(member, _)| *member == nth) {
                        counts.found[*found].1.values[stat].add(values, room);
                    }
                });
            }
        }
    }
}

impl SegmentCounts {
    /// Counts a device that has this value, and tells where the value stands among those that were found.
    fn count(&mut self, value: Slot, stats: usize) -> usize {
        let nth = *self.known.entry(value).or_insert(self.found.len());
        if nth == self.found.len() {
            let values = (0..stats).map(|_| SegmentValues::default()).collect();
            self.found.push((value, SegmentFound { count: 0, values }));
        }
        self.found[nth].1.count += 1;
        nth
    }
}
