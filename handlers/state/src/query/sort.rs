//! The order of results: `-battery,id` is the largest battery first, and among equals by id; `relevance` is the
//! best match first.

use std::fmt;

use super::QueryError;
use super::fields::Field;
use super::list::{field, items};

/// Most keys of one order.
pub const SORT_KEYS_MAX: usize = 4;

/// How well a device matches the words of the query, where an order is named. A property of this name is
/// `reported.relevance`.
const RELEVANCE: &str = "relevance";

/// One key of an order. What is still equal is in the order of ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SortKey {
    /// What to compare.
    pub by: By,
    /// The largest first. Always so for relevance.
    pub descending: bool,
}

/// What results are ordered by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum By {
    /// How well a device matches the words of the query.
    Relevance,
    /// The value of a field: numbers come before strings, strings before false and true, and devices that don't
    /// have it last, in either direction.
    Field(Field),
}

/// Reads orders.
#[derive(Debug, Clone, Copy)]
pub struct Sort;

impl Sort {
    /// Reads fields, or `relevance`, with commas between them, `-` before a field for descending. An empty text
    /// is no order at all.
    ///
    /// # Errors
    /// `QueryError` when a field isn't one, stands there twice, or there are more than [`SORT_KEYS_MAX`].
    pub fn parse(text: &str) -> Result<Vec<SortKey>, QueryError> {
        let same = |left: &SortKey, right: &SortKey| left.by == right.by;
        items(text, SORT_KEYS_MAX, same, |name, column| match name.strip_prefix('-') {
            _ if name == RELEVANCE => Ok(SortKey { by: By::Relevance, descending: true }),
            Some(RELEVANCE) => {
                let message = "the best match comes first: relevance stands without a minus";
                Err(QueryError::new(column, message).suggest(RELEVANCE))
            }
            Some(name) => Ok(SortKey { by: By::Field(field(name, column + 1)?), descending: true }),
            None => Ok(SortKey { by: By::Field(field(name, column)?), descending: false }),
        })
    }
}

impl SortKey {
    /// The field that is compared, if it is one.
    pub fn field(&self) -> Option<&Field> {
        match &self.by {
            By::Field(field) => Some(field),
            By::Relevance => None,
        }
    }
}

impl fmt::Display for SortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            By::Relevance => f.write_str(RELEVANCE),
            By::Field(field) => write!(f, "{}{field}", if self.descending { "-" } else { "" }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn orders_are_read() {
        let keys = Sort::parse("-battery, id,tags.site,relevance").unwrap();
        let written: Vec<_> = keys.iter().map(ToString::to_string).collect();
        assert_eq!(written, ["-battery", "id", "tags.site", "relevance"]);
        assert_eq!(keys[0].by, By::Field(Field::Reported("battery".into())));
        assert!(keys[0].descending && !keys[1].descending && keys[3].descending);
        assert_eq!(Sort::parse(" "), Ok(Vec::new()));
    }

    #[test]
    fn mistakes_are_found_at_their_column() {
        let column = |text: &str| Sort::parse(text).unwrap_err().column;
        assert_eq!(column("a,,b"), 3);
        assert_eq!(column("é, -b c"), 6);
        assert_eq!(column("a,-a"), 3);
        assert_eq!(column("a,b,c,d,e"), 9);
        assert_eq!(Sort::parse("tags").unwrap_err().suggestion.as_deref(), Some("tags.NAME"));
        assert_eq!(Sort::parse("-relevance").unwrap_err().suggestion.as_deref(), Some("relevance"));
    }
}
