//! A row for each file, folder and link.

use repo_format::file_tree::{Attribute, Bytes, FileKind, FileRecord, attributes};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::text::{escaped, path};
use crate::engine::{Of, Row, RowSink, Rows};
use crate::error::{Error, Result};
use crate::run::Record;

/// What a row has: name, what it is of the row, and the word for its type.
pub const COLUMNS: [(&str, Of, &str); 14] = [
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

/// A row for every record.
pub struct Each;

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

/// A value as it is written.
pub fn raw(value: &Value) -> Result<Box<RawValue>> {
    to_raw_value(value).map_err(|e| Error::damaged("a file tree", e))
}

/// A record, read.
pub fn parsed<'r>(record: &Record<'r>) -> Result<FileRecord<'r>> {
    FileRecord::parse(record.body).map_err(|e| Error::from(e).within(path(record.key).unwrap_or_default()))
}

/// The value of a column.
pub fn value(column: &str, key: &[u8], file: &FileRecord<'_>) -> Result<Option<Value>> {
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
