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
use crate::near::Near;
use crate::schema::Fields;
use crate::union::Union;
use crate::{property, within};

/// Most conditions that are asked one after the other whether any holds.
const UNION_MAX: usize = 8;

/// The devices of a tenant that match at the moment `now`.
pub(crate) fn query(view: &View, tenant: &TenantId, expr: &Expr, now: Timestamp) -> Box<dyn Query> {
    let own = term(Term::from_field_bytes(view.fields.tenant, tenant.as_str().as_bytes()));
    let translator =
        Translator { fields: &view.fields, columns: &view.columns, scope: Scope::of(tenant), now };
    match expr {
        Expr::All => own,
        Expr::And(members) => translator.all(own, members),
        expr => translator.all(own, std::slice::from_ref(expr)),
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
        match expr {
            Expr::All => Box::new(AllQuery),
            Expr::And(members) => self.all(Box::new(AllQuery), members),
            Expr::Or(members) => any(members.iter().map(|member| self.translate(member)).collect()),
            Expr::Not(_) => self.all(Box::new(AllQuery), std::slice::from_ref(expr)),
            Expr::Word(token) => term(self.word(token)),
            Expr::Prefix(start) => {
                let start = self.scope.words(start).into_bytes();
                Box::new(Filter::terms(self.fields.words, start, |_| true))
            }
            Expr::Fuzzy { word, edits } => {
                let (word, edits) = (word.clone(), *edits);
                let prefix = self.scope.words("").into_bytes();
                let among = Near::new(prefix.clone(), &word, edits);
                let near =
                    move |token: &[u8]| str::from_utf8(token).is_ok_and(|token| is_near(token, &word, edits));
                Box::new(Filter::terms_of(among, self.fields.words, prefix, near))
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

    /// What fulfils the first condition and all others. What must not be is looked at last, and only in what is left.
    fn all(&self, first: Box<dyn Query>, others: &[Expr]) -> Box<dyn Query> {
        let others = others.iter().map(|expr| match expr {
            Expr::Not(inner) => (Occur::MustNot, self.translate(inner)),
            expr => (Occur::Must, self.translate(expr)),
        });
        Box::new(BooleanQuery::new([(Occur::Must, first)].into_iter().chain(others).collect()))
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
        any(meanings.chain(during).collect())
    }

    fn fact(&self, bytes: &[u8]) -> Box<dyn Query> {
        term(Term::from_field_bytes(self.fields.facts, bytes))
    }

    fn word(&self, token: &str) -> Term {
        Term::from_field_text(self.fields.words, &self.scope.words(token))
    }
}

/// What fulfils any of these.
fn any(members: Vec<Box<dyn Query>>) -> Box<dyn Query> {
    if members.len() > UNION_MAX {
        Box::new(BooleanQuery::union(members))
    } else {
        Box::new(Union::of(members))
    }
}

fn term(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}
