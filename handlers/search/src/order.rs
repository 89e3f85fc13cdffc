//! The order of results, within a segment and across them.
//!
//! Numbers come before strings, strings before truths, and what a device doesn't have comes last; a key that
//! is descending turns the values around, not that. Of an array the first value of the first of these kinds
//! counts; of a string its first [`statecast_state::query::text::START_BYTES_MAX`] bytes, folded. Equals are in the order of
//! their ids.
//!
//! For relevance the score of a document counts ([`crate::relevance`]), the best first.
//!
//! Within a segment a string is a number: its place among all strings of its column. So documents are compared
//! by [`Local`] keys of a few words; only the few that remain are looked up ([`Value`], [`Global`]) and compared
//! across segments.

use std::cmp::Ordering;
use std::io;

use serde::{Deserialize, Serialize};
use statecast_state::query::sort::SORT_KEYS_MAX;
use statecast_state::query::{By, Field, SortKey};
use tantivy::columnar::{Column, DynamicColumn, StrColumn, TermOrdHit};
use tantivy::{DocId, SegmentReader, f64_to_u64, u64_to_f64};

use crate::columns::{Columns, Ids, numbers};
use crate::property;
use crate::relevance::Relevance;
use crate::schema::{ID_COLUMN, SEEN_COLUMN, VALUES_COLUMN};

/// A value to sort by. In the order in which kinds of values come.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Value {
    /// The bits of a double in their natural order, as JSON would not keep each double exact.
    #[serde(rename = "n")]
    Number(u64),
    #[serde(rename = "t")]
    Text(String),
    #[serde(rename = "b")]
    Truth(bool),
    #[serde(rename = "m")]
    Missing,
}

/// The place of a document in the order of its segment: for each key the kind of value and the value, then
/// the id.
pub(crate) type Local = ([(u8, u64); SORT_KEYS_MAX], u64);

/// The place of a document in the order of the index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Global {
    pub(crate) values: Vec<Value>,
    pub(crate) id: String,
}

/// Compares the values of two documents, in the order of these keys.
pub(crate) fn compare(left: &[Value], right: &[Value], keys: &[SortKey]) -> Ordering {
    let values = keys.iter().zip(left.iter().zip(right));
    let mut orderings = values.map(|(key, (left, right))| left.compare(right, key.descending));
    orderings.find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
}

impl Value {
    fn kind(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Text(_) => 1,
            Self::Truth(_) => 2,
            Self::Missing => 3,
        }
    }

    pub(crate) fn compare(&self, other: &Self, descending: bool) -> Ordering {
        let by_value = match (self, other) {
            (Self::Number(left), Self::Number(right)) => left.cmp(right),
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            (Self::Truth(left), Self::Truth(right)) => left.cmp(right),
            _ => return self.kind().cmp(&other.kind()),
        };
        if descending { by_value.reverse() } else { by_value }
    }

    /// The value as JSON; null when it is missing.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Number(bits) => property::json_number(u64_to_f64(*bits)),
            Self::Text(text) => text.as_str().into(),
            Self::Truth(truth) => (*truth).into(),
            Self::Missing => serde_json::Value::Null,
        }
    }
}

/// The columns of one field in one segment.
pub(crate) struct FieldColumns {
    numbers: Option<Column<f64>>,
    times: Option<Column<i64>>,
    texts: Option<StrColumn>,
    truths: Option<Column<bool>>,
}

impl FieldColumns {
    pub(crate) fn open(columns: &Columns, reader: &SegmentReader, field: &Field) -> tantivy::Result<Self> {
        let mut found = Self { numbers: None, times: None, texts: None, truths: None };
        let columns = match field {
            Field::Id => columns.named(reader, ID_COLUMN)?,
            Field::Seen => columns.named(reader, SEEN_COLUMN)?,
            field => columns.named(reader, &format!("{VALUES_COLUMN}.{}", property::name(field)))?,
        };
        for column in &*columns {
            match column {
                DynamicColumn::Str(column) => found.texts = Some(column.clone()),
                DynamicColumn::Bool(column) => found.truths = Some(column.clone()),
                DynamicColumn::I64(column) if *field == Field::Seen => found.times = Some(column.clone()),
                _ => {}
            }
        }
        if *field != Field::Seen {
            found.numbers = numbers(&columns);
        }
        Ok(found)
    }

