//! Conditions that tantivy has no query for. One on terms is judged for a whole segment at once; one on columns when it
//! is asked of a document, so that beside a rarer condition it costs no more than that one leaves over.

use std::fmt;
use std::sync::Arc;

use tantivy::query::{
    BitSetDocSet, ConstScorer, EmptyScorer, EnableScoring, Explanation, Query, Scorer, Weight,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{BitSet, DocId, DocSet, Score, SeekDangerResult, SegmentReader, TERMINATED, TantivyError};
use tantivy_fst::Automaton;
use tantivy_fst::automaton::AlwaysMatch;

type Open = dyn Fn(&SegmentReader, Score) -> tantivy::Result<Box<dyn Scorer>> + Send + Sync;

/// A condition on a document.
#[derive(Clone)]
pub(crate) struct Filter {
    what: &'static str,
    open: Arc<Open>,
}

impl Filter {
    /// The documents that have a term of `field` which begins with `prefix` and fulfils `holds`, which is
    /// given what follows the prefix.
    pub(crate) fn terms(
        field: Field,
        prefix: Vec<u8>,
        holds: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::terms_of(AlwaysMatch, field, prefix, holds)
    }

    /// The same of those that `among` accepts: it leaves out what doesn't hold anyway.
    pub(crate) fn terms_of<A: Automaton<State: Clone> + Send + Sync + 'static>(
        among: A,
        field: Field,
        prefix: Vec<u8>,
        holds: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
    ) -> Self {
        let open = move |reader: &SegmentReader, boost: Score| {
            let mut found = BitSet::with_max_value(reader.max_doc());
            let inverted = reader.inverted_index(field)?;
            let mut terms = inverted.terms().search(&among).ge(&prefix).into_stream()?;
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
            Ok(Box::new(ConstScorer::new(BitSetDocSet::from(found), boost)) as Box<dyn Scorer>)
        };
        Self { what: "terms", open: Arc::new(open) }
    }

    /// The documents that fulfil what `open` makes of the columns of their segment; none of the segment when
    /// it makes nothing.
    pub(crate) fn columns<H: Fn(DocId) -> bool + Send + 'static>(
        open: impl Fn(&SegmentReader) -> tantivy::Result<Option<Matching<H>>> + Send + Sync + 'static,
    ) -> Self {
        let open = move |reader: &SegmentReader, boost: Score| {
            let scorer: Box<dyn Scorer> = match open(reader)? {
                None => Box::new(EmptyScorer),
                Some(Matching::Judged(holds)) => {
                    Box::new(ConstScorer::new(Judged::new(holds, reader.max_doc()), boost))
                }
                Some(Matching::Found(found)) => Box::new(ConstScorer::new(BitSetDocSet::from(found), boost)),
            };
            Ok(scorer)
        };
        Self { what: "columns", open: Arc::new(open) }
    }
}

/// What fulfils a condition on columns of a segment.
pub(crate) enum Matching<H> {
    /// Whatever this says of each document.
    Judged(H),
    /// These.
    Found(BitSet),
}

/// The documents of a segment that fulfil a condition, each judged when it is come to.
struct Judged<H> {
    holds: H,
    doc: DocId,
    end: DocId,
}

impl<H: Fn(DocId) -> bool> Judged<H> {
    fn new(holds: H, end: DocId) -> Self {
        let mut judged = Self { holds, doc: 0, end };
        judged.go_to(0);
        judged
    }

    /// The first from here on.
    fn go_to(&mut self, from: DocId) -> DocId {
        self.doc = (from..self.end).find(|doc| (self.holds)(*doc)).unwrap_or(TERMINATED);
        self.doc
    }
}

impl<H: Fn(DocId) -> bool + Send> DocSet for Judged<H> {
    fn advance(&mut self) -> DocId {
        self.go_to(self.doc.saturating_add(1))
    }

    fn seek(&mut self, target: DocId) -> DocId {
        if target > self.doc { self.go_to(target) } else { self.doc }
    }

    /// Judges this one alone: the next that holds may be far, and another condition may pass over it.
    fn seek_danger(&mut self, target: DocId) -> SeekDangerResult {
        if target >= self.end {
            return SeekDangerResult::SeekLowerBound(TERMINATED);
        }
        if !(self.holds)(target) {
            return SeekDangerResult::SeekLowerBound(target + 1);
        }
        self.doc = target;
        SeekDangerResult::Found
    }

    fn doc(&self) -> DocId {
        self.doc
    }

    fn size_hint(&self) -> u32 {
        self.end
    }

    /// To judge one document after the other is so much faster than to ask other conditions for each.
    fn cost(&self) -> u64 {
        u64::from(self.end / 8)
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
        (self.open)(reader, boost)
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
