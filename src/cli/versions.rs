//! Rows that differ, as lines and as objects.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::diff::{Change, Version, What};
use crate::error::{Error, Result};

/// Text that is JSON, as it is.
pub fn raw(text: String) -> Result<Box<RawValue>> {
    RawValue::from_string(text).map_err(|e| Error::damaged("row as JSON", e))
}

/// One side of a row, as an object.
#[derive(Serialize)]
pub struct Sided {
    values: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    writetime: Option<Box<RawValue>>,
}

/// What both commands say of a row: keys in this order.
#[derive(Serialize)]
pub struct Said<'a> {
    /// What became of it.
    pub what: &'static str,
    /// `row`, or the database's word for what all rows of a group have in common.
    pub record: &'static str,
    /// Its key.
    pub key: Box<RawValue>,
    /// Names of the columns that differ, where it is on both sides.
    pub columns: Vec<&'a str>,
    /// As it was.
    pub before: Option<Sided>,
    /// As it is.
    pub after: Option<Sided>,
}

impl Sided {
    fn of(version: &Version<'_>) -> Result<Sided> {
        let writetime = version.has_times().then(|| raw(version.times())).transpose()?;
        Ok(Sided { values: raw(version.values())?, writetime })
    }
}

impl<'a> Said<'a> {
    /// Of a row; `what` became of it. `shared` is the database's word for what all rows of a group have in common.
    pub fn of(change: &'a Change<'_>, what: &'static str, shared: &'static str) -> Result<Said<'a>> {
        let side = |version: &Option<Version<'_>>| version.as_ref().map(Sided::of).transpose();
        Ok(Said {
            what,
            record: record(change, shared),
            key: raw(key(change))?,
            columns: change.columns.iter().map(|differs| differs.column.name.as_str()).collect(),
            before: side(&change.before)?,
            after: side(&change.after)?,
        })
    }
}

fn record(change: &Change<'_>, shared: &'static str) -> &'static str {
    if change.shown().is_some_and(Version::is_shared) { shared } else { "row" }
}

/// The key of a row, an object of JSON.
fn key(change: &Change<'_>) -> String {
    change.shown().map(Version::key).unwrap_or_default()
}

/// A row for people, a line or more; `what` became of it.
pub fn lines(change: &Change<'_>, what: &'static str, shared: &'static str) -> Vec<String> {
    let record = record(change, shared);
    let record = if record == "row" { String::new() } else { format!("{record} ") };
    let head = format!("{what}  {record}{}", key(change));
    match (&change.before, &change.after) {
        (Some(one), Some(other)) => {
            let mut lines = vec![head];
            for differs in &change.columns {
                let was = differs.before.map(|place| side(one, place, change.what));
                let (was, is) = (was.unwrap_or_else(|| "null".to_owned()), side(other, differs.after, change.what));
                lines.push(format!("    {}  {was} -> {is}", differs.column.name));
            }
            lines
        }
        (Some(only), None) | (None, Some(only)) => {
            let written = if only.has_times() { format!("  written {}", only.times()) } else { String::new() };
            vec![format!("{head}  {}{written}", only.values())]
        }
        (None, None) => Vec::new(),
    }
}

/// A value and when it was written; of one that is the same on both sides, when alone.
fn side(version: &Version<'_>, place: usize, what: What) -> String {
    let value = version.value(place).unwrap_or("null");
    match (version.written(place), what) {
        (Some(time), What::Rewritten) => format!("written {time}"),
        (Some(time), _) => format!("{value} (written {time})"),
        (None, _) => value.to_owned(),
    }
}
