//! Comparisons and ranges: numbers, versions and times, found in columns.

use std::io;

use statecast_state::Timestamp;
use statecast_state::query::{Field, Range};
use tantivy::columnar::{Column, DynamicColumn, StrColumn};
use tantivy::query::Query;
use tantivy::{BitSet, DocId, SegmentReader};

use crate::filter::Filter;
use crate::property;
use crate::schema::{SEEN_COLUMN, VALUES_COLUMN};
use crate::translate::{columns, number_column};

/// Devices that were seen when `holds`, in microseconds.
pub(crate) fn seen(holds: impl Fn(i64) -> bool + Clone + Send + Sync + 'static) -> Box<dyn Query> {
    Box::new(Filter::columns(move |reader: &SegmentReader| {
        let holds = holds.clone();
        let column: Column<i64> = reader.fast_fields().i64(SEEN_COLUMN)?;
        Ok(Some(move |doc: DocId| column.first(doc).is_some_and(&holds)))
    }))
}

/// Devices with a value of this property that lies within, at the moment `now`.
pub(crate) fn property(field: &Field, range: &Range, now: Timestamp) -> Box<dyn Query> {
    let (column, range) = (format!("{VALUES_COLUMN}.{}", property::name(field)), range.clone());
    Box::new(Filter::columns(move |reader: &SegmentReader| {
        let numbers = match range {
            Range::Versions(_) => None,
            Range::Numbers(_) | Range::Times(_) => number_column(reader, &column)?,
        };
        let texts = texts_within(reader, &column, &range, now)?;
        if numbers.is_none() && texts.is_none() {
            return Ok(None);
        }
        let range = range.clone();
        Ok(Some(move |doc: DocId| {
            let number =
                |column: &Column<f64>| column.values_for_doc(doc).any(|number| range.number(number, now));
            let text = |(column, within): &(StrColumn, BitSet)| {
                column.term_ords(doc).any(|ord| u32::try_from(ord).is_ok_and(|ord| within.contains(ord)))
            };
            numbers.as_ref().is_some_and(number) || texts.as_ref().is_some_and(text)
        }))
    }))
}

/// The strings of a column, and the ordinals of those that lie within; none when none does. Each different string is
/// looked at once, and only if it begins like a number, a version or a time.
fn texts_within(
    reader: &SegmentReader,
    name: &str,
    range: &Range,
    now: Timestamp,
) -> tantivy::Result<Option<(StrColumn, BitSet)>> {
    for handle in columns(reader, name)? {
        if let DynamicColumn::Str(column) = handle.open()? {
            let within = ords_within(&column, range, now)?;
            return Ok((within.len() > 0).then_some((column, within)));
        }
    }
    Ok(None)
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
