//! The documents that have a term, those left out that were deleted or replaced.

use std::io;

use tantivy::postings::TermInfo;
use tantivy::schema::IndexRecordOption;
use tantivy::{DocId, InvertedIndexReader, SegmentReader};

/// Whether a document wasn't deleted or replaced.
pub(crate) fn is_alive(reader: &SegmentReader, doc: DocId) -> bool {
    reader.alive_bitset().is_none_or(|alive| alive.is_alive(doc))
}

/// How many documents have a term.
pub(crate) fn count(
    reader: &SegmentReader,
    inverted: &InvertedIndexReader,
    term: &TermInfo,
) -> io::Result<usize> {
    let Some(alive) = reader.alive_bitset() else { return Ok(term.doc_freq as usize) };
    let postings = inverted.read_postings_from_terminfo(term, IndexRecordOption::Basic)?;
    Ok(postings.doc_freq_given_deletes(alive) as usize)
}

/// Whether any document has a term.
pub(crate) fn any(
    reader: &SegmentReader,
    inverted: &InvertedIndexReader,
    term: &TermInfo,
) -> io::Result<bool> {
    let mut postings = inverted.read_block_postings_from_terminfo(term, IndexRecordOption::Basic)?;
    while !postings.docs().is_empty() {
        if postings.docs().iter().any(|doc| is_alive(reader, *doc)) {
            return Ok(true);
        }
        postings.advance();
    }
    Ok(false)
}

/// Calls `f` with each document that has a term, and how often it has it.
pub(crate) fn each(
    reader: &SegmentReader,
    inverted: &InvertedIndexReader,
    term: &TermInfo,
    mut f: impl FnMut(DocId, u32),
) -> io::Result<()> {
    let mut postings = inverted.read_block_postings_from_terminfo(term, IndexRecordOption::WithFreqs)?;
    while !postings.docs().is_empty() {
        for (doc, freq) in postings.docs().iter().zip(postings.freqs()) {
            if is_alive(reader, *doc) {
                f(*doc, *freq);
            }
        }
        postings.advance();
    }
    Ok(())
}
