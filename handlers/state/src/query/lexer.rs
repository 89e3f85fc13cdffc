//! From text to lexemes. Knows quotes, parentheses, operators and the minus of a negation; what a run of other
//! characters means is the parser's business.

use super::QueryError;

/// A piece of a query, and where it begins (characters from 1).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lexeme {
    pub(super) column: usize,
    pub(super) token: Token,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Open,
    Close,
    And,
    Or,
    /// `NOT`, or a minus directly before what it negates.
    Not,
    /// A run of characters without quotes, as written.
    Run(String),
    /// A text in quotes, its escapes resolved.
    Quoted(String),
    /// `name:"value"`: the name as written, the value with its escapes resolved.
    QuotedValue(String, String),
    /// `name:(`: what follows up to the parenthesis that closes it are values of this field.
    Group(String),
}

/// Cuts a query into lexemes.
pub(super) fn lex(text: &str) -> Result<Vec<Lexeme>, QueryError> {
    let mut lexer = Lexer { chars: text.chars().collect(), at: 0, group: 0 };
    let mut lexemes = Vec::new();
    while let Some(c) = lexer.peek() {
        if c.is_whitespace() {
            lexer.at += 1;
            continue;
        }
        let column = lexer.column();
        lexemes.push(Lexeme { column, token: lexer.token(c)? });
    }
    Ok(lexemes)
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    /// How many parentheses are open since the one of a field; 0 outside of one.
    group: usize,
}

impl Lexer {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn column(&self) -> usize {
        self.at + 1
    }

    fn token(&mut self, first: char) -> Result<Token, QueryError> {
        match first {
            '"' => self.quoted().map(Token::Quoted),
            '(' => {
                self.group += usize::from(self.group > 0);
                Ok(self.single(Token::Open))
            }
            ')' => {
                self.group = self.group.saturating_sub(1);
                Ok(self.single(Token::Close))
            }
            // Among values it is the sign of a number or of a time.
            '-' if self.group == 0 => match self.chars.get(self.at + 1) {
                Some(next) if !next.is_whitespace() => Ok(self.single(Token::Not)),
                _ => {
                    let error = QueryError::new(self.column(), "this minus negates nothing");
                    Err(error.expected("a minus directly before what it negates"))
                }
            },
            _ => self.run(),
        }
    }

    fn single(&mut self, token: Token) -> Token {
        self.at += 1;
        token
    }

    fn run(&mut self) -> Result<Token, QueryError> {
        let start = self.at;
        while self.peek().is_some_and(|c| !c.is_whitespace() && !matches!(c, '(' | ')' | '"')) {
            self.at += 1;
        }
        let run: String = self.chars[start..self.at].iter().collect();
        let name = run.strip_suffix(':').filter(|name| !name.contains(':'));
        match (self.peek(), name) {
            (Some('"'), Some(name)) => Ok(Token::QuotedValue(name.to_owned(), self.quoted()?)),
            (Some('"'), None) => {
                let error = QueryError::new(self.column(), "a quote stands within a word");
                Err(error.expected("a space before the quote, or the quote directly after the colon"))
            }
            (Some('('), Some(_)) if self.group > 0 => {
                let error = QueryError::new(self.column(), "a field stands among the values of another");
                Err(error.expected("values only"))
            }
            (Some('('), Some(name)) => {
                self.at += 1;
                self.group = 1;
                Ok(Token::Group(name.to_owned()))
            }
            (Some('('), None) => {
                let error = QueryError::new(self.column(), "a parenthesis stands directly behind a word");
                Err(error.expected("a space before the parenthesis, or quotes around the text"))
            }
            _ => Ok(match run.as_str() {
                "AND" => Token::And,
                "OR" => Token::Or,
                "NOT" => Token::Not,
                _ => Token::Run(run),
            }),
        }
    }

    /// Reads a text in quotes, the opening one included.
    fn quoted(&mut self) -> Result<String, QueryError> {
        let opening = self.column();
        self.at += 1;
        let mut text = String::new();
        while let Some(c) = self.peek() {
            self.at += 1;
            match (c, self.peek()) {
                ('"', None) => return Ok(text),
                ('"', Some(next)) if next.is_whitespace() || matches!(next, '(' | ')') => return Ok(text),
                ('"', Some(_)) => {
                    let error = QueryError::new(self.column(), "something stands directly behind the quote");
                    return Err(
                        error.expected("a space, or a backslash before a quote that is part of the text")
                    );
                }
                ('\\', Some(escaped @ ('"' | '\\'))) => {
                    self.at += 1;
                    text.push(escaped);
                }
                (c, _) => text.push(c),
            }
        }
        Err(QueryError::new(opening, "this quote isn't closed").expected("another quote behind the text"))
    }
}
