//! What stands at the cursor of a query that is being written: what could complete it, and how that is written.

use super::ast::{Expr, Literal};
use super::fields::Field;
use super::{Query, list};

/// The part of a query that a completion replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The column of its first character, from 1.
    pub from: usize,
    /// The column behind its last character.
    pub to: usize,
    /// What could stand there.
    pub wanted: Wanted,
}

/// What could stand at a place; each with what is already written of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A field, with the colon that follows, or a word.
    FieldOrWord(String),
    /// The name of a field, after `has:`.
    Field(String),
    /// A value of this field.
    Value(Field, String),
    /// Nothing that could be listed: within a phrase, or a number to compare with.
    Nothing,
}

impl Place {
    /// The place of `text` that the cursor stands at: before the character of this column, or at the end.
    pub fn at(text: &str, column: usize) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let cursor = column.saturating_sub(1).min(chars.len());
        let (mut start, mut quote, mut escaped) = (0, None, false);
        // For each parenthesis that is open, the name before it that is for all within: `site:(lab OR office)`.
        let mut names: Vec<Option<&[char]>> = Vec::new();
        for (at, c) in chars[..cursor].iter().enumerate() {
            match (c, quote) {
                _ if escaped => escaped = false,
                ('\\', Some(_)) => escaped = true,
                ('"', None) => quote = Some(at),
                ('"', Some(_)) => quote = None,
                (c, None) if c.is_whitespace() || matches!(c, '(' | ')') => {
                    let name = chars[start..at].strip_suffix(&[':']);
                    match c {
                        '(' => names.push(name.or(names.last().copied().flatten())),
                        ')' => drop(names.pop()),
                        _ => {}
                    }
                    start = at + 1;
                }
                ('-', None) if at == start => start = at + 1,
                _ => {}
            }
        }
        let named = names.last().copied().flatten();
        let ends = |c: &char| match quote {
            Some(_) => *c == '"',
            None => c.is_whitespace() || matches!(c, '(' | ')' | '"'),
        };
        let end = chars[cursor..].iter().position(ends).map_or(chars.len(), |length| cursor + length);
        // The quote that closes a value belongs to it.
        let end = if quote.is_some() { (end + 1).min(chars.len()) } else { end };
        let text = |from: usize| chars[from..cursor].iter().collect::<String>();
        let colon = chars[start..cursor].iter().position(|c| *c == ':').map(|length| start + length);
        let (from, wanted) = match (colon, quote) {
            (None, None) => {
                let own = || Wanted::FieldOrWord(text(start));
                (start, named.map_or_else(own, |name| value(name, &text(start))))
            }
            (None, Some(quote)) if quote == start && named.is_some() => {
                (start, named.map_or(Wanted::Nothing, |name| value(name, &text(quote + 1))))
            }
            (Some(colon), None) => (colon + 1, value(&chars[start..colon], &text(colon + 1))),
            (Some(colon), Some(quote)) if quote == colon + 1 => {
                (colon + 1, value(&chars[start..colon], &text(quote + 1)))
            }
            _ => (cursor, Wanted::Nothing),
        };
        let (from, end) = if wanted == Wanted::Nothing { (cursor, cursor) } else { (from, end) };
        Self { from: from + 1, to: end + 1, wanted }
    }
}

fn value(name: &[char], start: &str) -> Wanted {
    let name: String = name.iter().collect();
    match list::field(&name, 1) {
        _ if name == "has" => Wanted::Field(start.to_owned()),
        Ok(field) if !start.starts_with(['<', '>']) => Wanted::Value(field, start.to_owned()),
        _ => Wanted::Nothing,
    }
}

/// `field:text`, in quotes only where the text would mean something else without.
pub fn equals(field: Field, text: &str) -> Expr {
    let plain = Query::parse(&format!("{field}:{text}")).map(|query| query.expr().clone());
    match plain {
        Ok(Expr::Equals { field: its, value }) if its == field && value.text == text => {
            Expr::Equals { field, value }
        }
        _ => Expr::Equals { field, value: Literal::quoted(text) },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_cursor_says_what_is_wanted() {
        let field_or_word = |text: &str| Wanted::FieldOrWord(text.into());
        let value = |field: Field, text: &str| Wanted::Value(field, text.into());
        let [site, tag] = [Field::Reported("site".into()), Field::Tags("site".into())];
        // The bar is the cursor.
        for (query, from, to, wanted) in [
            ("|", 1, 1, field_or_word("")),
            ("bat|", 1, 4, field_or_word("bat")),
            ("a -ba|ttery", 4, 11, field_or_word("ba")),
            ("(a OR wi|)", 7, 9, field_or_word("wi")),
            ("has:wi|", 5, 7, Wanted::Field("wi".into())),
            ("site:|", 6, 6, value(site.clone(), "")),
            ("-tags.site:la|b x", 12, 15, value(tag, "la")),
            ("site:\"front d|oor\" x", 6, 18, value(site.clone(), "front d")),
            ("site:\"front d|", 6, 14, value(site.clone(), "front d")),
            ("battery:<2|", 11, 11, Wanted::Nothing),
            ("\"front d|", 9, 9, Wanted::Nothing),
            ("site:(lab OR of|)", 14, 16, value(site.clone(), "of")),
            ("site:(lab OR (\"front d|", 15, 23, value(site, "front d")),
            ("site:(lab) of|", 12, 14, field_or_word("of")),
            ("has:(wi|", 6, 8, Wanted::Field("wi".into())),
            (r#""a\\" wi|"#, 7, 9, field_or_word("wi")),
            ("a:b:c:|", 3, 7, value(Field::Reported("a".into()), "b:c:")),
        ] {
            let column = query.chars().position(|c| c == '|').unwrap() + 1;
            let place = Place::at(&query.replace('|', ""), column);
            assert_eq!(place, Place { from, to, wanted }, "{query}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in any::<String>(), column in 0..40_usize) {
            let place = Place::at(&text, column);
            prop_assert!(place.from <= place.to && place.to <= text.chars().count() + 1);
        }

        /// What completes a query means what it shows.
        #[test]
        fn a_value_is_written_so_that_it_is_read(text in "[a-c1<>.*?\"\\\\ :()-]{0,6}") {
            let written = equals(Field::Reported("a".into()), &text);
            let read = Query::parse(&written.to_string()).unwrap();
            prop_assert_eq!(read.expr(), &written);
            let Expr::Equals { value, .. } = written else { panic!("not a comparison") };
            prop_assert_eq!(value.text, text);
        }
    }
}
