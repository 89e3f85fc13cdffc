//! The order of results: `-battery,id` is the largest battery first, and among equals by id.

use std::fmt;

use super::QueryError;
use super::fields::Field;

/// Most keys of one order.
pub const SORT_KEYS_MAX: usize = 4;

/// One key of an order. Devices that don't have the field come last in either direction; numbers come before
/// strings; what is still equal is in the order of ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SortKey {
    /// What to compare.
    pub field: Field,
    /// The largest first.
    pub descending: bool,
}

/// Reads orders.
#[derive(Debug, Clone, Copy)]
pub struct Sort;

impl Sort {
    /// Reads fields with commas between them, `-` before one for descending. An empty text is no order at all.
    ///
    /// # Errors
    /// `QueryError` when a field isn't one, stands there twice, or there are more than [`SORT_KEYS_MAX`].
    pub fn parse(text: &str) -> Result<Vec<SortKey>, QueryError> {
        let mut keys: Vec<SortKey> = Vec::new();
        let mut column = 1;
        for part in text.split(',').filter(|_| !text.trim().is_empty()) {
            let name = part.trim();
            let lead = part.chars().take_while(|c| c.is_whitespace()).count();
            let (descending, name) = name.strip_prefix('-').map_or((false, name), |name| (true, name));
            let start = column + lead + usize::from(descending);
            if name.is_empty() {
                let error = QueryError::new(start, "the name of a field is missing");
                return Err(
                    error.expected("fields with commas between them, a minus before one for descending")
                );
            }
            let field = Field::parse(name).map_err(|bad| QueryError {
                column: start + bad.offset,
                message: bad.message,
                expected: Some("the name of a field".to_owned()),
                suggestion: bad.suggestion,
            })?;
            if keys.iter().any(|key| key.field == field) {
                let error = QueryError::new(start, format!("{field} stands there twice"));
                return Err(error.expected("each field once"));
            }
            if keys.len() == SORT_KEYS_MAX {
                let error = QueryError::new(start, "too many fields");
                return Err(error.expected(format!("at most {SORT_KEYS_MAX} fields")));
            }
            keys.push(SortKey { field, descending });
            column += part.chars().count() + 1;
        }
        Ok(keys)
    }
}

impl fmt::Display for SortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.descending { "-" } else { "" }, self.field)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn orders_are_read() {
        let keys = Sort::parse("-battery, id,tags.site").unwrap();
        assert_eq!(keys.iter().map(ToString::to_string).collect::<Vec<_>>(), ["-battery", "id", "tags.site"]);
        assert_eq!(keys[0], SortKey { field: Field::Reported("battery".into()), descending: true });
        assert_eq!(Sort::parse(" "), Ok(Vec::new()));
    }

    #[test]
    fn mistakes_are_found_at_their_column() {
        let column = |text: &str| Sort::parse(text).unwrap_err().column;
        assert_eq!(column("a,,b"), 3);
        assert_eq!(column("é, -b c"), 6);
        assert_eq!(column("a,-a"), 4);
        assert_eq!(column("a,b,c,d,e"), 9);
        assert_eq!(Sort::parse("tags").unwrap_err().suggestion.as_deref(), Some("tags.NAME"));
    }
}