    /// The value that decides the place of a document: its kind, and within the kind a number.
    fn first(&self, doc: DocId) -> (u8, u64) {
        let number = self.numbers.as_ref().and_then(|column| column.first(doc)).map(|n| (0, number_bits(n)));
        let time = || Some((0, time_bits(self.times.as_ref()?.first(doc)?)));
        let text = || Some((1, place(self.texts.as_ref()?.ords().first(doc)?)));
        let truth = || Some((2, u64::from(self.truths.as_ref()?.first(doc)?)));
        number.or_else(time).or_else(text).or_else(truth).unwrap_or((3, 0))
    }

    /// Calls `f` with all values of a document, as kind and number, those of one kind after the other.
    pub(crate) fn each(&self, doc: DocId, mut f: impl FnMut((u8, u64))) {
        if let Some(column) = &self.numbers {
            column.values_for_doc(doc).for_each(|number| f((0, number_bits(number))));
        }
        if let Some(column) = &self.times {
            column.values_for_doc(doc).for_each(|micros| f((0, time_bits(micros))));
        }
        if let Some(column) = &self.texts {
            column.term_ords(doc).for_each(|ord| f((1, place(ord))));
        }
        if let Some(column) = &self.truths {
            column.values_for_doc(doc).for_each(|truth| f((2, u64::from(truth))));
        }
    }

    /// Calls `f` with the strings at these places, which are sorted.
    pub(crate) fn each_text(&self, places: &[u64], f: impl FnMut(&[u8])) -> io::Result<()> {
        let Some(texts) = &self.texts else { return Ok(()) };
        let ords: Vec<_> = places.iter().map(|place| place / 2).collect();
        texts.dictionary().sorted_ords_to_term_cb(&ords, f).map(drop)
    }

    /// Whether its numbers are times, in microseconds since the epoch.
    pub(crate) fn is_time(&self) -> bool {
        self.times.is_some()
    }

    /// What kind and number stand for.
    pub(crate) fn value(&self, kind: u8, number: u64) -> io::Result<Value> {
        Ok(match (kind, &self.texts) {
            (0, _) => Value::Number(number),
            (1, Some(texts)) => Value::Text(text_at(texts, number)?),
            (2, _) => Value::Truth(number != 0),
            _ => Value::Missing,
        })
    }

    /// Where a value would stand that need not be in this segment.
    fn locate(&self, value: &Value) -> io::Result<(u8, u64)> {
        let number = match value {
            Value::Number(number) => *number,
            Value::Text(text) => self.texts.as_ref().map_or(Ok(0), |texts| locate_text(texts, text))?,
            Value::Truth(truth) => u64::from(*truth),
            Value::Missing => 0,
        };
        Ok((value.kind(), number))
    }
}

/// What decides the order of one segment.
pub(crate) struct SegmentOrder {
    keys: Vec<(Decider, bool)>,
    ids: Option<Ids>,
}

/// What decides by one key.
enum Decider {
    Columns(Box<FieldColumns>),
    /// The score of each document.
    Scores(Vec<f64>),
}

impl SegmentOrder {
    pub(crate) fn open(
        columns: &Columns,
        reader: &SegmentReader,
        keys: &[SortKey],
        relevance: Option<&Relevance>,
    ) -> tantivy::Result<Self> {
        let open = |key: &SortKey| {
            let decider = match (&key.by, relevance) {
                (By::Field(field), _) => {
                    Decider::Columns(Box::new(FieldColumns::open(columns, reader, field)?))
                }
                (By::Relevance, Some(relevance)) => Decider::Scores(relevance.scores(reader)?),
                (By::Relevance, None) => Decider::Scores(Vec::new()),
            };
            Ok((decider, key.descending))
        };
        let keys = keys.iter().map(open).collect::<tantivy::Result<_>>()?;
        Ok(Self { keys, ids: columns.ids(reader)? })
    }

