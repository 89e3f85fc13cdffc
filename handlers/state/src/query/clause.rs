//! One clause: words to be found in any text, or a field and what its value should be.

use super::QueryError;
use super::ast::{Expr, Literal, Op, parse_number};
use super::fields::Field;
use super::seen::{Moment, Seen};
use super::text::{Pattern, fold, tokens};
use crate::Timestamp;

/// A run without a colon: words, the beginning of a word, or everything.
pub(super) fn bare(run: &str, column: usize) -> Result<Expr, QueryError> {
    if run == "*" {
        return Ok(Expr::All);
    }
    if let Some(at) = run.find(['<', '>']).filter(|at| *at > 0) {
        let (name, rest) = run.split_at(at);
        let error =
            QueryError::new(column + name.chars().count(), "a colon is expected before the comparison");
        return Err(error.suggest(format!("{name}:{rest}")));
    }
    let Some(start) = run.strip_suffix('*').filter(|start| !start.contains(['*', '?'])) else {
        if let Some((offset, _)) = run.chars().enumerate().find(|(_, c)| matches!(c, '*' | '?')) {
            let message = "in a word only one * is possible, at its end; in the value of a field * and ? may stand anywhere";
            return Err(QueryError::new(column + offset, message).suggest(format!("FIELD:{run}")));
        }
        return words(run, column);
    };
    let folded = fold(start);
    if tokens(start) != [folded.clone()] {
        let message = "before a * one word of letters and digits is expected";
        return Err(QueryError::new(column, message).suggest(format!("FIELD:{run}")));
    }
    Ok(Expr::Prefix(folded))
}

/// Text to be found in any text.
pub(super) fn words(text: &str, column: usize) -> Result<Expr, QueryError> {
    let mut tokens = tokens(text);
    match tokens.len() {
        0 => Err(QueryError::new(column, "there is no letter and no digit in it that could be searched for")),
        1 => Ok(Expr::Word(tokens.remove(0))),
        _ => Ok(Expr::Phrase(tokens)),
    }
}

/// The field before a colon.
fn field(name: &str, column: usize) -> Result<Field, QueryError> {
    if name.is_empty() {
        return Err(QueryError::new(column, "the name of a field is expected"));
    }
    Field::parse(name).map_err(|bad| QueryError {
        column: column + bad.offset,
        message: bad.message,
        suggestion: bad.suggestion,
    })
}

/// `name:"value"`.
pub(super) fn quoted_value(name: &str, value: &str, column: usize) -> Result<Expr, QueryError> {
    let value_column = column + name.chars().count() + 1;
    if name == "has" {
        return Err(QueryError::new(value_column, "the name of a field stands without quotes"));
    }
    match field(name, column)? {
        Field::Online | Field::Seen => {
            Err(QueryError::new(value_column, format!("the value of {name} stands without quotes")))
        }
        field => Ok(Expr::Equals { field, value: Literal::quoted(value) }),
    }
}

/// `name:value`, without quotes.
pub(super) fn field_clause(name: &str, value: &str, column: usize) -> Result<Expr, QueryError> {
    let test = Test { name, value, column: column + name.chars().count() + 1 };
    if name == "has" {
        return field(value, test.column).map(Expr::Exists);
    }
    let field = field(name, column)?;
    if value.is_empty() {
        return Err(test
            .error("a value is expected directly after the colon")
            .suggest(format!("{name}:VALUE")));
    }
    if value.chars().all(|c| c == '*') {
        return Ok(Expr::Exists(field));
    }
    match field {
        Field::Online => test.online(),
        Field::Seen => test.seen(),
        Field::Id => test.id(),
        property => test.property(property),
    }
}

/// What stands behind the colon, and where.
struct Test<'a> {
    name: &'a str,
    value: &'a str,
    column: usize,
}

impl<'a> Test<'a> {
    fn error(&self, message: impl Into<String>) -> QueryError {
        QueryError::new(self.column, message)
    }

    /// The comparison at the beginning of the value, what it compares with, and where that stands.
    fn comparison(&self) -> Option<(Op, &'a str, usize)> {
        let (op, length) = match self.value.as_bytes() {
            [b'<', b'=', ..] => (Op::LessEqual, 2),
            [b'>', b'=', ..] => (Op::GreaterEqual, 2),
            [b'<', ..] => (Op::Less, 1),
            [b'>', ..] => (Op::Greater, 1),
            _ => return None,
        };
        Some((op, &self.value[length..], self.column + length))
    }

    /// Both ends of a range, read by `read` where they are given.
    fn range<T>(
        &self,
        read: impl Fn(&str, usize) -> Result<T, QueryError>,
    ) -> Option<Result<Ends<T>, QueryError>> {
        let (from, to) = self.value.split_once("..")?;
        if from.is_empty() && to.is_empty() {
            return Some(Err(self
                .error("a range needs a beginning or an end")
                .suggest(format!("{}:1..2", self.name))));
        }
        let to_column = self.column + from.chars().count() + 2;
        let read = |text: &str, column| if text.is_empty() { Ok(None) } else { read(text, column).map(Some) };
        Some(read(from, self.column).and_then(|from| Ok((from, read(to, to_column)?))))
    }

    fn reversed(&self) -> QueryError {
        let (from, to) = self.value.split_once("..").unwrap_or_default();
        self.error("the beginning of the range is behind its end")
            .suggest(format!("{}:{to}..{from}", self.name))
    }

    fn online(&self) -> Result<Expr, QueryError> {
        let value = fold(self.value);
        if let Ok(online) = value.parse() {
            return Ok(Expr::Online(online));
        }
        let meant = ["true", "yes", "false", "no"]
            .into_iter()
            .min_by_key(|word| strsim::damerau_levenshtein(word, &value))
            .map_or("true", |word| if matches!(word, "true" | "yes") { "true" } else { "false" });
        Err(self.error("online is true or false").suggest(format!("online:{meant}")))
    }

