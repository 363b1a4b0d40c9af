//! A Rust file as tidy sees it: text, code without comments and strings, and which lines are tests. Lexical only.

use std::ops::Range;

/// One file.
pub struct Source {
    /// Path from the project's folder, with `/`.
    pub path: String,
    /// As it is.
    pub text: String,
    /// The same length and lines; comments, strings and characters are blanks.
    pub code: String,
    tests: Vec<Range<usize>>,
}

/// A function's name and its lines.
pub struct Function {
    /// Without its path.
    pub name: String,
    /// Lines from `fn` to the closing brace.
    pub lines: usize,
    /// Where `fn` stands, from 1.
    pub line: usize,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let code = blank(text);
        let tests = if is_test_path(path) { std::iter::once(0..text.len()).collect() } else { test_parts(&code) };
        Source { path: path.to_owned(), text: text.to_owned(), code, tests }
    }

    /// The line, from 1, of a place in the file.
    pub fn line(&self, at: usize) -> usize {
        1 + self.code.as_bytes()[..at].iter().filter(|b| **b == b'\n').count()
    }

    pub fn is_test(&self, at: usize) -> bool {
        self.tests.iter().any(|r| r.contains(&at))
    }

    /// Places outside tests where `word` stands in the code, on its own where it begins or ends like a name.
    pub fn places<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.all_places(word).filter(|at| !self.is_test(*at))
    }

    /// Places, in tests too.
    pub fn all_places<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let is_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        self.code.match_indices(word).map(|(at, _)| at).filter(move |at| {
            let before = self.code[..*at].chars().next_back();
            let after = self.code[at + word.len()..].chars().next();
            let opens = is_name(word.chars().next()) && is_name(before);
            let closes = is_name(word.chars().next_back()) && is_name(after);
            !opens && !closes
        })
    }

    /// Lines outside tests.
    pub fn length(&self) -> usize {
        let lines = |text: &str| text.lines().count();
        lines(&self.code) - self.tests.iter().map(|r| lines(&self.code[r.clone()])).sum::<usize>()
    }

    /// The functions outside tests that have a body.
    pub fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for at in self.places("fn") {
            let rest = &self.code[at + 2..];
            let name: String = rest.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(body) = body(&self.code, at) else { continue };
            if !name.is_empty() {
                found.push(Function { name, lines: self.line(body.end - 1) + 1 - self.line(at), line: self.line(at) });
            }
        }
        found
    }

    /// The module path of a file in `src`: `src/tree/read.rs` is `tree`, `read`.
    pub fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut parts: Vec<&str> = path.split('/').collect();
        if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
            parts.pop();
        }
        parts
    }
}

fn is_test_path(path: &str) -> bool {
    let in_src = path.starts_with("src/") || path.starts_with("repo-format/src/");
    !in_src || path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// From the first brace after `at`, outside brackets, to its partner. None where `;` comes first.
fn body(code: &str, at: usize) -> Option<Range<usize>> {
    let (mut depth, mut open) = (0_usize, None);
    for (i, b) in code.bytes().enumerate().skip(at) {
        match b {
            b'(' | b'[' if open.is_none() => depth += 1,
            b')' | b']' if open.is_none() => depth = depth.saturating_sub(1),
            b';' if open.is_none() && depth == 0 => return None,
            b'{' if open.is_none() && depth == 0 => {
                open = Some(i);
                depth = 1;
            }
            b'{' if open.is_some() => depth += 1,
            b'}' if open.is_some() => {
                depth -= 1;
                if depth == 0 {
                    return open.map(|start| start..i + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn test_parts(code: &str) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    for mark in ["#[cfg(test)]", "#[test]"] {
        for (at, _) in code.match_indices(mark) {
            if let Some(body) = body(code, at + mark.len())
                && !parts.iter().any(|r| r.contains(&at))
            {
                parts.push(at..body.end);
            }
        }
    }
    parts
}

/// Blanks comments, strings and characters.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut i = 0;
    while i < bytes.len() {
        let end = token_end(bytes, i);
        if let Some(end) = end {
            let end = end.min(bytes.len());
            out[i..end].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
            i = end;
        } else {
            i += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment, string or character that starts at `i` ends; None where none starts.
fn token_end(bytes: &[u8], i: usize) -> Option<usize> {
    let rest = &bytes[i..];
    let name_before = i > 0 && (bytes[i - 1].is_ascii_alphanumeric() || bytes[i - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => Some(i + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())),
        [b'/', b'*', ..] => Some(i + comment(rest)),
        [b'r', b'"' | b'#', ..] if !name_before => raw(rest).map(|n| i + n),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !name_before => raw(&rest[1..]).map(|n| i + 1 + n),
        [b'"', ..] => Some(i + quoted(rest, b'"')),
        [b'\'', b'\\', ..] => Some(i + quoted(rest, b'\'')),
        [b'\'', ..] => {
            // A character is one character and a quote; anything else is a lifetime.
            let text = std::str::from_utf8(&rest[1..rest.len().min(6)])
                .unwrap_or_else(|e| std::str::from_utf8(&rest[1..1 + e.valid_up_to()]).unwrap_or_default());
            let width = text.chars().next()?.len_utf8();
            (rest.get(1 + width) == Some(&b'\'')).then_some(i + width + 2)
        }
        _ => None,
    }
}

fn comment(rest: &[u8]) -> usize {
    let (mut depth, mut i) = (0_usize, 0);
    while i + 1 < rest.len() {
        match &rest[i..i + 2] {
            b"/*" => (depth, i) = (depth + 1, i + 2),
            b"*/" if depth == 1 => return i + 2,
            b"*/" => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
    }
    rest.len()
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut i = 1;
    while i < rest.len() {
        match rest[i] {
            b'\\' => i += 2,
            b if b == quote => return i + 1,
            _ => i += 1,
        }
    }
    rest.len()
}

fn raw(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let start = 2 + hashes;
    let found = rest[start..].windows(close.len()).position(|w| w == close);
    Some(found.map_or(rest.len(), |at| start + at + close.len()))
}
