//! A file tree for people: a row for each file, folder and link.

use std::fmt::Write as _;

use repo_format::file_tree::{Attribute, Bytes, FileKind, FileRecord, attributes, key_of, parts_of};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::engine::{Column, KeyRange, KeyRanges, Of, Row, RowSink, Rows, Schema, Selection, Show, Shown, Wanted};
use crate::error::{Error, Kind, Result};
use crate::merge::{Owned, Rule};
use crate::run::{Record, Run};

/// A tree is read of one machine: nothing is merged.
struct Whole;

impl Rule for Whole {
    fn replaces(&self) -> bool {
        true
    }
}

/// See the module.
pub struct FileTree;

/// What a row has: name, what it is of the row, and the word for its type.
const COLUMNS: [(&str, Of, &str); 14] = [
    ("path", Of::Key, "path"),
    ("kind", Of::Own, "text"),
    ("mode", Of::Own, "octal"),
    ("size", Of::Own, "bytes"),
    ("modified", Of::Own, "time"),
    ("uid", Of::Own, "number"),
    ("gid", Of::Own, "number"),
    ("user", Of::Own, "text"),
    ("group", Of::Own, "text"),
    ("content", Of::Own, "name of the content: equal where it is equal"),
    ("target", Of::Own, "path"),
    ("device", Of::Own, "numbers"),
    ("attributes", Of::Own, "names and values"),
    ("lacks", Of::Own, "what is not there"),
];

impl Schema for FileTree {
    fn rule(&self) -> &dyn Rule {
        &Whole
    }

    fn owned(&self, _: &Value, nodes: usize) -> Result<Vec<Owned>> {
        Ok(vec![Owned::All; nodes])
    }

    fn share(&self, key: &[u8]) -> Result<u64> {
        let mut first = [0; 8];
        let rest = key.get(1..).unwrap_or_default();
        let n = rest.len().min(8);
        first[..n].copy_from_slice(&rest[..n]);
        Ok(u64::from_be_bytes(first))
    }

    fn place(&self, share: u64) -> Value {
        let bytes = share.to_be_bytes();
        let part = bytes.split(|b| *b == 0).next().unwrap_or_default();
        format!("/{}", escaped(part)).into()
    }

    fn show(&self, record: &Record<'_>, _cut: u32) -> Result<Shown> {
        let file = parsed(record)?;
        let mut says = Map::new();
        for (name, ..) in COLUMNS.iter().skip(1) {
            if let Some(value) = value(name, record.key, &file)? {
                says.insert((*name).to_owned(), value);
            }
        }
        Ok(Shown { kind: "file", key: raw(&json!({ "path": path(record.key)? }))?, says: raw(&Value::Object(says))? })
    }

    fn key(&self) -> Result<String> {
        Ok("path".to_owned())
    }

    fn columns(&self, show: Show) -> Result<Vec<Column>> {
        if show.write_times || show.ttls {
            let what = "has no write times but `modified`, and nothing that ends";
            return Err(Error::new(Kind::Unsupported, "a file tree", what));
        }
        let column = |(name, of, kind): &(&str, Of, &str)| Column {
            name: (*name).to_owned(),
            json: format!("\"{name}\""),
            of: *of,
            kind: (*kind).to_owned(),
        };
        Ok(COLUMNS.iter().map(column).collect())
    }

    fn rows(&self, _cut: u32, _show: Show) -> Result<Box<dyn Rows>> {
        Ok(Box::new(Each))
    }

    fn select(&self, conditions: &str, _cut: u32) -> Result<Box<dyn Selection>> {
        Ok(Box::new(Below(below(conditions)?)))
    }

    fn continues(&self, _: &Value) -> bool {
        true
    }

    fn conditions_of_key(&self, key: &str) -> Result<String> {
        below(key).map(|_| key.to_owned())
    }
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

/// What lies at a path, and below it.
struct Below(KeyRange);

impl Selection for Below {
    fn reads(&self, _: Wanted) -> Result<KeyRanges> {
        Ok(Box::new(std::iter::once(self.0.clone())))
    }

    fn cut<'a>(&self, run: Box<dyn Run + 'a>, _: Wanted) -> Box<dyn Run + 'a> {
        run
    }

    fn rows(&self, _: Show) -> Result<Box<dyn Rows>> {
        Ok(Box::new(Each))
    }
}

/// A row for every record.
struct Each;

impl Rows for Each {
    fn push(&mut self, record: &Record<'_>, to: &mut dyn RowSink) -> Result<()> {
        to.row(&FileRow { key: record.key, file: parsed(record)? })
    }

