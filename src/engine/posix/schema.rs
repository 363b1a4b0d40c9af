//! A file tree for people: a row for each file, folder and link.

use serde_json::{Map, Value, json};

use super::rows::{COLUMNS, Each, parsed, raw, value};
use super::select::select;
use super::text::{escaped, path};
use crate::engine::{Column, Of, Rows, Schema, Selection, Show, Shown};
use crate::error::{Error, Kind, Result};
use crate::merge::{Owned, Rule};
use crate::run::Record;

/// A tree is read of one machine: nothing is merged.
struct Whole;

impl Rule for Whole {
    fn replaces(&self) -> bool {
        true
    }
}

/// See the module.
pub struct FileTree;

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
        select(conditions)
    }

    fn continues(&self, _: &Value) -> bool {
        true
    }

    fn conditions_of_key(&self, key: &str) -> Result<String> {
        select(key).map(|_| key.to_owned())
    }
}
