//! The values that documents have of one field, read from its columns in one segment.
//!
//! Within a segment a value is a [`Slot`]: its kind and a number that stands for it, so that two are compared without being
//! looked up. A string is its place among all strings of its column. Many documents are read at a time, as to find one
//! value in a packed column is a few calls, and the next ones need not wait for it.

use std::io;
use std::slice;

use statecast_state::query::Field;
use tantivy::columnar::{Cardinality, Column, DynamicColumn, StrColumn, TermOrdHit};
use tantivy::{DocId, SegmentReader, f64_to_u64};

use crate::columns::{Columns, numbers};
use crate::order::Value;
use crate::property;
use crate::schema::{ID_COLUMN, SEEN_COLUMN, VALUES_COLUMN};

/// Documents that are read at a time, at most.
pub(crate) const BLOCK: usize = 64;

/// A value in its segment: the kind, and within the kind a number. In the order of [`Value`].
pub(crate) type Slot = (u8, u64);

/// No value.
pub(crate) const MISSING: Slot = (3, 0);

/// The columns of one field in one segment.
pub(crate) struct FieldColumns {
    doubles: Option<Column<f64>>,
    wholes: Option<Column<i64>>,
    texts: Option<StrColumn>,
    truths: Option<Column<bool>>,
    /// The whole numbers are microseconds since the epoch.
    times: bool,
    /// No document has more than one value.
    single: bool,
}

impl FieldColumns {
    pub(crate) fn open(columns: &Columns, reader: &SegmentReader, field: &Field) -> tantivy::Result<Self> {
        let columns = match field {
            Field::Id => columns.named(reader, ID_COLUMN)?,
            Field::Seen => columns.named(reader, SEEN_COLUMN)?,
            field => columns.named(reader, &format!("{VALUES_COLUMN}.{}", property::name(field)))?,
        };
        let single = match &*columns {
            [column] => column.get_cardinality() != Cardinality::Multivalued,
            several => several.is_empty(),
        };
        let times = *field == Field::Seen;
        let mut found = Self { doubles: None, wholes: None, texts: None, truths: None, times, single };
        for column in &*columns {
            match column {
                DynamicColumn::I64(column) => found.wholes = Some(column.clone()),
                DynamicColumn::Str(column) => found.texts = Some(column.clone()),
                DynamicColumn::Bool(column) => found.truths = Some(column.clone()),
                _ => {}
            }
        }
        if found.wholes.is_none() {
            found.doubles = numbers(&columns);
        }
        Ok(found)
    }

    /// The value that decides the place of a document.
    pub(crate) fn first(&self, doc: DocId) -> Slot {
        let number = self.doubles.as_ref().and_then(|column| column.first(doc)).map(double);
        let whole = || self.wholes.as_ref()?.first(doc).map(self::whole);
        let text = || self.texts.as_ref()?.ords().first(doc).map(self::text);
        let truth = || self.truths.as_ref()?.first(doc).map(self::truth);
        number.or_else(whole).or_else(text).or_else(truth).unwrap_or(MISSING)
    }

    /// The same of these documents, at most [`BLOCK`].
    pub(crate) fn firsts(&self, docs: &[DocId], found: &mut [Slot; BLOCK]) {
        match (&self.doubles, &self.wholes, &self.texts, &self.truths) {
            (Some(column), None, None, None) => firsts(column, docs, found, double),
            (None, Some(column), None, None) => firsts(column, docs, found, whole),
            (None, None, Some(column), None) => firsts(column.ords(), docs, found, text),
            (None, None, None, Some(column)) => firsts(column, docs, found, truth),
            _ => found.iter_mut().zip(docs).for_each(|(found, doc)| *found = self.first(*doc)),
        }
    }

    /// Calls `f` with each of these documents, by its place among them, and all its values, those of one kind after the
    /// other. At most [`BLOCK`] documents.
    pub(crate) fn each(&self, docs: &[DocId], mut f: impl FnMut(usize, &[Slot])) {
        if self.single {
            let mut found = [MISSING; BLOCK];
            self.firsts(docs, &mut found);
            for (nth, value) in found.iter().enumerate().take(docs.len()) {
                f(nth, if *value == MISSING { &[] } else { slice::from_ref(value) });
            }
            return;
        }
        let mut values = Vec::new();
        for (nth, doc) in docs.iter().enumerate() {
            values.clear();
            values.extend(self.doubles.iter().flat_map(|column| column.values_for_doc(*doc)).map(double));
            values.extend(self.wholes.iter().flat_map(|column| column.values_for_doc(*doc)).map(whole));
            values.extend(self.texts.iter().flat_map(|column| column.term_ords(*doc)).map(text));
            values.extend(self.truths.iter().flat_map(|column| column.values_for_doc(*doc)).map(truth));
            f(nth, &values);
        }
    }

