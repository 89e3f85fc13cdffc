//! What can be asked for, and where it is found in a twin.

use std::fmt;

use serde_json::Value;

use crate::{Document, Twin};

/// Something to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// The id of the device.
    Id,
    /// Whether a connection is open.
    Online,
    /// When the last message was received.
    Seen,
    /// A property of `reported`, by its path: names joined with dots.
    Reported(String),
    /// A property of `desired`, by its path.
    Desired(String),
    /// A property of `tags`, by its path.
    Tags(String),
}

/// Why a text isn't a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadField {
    /// Where in the text, in characters from 0.
    pub(crate) offset: usize,
    /// What is wrong.
    pub(crate) message: String,
    /// What could be written instead.
    pub(crate) suggestion: Option<String>,
}

impl Field {
    /// Reads a field as it is written in a query: `id`, `battery`, `wifi.rssi`, `tags.site`.
    pub(crate) fn parse(text: &str) -> Result<Self, BadField> {
        match text {
            "id" => return Ok(Self::Id),
            "online" => return Ok(Self::Online),
            "seen" => return Ok(Self::Seen),
            "reported" | "desired" | "tags" => {
                return Err(BadField {
                    offset: 0,
                    message: format!("{text} needs the name of a property"),
                    suggestion: Some(format!("{text}.NAME")),
                });
            }
            _ => {}
        }
        if let Some((offset, found)) = text.chars().enumerate().find(|(_, c)| !may_stand_in_path(*c)) {
            let message = format!("{found:?} can't stand in the name of a field");
            return Err(BadField { offset, message, suggestion: None });
        }
        let (root, path) = match text.split_once('.') {
            Some(("reported", path)) => (Self::Reported as fn(String) -> Self, path),
            Some(("desired", path)) => (Self::Desired as _, path),
            Some(("tags", path)) => (Self::Tags as _, path),
            _ => (Self::Reported as _, text),
        };
        if path.split('.').any(str::is_empty) {
            let message = "a name is missing: write names with one dot between them".into();
            return Err(BadField { offset: 0, message, suggestion: None });
        }
        Ok(root(path.to_owned()))
    }

    /// The path within its document; none for a built-in field.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Reported(path) | Self::Desired(path) | Self::Tags(path) => Some(path),
            Self::Id | Self::Online | Self::Seen => None,
        }
    }

    /// The document and the path within it; none for a built-in field.
    pub fn locate<'a>(&'a self, twin: &'a Twin) -> Option<(&'a Document, &'a str)> {
        match self {
            Self::Reported(path) => Some((&twin.reported, path)),
            Self::Desired(path) => Some((&twin.desired, path)),
            Self::Tags(path) => Some((&twin.tags, path)),
            Self::Id | Self::Online | Self::Seen => None,
        }
    }
}

/// Writes the field as in a query, with `reported.` only where it is needed.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => f.write_str("id"),
            Self::Online => f.write_str("online"),
            Self::Seen => f.write_str("seen"),
            Self::Reported(path) => {
                let first = path.split('.').next().unwrap_or_default();
                let hidden = matches!(path.as_str(), "id" | "online" | "seen" | "has" | "device")
                    || matches!(first, "reported" | "desired" | "tags")
                    || path.starts_with(['-', '!']);
                f.write_str(if hidden { "reported." } else { "" })?;
                f.write_str(path)
            }
            Self::Desired(path) => write!(f, "desired.{path}"),
            Self::Tags(path) => write!(f, "tags.{path}"),
        }
    }
}

/// A comma separates the keys of a sort, braces end a name in a template; the rest has a meaning in queries.
fn may_stand_in_path(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !r#":()"<>*?,{}"#.contains(c)
}

/// Calls `f` with path and value of every property of a document, at any depth: first with the value as it is;
/// then, where that is an array, with each of its elements (at any depth of arrays), under the same path.
/// So each path that exists is seen at least once, and each single value at least once.
pub fn visit_properties(document: &Document, f: &mut impl FnMut(&str, &Value)) {
    visit_object(document, "", &mut String::new(), f);
}

/// The dot is given, as a path may be that of a property with an empty name.
fn visit_object(object: &Document, dot: &str, path: &mut String, f: &mut impl FnMut(&str, &Value)) {
    let length = path.len();
    for (name, value) in object {
        path.push_str(dot);
        path.push_str(name);
        visit_value(value, path, f);
        path.truncate(length);
    }
}

/// [`visit_properties`] for one property, whose path is given, and all within it.
pub(super) fn visit_value(value: &Value, path: &mut String, f: &mut impl FnMut(&str, &Value)) {
    f(path, value);
    match value {
        Value::Object(inner) => visit_object(inner, ".", path, f),
        Value::Array(items) => items.iter().for_each(|item| visit_value(item, path, f)),
        _ => {}
    }
}

