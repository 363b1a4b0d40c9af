//! Single records as JSON, for people who want to see what a node holds.

use repo_format::record::{Class, Entries, Entry, EntryKind};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::comparable::{self, Position};
use super::json::hex;
use super::rows::{Layout, Row};
use crate::engine::Shown;
use crate::error::{Error, Result};
use crate::run::Record;

/// Shows a record of a table; values are judged at `cut` (seconds since 1970).
pub fn show(layout: Layout, record: &Record<'_>, cut: u32) -> Result<Shown> {
    let mut row = Row::new(layout, cut);
    row.stand(record)?;
    let key = key_of(&row, record)?;
    Ok(Shown { kind: kind(record.class), key, says: says(&mut row, record)? })
}

fn kind(class: Class) -> &'static str {
    match class {
        Class::Row => "row",
        Class::Static => "static row",
        Class::Group => "partition deletion",
        Class::Marker => "range deletion",
    }
}

/// The columns of a record's key: of a range deletion's end those that it names, and whether it stands before or after
/// them.
pub fn key(layout: Layout, record: &Record<'_>) -> Result<Box<RawValue>> {
    let mut row = Row::new(layout, 0);
    row.stand(record)?;
    key_of(&row, record)
}

fn key_of(row: &Row, record: &Record<'_>) -> Result<Box<RawValue>> {
    let mut out = format!("{{{}", row.keys_as_json()?);
    match comparable::split(record.key)?.position {
        Position::Before => out.push_str(", \"from\": \"before\""),
        Position::After => out.push_str(", \"from\": \"after\""),
        _ => {}
    }
    out.push('}');
    raw(out)
}

/// `values` and `writetime` of what is live, `deletions` (of it, a column or a cell; `made` is in seconds since 1970), and the
/// `liveness` of a row.
fn says(row: &mut Row, record: &Record<'_>) -> Result<Box<RawValue>> {
    let mut parts: Vec<String> = Vec::new();
    if matches!(record.class, Class::Row | Class::Static) {
        row.fill(record)?;
        let (values, times) = row.values_as_json()?;
        if !values.is_empty() {
            parts.push(format!("\"values\": {{{values}}}, \"writetime\": {{{times}}}"));
        }
    }
    let mut deletions = Vec::new();
    for entry in Entries::new(record.body) {
        let entry = entry?;
        match entry.kind {
            EntryKind::Deletion | EntryKind::Tombstone => deletions.push(deletion(row, &entry)),
            EntryKind::Cell if entry.column == 0 => parts.push(format!("\"liveness\": {}", entry.time)),
            EntryKind::Cell | EntryKind::Raw => {}
        }
    }
    if !deletions.is_empty() {
        parts.push(format!("\"deletions\": {}", Value::Array(deletions)));
    }
    raw(format!("{{{}}}", parts.join(", ")))
}

fn deletion(row: &Row, entry: &Entry<'_>) -> Value {
    let mut shown = json!({ "time": entry.time, "made": entry.ldt });
    if entry.column != 0 {
        shown["column"] = row.name_of(entry.column).into();
    }
    if let Some(element) = entry.element {
        let mut text = String::from("0x");
        hex(&mut text, element);
        shown["element"] = text.into();
    }
    shown
}

fn raw(text: String) -> Result<Box<RawValue>> {
    RawValue::from_string(text).map_err(|e| Error::damaged("record as JSON", e))
}
