//! From lexemes to the tree, by recursive descent: OR, then AND, then negation, then one clause.

use super::ast::{Expr, Literal, Op, parse_number};
use super::fields::Field;
use super::lexer::{Lexeme, Token, lex};
use super::seen::{Moment, Seen};
use super::text::{Pattern, fold, tokens};
use super::{CLAUSES_MAX, DEPTH_MAX, QUERY_BYTES_MAX, QueryError};
use crate::Timestamp;

/// Reads a query.
pub(super) fn parse(text: &str) -> Result<Expr, QueryError> {
    if text.len() > QUERY_BYTES_MAX {
        let column = text[..text.floor_char_boundary(QUERY_BYTES_MAX)].chars().count() + 1;
        return Err(QueryError::new(column, format!("a query may have at most {QUERY_BYTES_MAX} bytes")));
    }
    let lexemes = lex(text)?;
    if lexemes.is_empty() {
        return Ok(Expr::All);
    }
    let mut parser = Parser { lexemes, at: 0, end: text.chars().count() + 1, depth: 0, clauses: 0 };
    let expr = parser.or()?;
    match parser.peek() {
        None => Ok(expr),
        Some(_) => Err(parser.error("this parenthesis was never opened")),
    }
}

struct Parser {
    lexemes: Vec<Lexeme>,
    at: usize,
    /// The column behind the last character.
    end: usize,
    depth: usize,
    clauses: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.lexemes.get(self.at).map(|lexeme| &lexeme.token)
    }

    fn column(&self) -> usize {
        self.lexemes.get(self.at).map_or(self.end, |lexeme| lexeme.column)
    }

    fn error(&self, message: impl Into<String>) -> QueryError {
        QueryError::new(self.column(), message)
    }

    fn or(&mut self) -> Result<Expr, QueryError> {
        let mut members = vec![self.and()?];
        while self.peek() == Some(&Token::Or) {
            self.at += 1;
            members.push(self.and()?);
        }
        Ok(match one(members) {
            Ok(single) => single,
            Err(members) => Expr::Or(flatten(members, |member| match member {
                Expr::Or(inner) => Ok(inner),
                other => Err(other),
            })),
        })
    }

    fn and(&mut self) -> Result<Expr, QueryError> {
        let mut members = vec![self.not()?];
        loop {
            match self.peek() {
                None | Some(Token::Or | Token::Close) => break,
                Some(Token::And) => self.at += 1,
                Some(_) => {}
            }
            members.push(self.not()?);
        }
        Ok(match one(members) {
            Ok(single) => single,
            Err(members) => Expr::And(flatten(members, |member| match member {
                Expr::And(inner) => Ok(inner),
                other => Err(other),
            })),
        })
    }

    fn not(&mut self) -> Result<Expr, QueryError> {
        if self.peek() != Some(&Token::Not) {
            return self.primary();
        }
        self.deeper()?;
        self.at += 1;
        let inner = self.not()?;
        self.depth -= 1;
        Ok(Expr::Not(Box::new(inner)))
    }

    fn primary(&mut self) -> Result<Expr, QueryError> {
        let column = self.column();
        let Some(token) = self.peek().cloned() else {
            return Err(self.error("something to search for is expected at the end"));
        };
        match token {
            Token::Open => return self.parentheses(),
            Token::Close => {
                return Err(self.error("something to search for is expected before the parenthesis"));
            }
            Token::And | Token::Or => {
                let name = if token == Token::And { "AND" } else { "OR" };
                let error = self.error(format!("{name} stands between two clauses"));
                return Err(error.suggest(format!("\"{name}\" for the word")));
            }
            _ => {}
        }
        self.clauses += 1;
        if self.clauses > CLAUSES_MAX {
            return Err(self.error(format!("a query may have at most {CLAUSES_MAX} clauses")));
        }
        self.at += 1;
        match token {
            Token::Quoted(text) => words(&text, column),
            Token::QuotedValue(name, value) => quoted_value(&name, &value, column),
            Token::Run(run) => match run.split_once(':') {
                Some((name, value)) => field_clause(name, value, column),
                None => bare(&run, column),
            },
            Token::Open | Token::Close | Token::And | Token::Or | Token::Not => {
                Err(QueryError::new(column, "something to search for is expected"))
            }
        }
    }

    fn parentheses(&mut self) -> Result<Expr, QueryError> {
        let opening = self.column();
        self.deeper()?;
        self.at += 1;
        let inner = self.or()?;
        if self.peek() != Some(&Token::Close) {
            return Err(QueryError::new(opening, "this parenthesis isn't closed"));
        }
        self.at += 1;
        self.depth -= 1;
        Ok(inner)
    }

    fn deeper(&mut self) -> Result<(), QueryError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let message = format!("parentheses and negations may be nested {DEPTH_MAX} levels deep");
            return Err(self.error(message));
        }
        Ok(())
    }
}

/// The only member, or all of them.
fn one(mut members: Vec<Expr>) -> Result<Expr, Vec<Expr>> {
    if members.len() == 1 { Ok(members.remove(0)) } else { Err(members) }
}

/// Takes in the members of members of the same kind, so that `(a b) c` is `a b c`.
fn flatten(members: Vec<Expr>, open: fn(Expr) -> Result<Vec<Expr>, Expr>) -> Vec<Expr> {
    members.into_iter().flat_map(|member| open(member).unwrap_or_else(|other| vec![other])).collect()
}

/// A run without a colon: words, the beginning of a word, or everything.
fn bare(run: &str, column: usize) -> Result<Expr, QueryError> {
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
fn words(text: &str, column: usize) -> Result<Expr, QueryError> {
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
fn quoted_value(name: &str, value: &str, column: usize) -> Result<Expr, QueryError> {
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
fn field_clause(name: &str, value: &str, column: usize) -> Result<Expr, QueryError> {
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
