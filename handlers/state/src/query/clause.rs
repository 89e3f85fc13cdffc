//! One clause: words to be found in any text, or a field and what its value should be.

use super::QueryError;
use super::ast::{Expr, Literal};
use super::fields::Field;
use super::test::Test;
use super::text::{EDITS_MAX, fold, tokens};

/// Longest word that can be searched for with edits, in characters.
const FUZZY_CHARS_MAX: usize = 32;
/// From so many characters on a fuzzy word has two edits where none are given.
const FUZZY_LONG_CHARS: usize = 8;
/// What a bare word may be.
const WORDS: &str = "a word, \"a phrase\", a beginning like wor*, a fuzzy word like word~, or FIELD:VALUE";

/// A text, and where it stands in the query (characters from 1).
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) text: &'a str,
    pub(super) column: usize,
}

impl At<'_> {
    /// An error at a character of it, from 0.
    fn error(&self, offset: usize, message: impl Into<String>) -> QueryError {
        QueryError::new(self.column + offset, message)
    }
}

/// A run without a colon: words, the beginning of a word, a fuzzy word, or everything.
pub(super) fn bare(run: At<'_>) -> Result<Expr, QueryError> {
    let text = run.text;
    if text == "*" {
        return Ok(Expr::All);
    }
    if let Some(error) = foreign(run) {
        return Err(error);
    }
    if let Some((word, edits)) = text.rsplit_once('~')
        && edits.chars().all(|c| c.is_ascii_digit())
    {
        return fuzzy(run, word, edits);
    }
    if let Some(start) = text.strip_suffix('*').filter(|start| !start.contains(['*', '?'])) {
        return Ok(Expr::Prefix(one_word(run, start)?));
    }
    if let Some((offset, _)) = text.chars().enumerate().find(|(_, c)| matches!(c, '*' | '?')) {
        let error = run.error(offset, "within a word nothing can be left open");
        let error = error.expected("one * at the end of the word, or FIELD:VALUE with * and ? anywhere");
        return Err(error.suggest(format!("FIELD:{text}")));
    }
    words(run)
}

/// Signs of other query languages, which would otherwise be read as something else or as nothing.
fn foreign(run: At<'_>) -> Option<QueryError> {
    let text = run.text;
    let instead = match text {
        "&&" | "&" => Some("AND"),
        "||" | "|" => Some("OR"),
        _ => None,
    };
    if let Some(instead) = instead {
        let error = run.error(0, format!("{text} means nothing here"));
        return Some(error.expected(format!("{instead} between two clauses")).suggest(instead));
    }
    if let Some(rest) = text.strip_prefix('!').filter(|rest| rest.starts_with(char::is_alphanumeric)) {
        let error = run.error(0, "! means nothing here").expected("a minus for what should not be");
        return Some(error.suggest(format!("-{rest}")));
    }
    let at = text.find(['<', '>', '='])?;
    let (name, rest) = text.split_at(at);
    let error = run.error(name.chars().count(), "a comparison stands behind a field and a colon");
    let error = error.expected("FIELD:VALUE, FIELD:<VALUE, or quotes for a text");
    let (minus, name) = name.strip_suffix('!').map_or(("", name), |name| ("-", name));
    let rest = rest.trim_start_matches('=');
    Some(if name.is_empty() || rest.is_empty() {
        error
    } else {
        error.suggest(format!("{minus}{name}:{rest}"))
    })
}

fn fuzzy(run: At<'_>, word: &str, edits: &str) -> Result<Expr, QueryError> {
    let word = one_word(run, word)?;
    let length = word.chars().count();
    if length > FUZZY_CHARS_MAX {
        let error = run.error(0, "this word is too long for edits");
        return Err(error.expected(format!("at most {FUZZY_CHARS_MAX} characters before ~")));
    }
    let edits = match edits {
        "" => 1 + u8::from(length >= FUZZY_LONG_CHARS),
        digits => match digits.parse() {
            Ok(edits @ 1..=EDITS_MAX) => edits,
            _ => {
                let error = run.error(length + 1, "so many edits would find nearly anything");
                return Err(error.expected("~1 or ~2").suggest(format!("{word}~{EDITS_MAX}")));
            }
        },
    };
    Ok(Expr::Fuzzy { word, edits })
}

/// The single word before a sign.
fn one_word(run: At<'_>, word: &str) -> Result<String, QueryError> {
    let folded = fold(word);
    if tokens(word) == [folded.as_str()] {
        return Ok(folded);
    }
    let error = run.error(0, format!("{word:?} isn't one word"));
    let error = error.expected("one word of letters and digits before * or ~");
    Err(if run.text.ends_with('*') { error.suggest(format!("FIELD:{}", run.text)) } else { error })
}

/// Text to be found in any text.
pub(super) fn words(text: At<'_>) -> Result<Expr, QueryError> {
    let mut tokens = tokens(text.text);
    match tokens.len() {
        0 => Err(text.error(0, "there is no letter and no digit in it").expected(WORDS)),
        1 => Ok(Expr::Word(tokens.remove(0))),
        _ => Ok(Expr::Phrase(tokens)),
    }
}

/// `name:value`, without quotes.
pub(super) fn plain_value(name: At<'_>, value: At<'_>) -> Result<Expr, QueryError> {
    if name.text == "has" {
        return field(value).map(Expr::Exists);
    }
    Test { name: name.text, value: value.text, column: value.column }.read(field(name)?)
}

/// `name:"value"`.
pub(super) fn quoted_value(name: At<'_>, value: At<'_>) -> Result<Expr, QueryError> {
    if name.text == "has" {
        let error = value.error(0, "the name of a field stands without quotes");
        return Err(error.expected("the name of a field"));
    }
    match field(name)? {
        Field::Online | Field::Seen => {
            let error = value.error(0, format!("the value of {} stands without quotes", name.text));
            let error = error.expected("a value without quotes");
            Err(error.suggest(format!("{}:{}", name.text, value.text)))
        }
        field => Ok(Expr::Equals { field, value: Literal::quoted(value.text) }),
    }
}

/// The name of a field.
fn field(name: At<'_>) -> Result<Field, QueryError> {
    if name.text.is_empty() {
        let error = name.error(0, "the name of a field is missing");
        return Err(error.expected("a field: id, online, seen, a property, tags.NAME or desired.NAME"));
    }
    if let Some(rest) = name.text.strip_prefix('!') {
        let error = name.error(0, "! means nothing here").expected("a minus for what should not be");
        return Err(error.suggest(format!("-{rest}:VALUE")));
    }
    Field::parse(name.text).map_err(|bad| {
        let error =
            name.error(bad.offset, bad.message).expected("the name of a field, names joined with dots");
        bad.suggestion.into_iter().fold(error, QueryError::suggest)
    })
}
