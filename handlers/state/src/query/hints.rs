//! Hints: what is legal in a query and probably not meant. A query is pure; which properties the fleet has is
//! given by who asks.

use super::ast::Expr;
use super::fields::Field;
use super::text::{EDITS_MAX, is_near};

/// Most hints for one query.
const HINTS_MAX: usize = 8;
/// Longer paths aren't compared letter by letter. In bytes.
const NEAR_BYTES_MAX: usize = 64;

/// Something that a person should look at, although the query was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is odd, as a sentence without a full stop.
    pub text: String,
    /// What could be written instead.
    pub suggestion: Option<String>,
}

/// Something in a query that may be worth a hint, and where it stands (characters from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mention {
    Property(usize, Field),
    /// An operator in lower case, which is a word: as it is written, and the operator.
    LowerCase(usize, String, &'static str),
}

impl Mention {
    /// The property of a clause that begins at `column`.
    pub(super) fn of_leaf(leaf: &Expr, column: usize) -> Option<Self> {
        let field = leaf.field().filter(|field| field.path().is_some())?;
        Some(Self::Property(column, field.clone()))
    }

    /// A word that would be an operator in upper case.
    pub(super) fn of_word(word: &str, column: usize) -> Option<Self> {
        let operator = ["AND", "OR", "NOT"].into_iter().find(|name| name.eq_ignore_ascii_case(word))?;
        Some(Self::LowerCase(column, word.to_owned(), operator))
    }
}

/// The hints for fields that are named beside a query, each with its column; see [`Query::hints`](super::Query::hints).
pub fn of_fields(
    fields: impl IntoIterator<Item = (usize, Field)>,
    exists: impl Fn(&Field) -> bool,
    all: impl FnOnce() -> Vec<Field>,
) -> Vec<Hint> {
    let properties = fields.into_iter().filter(|(_, field)| field.path().is_some());
    let mentions: Vec<_> = properties.map(|(column, field)| Mention::Property(column, field)).collect();
    hints(&mentions, exists, all)
}

/// The hints for these mentions. `exists` says whether any device has a property, `all` gives those that there
/// are; it is asked only when one is missing.
pub(super) fn hints(
    mentions: &[Mention],
    exists: impl Fn(&Field) -> bool,
    all: impl FnOnce() -> Vec<Field>,
) -> Vec<Hint> {
    let mut all = Some(all);
    let mut known = None;
    let mut hints: Vec<Hint> = Vec::new();
    for mention in mentions {
        let hint = match mention {
            Mention::LowerCase(column, word, operator) => Hint {
                column: *column,
                text: format!("{word} is searched for as a word"),
                suggestion: Some((*operator).to_owned()),
            },
            Mention::Property(_, field) if exists(field) => continue,
            Mention::Property(column, field) => {
                let known = known.get_or_insert_with(|| all.take().map_or_else(Vec::new, |all| all()));
                Hint {
                    column: *column,
                    text: format!("no device has {field}"),
                    suggestion: nearest(field, known).map(ToString::to_string),
                }
            }
        };
        if !hints.contains(&hint) {
            hints.push(hint);
        }
        if hints.len() == HINTS_MAX {
            break;
        }
    }
    hints
}

/// What was probably meant: the same path elsewhere, the same but for upper and lower case, the end of a longer
/// path, or a name that differs by few letters.
fn nearest<'a>(field: &Field, known: &'a [Field]) -> Option<&'a Field> {
    let path = field.path()?;
    let inner = format!(".{path}");
    let edits_max = if path.chars().count() < 4 { 1 } else { EDITS_MAX };
    let distance = |other: &Field| {
        let its = other.path()?;
        let far = if its == path {
            0
        } else if its.eq_ignore_ascii_case(path) {
            1
        } else if its.ends_with(&inner) {
            2
        } else if path.len() <= NEAR_BYTES_MAX {
            2 + (1..=edits_max).find(|edits| is_near(its, path, *edits))?
        } else {
            return None;
        };
        // Of equals the one in the same document.
        let elsewhere = std::mem::discriminant(field) != std::mem::discriminant(other);
        // Some names can't be written in a query.
        let writable = Field::parse(&other.to_string()).is_ok_and(|read| read == *other);
        writable.then_some((far, elsewhere, its.len()))
    };
    let nearest = known.iter().filter_map(|other| Some((distance(other)?, other))).min();
    nearest.map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::query::Query;

    fn hints(query: &str) -> Vec<(usize, String, Option<String>)> {
        let names = ["battery", "wifi.rssi", "tags.site", "Model", "desired.mode", "on"];
        let known: Vec<Field> = names.map(|name| Field::parse(name).unwrap()).into();
        let query = Query::parse(query).unwrap();
        let hints = query.hints(|field| known.contains(field), || known.clone());
        hints.into_iter().map(|hint| (hint.column, hint.text, hint.suggestion)).collect()
    }

    #[test]
    fn what_no_device_has_is_told_with_the_nearest() {
        for (query, column, name, suggestion) in [
            ("battrey:<20", 1, "battrey", Some("battery")),
            ("é -(has:batteri)", 9, "batteri", Some("battery")),
            ("on:true site:(lab OR office)", 9, "site", Some("tags.site")),
            ("rssi:<-70 -rssi:1", 1, "rssi", Some("wifi.rssi")),
            ("MODEL:x*", 1, "MODEL", Some("Model")),
            ("mode:eco", 1, "mode", Some("desired.mode")),
            ("no:true", 1, "no", Some("on")),
            ("http://example.com", 1, "http", None),
        ] {
            let text = format!("no device has {name}");
            let expected = (column, text, suggestion.map(ToOwned::to_owned));
            assert_eq!(hints(query)[0], expected, "{query}");
        }
        assert_eq!(hints("site:(lab OR office)").len(), 1, "one for the field, not for each value");
        assert_eq!(hints("battery:<20 word id:x online:true seen:>-1h has:on"), []);
    }

    #[test]
    fn an_operator_in_lower_case_is_a_word() {
        let told = hints("a or b \"or\"");
        assert_eq!(told, [(3, "or is searched for as a word".into(), Some("OR".into()))]);
    }
}
