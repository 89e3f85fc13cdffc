//! The order of results, within a segment and across them.
//!
//! Numbers come before strings, strings before truths, and what a device doesn't have comes last; a key that
//! is descending turns the values around, not that. Of an array the first value of the first of these kinds
//! counts; of a string its first [`statecast_state::query::text::START_BYTES_MAX`] bytes, folded. Equals are in the order of
//! their ids.
//!
//! For relevance the score of a document counts ([`crate::relevance`]), the best first.
//!
//! Within a segment documents are compared by [`Local`] keys of a few words ([`crate::fields`]); only the few that
//! remain are looked up ([`Value`], [`Global`]) and compared across segments.

use std::cmp::Ordering;
use std::io;

use serde::{Deserialize, Serialize};
use statecast_state::query::sort::SORT_KEYS_MAX;
use statecast_state::query::{By, SortKey};
use tantivy::{DocId, SegmentReader, f64_to_u64, u64_to_f64};

use crate::columns::{Columns, Ids};
use crate::fields::{self, BLOCK, FieldColumns, MISSING, Slot};
use crate::property;
use crate::relevance::Relevance;

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

/// The place of a document in the order of its segment: the value for each key, then the id.
pub(crate) type Local = ([Slot; SORT_KEYS_MAX], u64);

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
    pub(crate) fn kind(&self) -> u8 {
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

    /// What comes first in the places of these documents, at most [`BLOCK`]; quicker than one by one.
    pub(crate) fn firsts(&self, docs: &[DocId], firsts: &mut [Slot; BLOCK]) {
        match (self.keys.first(), &self.ids) {
            (Some((decider, descending)), _) => {
                decider.firsts(docs, firsts);
                firsts.iter_mut().for_each(|first| *first = turn(*first, *descending));
            }
            (None, Some(ids)) => fields::firsts(ids.column.ords(), docs, firsts, fields::text),
            (None, None) => firsts.fill(MISSING),
        }
    }

    /// Whether what comes first in the place of a document puts it behind another place. If not it may still be.
    pub(crate) fn is_behind(&self, first: Slot, (values, id): &Local) -> bool {
        if self.keys.is_empty() { first.1 > *id } else { first > values[0] }
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
        self.ids.as_ref().and_then(|ids| ids.column.ords().first(doc)).map_or(0, fields::place)
    }

    /// The place at which a document would be that need not be in this segment.
    pub(crate) fn locate(&self, global: &Global) -> io::Result<Local> {
        let mut local = Local::default();
        for ((slot, (decider, descending)), value) in local.0.iter_mut().zip(&self.keys).zip(&global.values) {
            *slot = turn(decider.locate(value)?, *descending);
        }
        local.1 = self.ids.as_ref().map_or(Ok(0), |ids| fields::locate_text(&ids.column, &global.id))?;
        Ok(local)
    }

    /// The values at a place in this segment.
    pub(crate) fn values(&self, local: &Local) -> io::Result<Vec<Value>> {
        let values = self.keys.iter().zip(&local.0).map(|((decider, descending), slot)| {
            let slot = turn(*slot, *descending);
            match decider {
                Decider::Columns(columns) => columns.value(slot),
                Decider::Scores(_) => Ok(Value::Number(slot.1)),
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
    fn first(&self, doc: DocId) -> Slot {
        match self {
            Self::Columns(columns) => columns.first(doc),
            Self::Scores(scores) => (0, f64_to_u64(scores.get(doc as usize).copied().unwrap_or_default())),
        }
    }

    fn firsts(&self, docs: &[DocId], firsts: &mut [Slot; BLOCK]) {
        match self {
            Self::Columns(columns) => columns.firsts(docs, firsts),
            Self::Scores(_) => {
                firsts.iter_mut().zip(docs).for_each(|(first, doc)| *first = self.first(*doc));
            }
        }
    }

    fn locate(&self, value: &Value) -> io::Result<Slot> {
        match (self, value) {
            (Self::Columns(columns), value) => columns.locate(value),
            (Self::Scores(_), Value::Number(bits)) => Ok((0, *bits)),
            (Self::Scores(_), _) => Ok((3, 0)),
        }
    }
}

/// Turns a value around for a descending key, and back. What is missing stays last.
fn turn((kind, number): Slot, descending: bool) -> Slot {
    (kind, if descending { !number } else { number })
}
