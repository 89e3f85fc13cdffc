//! Lists with commas between their parts: orders, and the fields that are to be counted.

use super::QueryError;
use super::fields::Field;

/// Reads fields with commas between them. An empty text is none at all.
///
/// # Errors
/// `QueryError` when one isn't a field, stands there twice, or there are more than `fields_max`.
pub fn fields(text: &str, fields_max: usize) -> Result<Vec<Field>, QueryError> {
    items(text, fields_max, Field::eq, field)
}

/// The parts of a list, each with its column. An empty text has none.
pub fn parts(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut column = 1;
    text.split(',').filter(|_| !text.trim().is_empty()).map(move |part| {
        let start = column + part.chars().take_while(|c| c.is_whitespace()).count();
        column += part.chars().count() + 1;
        (start, part.trim())
    })
}

/// Reads the parts of a list, each from its text and its column; no two may be the same.
pub(super) fn items<T>(
    text: &str,
    items_max: usize,
    same: impl Fn(&T, &T) -> bool,
    read: impl Fn(&str, usize) -> Result<T, QueryError>,
) -> Result<Vec<T>, QueryError> {
    let mut items = Vec::new();
    for (start, name) in parts(text) {
        let item = read(name, start)?;
        if items.iter().any(|other| same(other, &item)) {
            return Err(
                QueryError::new(start, format!("{name} stands there twice")).expected("each of them once")
            );
        }
        if items.len() == items_max {
            return Err(QueryError::new(start, "too many of them").expected(format!("at most {items_max}")));
        }
        items.push(item);
    }
    Ok(items)
}

/// Reads a field that stands at a column.
pub(super) fn field(name: &str, column: usize) -> Result<Field, QueryError> {
    if name.is_empty() {
        let error = QueryError::new(column, "the name of a field is missing");
        return Err(error.expected("fields with commas between them"));
    }
    Field::parse(name).map_err(|bad| QueryError {
        column: column + bad.offset,
        message: bad.message,
        expected: Some("the name of a field".to_owned()),
        suggestion: bad.suggestion,
    })
}
