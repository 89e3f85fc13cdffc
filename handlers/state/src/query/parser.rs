//! From lexemes to the tree, by recursive descent: OR, then AND, then negation, then one clause.

use super::ast::Expr;
use super::clause::{At, bare, plain_value, quoted_value, words};
use super::hints::Mention;
use super::lexer::{Lexeme, Token, lex};
use super::{CLAUSES_MAX, DEPTH_MAX, QUERY_BYTES_MAX, QueryError};

/// What may stand where a clause is expected.
const CLAUSE: &str = "a word, \"a phrase\", FIELD:VALUE, has:FIELD, or a parenthesis";

/// Reads a query: its tree, and what is worth a hint.
pub(super) fn parse(text: &str) -> Result<(Expr, Vec<Mention>), QueryError> {
    if text.len() > QUERY_BYTES_MAX {
        let column = text[..text.floor_char_boundary(QUERY_BYTES_MAX)].chars().count() + 1;
        let error = QueryError::new(column, "the query is too long");
        return Err(error.expected(format!("at most {QUERY_BYTES_MAX} bytes")));
    }
    let lexemes = lex(text)?;
    if lexemes.is_empty() {
        return Ok((Expr::All, Vec::new()));
    }
    let end = text.chars().count() + 1;
    let mut parser = Parser { lexemes, end, ..Parser::default() };
    let expr = parser.or()?;
    match parser.peek() {
        None => Ok((expr, parser.mentions)),
        Some(_) => Err(parser.error("this parenthesis was never opened").expected("the end, or a clause")),
    }
}

#[derive(Default)]
struct Parser {
    lexemes: Vec<Lexeme>,
    at: usize,
    /// The column behind the last character.
    end: usize,
    depth: usize,
    clauses: usize,
    /// The field whose values are being read, and its column.
    group: Option<(String, usize)>,
    mentions: Vec<Mention>,
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
                Expr::Or(inner) => inner,
                other => vec![other],
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
                Expr::And(inner) => inner,
                other => vec![other],
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
            return Err(self.error("something is missing at the end").expected(CLAUSE));
        };
        match token {
            Token::Open => return self.parentheses(),
            Token::Group(name) => {
                self.group = Some((name, column));
                let values = self.parentheses()?;
                self.group = None;
                return Ok(values);
            }
            Token::Close => {
                return Err(self.error("something is missing before the parenthesis").expected(CLAUSE));
            }
            Token::And | Token::Or => {
                let name = if token == Token::And { "AND" } else { "OR" };
                let error = self.error(format!("{name} has nothing to join"));
                let error =
                    error.expected(format!("a clause on each side of {name}, or quotes for the word"));
                return Err(error.suggest(format!("\"{name}\"")));
            }
            _ => {}
        }
        self.clauses += 1;
        if self.clauses > CLAUSES_MAX {
            return Err(self
                .error("the query has too many clauses")
                .expected(format!("at most {CLAUSES_MAX}")));
        }
        self.at += 1;
        self.leaf(&token, column)
    }

    /// A clause, which begins at `column`.
    fn leaf(&mut self, token: &Token, column: usize) -> Result<Expr, QueryError> {
        let value_at = |name: &str| column + name.chars().count() + 1;
        let (expr, named_at) = match (token, &self.group) {
            (Token::Run(value), Some((name, at))) => {
                let field_at = if name == "has" { column } else { *at };
                (plain_value(At { text: name, column: *at }, At { text: value, column })?, field_at)
            }
            (Token::Quoted(value), Some((name, at))) => {
                (quoted_value(At { text: name, column: *at }, At { text: value, column })?, *at)
            }
            (Token::Run(run), None) => match run.split_once(':') {
                Some((name, "")) => return Err(self.no_value(name, value_at(name))),
                Some((name, value)) => {
                    let value = At { text: value, column: value_at(name) };
                    // Of `has:name` it is the value that names a field.
                    let field_at = if name == "has" { value.column } else { column };
                    (plain_value(At { text: name, column }, value)?, field_at)
                }
                None => {
                    self.mentions.extend(Mention::of_word(run, column));
                    (bare(At { text: run, column })?, column)
                }
            },
            (Token::Quoted(text), None) => (words(At { text, column })?, column),
            (Token::QuotedValue(name, value), None) => {
                let value = At { text: value, column: value_at(name) };
                (quoted_value(At { text: name, column }, value)?, column)
            }
            (Token::QuotedValue(..), Some(_)) => {
                let error = QueryError::new(column, "a field stands among the values of another");
                return Err(error.expected("values only"));
            }
            _ => return Err(QueryError::new(column, "nothing to search for").expected(CLAUSE)),
        };
        self.mentions.extend(Mention::of_leaf(&expr, named_at));
        Ok(expr)
    }

    /// The error of a clause that ends with its colon. What follows was perhaps meant.
    fn no_value(&self, name: &str, column: usize) -> QueryError {
        let error = QueryError::new(column, "the value is missing");
        let error = error.expected("a value directly after the colon");
        match self.peek() {
            Some(Token::Run(value)) => error.suggest(format!("{name}:{value}")),
            Some(Token::Quoted(value)) => error.suggest(format!("{name}:\"{value}\"")),
            _ => error.suggest(format!("{name}:VALUE")),
        }
    }

    fn parentheses(&mut self) -> Result<Expr, QueryError> {
        let opening = self.column();
        self.deeper()?;
        self.at += 1;
        let inner = self.or()?;
        if self.peek() != Some(&Token::Close) {
            let error = QueryError::new(opening, "this parenthesis isn't closed");
            return Err(error.expected("a parenthesis behind what it holds"));
        }
        self.at += 1;
        self.depth -= 1;
        Ok(inner)
    }

    fn deeper(&mut self) -> Result<(), QueryError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let error = self.error("parentheses and negations are nested too deep");
            return Err(error.expected(format!("at most {DEPTH_MAX} levels")));
        }
        Ok(())
    }
}

/// The only member, or all of them.
fn one(mut members: Vec<Expr>) -> Result<Expr, Vec<Expr>> {
    if members.len() == 1 { Ok(members.remove(0)) } else { Err(members) }
}

/// Takes in the members of members of the same kind, so that `(a b) c` is `a b c`.
fn flatten(members: Vec<Expr>, open: fn(Expr) -> Vec<Expr>) -> Vec<Expr> {
    members.into_iter().flat_map(open).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::query::Query;

    #[test]
    fn limits_hold() {
        assert!(Query::parse(&format!("{}a", "é".repeat(600))).is_err());
        assert_eq!(Query::parse(&"é".repeat(600)).unwrap_err().column, 513);
        assert!(Query::parse(&"a ".repeat(64)).is_ok());
        assert!(Query::parse(&"a ".repeat(65)).unwrap_err().to_string().contains("64"));
        let nested = |levels: usize| format!("{}a{}", "(".repeat(levels), ")".repeat(levels));
        assert!(Query::parse(&nested(16)).is_ok());
        assert_eq!(Query::parse(&nested(17)).unwrap_err().column, 17);
        assert!(Query::parse(&format!("{}a", "-".repeat(17))).is_err());
        assert!(Query::parse(&"(".repeat(1_024)).is_err());
    }
}
