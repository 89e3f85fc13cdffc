//! The documents that a commit replaces: one condition for all of them.
//!
//! Told of each device by itself, tantivy makes a query of each and runs each on every segment. One query for a
//! whole commit costs a look into the dictionary for each device and segment, and nothing else. It is given before the
//! first document, so that it is only about those of commits before, and these are asked for it when all devices are
//! there: they are added until then. One that is about documents of its own commit has all devices when it is given.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use statecast_state::DeviceKey;
use tantivy::query::{BitSetDocSet, ConstScorer, EnableScoring, Explanation, Query, Scorer, Weight};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{BitSet, DocId, Score, SegmentReader, TantivyError};

use crate::schema;

/// The documents of these devices. All clones are one.
#[derive(Clone)]
pub(crate) struct Replaced {
    field: Field,
    /// In the order of the dictionary: neighbours share what is read.
    terms: Arc<RwLock<BTreeSet<Vec<u8>>>>,
}

impl Replaced {
    /// None yet; `field` is the one that holds the keys.
    pub(crate) fn new(field: Field) -> Self {
        Self { field, terms: Arc::default() }
    }

    /// Adds a device; false when it is among them already.
    pub(crate) fn add(&self, key: &DeviceKey) -> bool {
        self.terms.write().insert(schema::key_bytes(key))
    }

    fn each(&self, reader: &SegmentReader, found: &mut dyn FnMut(&[DocId])) -> tantivy::Result<()> {
        let inverted = reader.inverted_index(self.field)?;
        let dictionary = inverted.terms();
        for term in &*self.terms.read() {
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
        write!(f, "Replaced({})", self.terms.read().len())
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
