//! From the syntax tree of a query to a query of tantivy. What each part means is defined in
//! [`statecast_state::query`]; a property test holds the two to each other.

use statecast_state::query::{Expr, Field, Literal, Op, Seen};
use statecast_state::{TenantId, Timestamp};
use tantivy::columnar::{Column, DynamicColumn, DynamicColumnHandle, NumericalType};
use tantivy::query::{AllQuery, BooleanQuery, Occur, PhraseQuery, Query, TermQuery};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocId, SegmentReader, Term};

use crate::facts::Scope;
use crate::filter::Filter;
use crate::property;
use crate::schema::{Fields, SEEN_COLUMN, VALUES_COLUMN};

/// The devices of a tenant that match at the moment `now`.
pub(crate) fn query(fields: &Fields, tenant: &TenantId, expr: &Expr, now: Timestamp) -> Box<dyn Query> {
    let own = term(Term::from_field_bytes(fields.tenant, tenant.as_str().as_bytes()));
    let translator = Translator { fields, scope: Scope::of(tenant), now };
    match expr {
        Expr::All => own,
        expr => Box::new(BooleanQuery::intersection(vec![own, translator.translate(expr)])),
    }
}

/// What the parts of a query have in common.
struct Translator<'a> {
    fields: &'a Fields,
    scope: Scope,
    now: Timestamp,
}

impl Translator<'_> {
    fn translate(&self, expr: &Expr) -> Box<dyn Query> {
        let all = |members: &[Expr]| members.iter().map(|member| self.translate(member)).collect();
        match expr {
            Expr::All => Box::new(AllQuery),
            Expr::And(members) => Box::new(BooleanQuery::intersection(all(members))),
            Expr::Or(members) => Box::new(BooleanQuery::union(all(members))),
            Expr::Not(inner) => Box::new(BooleanQuery::new(vec![
                (Occur::Must, Box::new(AllQuery)),
                (Occur::MustNot, self.translate(inner)),
            ])),
            Expr::Word(token) => term(self.word(token)),
            Expr::Prefix(start) => {
                let start = self.scope.words(start).into_bytes();
                Box::new(Filter::terms(self.fields.words, start, |_| true))
            }
            Expr::Phrase(tokens) => {
                Box::new(PhraseQuery::new(tokens.iter().map(|token| self.word(token)).collect()))
            }
            Expr::Exists(Field::Id | Field::Online) => Box::new(AllQuery),
            Expr::Exists(Field::Seen) => seen(None, None),
            Expr::Exists(field) => self.fact(&self.scope.exists(&property::name(field))),
            Expr::Equals { field, value } => self.equals(&property::name(field), value),
            Expr::Like { field, pattern } => {
                let pattern = pattern.clone();
                let like = move |text: &[u8]| {
                    std::str::from_utf8(text).is_ok_and(|text| pattern.matches_folded(text))
                };
                let strings = self.scope.strings(&property::name(field));
                Box::new(Filter::terms(self.fields.facts, strings, like))
            }
            Expr::Compare { field, op, number } => compare(field, *op, *number),
            Expr::Range { field, from, to } => {
                let (from, to) = (*from, *to);
                numbers(field, move |value| {
                    from.is_none_or(|from| value >= from) && to.is_none_or(|to| value <= to)
                })
            }
            Expr::Online(online) => self.fact(&self.scope.boolean(property::ONLINE, *online)),
            Expr::Seen(test) => bounds(test, self.now),
        }
    }

    /// A property with any of the values that a literal may mean.
    fn equals(&self, name: &str, value: &Literal) -> Box<dyn Query> {
        let string = Some(self.scope.string(name, &value.text));
        let number = value.number.map(|number| self.scope.number(name, number));
        let boolean = value.boolean.map(|boolean| self.scope.boolean(name, boolean));
        let meanings = [string, number, boolean].into_iter().flatten().map(|term| self.fact(&term));
        Box::new(BooleanQuery::union(meanings.collect()))
    }

    fn fact(&self, bytes: &[u8]) -> Box<dyn Query> {
        term(Term::from_field_bytes(self.fields.facts, bytes))
    }

    fn word(&self, token: &str) -> Term {
        Term::from_field_text(self.fields.words, &self.scope.words(token))
    }
}

fn compare(field: &Field, op: Op, number: f64) -> Box<dyn Query> {
    numbers(field, move |value| op.holds(value, number))
}

fn bounds(test: &Seen, now: Timestamp) -> Box<dyn Query> {
    let (from, to) = test.bounds(now);
    seen(from, to)
}

/// Seen at all, and from one moment until before another.
fn seen(from: Option<Timestamp>, to: Option<Timestamp>) -> Box<dyn Query> {
    Box::new(Filter::columns(move |reader: &SegmentReader| {
        let column: Column<i64> = reader.fast_fields().i64(SEEN_COLUMN)?;
        Ok(Some(move |doc: DocId| {
            column.first(doc).is_some_and(|micros| {
                from.is_none_or(|from| micros >= from.as_micros())
                    && to.is_none_or(|to| micros < to.as_micros())
            })
        }))
    }))
}

/// A property with a number for which `holds` is true.
fn numbers(field: &Field, holds: impl Fn(f64) -> bool + Clone + Send + Sync + 'static) -> Box<dyn Query> {
    let column = format!("{VALUES_COLUMN}.{}", property::name(field));
    Box::new(Filter::columns(move |reader: &SegmentReader| {
        let holds = holds.clone();
        let column = number_column(reader, &column)?;
        Ok(column.map(|column| move |doc: DocId| column.values_for_doc(doc).any(&holds)))
    }))
}

/// The numbers in a column of this name, as doubles; none when no document of the segment has one.
pub(crate) fn number_column(reader: &SegmentReader, name: &str) -> tantivy::Result<Option<Column<f64>>> {
    for handle in columns(reader, name)? {
        if handle.column_type().numerical_type().is_none() {
            continue;
        }
        if let Some(DynamicColumn::F64(column)) = handle.open()?.coerce_numerical(NumericalType::F64) {
            return Ok(Some(column));
        }
    }
    Ok(None)
}

/// The columns of this name in a segment, one for each type of values.
pub(crate) fn columns(reader: &SegmentReader, name: &str) -> tantivy::Result<Vec<DynamicColumnHandle>> {
    reader.fast_fields().dynamic_column_handles(name)
}

fn term(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}
