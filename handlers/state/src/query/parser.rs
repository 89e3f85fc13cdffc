//! From lexemes to the tree, by recursive descent: OR, then AND, then negation, then one clause.

use super::ast::Expr;
use super::clause::{bare, field_clause, quoted_value, words};
use super::lexer::{Lexeme, Token, lex};
use super::{CLAUSES_MAX, DEPTH_MAX, QUERY_BYTES_MAX, QueryError};

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::query::Query;

    #[test]
    fn limits_hold() {
        assert!(Query::parse(&format!("{}a", "é".repeat(600))).is_err());
        assert_eq!(Query::parse(&"é".repeat(600)).unwrap_err().column, 513);
        assert!(Query::parse(&"a ".repeat(64)).is_ok());
        assert!(Query::parse(&"a ".repeat(65)).unwrap_err().message.contains("64 clauses"));
        let nested = |levels: usize| format!("{}a{}", "(".repeat(levels), ")".repeat(levels));
        assert!(Query::parse(&nested(16)).is_ok());
        assert_eq!(Query::parse(&nested(17)).unwrap_err().column, 17);
        assert!(Query::parse(&format!("{}a", "-".repeat(17))).is_err());
        assert!(Query::parse(&"(".repeat(1_024)).is_err());
    }
}
