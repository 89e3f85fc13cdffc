//! What a tenant's fleet really reports: the fields that there are, the values of a field, and the words, each with the
//! number of devices that have it. Read from the terms of the index, of which every tenant has its own
//! ([`crate::facts`]).
//!
//! A list is bounded by what is looked at ([`TERMS_MAX`], in the order of the terms) and by what is told. Of more
//! terms than that, the first are ranked. Which are the most frequent is judged by counts that include documents which
//! were replaced; those that are told are counted exactly.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use serde_json::Value;
use statecast_state::TenantId;
use statecast_state::query::{Field, list, text};
use tantivy::schema;
use tantivy_fst::Automaton;
use tantivy_fst::automaton::AlwaysMatch;

use crate::facts::Scope;
use crate::generation::View;
use crate::{Search, SearchError, postings, property};

/// Most values or words that are looked at for one list, in all segments together: who writes waits for it.
pub const TERMS_MAX: usize = 4_000;
/// However many segments there are, so many of each.
const TERMS_MIN: usize = 200;
/// Most names of fields in a segment that are looked at: there are fewer of them.
pub const NAMES_MAX: usize = 20_000;
/// Most values of a field and kind in a segment that are asked whether a device has them: all of them may have been replaced.
const KINDS_TERMS_MAX: usize = 100;
/// Of those that could be told, this many times as many are counted exactly.
const COUNTED: usize = 2;

/// A field that devices have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownField {
    /// Which one.
    pub field: Field,
    /// What kinds of single values it has; none for one that is always an object, empty or null.
    pub kinds: Vec<Kind>,
    /// How many devices have it.
    pub devices: usize,
}

/// A kind of single values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Numbers.
    Number,
    /// Strings.
    Text,
    /// True and false.
    Truth,
    /// Moments.
    Time,
}

impl Kind {
    /// The kind in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Text => "text",
            Self::Truth => "boolean",
            Self::Time => "time",
        }
    }
}

impl Search {
    /// The fields of a tenant whose names, as queries write them, contain `part` whatever its case: those that begin so
    /// first, then those that most devices have; at most `fields_max`. The built-in ones are not among them.
    ///
    /// # Errors
    /// When the index fails; the same for all of this file.
    pub fn fields(
        &self,
        tenant: &TenantId,
        part: &str,
        fields_max: usize,
    ) -> Result<Vec<KnownField>, SearchError> {
        let (view, scope) = (self.view()?, Scope::of(tenant));
        let terms = Terms { view: &view, field: view.fields.facts, prefix: scope.names() };
        let part = text::fold(part);
        let wanted = |name: &[u8]| {
            let field = readable(name)?;
            let written = text::fold(&field.to_string());
            written.contains(&part).then(|| (!written.starts_with(&part), field))
        };
        let found = terms.ranked(fields_max, NAMES_MAX, wanted)?;
        let known = found.into_iter().map(|((_, field), devices)| {
            let name = property::name(&field);
            let kinds = [
                (Kind::Number, scope.numbers(&name)),
                (Kind::Text, scope.strings(&name)),
                (Kind::Truth, scope.booleans(&name)),
            ];
            let mut present = Vec::new();
            for (kind, prefix) in kinds {
                let terms = Terms { view: &view, field: view.fields.facts, prefix };
                if terms.any(KINDS_TERMS_MAX)? {
                    present.push(kind);
                }
            }
            Ok(KnownField { field, kinds: present, devices })
        });
        known.collect()
    }

    /// The values of a field that begin with `start` (strings folded to lower case, numbers as JSON writes them), with the
    /// number of devices that have them, most first, at most `values_max`.
    pub fn values(
        &self,
        tenant: &TenantId,
        field: &Field,
        start: &str,
        values_max: usize,
    ) -> Result<Vec<(Value, usize)>, SearchError> {
        let (view, scope, name) = (self.view()?, Scope::of(tenant), property::name(field));
        let folded = text::fold(start);
        let terms = |prefix| Terms { view: &view, field: view.fields.facts, prefix };
        let string = |rest: &[u8]| Some(Value::from(folded.clone() + std::str::from_utf8(rest).ok()?));
        let mut found = terms(scope.string(&name, &folded)).ranked(values_max, share(&view), string)?;
        let number = |rest: &[u8]| {
            let number = property::json_number(f64::from_be_bytes(rest.try_into().ok()?));
            number.to_string().starts_with(&folded).then_some(number)
        };
        found.extend(terms(scope.numbers(&name)).ranked(values_max, share(&view), number)?);
        let truth = |rest: &[u8]| {
            let truth = Value::from(rest == b"1");
            truth.to_string().starts_with(&folded).then_some(truth)
        };
        found.extend(terms(scope.booleans(&name)).ranked(values_max, share(&view), truth)?);
        found.sort_by_key(|(_, devices)| Reverse(*devices));
        found.truncate(values_max);
        Ok(found)
    }

