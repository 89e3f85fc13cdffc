//! Many queries at once: which of them a change of a twin can affect. Called a percolator elsewhere too.
//!
//! A query stands in the drawers of what it needs ([`Needs`]): one for each field, one for any text. Where a query
//! can only match a device with a certain value (`type:pump`, or one of several: `site:(lab OR office)`), its
//! drawers stand under that value, its *anchor*, so that ten thousand rules over the same fields cost little as
//! long as they are about different devices. Of several anchors the rarest is taken.
//!
//! The law: a query that isn't among [`Percolator::affected`] matches after the change exactly if it did before,
//! at the same moment. What is among them may still be unaffected: whoever asks evaluates them.

use std::cell::LazyCell;
use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::ast::Expr;
use super::fields::{Field, any_value};
use super::needs::{Needs, Touched};
use super::text::{WHOLE_BYTES_MAX, fold};
use super::{Literal, Query};
use crate::Twin;

/// Queries by what they need.
#[derive(Debug, Clone, Default)]
pub struct Percolator {
    /// Queries that may match any device.
    anywhere: Drawers,
    /// Queries that only match a device with this value in this field.
    anchored: HashMap<Field, HashMap<Anchor, Drawers>>,
}

/// The numbers of queries, by what they need.
#[derive(Debug, Clone, Default)]
struct Drawers {
    /// All that are here: a device that comes or goes may affect each.
    all: Vec<u32>,
    text: Vec<u32>,
    fields: HashMap<Field, Vec<u32>>,
}

/// A value as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Anchor {
    /// Folded.
    Text(String),
    /// The bits of the double; zero has only one sign.
    Number(u64),
    Truth(bool),
}

impl Percolator {
    /// Takes in queries; each is known by its place in the order in which they come.
    pub fn new<'a>(queries: impl IntoIterator<Item = &'a Query>) -> Self {
        let queries: Vec<&Query> = queries.into_iter().collect();
        let mut frequency: HashMap<(&Field, Anchor), u32> = HashMap::new();
        for query in &queries {
            query.expr().visit(&mut |leaf| {
                for anchor in leaf_anchors(leaf).into_iter().flatten() {
                    *frequency.entry(anchor).or_default() += 1;
                }
            });
        }
        let mut percolator = Self::default();
        for (number, query) in (0..).zip(&queries) {
            let needs = query.needs();
            match anchors(query.expr(), &frequency) {
                None => percolator.anywhere.put(number, &needs),
                Some(anchors) => {
                    for (field, anchor) in anchors {
                        let drawers = percolator.anchored.entry(field.clone()).or_default();
                        drawers.entry(anchor).or_default().put(number, &needs);
                    }
                }
            }
        }
        percolator
    }

    /// The numbers of the queries that a change may affect, in ascending order; none for a twin that didn't or
    /// doesn't exist.
    pub fn affected(&self, before: Option<&Twin>, after: Option<&Twin>) -> Vec<u32> {
        // Where no query can be affected it isn't looked at.
        let touched = LazyCell::new(|| Touched::between(before, after));
        let mut found = BTreeSet::new();
        if !self.anywhere.all.is_empty() {
            self.anywhere.affected_by(&touched, &mut found);
        }
        for (field, drawers) in &self.anchored {
            for twin in [before, after].into_iter().flatten() {
                any_anchor(field, twin, &mut |anchor| {
                    if let Some(drawers) = drawers.get(&anchor) {
                        drawers.affected_by(&touched, &mut found);
                    }
                });
            }
        }
        found.into_iter().collect()
    }

    /// The numbers of the queries that a twin may match, in ascending order; it matches none of the others.
    pub fn may_match(&self, twin: &Twin) -> Vec<u32> {
        // As if it had just come into being.
        self.affected(None, Some(twin))
    }
}

impl Drawers {
    fn put(&mut self, number: u32, needs: &Needs) {
        // Two anchors of one query may have the same drawers.
        if self.all.last() == Some(&number) {
            return;
        }
        self.all.push(number);
        if needs.text {
            self.text.push(number);
        }
        for field in &needs.fields {
            self.fields.entry(field.clone()).or_default().push(number);
        }
    }

    fn affected_by(&self, touched: &Touched, found: &mut BTreeSet<u32>) {
        if touched.existence {
            return found.extend(&self.all);
        }
        if touched.text {
            found.extend(&self.text);
        }
        for numbers in touched.fields.iter().filter_map(|field| self.fields.get(field)) {
            found.extend(numbers);
        }
    }
}

/// The values of which a device must have one to match, each in its field; none when it may do without.
fn anchors<'a>(
    expr: &'a Expr,
    frequency: &HashMap<(&'a Field, Anchor), u32>,
) -> Option<Vec<(&'a Field, Anchor)>> {
    match expr {
        Expr::And(members) => {
            members.iter().filter_map(|member| anchors(member, frequency)).min_by_key(|any| {
                any.iter().map(|anchor| frequency.get(anchor).copied().unwrap_or(0)).sum::<u32>()
            })
        }
        Expr::Or(members) => {
            let all: Option<Vec<_>> = members.iter().map(|member| anchors(member, frequency)).collect();
            Some(all?.into_iter().flatten().collect())
        }
        leaf => leaf_anchors(leaf),
    }
}

