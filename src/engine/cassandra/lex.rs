//! The tokens of CQL, as `Lexer.g` of Cassandra has them: for types, conditions and `schema.cql`.

use std::fmt;

use crate::error::{Error, Kind, Result};

/// One token of CQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token<'a> {
    /// An unquoted name or keyword, as written.
    Word(&'a str),
    /// A `"quoted name"`, without the quotes.
    Quoted(String),
    /// A `'string'` or `$$string$$`, without the quotes.
    Text(String),
    /// What starts with a digit or a sign: numbers, `0x` blobs, durations.
    Number(&'a str),
    /// A UUID, 36 characters.
    Uuid(&'a str),
    /// One of `( ) { } [ ] < > , ; : . = + * ? /`, or `<= >= !=`.
    Symbol(&'static str),
}

impl fmt::Display for Token<'_> {
    /// As it is written, but for escapes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Word(text) | Token::Number(text) | Token::Uuid(text) => f.write_str(text),
            Token::Symbol(text) => f.write_str(text),
            Token::Quoted(text) => write!(f, "\"{text}\""),
            Token::Text(text) => write!(f, "'{text}'"),
        }
    }
}

const SYMBOLS: [&str; 21] =
    ["<=", ">=", "!=", "(", ")", "{", "}", "[", "]", "<", ">", ",", ";", ":", ".", "=", "+", "*", "?", "/", "%"];

/// Splits a text into tokens, one ahead.
#[derive(Clone)]
pub struct Lexer<'a> {
    what: &'static str,
    kind: Kind,
    whole: &'a str,
    rest: &'a str,
    start: usize,
    end: usize,
    peeked: Option<Token<'a>>,
}

impl<'a> Lexer<'a> {
    /// `what` names the text in errors: "condition", "schema.cql"; `kind` is theirs.
    pub fn new(text: &'a str, what: &'static str, kind: Kind) -> Result<Lexer<'a>> {
        let mut lexer = Lexer { what, kind, whole: text, rest: text, start: 0, end: 0, peeked: None };
        lexer.advance()?;
        Ok(lexer)
    }

    /// The next token; `None` at the end.
    pub fn peek(&self) -> Option<&Token<'a>> {
        self.peeked.as_ref()
    }

    /// Takes the next token.
    pub fn next(&mut self) -> Result<Option<Token<'a>>> {
        let token = self.peeked.take();
        self.advance()?;
        Ok(token)
    }

    /// Where the next token starts in the text.
    pub fn offset(&self) -> usize {
        self.start
    }

    /// Where the last token taken ends.
    pub fn consumed(&self) -> usize {
        self.end
    }

    /// The text, all of it.
    pub fn whole(&self) -> &'a str {
        self.whole
    }

    /// Takes `word` if it is next, whatever its case.
    pub fn eat_word(&mut self, word: &str) -> Result<bool> {
        let hit = matches!(&self.peeked, Some(Token::Word(w)) if w.eq_ignore_ascii_case(word));
        if hit {
            self.advance()?;
        }
        Ok(hit)
    }

    /// Takes `symbol` if it is next.
    pub fn eat(&mut self, symbol: &str) -> Result<bool> {
        let hit = matches!(&self.peeked, Some(Token::Symbol(s)) if *s == symbol);
        if hit {
            self.advance()?;
        }
        Ok(hit)
    }

    /// Takes `symbol` or fails.
    pub fn expect(&mut self, symbol: &str) -> Result<()> {
        if self.eat(symbol)? { Ok(()) } else { Err(self.unexpected(&format!("'{symbol}'"))) }
    }

    /// Takes `word` or fails.
    pub fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.eat_word(word)? { Ok(()) } else { Err(self.unexpected(word)) }
    }

    /// Takes a name: unquoted in lower case, quoted as it is.
    pub fn name(&mut self) -> Result<String> {
        match self.next()? {
            Some(Token::Word(w)) => Ok(w.to_lowercase()),
            Some(Token::Quoted(q)) => Ok(q),
            other => {
                self.peeked = other;
                Err(self.unexpected("a name"))
            }
        }
    }

    /// An error at the next token.
    pub fn unexpected(&self, wanted: &str) -> Error {
        let found = match &self.peeked {
            Some(token) => token.to_string(),
            None => "the end".to_string(),
        };
        self.error(format!("expected {wanted}, found {}", clip(&found, 60)))
    }

    /// An error at the next token, in other words.
    pub fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::new(self.kind, format!("{} at character {}", self.what, self.start), message)
    }

    fn advance(&mut self) -> Result<()> {
        self.end = self.whole.len() - self.rest.len();
        self.skip_blank()?;
        self.start = self.whole.len() - self.rest.len();
        self.peeked = self.scan()?;
        Ok(())
    }

    fn skip_blank(&mut self) -> Result<()> {
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.starts_with("--") || self.rest.starts_with("//") {
                self.rest = self.rest.split_once('\n').map_or("", |(_, after)| after);
            } else if let Some(body) = self.rest.strip_prefix("/*") {
                match body.split_once("*/") {
                    Some((_, after)) => self.rest = after,
                    None => return Err(self.error("comment without end")),
                }
            } else {
                return Ok(());
            }
        }
    }

    fn scan(&mut self) -> Result<Option<Token<'a>>> {
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        match first {
            '\'' => return Ok(Some(Token::Text(self.quoted('\'')?))),
            '"' => return Ok(Some(Token::Quoted(self.quoted('"')?))),
            '$' if self.rest.starts_with("$$") => return Ok(Some(Token::Text(self.dollars()?))),
            _ => {}
        }
        if let Some(uuid) = uuid_prefix(self.rest) {
            return Ok(Some(Token::Uuid(self.take(uuid))));
        }
        if first.is_ascii_digit() || (first == '-' && self.rest[1..].starts_with(|c: char| c.is_ascii_alphanumeric())) {
            return Ok(Some(Token::Number(self.take(number_len(self.rest)))));
        }
        if first.is_alphabetic() || first == '_' {
            let len = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
            return Ok(Some(Token::Word(self.take(len))));
        }
        match SYMBOLS.iter().find(|s| self.rest.starts_with(**s)) {
            Some(symbol) => {
                self.take(symbol.len());
                Ok(Some(Token::Symbol(symbol)))
            }
            None => Err(self.error(format!("a {first:?} has no place here"))),
        }
    }

    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    fn quoted(&mut self, quote: char) -> Result<String> {
        let mut text = String::new();
        let mut rest = &self.rest[1..];
        loop {
            let Some((head, after)) = rest.split_once(quote) else {
                return Err(self.error("quote without end"));
            };
            text.push_str(head);
            match after.strip_prefix(quote) {
                Some(more) => {
                    text.push(quote);
                    rest = more;
                }
                None => {
                    self.rest = after;
                    return Ok(text);
                }
            }
        }
    }

    fn dollars(&mut self) -> Result<String> {
        match self.rest[2..].split_once("$$") {
            Some((text, after)) => {
                self.rest = after;
                Ok(text.to_string())
            }
            None => Err(self.error("$$ without end")),
        }
    }
}