    /// Whether a document is behind a place by what comes first in it: if so it is, if not it may still be.
    pub(crate) fn is_behind(&self, doc: DocId, (values, id): &Local) -> bool {
        match self.keys.first() {
            Some((decider, descending)) => turn(decider.first(doc), *descending) > values[0],
            None => self.place_of_id(doc) > *id,
        }
    }

    /// The place of a document.
    pub(crate) fn place(&self, doc: DocId) -> Local {
        let mut local = Local::default();
        for (slot, (decider, descending)) in local.0.iter_mut().zip(&self.keys) {
            *slot = turn(decider.first(doc), *descending);
        }
        local.1 = self.place_of_id(doc);
        local
    }

    fn place_of_id(&self, doc: DocId) -> u64 {
        self.ids.as_ref().and_then(|ids| ids.column.ords().first(doc)).map_or(0, place)
    }

    /// The place at which a document would be that need not be in this segment.
    pub(crate) fn locate(&self, global: &Global) -> io::Result<Local> {
        let mut local = Local::default();
        for ((slot, (decider, descending)), value) in local.0.iter_mut().zip(&self.keys).zip(&global.values) {
            *slot = turn(decider.locate(value)?, *descending);
        }
        local.1 = self.ids.as_ref().map_or(Ok(0), |ids| locate_text(&ids.column, &global.id))?;
        Ok(local)
    }

    /// The values at a place in this segment.
    pub(crate) fn values(&self, local: &Local) -> io::Result<Vec<Value>> {
        let values = self.keys.iter().zip(&local.0).map(|((decider, descending), slot)| {
            let (kind, number) = turn(*slot, *descending);
            match decider {
                Decider::Columns(columns) => columns.value(kind, number),
                Decider::Scores(_) => Ok(Value::Number(number)),
            }
        });
        values.collect()
    }

    /// The id of the device at a place in this segment.
    pub(crate) fn id(&self, local: &Local) -> io::Result<String> {
        self.ids.as_ref().map_or(Ok(String::new()), |ids| ids.get(local.1 / 2))
    }
}

impl Decider {
    fn first(&self, doc: DocId) -> (u8, u64) {
        match self {
            Self::Columns(columns) => columns.first(doc),
            Self::Scores(scores) => (0, f64_to_u64(scores.get(doc as usize).copied().unwrap_or_default())),
        }
    }

    fn locate(&self, value: &Value) -> io::Result<(u8, u64)> {
        match (self, value) {
            (Self::Columns(columns), value) => columns.locate(value),
            (Self::Scores(_), Value::Number(bits)) => Ok((0, *bits)),
            (Self::Scores(_), _) => Ok((3, 0)),
        }
    }
}

/// Turns a value around for a descending key, and back. What is missing stays last.
fn turn((kind, number): (u8, u64), descending: bool) -> (u8, u64) {
    (kind, if descending { !number } else { number })
}

/// The bits of a number in their natural order. The two zeros are one number.
fn number_bits(number: f64) -> u64 {
    f64_to_u64(if number == 0.0 { 0.0 } else { number })
}

/// A double has room for the microseconds of the years 0000-9999 up to the sixteenth.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn time_bits(micros: i64) -> u64 {
    number_bits(micros as f64)
}

/// The place of the string with this ordinal: odd, so that there is room between two of them.
fn place(ord: u64) -> u64 {
    2 * ord + 1
}

fn text_at(texts: &StrColumn, place: u64) -> io::Result<String> {
    let mut text = String::new();
    texts.ord_to_str(place / 2, &mut text)?;
    Ok(text)
}

/// The place of a string that need not be there: then it is between its neighbours.
fn locate_text(texts: &StrColumn, text: &str) -> io::Result<u64> {
    let dictionary = texts.dictionary();
    Ok(match dictionary.term_ord_or_next(text)? {
        TermOrdHit::Exact(ord) => place(ord),
        TermOrdHit::Next(ord) => 2 * ord.min(dictionary.num_terms() as u64),
    })
}
