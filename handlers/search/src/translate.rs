//! From the syntax tree of a query to a query of tantivy. What each part means is defined in
//! [`statecast_state::query`]; a property test holds the two to each other.

use std::sync::Arc;

use statecast_state::query::text::is_near;
use statecast_state::query::{Expr, Field, Literal};
use statecast_state::{TenantId, Timestamp};
use tantivy::Term;
use tantivy::query::{AllQuery, BooleanQuery, Occur, PhraseQuery, Query, TermQuery};
use tantivy::schema::IndexRecordOption;

use crate::columns::Columns;
use crate::facts::Scope;
use crate::filter::Filter;
use crate::generation::View;
use crate::schema::Fields;
use crate::{property, within};

/// The devices of a tenant that match at the moment `now`.
pub(crate) fn query(view: &View, tenant: &TenantId, expr: &Expr, now: Timestamp) -> Box<dyn Query> {
    let own = term(Term::from_field_bytes(view.fields.tenant, tenant.as_str().as_bytes()));
    let translator =
        Translator { fields: &view.fields, columns: &view.columns, scope: Scope::of(tenant), now };
    match expr {
        Expr::All => own,
        expr => Box::new(BooleanQuery::intersection(vec![own, translator.translate(expr)])),
    }
}

/// What the parts of a query have in common.
struct Translator<'a> {
    fields: &'a Fields,
    columns: &'a Arc<Columns>,
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
            Expr::Fuzzy { word, edits } => {
                let (word, edits) = (word.clone(), *edits);
                let near =
                    move |token: &[u8]| str::from_utf8(token).is_ok_and(|token| is_near(token, &word, edits));
                Box::new(Filter::terms(self.fields.words, self.scope.words("").into_bytes(), near))
            }
            Expr::Phrase(tokens) => {
                Box::new(PhraseQuery::new(tokens.iter().map(|token| self.word(token)).collect()))
            }
            Expr::Exists(Field::Id | Field::Online) => Box::new(AllQuery),
            Expr::Exists(Field::Seen) => within::seen(self.columns, |_| true),
            Expr::Exists(field) => self.fact(&self.scope.exists(&property::name(field))),
            Expr::Equals { field, value } => self.equals(field, value),
            Expr::Like { field, pattern } => {
                let pattern = pattern.clone();
                let like = move |text: &[u8]| {
                    std::str::from_utf8(text).is_ok_and(|text| pattern.matches_folded(text))
                };
                let strings = self.scope.strings(&property::name(field));
                Box::new(Filter::terms(self.fields.facts, strings, like))
            }
            Expr::Within { field: Field::Seen, range } => {
                let (range, now) = (range.clone(), self.now);
                within::seen(self.columns, move |micros| range.time(Timestamp::from_micros(micros), now))
            }
            Expr::Within { field, range } => within::property(self.columns, field, range, self.now),
            Expr::Online(online) => self.fact(&self.scope.boolean(property::ONLINE, *online)),
        }
    }

    /// A property with any of the values that a literal may mean.
    fn equals(&self, field: &Field, value: &Literal) -> Box<dyn Query> {
        let name = &property::name(field);
        let string = Some(self.scope.string(name, &value.text));
        let number = value.number.map(|number| self.scope.number(name, number));
        let boolean = value.boolean.map(|boolean| self.scope.boolean(name, boolean));
        let during = value.during().filter(|_| *field != Field::Id);
        let during = during.map(|day| within::property(self.columns, field, &day, self.now));
        let meanings = [string, number, boolean].into_iter().flatten().map(|term| self.fact(&term));
        Box::new(BooleanQuery::union(meanings.chain(during).collect()))
    }

    fn fact(&self, bytes: &[u8]) -> Box<dyn Query> {
        term(Term::from_field_bytes(self.fields.facts, bytes))
    }

    fn word(&self, token: &str) -> Term {
        Term::from_field_text(self.fields.words, &self.scope.words(token))
    }
}

fn term(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}
