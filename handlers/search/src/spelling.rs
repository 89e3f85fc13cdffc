//! Spelling help: a word, or the text of a field, that no device has, and the nearest that devices have. Only said,
//! never searched for instead.
//!
//! Near is one letter more, less or other, or two neighbours exchanged; from eight letters on, two of them. Of the
//! near ones the nearest comes first, then the one that most devices have. What is shorter than three letters, or
//! is negated, or is the beginning of a word or a pattern, isn't corrected, nor is an id.

use statecast_state::TenantId;
use statecast_state::query::text::is_near;
use statecast_state::query::{Expr, Field, Query, cursor};

use crate::facts::Scope;
use crate::find::Question;
use crate::generation::View;
use crate::near::Near;
use crate::terms::{Rank, Terms};
use crate::{Search, SearchError, property};

/// Most words of one query that no device has and whose neighbours are looked for.
pub const CORRECTIONS_MAX: usize = 4;
/// Most terms of a segment that are looked at for one word, of those that are near or may be.
const TERMS_MAX: usize = 10_000;
/// Shorter ones have too many neighbours.
const LETTERS_MIN: usize = 3;
/// From so many letters on two of them may differ.
const LETTERS_OF_TWO: usize = 8;

/// What was perhaps meant.
#[derive(Debug, Clone, PartialEq)]
pub struct DidYouMean {
    /// The whole query, corrected.
    pub query: String,
    /// How many devices it finds, at least one.
    pub total: usize,
    /// What was corrected in it.
    pub corrections: Vec<Correction>,
}

/// One word, or the text of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// What stands in the query, in lower case.
    pub was: String,
    /// What devices have.
    pub instead: String,
    /// How many have it.
    pub devices: usize,
}

impl Search {
    /// What was perhaps meant by a query that finds nothing; none when all of its words are known, or have no
    /// neighbours, or what they correct to finds nothing either.
    ///
    /// # Errors
    /// When the index fails.
    pub fn did_you_mean(&self, question: &Question<'_>) -> Result<Option<DidYouMean>, SearchError> {
        let view = self.view()?;
        let scope = Scope::of(question.tenant);
        let mut speller = Speller { view: &view, scope, left: CORRECTIONS_MAX, corrections: Vec::new() };
        let corrected = speller.correct(question.query.expr())?;
        if speller.corrections.is_empty() {
            return Ok(None);
        }
        // Longer words may make it longer than a query may be.
        let Ok(query) = Query::parse(&corrected.to_string()) else { return Ok(None) };
        let total = self.total(question.tenant, &query, question)?;
        let corrections = speller.corrections;
        Ok((total > 0).then(|| DidYouMean { query: query.text().to_owned(), total, corrections }))
    }

    fn total(&self, tenant: &TenantId, query: &Query, like: &Question<'_>) -> Result<usize, SearchError> {
        Ok(self.search(&Question::new(tenant, query, like.now))?.total)
    }
}

struct Speller<'a> {
    view: &'a View,
    scope: Scope,
    /// How many more words are looked for.
    left: usize,
    corrections: Vec<Correction>,
}

impl Speller<'_> {
    /// The same with what no device has corrected.
    fn correct(&mut self, expr: &Expr) -> tantivy::Result<Expr> {
        Ok(match expr {
            Expr::And(members) => Expr::And(self.correct_all(members)?),
            Expr::Or(members) => Expr::Or(self.correct_all(members)?),
            Expr::Word(word) => Expr::Word(self.word(word)?.unwrap_or_else(|| word.clone())),
            Expr::Phrase(words) => {
                let words = words.iter().map(|word| Ok(self.word(word)?.unwrap_or_else(|| word.clone())));
                Expr::Phrase(words.collect::<tantivy::Result<_>>()?)
            }
            // An id isn't spelled.
            Expr::Equals { field: Field::Id, .. } => expr.clone(),
            Expr::Equals { field, value }
                if value.number.is_none() && value.boolean.is_none() && value.day.is_none() =>
            {
                let prefix = self.scope.strings(&property::name(field));
                let known = Terms { view: self.view, field: self.view.fields.facts, prefix };
                match self.nearest(&known, &value.text)? {
                    Some(text) => cursor::equals(field.clone(), &text),
                    None => expr.clone(),
                }
            }
            other => other.clone(),
        })
    }

    fn correct_all(&mut self, members: &[Expr]) -> tantivy::Result<Vec<Expr>> {
        members.iter().map(|member| self.correct(member)).collect()
    }

    fn word(&mut self, word: &str) -> tantivy::Result<Option<String>> {
        let prefix = self.scope.words("").into_bytes();
        let known = Terms { view: self.view, field: self.view.fields.words, prefix };
        self.nearest(&known, word)
    }

    /// The nearest of the known texts, and notes it; none when the text is known, or nothing is near.
    fn nearest(&mut self, known: &Terms<'_>, text: &str) -> tantivy::Result<Option<String>> {
        let letters = text.chars().count();
        if self.left == 0 || letters < LETTERS_MIN || known.count(text.as_bytes())? > 0 {
            return Ok(None);
        }
        self.left -= 1;
        let far = if letters < LETTERS_OF_TWO { 1 } else { 2 };
        let among = Near::new(known.prefix.clone(), text, far);
        let near = |term: &[u8]| {
            let term = std::str::from_utf8(term).ok()?;
            let distance = (1..=far).find(|edits| is_near(term, text, *edits))?;
            Some(Neighbour { text: term.to_owned(), distance })
        };
        let Some((near, devices)) = known.ranked_of(&among, 1, TERMS_MAX, near)?.pop() else {
            return Ok(None);
        };
        let correction = Correction { was: text.to_owned(), instead: near.text.clone(), devices };
        self.corrections.push(correction);
        Ok(Some(near.text))
    }
}

/// A text that is near another.
struct Neighbour {
    text: String,
    distance: u8,
}

impl Rank for Neighbour {
    fn rank(&self) -> usize {
        usize::from(self.distance)
    }
}
