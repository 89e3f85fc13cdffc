//! How well a device matches the words of a query: BM25, the sum over the words that it has of
//! `idf · tf · 2.2 / (tf + 1.2)`, where `tf` is how often it has the word and `idf` how rare the word is among the
//! devices of the tenant. The length of a text doesn't count: a device isn't about its longest string. Words under
//! a negation don't count; of a phrase each word does; of the beginning of a word each word that begins so,
//! and of one with edits each that is near, as rare as they are together.
//!
//! How rare a word is changes with every device, and with it each score. So the pages of one answer use what the
//! first found: the cursor carries it, and a device keeps its place for as long as its own texts stay as they are.

use statecast_state::query::Expr;
use statecast_state::query::text::is_near;
use tantivy::postings::TermInfo;
use tantivy::{BitSet, InvertedIndexReader, SegmentReader, Term};

use crate::facts::Scope;
use crate::generation::View;
use crate::postings;

/// How soon a word that comes often counts no more: the usual `k1` of BM25.
const SATURATION: f64 = 1.2;

/// Scores documents.
pub(crate) struct Relevance {
    words: Vec<Word>,
    field: tantivy::schema::Field,
    /// For each word how much it counts.
    pub(crate) weights: Vec<f64>,
}

/// A word of a query as it is in the index.
enum Word {
    Whole(String),
    Beginning(String),
    /// Those of a tenant that differ by few edits.
    Near {
        scope: String,
        word: String,
        edits: u8,
    },
}

impl Relevance {
    /// Scores by the words of a query, with these weights or those that the index has now. None when there are
    /// no words, or not as many as weights.
    pub(crate) fn of(
        view: &View,
        scope: &Scope,
        expr: &Expr,
        weights: Option<Vec<f64>>,
    ) -> tantivy::Result<Option<Self>> {
        let mut words = Vec::new();
        collect(expr, scope, &mut words);
        let mut relevance = Self { words, field: view.fields.words, weights: Vec::new() };
        relevance.weights = match weights {
            Some(weights) => weights,
            None => relevance.weigh(view, scope)?,
        };
        let fits = !relevance.words.is_empty() && relevance.words.len() == relevance.weights.len();
        Ok(fits.then_some(relevance))
    }

    fn weigh(&self, view: &View, scope: &Scope) -> tantivy::Result<Vec<f64>> {
        let mut devices = 0;
        let mut having = vec![0; self.words.len()];
        let own = Term::from_field_bytes(view.fields.tenant, scope.tenant());
        for reader in view.searcher.segment_readers() {
            let tenants = reader.inverted_index(view.fields.tenant)?;
            if let Some(term) = tenants.get_term_info(&own)? {
                devices += postings::count(reader, &tenants, &term)?;
            }
            let inverted = reader.inverted_index(self.field)?;
            for (word, having) in self.words.iter().zip(&mut having) {
                let mut found = BitSet::with_max_value(reader.max_doc());
                word.each_term(&inverted, |term| {
                    postings::each(reader, &inverted, term, |doc, _| _ = found.insert(doc))
                })?;
                *having += found.len();
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of devices")]
        let rarity = |having: &usize| ((devices - having) as f64 + 0.5) / (*having as f64 + 0.5);
        Ok(having.iter().map(|having| rarity(having).ln_1p()).collect())
    }

    /// The scores of all documents of a segment, by their number; 0 for those that have none of the words.
    pub(crate) fn scores(&self, reader: &SegmentReader) -> tantivy::Result<Vec<f64>> {
        let mut scores = vec![0.0; reader.max_doc() as usize];
        let inverted = reader.inverted_index(self.field)?;
        for (word, weight) in self.words.iter().zip(&self.weights) {
            word.each_term(&inverted, |term| {
                postings::each(reader, &inverted, term, |doc, count| {
                    let count = f64::from(count);
                    if let Some(score) = scores.get_mut(doc as usize) {
                        *score += weight * count * (SATURATION + 1.0) / (count + SATURATION);
                    }
                })
            })?;
        }
        Ok(scores)
    }
}

/// The words of a query that are to be found, not those that are not to be.
fn collect(expr: &Expr, scope: &Scope, words: &mut Vec<Word>) {
    match expr {
        Expr::And(members) | Expr::Or(members) => {
            members.iter().for_each(|member| collect(member, scope, words));
        }
        Expr::Word(token) => words.push(Word::Whole(scope.words(token))),
        Expr::Phrase(tokens) => {
            words.extend(tokens.iter().map(|token| Word::Whole(scope.words(token))));
        }
        Expr::Fuzzy { word, edits } => {
            words.push(Word::Near { scope: scope.words(""), word: word.clone(), edits: *edits });
        }
        Expr::Prefix(start) => words.push(Word::Beginning(scope.words(start))),
        _ => {}
    }
}

impl Word {
    /// Calls `f` with each term of a segment that is this word, or begins with it.
    fn each_term(
        &self,
        inverted: &InvertedIndexReader,
        mut f: impl FnMut(&TermInfo) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        match self {
            Self::Whole(word) => inverted.terms().get(word)?.iter().try_for_each(f),
            Self::Beginning(start) => each_beginning(inverted, start, |_, term| f(term)),
            Self::Near { scope, word, edits } => each_beginning(inverted, scope, |rest, term| {
                let near = std::str::from_utf8(rest).is_ok_and(|token| is_near(token, word, *edits));
                if near { f(term) } else { Ok(()) }
            }),
        }
    }
}

/// Calls `f` with each term that begins so, and how it goes on.
fn each_beginning(
    inverted: &InvertedIndexReader,
    start: &str,
    mut f: impl FnMut(&[u8], &TermInfo) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut terms = inverted.terms().range().ge(start).into_stream()?;
    while terms.advance() {
        let Some(rest) = terms.key().strip_prefix(start.as_bytes()) else { break };
        f(rest, terms.value())?;
    }
    Ok(())
}
