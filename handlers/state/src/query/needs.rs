//! What the outcome of a query depends on, and what a change of a twin touches.
//!
//! The law: when a change touches nothing that a query needs, the query matches after it exactly if it did
//! before, at the same moment. So thousands of saved queries can be kept in a map from [`Field`] to those that
//! need it, with one list for those that need any text and one for those that need time, and a change is
//! evaluated only against what it can affect.

use std::collections::BTreeSet;

use serde_json::Value;

use super::ast::Expr;
use super::fields::{Field, visit_value};
use crate::{Document, Twin};

/// What the outcome of a query depends on, besides that the device exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// The fields that it asks for. Never the id, which doesn't change.
    pub fields: BTreeSet<Field>,
    /// It searches for words, which any text of the twin may hold.
    pub text: bool,
    /// It compares with a time relative to now, so that its outcome may change although nothing else does.
    pub time: bool,
}

/// What a change of a twin touches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// The twin was created or removed: every query may be affected.
    pub existence: bool,
    /// Properties that are there, not there, or have another value than before, each by its path, and all
    /// properties within them; `online` and `seen`.
    pub fields: BTreeSet<Field>,
    /// Some text is there that wasn't, or was there and isn't.
    pub text: bool,
}

impl Needs {
    pub(super) fn of(expr: &Expr) -> Self {
        let mut needs = Self::default();
        expr.visit(&mut |leaf| {
            needs.text |=
                matches!(leaf, Expr::Word(_) | Expr::Prefix(_) | Expr::Fuzzy { .. } | Expr::Phrase(_));
            needs.time |= matches!(leaf, Expr::Within { range, .. } if range.is_relative());
            needs.fields.extend(leaf.field().filter(|field| **field != Field::Id).cloned());
        });
        needs
    }

    /// Whether a change that touches this can make a difference. Time is another matter: a query with
    /// [`Needs::time`] may also change its mind without any change.
    pub fn affected_by(&self, touched: &Touched) -> bool {
        touched.existence
            || (self.text && touched.text)
            || self.fields.iter().any(|field| touched.fields.contains(field))
    }
}

impl Touched {
    /// What differs between a twin before and after a change; none where it didn't or doesn't exist.
    pub fn between(before: Option<&Twin>, after: Option<&Twin>) -> Self {
        let mut touched = Self::default();
        let (Some(before), Some(after)) = (before, after) else {
            touched.existence = before.is_some() || after.is_some();
            return touched;
        };
        if before.presence.online != after.presence.online {
            touched.fields.insert(Field::Online);
        }
        if before.received_at != after.received_at {
            touched.fields.insert(Field::Seen);
        }
        touched.document(Field::Reported, &before.reported, &after.reported);
        touched.document(Field::Desired, &before.desired, &after.desired);
        touched.document(Field::Tags, &before.tags, &after.tags);
        touched
    }

    fn document(&mut self, root: fn(String) -> Field, before: &Document, after: &Document) {
        let Self { fields, text, .. } = self;
        differences(before, after, "", &mut String::new(), &mut |path, value| {
            *text |= value.is_string();
            fields.insert(root(path.to_owned()));
        });
    }
}

/// Calls `f` with path and value of each property that differs, and of all within it, on either side. Objects on
/// both sides differ only in what they hold: no test looks at an object as such.
fn differences(
    before: &Document,
    after: &Document,
    dot: &str,
    path: &mut String,
    f: &mut impl FnMut(&str, &Value),
) {
    let length = path.len();
    for (name, old) in before {
        let new = after.get(name);
        if new == Some(old) {
            continue;
        }
        path.push_str(dot);
        path.push_str(name);
        if let (Value::Object(old), Some(Value::Object(new))) = (old, new) {
            differences(old, new, ".", path, f);
        } else {
            visit_value(old, path, f);
            if let Some(new) = new {
                visit_value(new, path, f);
            }
        }
        path.truncate(length);
    }
    for (name, new) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
        path.push_str(dot);
        path.push_str(name);
        visit_value(new, path, f);
        path.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::query::{Query, samples};
    use crate::{DeviceId, Presence};
    use proptest::prelude::*;
    use serde_json::json;

    fn needs(query: &str) -> (String, bool, bool) {
        let needs = Query::parse(query).unwrap().needs();
        let fields: Vec<_> = needs.fields.iter().map(ToString::to_string).collect();
        (fields.join(" "), needs.text, needs.time)
    }

    fn twin(reported: Value) -> Twin {
        let reported = serde_json::from_value(reported).unwrap();
        Twin { reported, ..Twin::new(DeviceId::parse("d").unwrap()) }
    }

    fn touched(before: Value, after: Value) -> (String, bool) {
        let touched = Touched::between(Some(&twin(before)), Some(&twin(after)));
        let fields: Vec<_> = touched.fields.iter().map(ToString::to_string).collect();
        (fields.join(" "), touched.text)
    }

    #[test]
    fn a_query_says_what_it_needs() {
        for (query, fields, text, time) in [
            ("", "", false, false),
            ("b:1 (tags.a:x OR -b:>2)", "b tags.a", false, false),
            ("word id:x", "", true, false),
            ("-\"two words\" has:wifi", "wifi", true, false),
            ("online:true seen:<2026-01-01", "online seen", false, false),
            ("a OR -seen:-2h..-1h wor*", "seen", true, true),
            ("tags.due:(<+7d OR x) word~", "tags.due", true, true),
        ] {
            assert_eq!(needs(query), (fields.to_owned(), text, time), "{query}");
        }
    }

    #[test]
    fn a_change_says_what_it_touches() {
        let fields = |before, after| touched(before, after).0;
        assert_eq!(fields(json!({"a":1,"b":2}), json!({"a":1,"b":3})), "b");
        assert_eq!(fields(json!({"wifi":{"rssi":1,"ch":2}}), json!({"wifi":{"rssi":2,"ch":2}})), "wifi.rssi");
        assert_eq!(fields(json!({"a":{"b":1}}), json!({"a":[{"b":1}]})), "a a.b", "an array of it");
        assert_eq!(fields(json!({"a":{"b":1}}), json!({})), "a a.b", "with all within it");
        assert_eq!(touched(json!({"a":1}), json!({"a":["x"]})), ("a".into(), true));
        assert_eq!(touched(json!({"a":"x"}), json!({"a":"x"})), (String::new(), false));

        let (old, new) = (twin(json!({})), twin(json!({})));
        let new = Twin { presence: Presence { online: true, ..Presence::default() }, version: 7, ..new };
        let fields = Touched::between(Some(&old), Some(&new)).fields;
        assert_eq!(fields, [Field::Online].into());
        assert!(Touched::between(None, Some(&new)).existence);
        assert!(Touched::between(Some(&new), None).existence);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// The law of this module.
        #[test]
        fn what_touches_nothing_needed_changes_nothing(
            before in samples::twin(),
            after in samples::twin(),
            query in samples::queries(),
        ) {
            let Ok(query) = Query::parse(&query) else { return Ok(()) };
            let touched = Touched::between(Some(&before), Some(&after));
            if !query.needs().affected_by(&touched) {
                let now = samples::now();
                prop_assert_eq!(query.matches(&before, now), query.matches(&after, now), "{}", query.text());
            }
        }
    }
}
