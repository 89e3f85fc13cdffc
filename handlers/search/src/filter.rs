//! Conditions that tantivy has no query for: each is a function from a segment to the documents that fulfil
//! it.

use std::fmt;
use std::sync::Arc;

use tantivy::query::{BitSetDocSet, ConstScorer, EnableScoring, Explanation, Query, Scorer, Weight};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{BitSet, DocId, DocSet, Score, SegmentReader, TantivyError};

type Select = dyn Fn(&SegmentReader, &mut BitSet) -> tantivy::Result<()> + Send + Sync;

/// A condition on a document, judged for a whole segment at once.
#[derive(Clone)]
pub(crate) struct Filter {
    what: &'static str,
    select: Arc<Select>,
}

impl Filter {
    /// The documents that have a term of `field` which begins with `prefix` and fulfils `holds`, which is
    /// given what follows the prefix.
    pub(crate) fn terms(
        field: Field,
        prefix: Vec<u8>,
        holds: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
    ) -> Self {
        let select = move |reader: &SegmentReader, found: &mut BitSet| {
            let inverted = reader.inverted_index(field)?;
            let mut terms = inverted.terms().range().ge(&prefix).into_stream()?;
            while terms.advance() {
                let Some(rest) = terms.key().strip_prefix(prefix.as_slice()) else { break };
                if !holds(rest) {
                    continue;
                }
                let mut postings =
                    inverted.read_block_postings_from_terminfo(terms.value(), IndexRecordOption::Basic)?;
                while !postings.docs().is_empty() {
                    for doc in postings.docs() {
                        found.insert(*doc);
                    }
                    postings.advance();
                }
            }
            Ok(())
        };
        Self { what: "terms", select: Arc::new(select) }
    }

    /// The documents that fulfil what `open` makes of the columns of their segment; none of the segment when
    /// it makes nothing.
    pub(crate) fn columns<H: Fn(DocId) -> bool>(
        open: impl Fn(&SegmentReader) -> tantivy::Result<Option<H>> + Send + Sync + 'static,
    ) -> Self {
        let select = move |reader: &SegmentReader, found: &mut BitSet| {
            if let Some(holds) = open(reader)? {
                for doc in (0..reader.max_doc()).filter(|doc| holds(*doc)) {
                    found.insert(doc);
                }
            }
            Ok(())
        };
        Self { what: "columns", select: Arc::new(select) }
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter({})", self.what)
    }
}

impl Query for Filter {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(self.clone()))
    }
}

impl Weight for Filter {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let mut found = BitSet::with_max_value(reader.max_doc());
        (self.select)(reader, &mut found)?;
        Ok(Box::new(ConstScorer::new(BitSetDocSet::from(found), boost)))
    }

    fn explain(&self, reader: &SegmentReader, doc: DocId) -> tantivy::Result<Explanation> {
        let mut scorer = self.scorer(reader, 1.0)?;
        if scorer.seek(doc) == doc {
            Ok(Explanation::new("fulfils the condition", 1.0))
        } else {
            Err(TantivyError::InvalidArgument(format!("document {doc} doesn't fulfil the condition")))
        }
    }
}