    /// Calls `f` with the strings at these places, which are sorted.
    pub(crate) fn each_text(&self, places: &[u64], f: impl FnMut(&[u8])) -> io::Result<()> {
        let Some(texts) = &self.texts else { return Ok(()) };
        let ords: Vec<_> = places.iter().map(|place| place / 2).collect();
        texts.dictionary().sorted_ords_to_term_cb(&ords, f).map(drop)
    }

    /// Different strings.
    pub(crate) fn distinct_texts(&self) -> usize {
        self.texts.as_ref().map_or(0, |texts| texts.num_terms())
    }

    /// Whether its numbers are times, in microseconds since the epoch.
    pub(crate) fn is_time(&self) -> bool {
        self.times
    }

    /// What slots stand for, which are sorted.
    pub(crate) fn values(&self, slots: &[Slot]) -> io::Result<Vec<Value>> {
        let places: Vec<u64> = slots.iter().filter(|(kind, _)| *kind == 1).map(|(_, place)| *place).collect();
        let mut texts = Vec::with_capacity(places.len());
        self.each_text(&places, |text| texts.push(String::from_utf8_lossy(text).into_owned()))?;
        let mut texts = texts.into_iter();
        let values = slots.iter().map(|slot| match slot {
            (1, _) => Ok(texts.next().map_or(Value::Missing, Value::Text)),
            slot => self.value(*slot),
        });
        values.collect()
    }

    /// What a slot stands for.
    pub(crate) fn value(&self, (kind, number): Slot) -> io::Result<Value> {
        Ok(match (kind, &self.texts) {
            (0, _) => Value::Number(number),
            (1, Some(texts)) => Value::Text(text_at(texts, number)?),
            (2, _) => Value::Truth(number != 0),
            _ => Value::Missing,
        })
    }

    /// Where a value would stand that need not be in this segment.
    pub(crate) fn locate(&self, value: &Value) -> io::Result<Slot> {
        let number = match value {
            Value::Number(number) => *number,
            Value::Text(text) => self.texts.as_ref().map_or(Ok(0), |texts| locate_text(texts, text))?,
            Value::Truth(truth) => u64::from(*truth),
            Value::Missing => 0,
        };
        Ok((value.kind(), number))
    }
}

/// The first value in a column of each of these documents, at most [`BLOCK`].
pub(crate) fn firsts<T: PartialOrd + Copy + std::fmt::Debug + Send + Sync + 'static>(
    column: &Column<T>,
    docs: &[DocId],
    found: &mut [Slot; BLOCK],
    slot: impl Fn(T) -> Slot,
) {
    let mut values = [None; BLOCK];
    let values = &mut values[..docs.len()];
    column.first_vals(docs, values);
    for (found, value) in found.iter_mut().zip(values) {
        *found = value.map_or(MISSING, &slot);
    }
}

/// The bits of a double in their natural order. The two zeros are one number.
fn double(number: f64) -> Slot {
    (0, f64_to_u64(if number == 0.0 { 0.0 } else { number }))
}

/// A double has room for the microseconds of the years 0000-9999 up to the sixteenth.
#[expect(clippy::cast_precision_loss, reason = "numbers are compared as doubles; see above")]
fn whole(number: i64) -> Slot {
    double(number as f64)
}

/// The string with this ordinal.
pub(crate) fn text(ord: u64) -> Slot {
    (1, place(ord))
}

/// The ordinal of what is a string.
pub(crate) fn ordinal((kind, place): Slot) -> Option<usize> {
    if kind == 1 { usize::try_from(place / 2).ok() } else { None }
}

fn truth(truth: bool) -> Slot {
    (2, u64::from(truth))
}

/// The place of the string with this ordinal: odd, so that there is room between two of them.
pub(crate) fn place(ord: u64) -> u64 {
    2 * ord + 1
}

fn text_at(texts: &StrColumn, place: u64) -> io::Result<String> {
    let mut text = String::new();
    texts.ord_to_str(place / 2, &mut text)?;
    Ok(text)
}

/// The place of a string that need not be there: then it is between its neighbours.
pub(crate) fn locate_text(texts: &StrColumn, text: &str) -> io::Result<u64> {
    let dictionary = texts.dictionary();
    Ok(match dictionary.term_ord_or_next(text)? {
        TermOrdHit::Exact(ord) => place(ord),
        TermOrdHit::Next(ord) => 2 * ord.min(dictionary.num_terms() as u64),
    })
}