    fn finish(&mut self, _: &mut dyn RowSink) -> Result<()> {
        Ok(())
    }
}

struct FileRow<'r> {
    key: &'r [u8],
    file: FileRecord<'r>,
}

impl FileRow<'_> {
    fn value(&self, place: usize) -> Result<Option<Value>> {
        COLUMNS.get(place).map_or(Ok(None), |(name, ..)| value(name, self.key, &self.file))
    }
}

impl Row for FileRow<'_> {
    fn json(&self, place: usize, out: &mut String) -> Result<bool> {
        let Some(value) = self.value(place)? else { return Ok(false) };
        out.push_str(raw(&value)?.get());
        Ok(true)
    }

    fn text(&self, place: usize, out: &mut String) -> Result<bool> {
        match self.value(place)? {
            None => return Ok(false),
            Some(Value::String(text)) => out.push_str(&text),
            Some(value) => out.push_str(raw(&value)?.get()),
        }
        Ok(true)
    }
}

fn raw(value: &Value) -> Result<Box<RawValue>> {
    to_raw_value(value).map_err(|e| Error::damaged("a file tree", e))
}

fn parsed<'r>(record: &Record<'r>) -> Result<FileRecord<'r>> {
    FileRecord::parse(record.body).map_err(|e| Error::from(e).within(path(record.key).unwrap_or_default()))
}

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

/// The value of a column.
fn value(column: &str, key: &[u8], file: &FileRecord<'_>) -> Result<Option<Value>> {
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| Value::from(escaped(bytes)));
    Ok(match column {
        "path" => Some(path(key)?.into()),
        "kind" => Some(kind(file).into()),
        "mode" => Some(format!("{:04o}", file.mode & 0o7777).into()),
        "size" => size(file)?.map(Value::from),
        "modified" => Some(time(file.modified).into()),
        "uid" => Some(file.owner.0.into()),
        "gid" => Some(file.owner.1.into()),
        "user" => text(file.user),
        "group" => text(file.group),
        "content" => file.content.map(|content| bytes_name(&content).into()),
        "target" => {
            text(file.target).or(file.first.map(path).transpose()?.map(|path| format!("same file as {path}").into()))
        }
        "device" => file.device.map(|(major, minor)| format!("{major}:{minor}").into()),
        "attributes" => file.attributes.map(|bytes| attributes_value(&bytes)).transpose()?,
        "lacks" => lacks(file).map(Value::from),
        _ => None,
    })
}

fn kind(file: &FileRecord<'_>) -> &'static str {
    match file.kind() {
        Some(FileKind::File) => "file",
        Some(FileKind::Folder) => "folder",
        Some(FileKind::Link) => "link",
        Some(FileKind::Fifo) => "fifo",
        Some(FileKind::Socket) => "socket",
        Some(FileKind::BlockDevice) => "block device",
        Some(FileKind::CharDevice) => "character device",
        None => "unknown",
    }
}

/// Bytes of a file, holes and all.
pub fn size(file: &FileRecord<'_>) -> Result<Option<u64>> {
    Ok(match (file.sparse, file.content) {
        (Some(Bytes::Here(bytes)), _) => Some(repo_format::file_tree::extents(bytes)?.0),
        (_, content) => content.map(|content| content.length()),
    })
}

fn bytes_name(bytes: &Bytes<'_>) -> String {
    match bytes {
        Bytes::Blob(blob) | Bytes::Chunk(blob) => blob.root.to_string(),
        Bytes::Here(bytes) => format!("={}", escaped(bytes)),
    }
}

fn attributes_value(bytes: &Bytes<'_>) -> Result<Value> {
    let Bytes::Here(bytes) = bytes else { return Ok(bytes_name(bytes).into()) };
    let one = |a: Attribute<'_>| (escaped(a.name), Value::from(escaped(a.value)));
    Ok(Value::Object(attributes(bytes)?.into_iter().map(one).collect()))
}

fn lacks(file: &FileRecord<'_>) -> Option<&'static str> {
    match (file.lacks.unread, file.lacks.left_out) {
        (true, true) => Some("not read, and something was left out"),
        (true, false) => Some("not read"),
        (false, true) => Some("something was left out"),
        (false, false) => None,
    }
}

fn time((seconds, nanoseconds): (i64, u32)) -> String {
    let time = jiff::Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or_default());
    time.map_or_else(|_| format!("{seconds}.{nanoseconds:09}"), |time| time.to_string())
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
