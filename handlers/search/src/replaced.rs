//! The documents that a batch replaces: one condition for all of them.
//!
//! Told of each device by itself, tantivy makes a query of each and runs each on every segment. One query for a
//! whole batch costs a look into the dictionary for each device and segment, and nothing else.

use std::fmt;
use std::sync::Arc;

use statecast_state::DeviceKey;
use tantivy::query::{BitSetDocSet, ConstScorer, EnableScoring, Explanation, Query, Scorer, Weight};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{BitSet, DocId, Score, SegmentReader, TantivyError};

use crate::schema;

/// The documents of these devices.
#[derive(Clone)]
pub(crate) struct Replaced {
    field: Field,
    /// In the order of the dictionary: neighbours share what is read.
    terms: Arc<[Vec<u8>]>,
}

impl Replaced {
    /// `field` is the one that holds the keys.
    pub(crate) fn new<'a>(field: Field, keys: impl Iterator<Item = &'a DeviceKey>) -> Self {
        let mut terms: Vec<_> = keys.map(schema::key_bytes).collect();
        terms.sort_unstable();
        Self { field, terms: terms.into() }
    }

    fn each(&self, reader: &SegmentReader, found: &mut dyn FnMut(&[DocId])) -> tantivy::Result<()> {
        let inverted = reader.inverted_index(self.field)?;
        let dictionary = inverted.terms();
        for term in &*self.terms {
            let Some(info) = dictionary.get(term)? else { continue };
            let mut postings = inverted.read_block_postings_from_terminfo(&info, IndexRecordOption::Basic)?;
            while !postings.docs().is_empty() {
                found(postings.docs());
                postings.advance();
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replaced({})", self.terms.len())
    }
}

impl Query for Replaced {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(self.clone()))
    }
}

impl Weight for Replaced {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let mut all = BitSet::with_max_value(reader.max_doc());
        self.each(reader, &mut |docs| {
            for doc in docs {
                all.insert(*doc);
            }
        })?;
        Ok(Box::new(ConstScorer::new(BitSetDocSet::from(all), boost)))
    }

    fn for_each_no_score(
        &self,
        reader: &SegmentReader,
        found: &mut dyn FnMut(&[DocId]),
    ) -> tantivy::Result<()> {
        self.each(reader, found)
    }

    fn explain(&self, _: &SegmentReader, doc: DocId) -> tantivy::Result<Explanation> {
        Err(TantivyError::InvalidArgument(format!("nobody searches for replaced documents: {doc}")))
    }
}
