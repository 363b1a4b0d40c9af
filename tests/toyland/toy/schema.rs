//! A table of toyland: keys and values, both text.

use onefold::engine::{Column, KeyRange, KeyRanges, Of, Row, RowSink, Rows, Schema, Selection, Show, Shown, Wanted};
use onefold::merge::{Owned, Rule};
use onefold::run::{Record, Run};
use onefold::{Error, Kind, Result};
use repo_format::record::Entries;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::archive::Interval;
use super::{Cluster, NAME};

/// The later write stands, whole.
pub struct Latest;

impl Rule for Latest {
    fn replaces(&self) -> bool {
        true
    }
}

/// The keys that a node answers for.
pub fn owned(intervals: &[Interval]) -> Owned {
    let bytes = |(from, to): &Interval| (from.clone().into_bytes(), to.clone().map(String::into_bytes));
    Owned::Ranges(intervals.iter().map(bytes).collect())
}

/// A table, by its name.
pub struct Table(pub String);

impl Schema for Table {
    fn continues(&self, _: &Value) -> bool {
        true
    }

    fn rule(&self) -> &dyn Rule {
        &Latest
    }

    fn owned(&self, cluster: &Value, nodes: usize) -> Result<Vec<Owned>> {
        let bad = |e: serde_json::Error| Error::damaged(format!("description of {}", self.0), e.to_string());
        let cluster: Cluster = serde_json::from_value(cluster.clone()).map_err(bad)?;
        let all = cluster.owns.get(&self.0).cloned().unwrap_or_default();
        Ok((0..nodes).map(|node| owned(all.get(node).map_or(&[], Vec::as_slice))).collect())
    }

    fn share(&self, key: &[u8]) -> Result<u64> {
        let mut first = [0; 8];
        let n = key.len().min(8);
        first[..n].copy_from_slice(&key[..n]);
        Ok(u64::from_be_bytes(first))
    }

    fn place(&self, share: u64) -> Value {
        format!("{share:016x}").into()
    }

    fn show(&self, record: &Record<'_>, _cut: u32) -> Result<Shown> {
        let value = value(record)?;
        Ok(Shown {
            kind: if value.is_some() { "row" } else { "deletion" },
            key: raw(&json!({ "key": text(record.key)? }))?,
            says: raw(&json!({ "value": value }))?,
        })
    }

    fn key(&self) -> Result<String> {
        Ok("key".into())
    }

    fn columns(&self, show: Show) -> Result<Vec<Column>> {
        if show.write_times || show.ttls {
            return Err(Error::new(Kind::Unsupported, &self.0, "has no write times and nothing that ends"));
        }
        let column =
            |(name, of): (&str, Of)| Column { name: name.into(), json: format!("\"{name}\""), of, kind: "text".into() };
        Ok([("key", Of::Key), ("value", Of::Own)].map(column).into())
    }

    fn rows(&self, _cut: u32, _show: Show) -> Result<Box<dyn Rows>> {
        Ok(Box::new(Pairs))
    }

    fn conditions_of_key(&self, key: &str) -> Result<String> {
        match key < "!" || key.starts_with('#') || key.contains([' ', '\t', '\n']) {
            true => {
                Err(Error::new(Kind::Usage, format_args!("key {key:?}"), "begins with a blank or #, or has one in it"))
            }
            false => Ok(format!("key={key}")),
        }
    }

    fn select(&self, conditions: &str, _cut: u32) -> Result<Box<dyn Selection>> {
        Between::parse(conditions).map(|between| Box::new(between) as Box<dyn Selection>)
    }
}

fn raw(value: &Value) -> Result<Box<RawValue>> {
    to_raw_value(value).map_err(|e| Error::damaged(NAME, e.to_string()))
}

/// Keys and values are text.
pub fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| Error::damaged(NAME, "a record that is no text"))
}

/// The value of a record; none where it is gone.
pub fn value<'r>(record: &Record<'r>) -> Result<Option<&'r str>> {
    let entry = Entries::new(record.body).next_entry()?;
    entry.and_then(|entry| entry.value).map(text).transpose()
}

/// A key and its value.
struct Pair<'r>([&'r str; 2]);

impl Row for Pair<'_> {
    fn json(&self, place: usize, out: &mut String) -> Result<bool> {
        out.push_str(raw(&json!(self.0[place]))?.get());
        Ok(true)
    }

    fn text(&self, place: usize, out: &mut String) -> Result<bool> {
        out.push_str(self.0[place]);
        Ok(true)
    }
}

/// A row for every record that is not gone.
struct Pairs;

impl Rows for Pairs {
    fn push(&mut self, record: &Record<'_>, to: &mut dyn RowSink) -> Result<()> {
        match value(record)? {
            Some(value) => to.row(&Pair([text(record.key)?, value])),
            None => Ok(()),
        }
    }

    fn finish(&mut self, _: &mut dyn RowSink) -> Result<()> {
        Ok(())
    }
}

/// `from=KEY`, `to=KEY` (both may be given, with a blank between), or `key=KEY`.
struct Between(KeyRange);

impl Between {
    fn parse(conditions: &str) -> Result<Between> {
        let (mut from, mut to) = (Vec::new(), Vec::new());
        for word in conditions.split(' ') {
            match word.split_once('=') {
                Some(("from", key)) => from = key.into(),
                Some(("to", key)) => to = key.into(),
                Some(("key", key)) => (from, to) = (key.into(), [key.as_bytes(), &[0]].concat()),
                _ => {
                    return Err(Error::new(Kind::Usage, format_args!("--where {conditions}"), "is not understood")
                        .hint("write key=KEY, or from=KEY to=KEY"));
                }
            }
        }
        Ok(Between((from, to)))
    }
}

impl Selection for Between {
    fn reads(&self, _: Wanted) -> Result<KeyRanges> {
        let range = Some(self.0.clone()).filter(|(from, to)| to.is_empty() || from < to);
        Ok(Box::new(range.into_iter()))
    }

    fn cut<'a>(&self, run: Box<dyn Run + 'a>, _: Wanted) -> Box<dyn Run + 'a> {
        run
    }

    fn rows(&self, _: Show) -> Result<Box<dyn Rows>> {
        Ok(Box::new(Pairs))
    }
}
