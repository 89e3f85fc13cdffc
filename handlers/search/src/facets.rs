//! Facets: how many of the devices that match have each value of a property, and what the values of other fields come
//! to in these devices.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use statecast_state::query::Field;
use tantivy::{DocId, SegmentReader};

use crate::SearchError;
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
/// Most different values of all facets of one search together: each takes memory for as long as it is counted.
pub const DISTINCT_MAX: usize = 100_000;

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
    /// For different values.
    room: Room,
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
            room: Room::new(DISTINCT_MAX),
        })
    }

    /// Adds what was counted in a segment.
    ///
    /// # Errors
    /// `Refused` when there were more values than [`DISTINCT_MAX`].
    pub(crate) fn add(&mut self, segment: SegmentFacets) -> Result<(), SearchError> {
        const REFUSED: &str = "facets of more than 100,000 different values: narrow the query";
        segment.room.check(REFUSED)?;
        for (total, (columns, mut counts)) in self.found.iter_mut().zip(segment.fields) {
            // Then all strings are read in one go through the dictionary.
            counts.found.sort_unstable_by_key(|(slot, _)| *slot);
            let slots: Vec<Slot> = counts.found.iter().map(|(slot, _)| *slot).collect();
            for (value, (_, found)) in columns.values(&slots)?.into_iter().zip(counts.found) {
                let total = total.entry(value).or_default();
                total.count += found.count;
                total.values.resize_with(self.stats.len(), Values::default);
                for ((total, columns), values) in
                    total.values.iter_mut().zip(&segment.stats).zip(found.values)
                {
                    total.append(values.finish(columns, Texts::Distinct)?);
                }
            }
        }
        let distinct: usize = self.found.iter().map(HashMap::len).sum();
        if distinct > DISTINCT_MAX { Err(SearchError::Refused(REFUSED)) } else { Ok(()) }
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
        let (stats, distinct) = (&self.stats, &mut self.room);
        for (columns, counts) in &mut self.fields {
            // Which documents have which of the values that were found.
            let mut members = Vec::with_capacity(BLOCK);
            let mut count = |nth, value| {
                members.extend(counts.count(value, stats.len(), distinct).map(|found| (nth, found)));
            };
            columns.each(docs, |nth, values| match values {
                [value] => count(nth, *value),
                // A value that stands in an array twice is still one device.
                values => {
                    let values: BTreeSet<_> = values.iter().collect();
                    values.into_iter().for_each(|value| count(nth, *value));
                }
            });
            for (stat, columns) in stats.iter().enumerate() {
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
    /// Counts a device that has this value, and tells where the value stands among those that were found; none when
    /// there is no room for another.
    fn count(&mut self, value: Slot, stats: usize, room: &mut Room) -> Option<usize> {
        let nth = *self.known.entry(value).or_insert(self.found.len());
        if nth == self.found.len() {
            if !room.take() {
                self.known.remove(&value);
                return None;
            }
            let values = (0..stats).map(|_| SegmentValues::default()).collect();
            self.found.push((value, SegmentFound { count: 0, values }));
        }
        self.found[nth].1.count += 1;
        Some(nth)
    }
}
