//! What a node of toyland leaves: one archive, a text in which every part of every table lies.
//!
//! ```text
//! #toy captured 1700000000          when, in seconds since 1970
//! #table fruit
//! #owns b m                         the node answers for keys from b on and before m; `-` as the end: for all from there on
//! #part 7                           what was written seventh, by key: KEY, a tab, VALUE; a KEY alone is gone
//! apple   red
//! cherry
//! ```
//! A key begins with what is neither a blank nor `#`.

use std::collections::BTreeMap;

use onefold::engine::KeyRange;
use onefold::run::{Record, RecordBatch, Run};
use onefold::volume::Place;
use onefold::{Error, Kind, Result};
use repo_format::record::{BodyWriter, Class, Entry, EntryKind};

/// An archive lies in memory.
const MOST: u64 = 64 << 20;

/// Keys from the first on, and before the second; without one, all.
pub type Interval = (String, Option<String>);

/// A node's archive.
#[derive(Debug, Default)]
pub struct Archive {
    pub captured: u64,
    pub tables: BTreeMap<String, Table>,
}

/// One node's part of a table.
#[derive(Debug, Default)]
pub struct Table {
    pub owns: Vec<Interval>,
    pub parts: Vec<Part>,
}

/// What was written at once.
#[derive(Debug)]
pub struct Part {
    pub rank: u64,
    /// The line of the archive before its first.
    pub line: usize,
    pub lines: Vec<String>,
}

impl Archive {
    /// Reads an archive. What its parts hold is looked at when they are read.
    pub fn read(place: &Place) -> Result<Archive> {
        let text = String::from_utf8(place.read(MOST)?).map_err(|_| Error::damaged(place, "is no text"))?;
        let mut archive = Archive::default();
        let (mut begun, mut table) = (false, None);
        for (n, line) in (1..).zip(text.lines()) {
            let bad = || Error::new(Kind::Damaged, format_args!("{place}, line {n}"), "is not understood");
            let Some(head) = line.strip_prefix('#') else {
                let table: &mut Table = table.and_then(|name| archive.tables.get_mut(name)).ok_or_else(bad)?;
                table.parts.last_mut().ok_or_else(bad)?.lines.push(line.to_owned());
                continue;
            };
            let words: Vec<&str> = head.split(' ').collect();
            match (words.as_slice(), table) {
                (["toy", "captured", time], None) if n == 1 => {
                    archive.captured = time.parse().map_err(|_| bad())?;
                    begun = true;
                }
                (["table", name], _) if begun => {
                    archive.tables.entry((*name).to_owned()).or_default();
                    table = Some(*name);
                }
                (["owns", from, to], Some(name)) => {
                    let table = archive.tables.get_mut(name).ok_or_else(bad)?;
                    let to = Some((*to).to_owned()).filter(|to| to != "-");
                    let before =
                        table.owns.last().is_some_and(|(_, end)| end.as_deref().is_none_or(|end| *from <= end));
                    if before || to.as_ref().is_some_and(|to| to.as_str() <= *from) {
                        return Err(bad());
                    }
                    table.owns.push(((*from).to_owned(), to));
                }
                (["part", rank], Some(name)) => {
                    let rank = rank.parse().map_err(|_| bad())?;
                    let part = Part { rank, line: n, lines: Vec::new() };
                    archive.tables.get_mut(name).ok_or_else(bad)?.parts.push(part);
                }
                _ => return Err(bad()),
            }
        }
        match begun {
            true => Ok(archive),
            false => Err(Error::new(Kind::Damaged, format_args!("{place}, line 1"), "begins no archive")),
        }
    }
}

/// What a part has of a range of keys, read from its first line on.
pub struct Lines<'a> {
    pub part: &'a Part,
    pub name: String,
    pub range: KeyRange,
    pub at: usize,
}

impl Run for Lines<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        while let Some(line) = self.part.lines.get(self.at).filter(|_| !out.is_full()) {
            let (key, value) = line.split_once('\t').map_or((line.as_str(), None), |(key, value)| (key, Some(value)));
            let last = self.at.checked_sub(1).map(|before| &self.part.lines[before]);
            if key < "!" || last.is_some_and(|last| last.split('\t').next() >= Some(key)) {
                let line = self.part.line + self.at + 1;
                return Err(Error::new(
                    Kind::Damaged,
                    format_args!("{}, line {line}", self.name),
                    "is no key, or does not ascend",
                ));
            }
            let (from, to) = (self.range.0.as_slice(), self.range.1.as_slice());
            if !to.is_empty() && key.as_bytes() >= to {
                break;
            }
            self.at += 1;
            if key.as_bytes() < from {
                continue;
            }
            let body = body(value);
            let traits = repo_format::record::check(&body)?;
            out.push(&Record { key: key.as_bytes(), group_len: 0, class: Class::Row, traits, body: &body });
        }
        Ok(!out.is_empty())
    }
}

/// The one cell of a record: its value, or that it is gone.
fn body(value: Option<&str>) -> Vec<u8> {
    let mut body = Vec::new();
    let kind = if value.is_some() { EntryKind::Cell } else { EntryKind::Tombstone };
    let value = value.map(str::as_bytes);
    BodyWriter::new(&mut body).push(&Entry { column: 1, kind, element: None, time: 0, ldt: 0, ttl: 0, value });
    body
}