/// At most `max` characters of `text`, for messages.
pub fn clip(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

fn uuid_prefix(text: &str) -> Option<usize> {
    let head = text.as_bytes().get(..36)?;
    let shape = head.iter().enumerate().all(|(i, b)| match i {
        8 | 13 | 18 | 23 => *b == b'-',
        _ => b.is_ascii_hexdigit(),
    });
    let ends = || text[36..].chars().next().is_none_or(|c| !c.is_alphanumeric() && c != '_');
    (shape && ends()).then_some(36)
}

/// A sign, then letters, digits and dots; an `e` takes a sign with it unless the number is hexadecimal.
fn number_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let hex = text.starts_with("0x") || text.starts_with("0X");
    let mut i = usize::from(bytes.first() == Some(&b'-'));
    while let Some(b) = bytes.get(i) {
        let exponent = !hex && i > 0 && matches!(bytes[i - 1], b'e' | b'E') && matches!(b, b'+' | b'-');
        if !(b.is_ascii_alphanumeric() || *b == b'.' || exponent) {
            break;
        }
        i += 1;
    }
    i
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Token<'_>> {
        let mut lexer = Lexer::new(text, "test", Kind::Usage).unwrap();
        std::iter::from_fn(|| lexer.next().unwrap()).collect()
    }

    #[test]
    fn tokens() {
        let text = "a <= -1.5e-3 /* x */ AND \"B\"\"c\" = 'it''s' -- end\n 0xCAfe 1h30m";
        let want = [
            Token::Word("a"),
            Token::Symbol("<="),
            Token::Number("-1.5e-3"),
            Token::Word("AND"),
            Token::Quoted("B\"c".into()),
            Token::Symbol("="),
            Token::Text("it's".into()),
            Token::Number("0xCAfe"),
            Token::Number("1h30m"),
        ];
        assert_eq!(all(text), want);
        let uuid = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
        assert_eq!(all(uuid), [Token::Uuid(uuid)]);
    }

    #[test]
    fn ends_that_are_missing() {
        for text in ["'a", "\"a", "/* a", "$$a", "a ~ b", "é\u{0}"] {
            let mut lexer = Lexer::new(text, "test", Kind::Usage);
            while let Ok(l) = &mut lexer {
                match l.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{text} was accepted"),
                    Err(_) => break,
                }
            }
        }
    }
}
