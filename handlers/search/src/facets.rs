//! Facets: how many of the devices that match have each value of a property, and what the values of other fields come
//! to in these devices.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use statecast_state::query::Field;
use tantivy::{DocId, SegmentReader};

use crate::SearchError;
use crate::columns::Columns;
use crate::fields::{self, BLOCK, FieldColumns, Slot};
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
/// Strings of a segment that are told apart by their ordinals: 64 KB.
const TEXTS_MAX: usize = 4_096;

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
    /// Where a string stands among those that were found, by its ordinal: without a hash, which would take a fifth of
    /// the time. Of as many as there are, but not of more than [`TEXTS_MAX`].
    texts: Vec<Option<usize>>,
    /// The same of all else.
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
        let fields = self.fields.iter().map(|field| {
            let columns = open(field)?;
            let counts = SegmentCounts::new(columns.distinct_texts());
            Ok((columns, counts))
        });
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
                if let Some(found) = counts.count(value, stats.len(), distinct) {
                    members.push((nth, found));
                }
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
                let mut rest = members.as_slice();
                columns.each(docs, |nth, values| {
                    while let [(member, found), others @ ..] = rest
                        && *member == nth
                    {
                        counts.found[*found].1.values[stat].add(values, room);
                        rest = others;
                    }
                });
            }
        }
    }
}

impl SegmentCounts {
    /// Of a field that has so many different strings.
    fn new(texts: usize) -> Self {
        Self { texts: vec![None; texts.min(TEXTS_MAX)], ..Self::default() }
    }

    /// Counts a device that has this value, and tells where the value stands among those that were found; none when
    /// there is no room for another.
    fn count(&mut self, value: Slot, stats: usize, room: &mut Room) -> Option<usize> {
        let next = self.found.len();
        let nth = match self.text(value) {
            Some(known) => *known.get_or_insert(next),
            None => *self.known.entry(value).or_insert(next),
        };
        if nth == next {
            if !room.take() {
                self.forget(value);
                return None;
            }
            let values = (0..stats).map(|_| SegmentValues::default()).collect();
            self.found.push((value, SegmentFound { count: 0, values }));
        }
        self.found[nth].1.count += 1;
        Some(nth)
    }

    fn forget(&mut self, value: Slot) {
        match self.text(value) {
            Some(known) => *known = None,
            None => drop(self.known.remove(&value)),
        }
    }

    /// Where it is told where a string stands, if there is a place for it.
    fn text(&mut self, value: Slot) -> Option<&mut Option<usize>> {
        self.texts.get_mut(fields::ordinal(value)?)
    }
}