    fn id(&self) -> Result<Expr, QueryError> {
        if self.comparison().is_some() {
            return Err(self.error("ids can't be compared").suggest("id:BEGINNING*"));
        }
        Ok(self.text(Field::Id))
    }

    fn seen(&self) -> Result<Expr, QueryError> {
        if let Some((op, rest, column)) = self.comparison() {
            return Ok(Expr::Seen(Seen::Compare(op, Moment::parse(rest, column)?)));
        }
        if let Some(range) = self.range(Moment::parse) {
            let (from, to) = range?;
            let seen = Seen::Range(from, to);
            // Whether a relative end lies behind an absolute one only time will tell.
            let comparable = matches!(from, Some(Moment::Ago(_))) == matches!(to, Some(Moment::Ago(_)));
            if let (true, (Some(from), Some(to))) = (comparable, seen.bounds(Timestamp::from_micros(0)))
                && from >= to
            {
                return Err(self.reversed());
            }
            return Ok(Expr::Seen(seen));
        }
        match Moment::parse(self.value, self.column)? {
            Moment::Day(day) => Ok(Expr::Seen(Seen::On(day))),
            Moment::Ago(_) | Moment::At(_) => {
                let error = self.error("a moment needs a comparison: > is later, < is earlier");
                Err(error.suggest(format!("seen:>{}", self.value)))
            }
        }
    }

    fn property(&self, field: Field) -> Result<Expr, QueryError> {
        if let Some((op, rest, column)) = self.comparison() {
            return Ok(Expr::Compare { field, op, number: self.number(rest, column)? });
        }
        if let Some(rest) = self.value.strip_prefix('=') {
            let error = self.error("equality is written without a sign");
            return Err(error.suggest(format!("{}:{rest}", self.name)));
        }
        if let Some(range) = self.range(|text, column| self.number(text, column)) {
            let (from, to) = range?;
            if let (Some(from), Some(to)) = (from, to)
                && from > to
            {
                return Err(self.reversed());
            }
            return Ok(Expr::Range { field, from, to });
        }
        Ok(self.text(field))
    }

    /// Equality or a pattern.
    fn text(&self, field: Field) -> Expr {
        if self.value.contains(['*', '?']) {
            return Expr::Like { field, pattern: Pattern::new(self.value) };
        }
        Expr::Equals { field, value: Literal::plain(self.value) }
    }

    fn number(&self, text: &str, column: usize) -> Result<f64, QueryError> {
        if let Some(number) = parse_number(text) {
            return Ok(number);
        }
        if !text.is_empty() && Moment::parse(text, column).is_ok() {
            let error =
                QueryError::new(column, "only seen can be compared with a time; properties with numbers");
            return Err(error.suggest(format!("seen:{}", self.value)));
        }
        let error = QueryError::new(column, "a number is expected");
        let is_range = self.comparison().is_none();
        Err(if is_range {
            error.suggest(format!("{}:\"{}\" for the text", self.name, self.value))
        } else {
            error
        })
    }
}

/// Beginning and end of a range.
type Ends<T> = (Option<T>, Option<T>);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::query::Query;

    #[test]
    fn errors_say_where_and_what_instead() {
        for (query, column, suggestion) in [
            ("battery<20", 8, Some("battery:<20")),
            ("é battery:<x", 12, None),
            ("battery:<-1h", 10, Some("seen:<-1h")),
            ("battery:=20", 9, Some("battery:20")),
            ("battery:", 9, Some("battery:VALUE")),
            ("battery: 20", 9, Some("battery:VALUE")),
            ("battery:24..18", 9, Some("battery:18..24")),
            ("battery:..", 9, Some("battery:1..2")),
            ("path:../etc", 8, Some("path:\"../etc\" for the text")),
            (":x", 1, None),
            ("a..b:1", 1, None),
            ("a<b:1", 2, None),
            ("tags:lab", 1, Some("tags.NAME")),
            ("has:", 5, None),
            ("has:\"x\"", 5, None),
            ("has:a*", 6, None),
            ("site:(a OR b)", 6, Some("(site:a OR site:b)")),
            ("online:ture", 8, Some("online:true")),
            ("online:no", 8, Some("online:false")),
            ("online:\"true\"", 8, None),
            ("seen:<1h", 7, Some("-1h")),
            ("seen:<-1hour", 7, Some("-1h")),
            ("seen:-1h", 6, Some("seen:>-1h")),
            ("seen:-1h..-2h", 6, Some("seen:-2h..-1h")),
            ("seen:<-99999999999999999w", 7, None),
            ("seen:yesterday", 6, None),
            ("id:<5", 4, Some("id:BEGINNING*")),
            ("fo*o", 3, Some("FIELD:fo*o")),
            ("front-do*", 1, Some("FIELD:front-do*")),
            ("!!", 1, None),
            ("\"\"", 1, None),
            ("a \"b", 3, None),
            ("a\"b\"", 2, None),
            ("\"a\"b", 4, None),
            ("(a", 1, None),
            ("a)", 2, None),
            ("a ()", 4, None),
            ("OR a", 1, Some("\"OR\" for the word")),
            ("a AND", 6, None),
            ("a OR OR b", 6, Some("\"OR\" for the word")),
            ("a -", 3, None),
            ("NOT", 4, None),
        ] {
            let error = Query::parse(query).expect_err(query);
            assert_eq!((error.column, error.suggestion.as_deref()), (column, suggestion), "{query}: {error}");
        }
        assert_eq!(
            Query::parse("online:ture").unwrap_err().to_string(),
            "column 8: online is true or false; did you mean online:true?"
        );
    }
}