fn leaf_anchors(leaf: &Expr) -> Option<Vec<(&Field, Anchor)>> {
    // A day also matches times that are written in other ways.
    let Expr::Equals { field, value: Literal { text, number, boolean, day: None, .. } } = leaf else {
        return None;
    };
    let number = number.map(Anchor::number);
    let truth = boolean.map(Anchor::Truth);
    let text = Anchor::Text(text.clone());
    Some([Some(text), number, truth].into_iter().flatten().map(|anchor| (field, anchor)).collect())
}

/// Calls `f` for each value that a twin has in a field.
fn any_anchor(field: &Field, twin: &Twin, f: &mut impl FnMut(Anchor)) {
    if *field == Field::Id {
        return f(Anchor::Text(fold(twin.device.as_str())));
    }
    let Some((document, path)) = field.locate(twin) else { return };
    any_value(document, path, &mut |value| {
        match value {
            Value::String(text) if text.len() <= WHOLE_BYTES_MAX => f(Anchor::Text(fold(text))),
            Value::Number(number) => number.as_f64().map(Anchor::number).into_iter().for_each(&mut *f),
            Value::Bool(truth) => f(Anchor::Truth(*truth)),
            _ => {}
        }
        false
    });
}

impl Anchor {
    fn number(number: f64) -> Self {
        Self::Number((number + 0.0).to_bits())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::DeviceId;
    use crate::query::samples;
    use proptest::prelude::*;
    use serde_json::json;

    fn queries(texts: &[&str]) -> Vec<Query> {
        texts.iter().map(|text| Query::parse(text).unwrap()).collect()
    }

    fn twin(reported: Value) -> Twin {
        let reported = serde_json::from_value(reported).unwrap();
        Twin { reported, ..Twin::new(DeviceId::parse("Pump-1").unwrap()) }
    }

    fn affected(texts: &[&str], before: Value, after: Value) -> Vec<u32> {
        Percolator::new(&queries(texts)).affected(Some(&twin(before)), Some(&twin(after)))
    }

    #[test]
    fn only_what_a_change_can_affect() {
        let texts = ["a:1", "b:>1", "word", "-a:x", "", "online:true"];
        assert_eq!(affected(&texts, json!({"a":1}), json!({"a":2})), [0, 3]);
        assert_eq!(affected(&texts, json!({"b":1}), json!({"b":2})), [1]);
        assert_eq!(affected(&texts, json!({"c":1}), json!({"c":"x"})), [2]);
        assert_eq!(affected(&texts, json!({"c":1}), json!({"c":1})), [] as [u32; 0]);
        let all = Percolator::new(&queries(&texts)).affected(None, Some(&twin(json!({}))));
        assert_eq!(all, [1, 2, 3, 4, 5], "a:1 is anchored, and this device has no a");
    }

    #[test]
    fn an_anchor_keeps_other_devices_away() {
        let texts: Vec<String> = (0..1_000).map(|n| format!("type:t{n} battery:<20")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let of = |before, after| affected(&texts, before, after);
        assert_eq!(of(json!({"type":"T7","battery":30}), json!({"type":"T7","battery":10})), [7]);
        assert_eq!(of(json!({"type":"t7","battery":10}), json!({"type":"t8","battery":10})), [7, 8]);
        assert_eq!(of(json!({"battery":30}), json!({"battery":10})), [] as [u32; 0]);
    }

    #[test]
    fn the_rarest_of_several_anchors_is_taken_and_either_side_of_an_or_needs_one() {
        let texts = ["site:lab type:a", "site:lab type:b", "(site:lab OR id:pump-1) x:1", "site:lab OR x:>1"];
        let percolator = Percolator::new(&queries(&texts));
        let change = |site: &str| {
            (twin(json!({"site":site,"type":"a","x":1})), twin(json!({"site":site,"type":"a","x":2})))
        };
        let of = |(before, after): (Twin, Twin)| percolator.affected(Some(&before), Some(&after));
        assert_eq!(of(change("lab")), [2, 3]);
        assert_eq!(of(change("office")), [2, 3]);
        assert!(percolator.anchored[&Field::Reported("type".into())].len() == 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        /// The law of this module.
        #[test]
        fn what_is_left_out_is_not_affected(
            texts in prop::collection::vec(samples::queries(), 1..12),
            before in proptest::option::of(samples::twin()),
            after in proptest::option::of(samples::twin()),
        ) {
            let queries: Vec<Query> = texts.iter().filter_map(|text| Query::parse(text).ok()).collect();
            let affected = Percolator::new(&queries).affected(before.as_ref(), after.as_ref());
            let matches = |query: &Query, twin: &Option<Twin>| {
                twin.as_ref().is_some_and(|twin| query.matches(twin, samples::now()))
            };
            for (number, query) in (0..).zip(&queries) {
                if !affected.contains(&number) {
                    prop_assert_eq!(matches(query, &before), matches(query, &after), "{}", query.text());
                }
            }
        }
    }
}
