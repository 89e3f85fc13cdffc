//! Comparisons and ranges: numbers, versions and times, found in columns.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use statecast_state::Timestamp;
use statecast_state::query::range::Number;
use statecast_state::query::{Field, Limits, Range};
use tantivy::columnar::{Column, DynamicColumn, StrColumn};
use tantivy::query::Query;
use tantivy::{BitSet, DocId, SegmentReader};

use crate::columns::{Columns, numbers, texts};
use crate::filter::{Filter, Matching};
use crate::property;
use crate::schema::{SEEN_COLUMN, VALUES_COLUMN};

/// Devices that were seen when `holds`, in microseconds.
pub(crate) fn seen(
    columns: &Arc<Columns>,
    holds: impl Fn(i64) -> bool + Clone + Send + Sync + 'static,
) -> Box<dyn Query> {
    let columns = Arc::clone(columns);
    Box::new(Filter::columns(move |reader: &SegmentReader| {
        let holds = holds.clone();
        let columns = columns.named(reader, SEEN_COLUMN)?;
        let times = columns.iter().find_map(|column| match column {
            DynamicColumn::I64(times) => Some(times.clone()),
            _ => None,
        });
        Ok(times.map(|times| Matching::Judged(move |doc: DocId| times.first(doc).is_some_and(&holds))))
    }))
}

/// Devices with a value of this property that lies within, at the moment `now`.
pub(crate) fn property(
    columns: &Arc<Columns>,
    field: &Field,
    range: &Range,
    now: Timestamp,
) -> Box<dyn Query> {
    let columns = Arc::clone(columns);
    let (name, range) = (format!("{VALUES_COLUMN}.{}", property::name(field)), range.clone());
    Box::new(Filter::columns(move |reader: &SegmentReader| {
        let columns = columns.named(reader, &name)?;
        let texts = texts_within(&columns, &range, now)?;
        if let (Range::Numbers(limits), None) = (&range, &texts)
            && let Some(found) = numbers_within(&columns, limits, reader.max_doc())
        {
            return Ok(Some(Matching::Found(found)));
        }
        let numbers = match range {
            Range::Versions(_) => None,
            Range::Numbers(_) | Range::Times(_) => numbers(&columns),
        };
        if numbers.is_none() && texts.is_none() {
            return Ok(None);
        }
        let range = range.clone();
        Ok(Some(Matching::Judged(move |doc: DocId| {
            let number =
                |column: &Column<f64>| column.values_for_doc(doc).any(|number| range.number(number, now));
            let text = |(column, within): &(StrColumn, BitSet)| {
                column.term_ords(doc).any(|ord| u32::try_from(ord).is_ok_and(|ord| within.contains(ord)))
            };
            numbers.as_ref().is_some_and(number) || texts.as_ref().is_some_and(text)
        })))
    }))
}

/// The documents with a number that lies within, found in the packed column without unpacking each. None where the
/// comparison with a double would not be exact.
fn numbers_within(columns: &[DynamicColumn], limits: &Limits<Number>, end: DocId) -> Option<BitSet> {
    let (from, to) = inclusive(limits);
    let mut docs = Vec::new();
    for column in columns {
        match column {
            DynamicColumn::F64(column) => within(column, from, to, end, &mut docs),
            DynamicColumn::I64(column) if column.min_value() >= -EXACT && column.max_value() <= EXACT => {
                #[expect(clippy::cast_possible_truncation, reason = "it saturates, and beyond is no value")]
                let (from, to) = (from.ceil() as i64, to.floor() as i64);
                within(column, from, to, end, &mut docs);
            }
            DynamicColumn::I64(_) | DynamicColumn::U64(_) => return None,
            _ => {}
        }
    }
    let mut found = BitSet::with_max_value(end);
    for doc in docs {
        found.insert(doc);
    }
    Some(found)
}

/// The documents of a column from one value to another. A column can't be asked for what is beyond its own.
fn within<T>(column: &Column<T>, from: T, to: T, end: DocId, docs: &mut Vec<DocId>)
where
    T: PartialOrd + Copy + Debug + Send + Sync + 'static,
{
    let (min, max) = (column.min_value(), column.max_value());
    let (from, to) = (if from < min { min } else { from }, if to > max { max } else { to });
    if from <= to {
        column.get_docids_for_value_range(from..=to, 0..end, docs);
    }
}

/// Whole numbers up to here are doubles, too.
const EXACT: i64 = 1 << 53;

/// The smallest and the largest double within.
fn inclusive(limits: &Limits<Number>) -> (f64, f64) {
    let (all, end) = (f64::NEG_INFINITY, f64::INFINITY);
    let (from, to) = match limits {
        Limits::Below(to) => (all, to.value.next_down()),
        Limits::AtMost(to) => (all, to.value),
        Limits::Above(from) => (from.value.next_up(), end),
        Limits::AtLeast(from) => (from.value, end),
        Limits::Between(from, to) => (from.value, to.value),
    };
    // Of the two zeros one is the first of a column, and the other the last.
    (if from == 0.0 { -0.0 } else { from }, if to == 0.0 { 0.0 } else { to })
}

/// The strings of a column, and the ordinals of those that lie within; none when none does. Each different string is
/// looked at once, and only if it begins like a number, a version or a time.
fn texts_within(
    columns: &[DynamicColumn],
    range: &Range,
    now: Timestamp,
) -> io::Result<Option<(StrColumn, BitSet)>> {
    let Some(texts) = texts(columns) else { return Ok(None) };
    let within = ords_within(texts, range, now)?;
    Ok((within.len() > 0).then(|| (texts.clone(), within)))
}

fn ords_within(column: &StrColumn, range: &Range, now: Timestamp) -> io::Result<BitSet> {
    let dictionary = column.dictionary();
    let mut within = BitSet::with_max_value(u32::try_from(dictionary.num_terms()).unwrap_or(u32::MAX));
    for (first, end) in [("-", ":"), ("v", "w")] {
        let mut texts = dictionary.range().ge(first).lt(end).into_stream()?;
        while texts.advance() {
            // What isn't text is never written into such a column.
            let is_within = str::from_utf8(texts.key()).is_ok_and(|text| range.text(text, now));
            if let (true, Ok(ord)) = (is_within, u32::try_from(texts.term_ord())) {
                within.insert(ord);
            }
        }
    }
    Ok(within)
}
