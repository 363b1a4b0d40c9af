//! Single records as JSON, for people who want to see what a node holds.

use repo_format::record::{Class, Entries, Entry, EntryKind};
use serde_json::json;
use serde_json::value::RawValue;

use super::comparable::{self, Position};
use super::json::hex;
use super::rows::{Layout, Row};
use crate::error::{Error, Result};
use crate::run::Record;

/// Shows records of one table.
pub struct Shown {
    row: Row,
}

impl Shown {
    /// Values are judged at `now` (seconds since 1970).
    pub fn new(layout: Layout, now: u32) -> Shown {
        Shown { row: Row::new(layout, now) }
    }

    /// What kind of record it is: `row`, `static row`, `partition deletion`, `range deletion`.
    pub fn kind(record: &Record<'_>) -> &'static str {
        match record.class {
            Class::Row => "row",
            Class::Static => "static row",
            Class::Group => "partition deletion",
            Class::Marker => "range deletion",
        }
    }

    /// The token of its partition.
    pub fn token(record: &Record<'_>) -> Result<i64> {
        Ok(comparable::split(record.key)?.token)
    }

    /// The columns of its key: of a range deletion's end those that it names, and whether it stands before or after
    /// them.
    pub fn key(&mut self, record: &Record<'_>) -> Result<Box<RawValue>> {
        self.row.stand(record)?;
        let mut out = format!("{{{}", self.row.keys_as_json()?);
        match comparable::split(record.key)?.position {
            Position::Before => out.push_str(", \"from\": \"before\""),
            Position::After => out.push_str(", \"from\": \"after\""),
            _ => {}
        }
        out.push('}');
        raw(out)
    }

    /// What it says: `values` and `writetime` of what is live, `deletions` (of it, a column or a cell; `made` is in seconds since
    /// 1970), and the `liveness` of a row.
    pub fn record(&mut self, record: &Record<'_>) -> Result<Box<RawValue>> {
        self.row.stand(record)?;
        let mut parts: Vec<String> = Vec::new();
        if matches!(record.class, Class::Row | Class::Static) {
            self.row.fill(record)?;
            let (values, times) = self.row.values_as_json()?;
            if !values.is_empty() {
                parts.push(format!("\"values\": {{{values}}}, \"writetime\": {{{times}}}"));
            }
        }
        let mut deletions = Vec::new();
        for entry in Entries::new(record.body) {
            let entry = entry?;
            match entry.kind {
                EntryKind::Deletion | EntryKind::Tombstone => deletions.push(self.deletion(&entry)),
                EntryKind::Cell if entry.column == 0 => parts.push(format!("\"liveness\": {}", entry.time)),
                EntryKind::Cell | EntryKind::Raw => {}
            }
        }
        if !deletions.is_empty() {
            parts.push(format!("\"deletions\": {}", serde_json::Value::Array(deletions)));
        }
        raw(format!("{{{}}}", parts.join(", ")))
    }

    fn deletion(&self, entry: &Entry<'_>) -> serde_json::Value {
        let mut shown = json!({ "time": entry.time, "made": entry.ldt });
        if entry.column != 0 {
            shown["column"] = self.row.name_of(entry.column).into();
        }
        if let Some(element) = entry.element {
            let mut text = String::from("0x");
            hex(&mut text, element);
            shown["element"] = text.into();
        }
        shown
    }
}

fn raw(text: String) -> Result<Box<RawValue>> {
    RawValue::from_string(text).map_err(|e| Error::damaged("record as JSON", e))
}
