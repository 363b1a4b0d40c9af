//! Paths as people write them.

use std::fmt::Write as _;

use repo_format::file_tree::{key_of, parts_of};

use crate::engine::KeyRange;
use crate::error::{Error, Kind, Result};

/// The path of a key, as people read it: bytes that are no text as `\xff`, and `\` as `\\`.
///
/// Errors: it is the key of no file.
pub fn path(key: &[u8]) -> Result<String> {
    let parts = parts_of(key)?;
    match parts.is_empty() {
        true => Ok("/".to_owned()),
        false => Ok(parts.iter().fold(String::new(), |path, part| path + "/" + &escaped(part))),
    }
}

/// Text of bytes that may be none.
pub fn escaped(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if c.is_control() => c.encode_utf8(&mut [0; 4]).bytes().for_each(|b| hex(b, &mut out)),
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|b| hex(*b, &mut out));
    }
    out
}

fn hex(byte: u8, out: &mut String) {
    // Writing to a string does not fail.
    let _ = write!(out, "\\x{byte:02x}");
}

/// What [`escaped`] was made of. `None`: it makes no such text.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('\\') {
            out.push(b'\\');
            rest = behind;
            continue;
        }
        let digits = rest.strip_prefix('x')?.get(..2).filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()))?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[3..];
    }
    out.extend_from_slice(rest.as_bytes());
    Some(out)
}

/// What lies at a path, and below it, by the text that people write.
///
/// Errors: `Usage` where it is no path.
pub fn below(text: &str) -> Result<KeyRange> {
    let bad = || {
        Error::new(Kind::Usage, format_args!("path {text}"), "is no path of a file tree")
            .hint("write it from the root on, like /etc/hosts; bytes that are no text as \\xff, and \\ as \\\\")
    };
    let bytes = unescaped(text).filter(|bytes| bytes.starts_with(b"/")).ok_or_else(bad)?;
    let key = key_of(bytes.split(|b| *b == b'/').filter(|part| !part.is_empty()));
    if parts_of(&key).map_err(|_| bad())?.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let to = [&key[..], &[1]].concat();
    Ok((key, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_text_are_written_one_way_and_back() {
        for bytes in [&b"a"[..], b"a\\b", b"\xff\xfe", b"new\nline", "ä\u{85}".as_bytes(), b"\\x41"] {
            assert_eq!(unescaped(&escaped(bytes)).as_deref(), Some(bytes), "{}", escaped(bytes));
        }
        assert_eq!(escaped(b"a\n\xff\\"), "a\\x0a\\xff\\\\");
        for text in ["\\", "\\x", "\\x4", "\\q", "\\xzz", "\\x+f"] {
            assert_eq!(unescaped(text), None, "{text}");
        }
    }

    #[test]
    fn a_path_is_itself_and_what_lies_below() {
        let (from, to) = below("/etc//ssl/").unwrap();
        let key = |path: &str| key_of(path.split('/').filter(|p| !p.is_empty()).map(str::as_bytes));
        let lies = |path: &str| (from.as_slice()..to.as_slice()).contains(&key(path).as_slice());
        assert!(["/etc/ssl", "/etc/ssl/a", "/etc/ssl/a/b"].into_iter().all(lies));
        assert!(!["/etc", "/etc/ssl.d", "/etc/ssm", "/"].into_iter().any(lies));
        assert_eq!(below("/").unwrap(), (Vec::new(), Vec::new()));
        for bad in ["etc", "", "/a/../b", "/a/./b"] {
            assert!(below(bad).is_err(), "{bad}");
        }
    }
}