    /// The words of all texts that begin with `start`, with the number of devices that have them, most first, at most
    /// `words_max`.
    pub fn words(
        &self,
        tenant: &TenantId,
        start: &str,
        words_max: usize,
    ) -> Result<Vec<(String, usize)>, SearchError> {
        let (view, folded) = (self.view()?, text::fold(start));
        let prefix = Scope::of(tenant).words(&folded).into_bytes();
        let terms = Terms { view: &view, field: view.fields.words, prefix };
        Ok(terms
            .ranked(words_max, share(&view), |rest| Some(folded.clone() + std::str::from_utf8(rest).ok()?))?)
    }
}

/// How many terms of each segment are looked at.
fn share(view: &View) -> usize {
    (TERMS_MAX / view.searcher.segment_readers().len().max(1)).max(TERMS_MIN)
}

/// The field of a name, if a query can write it.
fn readable(name: &[u8]) -> Option<Field> {
    let field = property::field(std::str::from_utf8(name).ok()?)?;
    let written = list::fields(&field.to_string(), 1).ok()?;
    (written == [field.clone()]).then_some(field)
}

/// The terms of the index that begin with a prefix.
pub(crate) struct Terms<'a> {
    pub(crate) view: &'a View,
    pub(crate) field: schema::Field,
    pub(crate) prefix: Vec<u8>,
}

impl Terms<'_> {
    /// Those of which `read` makes something, which is given what follows the prefix: in the order of their ranks, and
    /// of one rank the most frequent first; with the number of devices. At most `looked_at_max` terms of a segment
    /// are looked at.
    fn ranked<T: Rank>(
        &self,
        terms_max: usize,
        looked_at_max: usize,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> tantivy::Result<Vec<(T, usize)>> {
        self.ranked_of(&AlwaysMatch, terms_max, looked_at_max, read)
    }

    /// The same of those that `among` accepts; others aren't looked at.
    pub(crate) fn ranked_of<T: Rank, A: Automaton<State: Clone>>(
        &self,
        among: &A,
        terms_max: usize,
        looked_at_max: usize,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> tantivy::Result<Vec<(T, usize)>> {
        let mut known: HashMap<Vec<u8>, (T, usize)> = HashMap::new();
        for reader in self.view.searcher.segment_readers() {
            let inverted = reader.inverted_index(self.field)?;
            let mut terms = inverted.terms().search(among).ge(&self.prefix).into_stream()?;
            for _ in 0..looked_at_max {
                if !terms.advance() {
                    break;
                }
                let Some(rest) = terms.key().strip_prefix(self.prefix.as_slice()) else { break };
                let count = terms.value().doc_freq as usize;
                if let Some((_, known)) = known.get_mut(rest) {
                    *known += count;
                } else if let Some(read) = read(rest) {
                    known.insert(rest.to_vec(), (read, count));
                }
            }
        }
        let mut found: Vec<_> = known.into_iter().map(|(rest, (read, count))| (read, rest, count)).collect();
        found.sort_unstable_by(Self::order);
        found.truncate(terms_max.saturating_mul(COUNTED));
        for (_, rest, count) in &mut found {
            *count = self.count(rest)?;
        }
        found.retain(|(.., count)| *count > 0);
        found.sort_unstable_by(Self::order);
        found.truncate(terms_max);
        Ok(found.into_iter().map(|(read, _, count)| (read, count)).collect())
    }

    fn order<T: Rank>(left: &(T, Vec<u8>, usize), right: &(T, Vec<u8>, usize)) -> Ordering {
        (left.0.rank(), Reverse(left.2), &left.1).cmp(&(right.0.rank(), Reverse(right.2), &right.1))
    }

    /// How many devices have the term that goes on like this.
    pub(crate) fn count(&self, rest: &[u8]) -> tantivy::Result<usize> {
        let term = [&self.prefix, rest].concat();
        let mut count = 0;
        for reader in self.view.searcher.segment_readers() {
            let inverted = reader.inverted_index(self.field)?;
            if let Some(term) = inverted.terms().get(&term)? {
                count += postings::count(reader, &inverted, &term)?;
            }
        }
        Ok(count)
    }

    /// Whether there is any, within the first so many of each segment, that a device has.
    fn any(&self, terms_max: usize) -> tantivy::Result<bool> {
        for reader in self.view.searcher.segment_readers() {
            let inverted = reader.inverted_index(self.field)?;
            let mut terms = inverted.terms().range().ge(&self.prefix).into_stream()?;
            let mut left = terms_max;
            while left > 0 && terms.advance() && terms.key().starts_with(&self.prefix) {
                left -= 1;
                if postings::any(reader, &inverted, terms.value())? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// What comes first whatever its count: the smaller rank.
pub(crate) trait Rank {
    /// 0 where only the count decides.
    fn rank(&self) -> usize {
        0
    }
}

impl Rank for Value {}
impl Rank for String {}

/// A field, and whether its name only contains what was asked for.
impl Rank for (bool, Field) {
    fn rank(&self) -> usize {
        usize::from(self.0)
    }
}