/// Calls `f` with every text that bare words search: the id, and each string value of the three documents.
pub fn visit_texts<'a>(twin: &'a Twin, f: &mut impl FnMut(&'a str)) {
    any_text(twin, &mut |text| {
        f(text);
        false
    });
}

/// Whether `test` holds for any text that [`visit_texts`] shows.
pub fn any_text<'a>(twin: &'a Twin, test: &mut impl FnMut(&'a str) -> bool) -> bool {
    test(twin.device.as_str())
        || [&twin.reported, &twin.desired, &twin.tags]
            .into_iter()
            .any(|document| document.values().any(|value| any_string(value, test)))
}

fn any_string<'a>(value: &'a Value, test: &mut impl FnMut(&'a str) -> bool) -> bool {
    match value {
        Value::String(text) => test(text),
        Value::Array(items) => items.iter().any(|item| any_string(item, test)),
        Value::Object(inner) => inner.values().any(|item| any_string(item, test)),
        _ => false,
    }
}

/// Whether `test` holds for any value of the property with this path. Sees the values that
/// [`visit_properties`] shows for it, until one is found.
pub fn any_value(document: &Document, path: &str, test: &mut impl FnMut(&Value) -> bool) -> bool {
    // A name may hold dots itself, so each way to cut the path is tried.
    let cuts = path.match_indices('.').map(|(at, _)| (&path[..at], Some(&path[at + 1..])));
    for (name, rest) in cuts.chain([(path, None)]) {
        let Some(value) = document.get(name) else { continue };
        let found = match rest {
            Some(rest) => any_inner(value, rest, test),
            None => any_element(value, test),
        };
        if found {
            return true;
        }
    }
    false
}

fn any_inner(value: &Value, path: &str, test: &mut impl FnMut(&Value) -> bool) -> bool {
    match value {
        Value::Object(inner) => any_value(inner, path, test),
        Value::Array(items) => items.iter().any(|item| any_inner(item, path, test)),
        _ => false,
    }
}

fn any_element(value: &Value, test: &mut impl FnMut(&Value) -> bool) -> bool {
    test(value) || value.as_array().is_some_and(|items| items.iter().any(|item| any_element(item, test)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn fields_are_read_and_written() {
        for (text, field, written) in [
            ("id", Field::Id, "id"),
            ("wifi.rssi", Field::Reported("wifi.rssi".into()), "wifi.rssi"),
            ("reported.wifi.rssi", Field::Reported("wifi.rssi".into()), "wifi.rssi"),
            ("reported.seen", Field::Reported("seen".into()), "reported.seen"),
            ("reported.tags.x", Field::Reported("tags.x".into()), "reported.tags.x"),
            ("id.x", Field::Reported("id.x".into()), "id.x"),
            ("tags.id", Field::Tags("id".into()), "tags.id"),
            ("desired.a.b", Field::Desired("a.b".into()), "desired.a.b"),
        ] {
            assert_eq!(Field::parse(text), Ok(field.clone()), "{text}");
            assert_eq!(field.to_string(), written);
        }
        assert_eq!(Field::parse("a<b").unwrap_err().offset, 1);
        for bad in ["", ".", "a..b", "a.", "tags.", "desired"] {
            assert!(Field::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn arrays_and_dots_in_names_are_transparent() {
        let document = json!({"a":[{"b":1},[{"b":2}],3],"a.b":4,"a":[{"b":1},[{"b":2}],3]});
        let document = document.as_object().unwrap();
        let values = |path: &str| {
            let mut found = Vec::new();
            any_value(document, path, &mut |value| {
                found.push(value.clone());
                false
            });
            found
        };
        assert_eq!(values("a.b"), [json!(1), json!(2), json!(4)]);
        assert_eq!(values("a").last(), Some(&json!(3)));
        assert!(values("b").is_empty());
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![(0..3).prop_map(Value::from), Just(Value::Null)];
        leaf.prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[ab]|a\\.b", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// What an index is told of a document is what the evaluator finds in it.
        #[test]
        fn visiting_and_looking_up_see_the_same(value in value(), path in "[ab](\\.[ab]){0,3}") {
            let document: Document = [("a".to_owned(), value)].into_iter().collect();
            let (mut visited, mut found) = (Vec::new(), Vec::new());
            visit_properties(&document, &mut |at, value| {
                if at == path {
                    visited.push(value.to_string());
                }
            });
            any_value(&document, &path, &mut |value| {
                found.push(value.to_string());
                false
            });
            visited.sort();
            found.sort();
            prop_assert_eq!(visited, found);
        }
    }
}
