//! Records to CQL: statements with original write times, and the seconds left to live (`UpdateStatement`,
//! `DeleteStatement`).
//!
//! A record becomes deletions first, then one statement for each (write time, expiry): an UPDATE, or an INSERT where the
//! row's liveness has the same. Collections and fields of types are written element by element, which deletes nothing.
//! Values stay the bytes they are. What CQL cannot say is counted by name ([`Mutations::not_carried`]), never altered
//! silently:
//!
//! - A list's elements have places that the server makes (`Lists.Appender`): they are appended in order, and a list's
//!   deleted elements are left out.
//! - A deletion is dated when it arrives, so its grace begins anew; an expiring cell has the seconds left for its TTL.
//! - Counters are refused: their shards are the nodes' own.

mod probe;
mod row;
mod slice;
mod text;

use std::collections::BTreeMap;

use repo_format::record::{Class, Entries, Entry, EntryKind};

use super::comparable::{self, Clustering};
use super::rows::Layout;
use super::schema::{ColumnRole, Table};
use super::types::CqlType;
use crate::error::{Error, Kind, Result};
use crate::run::Record;
pub use probe::Probe;
use text::Texts;

/// What becomes of a cell's expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// It ends when it would have ended.
    Keep,
    /// It has as long to live from now on as it had at the snapshot's cut (seconds since 1970).
    Shift {
        /// The cut.
        cut: u32,
    },
    /// It does not end.
    Lift,
}

/// What becomes of write times, microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// They stay.
    Keep,
    /// All are moved to this time and the microseconds after it: deletions of partitions first, then those of ranges, then
    /// what is in rows, in its own order within each row. So nothing that is there survives what replaces it, and nothing
    /// that is restored is hidden by what is restored.
    From(i64),
    /// As [`Times::From`], but rows that nobody restores stay: deletions are written only as far as a restored row needs
    /// them to read as captured. Those of partitions and ranges become one of each restored row that they were around; a row
    /// of which nothing lives is left out.
    Over(i64),
}

impl Times {
    /// The time that all are moved to.
    fn base(self) -> Option<i64> {
        match self {
            Times::Keep => None,
            Times::From(base) | Times::Over(base) => Some(base),
        }
    }
}

/// A statement with its values, as the protocol carries them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mutation {
    /// The statement, a `?` for each value.
    pub text: String,
    /// The values, serialised.
    pub values: Vec<Vec<u8>>,
    /// Place among the values of a TTL, and when it ends, seconds since 1970: to be set when the statement is sent.
    pub ttl: Option<(usize, u32)>,
    /// Elements appended to a list: sending it twice would append them twice.
    pub append: Option<Append>,
}

/// What tells whether elements were appended already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// A statement that reads the list.
    pub read: String,
    /// Its values.
    pub keys: Vec<Vec<u8>>,
    /// How many elements the list has before, from us.
    pub before: usize,
    /// How many are appended.
    pub count: usize,
}

impl Mutation {
    /// Bytes of its values.
    pub fn bytes(&self) -> usize {
        self.values.iter().map(Vec::len).sum()
    }

    /// Puts the seconds left at `now` (seconds since 1970) in place: one at least, since none would mean for ever.
    pub fn set_ttl(&mut self, now: u32) {
        if let Some((place, end)) = self.ttl
            && let Some(value) = self.values.get_mut(place)
        {
            *value = end.saturating_sub(now).clamp(1, TTL_MAX).to_be_bytes().to_vec();
        }
    }
}

/// The largest TTL, twenty years in seconds (`Attributes.MAX_TTL`).
const TTL_MAX: u32 = 20 * 365 * 24 * 60 * 60;
/// Values of one statement, bytes: above that a row is written by several. A node takes half a segment of its commit log
/// at once, 16 MiB unless told otherwise.
const STATEMENT_BYTES: usize = 1 << 20;

/// Makes statements of the records of one table, which come in order of keys.
pub struct Mutations {
    layout: Layout,
    texts: Texts,
    /// Place in the layout by column number; none for dropped columns.
    places: Vec<Option<usize>>,
    ttl: Ttl,
    times: Times,
    not_carried: BTreeMap<&'static str, u64>,
    group: Vec<u8>,
    keys: Vec<Vec<u8>>,
    /// The partition has a deletion.
    deleted: bool,
    /// The range deletion in force: from which key on, and its time.
    open: Option<(Vec<u8>, i64)>,
}

/// What is counted of deletions: that their grace begins anew, or that they were not written.
const DELETIONS: &str = "deletions";
const LEFT_OUT: &str = "deletions left out, so that what is younger stays";

impl Mutations {
    /// For `table` as captured, to be written to `keyspace.name`. Errors: counters, types that are not understood.
    pub fn new(table: &Table, keyspace: &str, name: &str, ttl: Ttl, times: Times) -> Result<Mutations> {
        let subject = format!("table {}.{}", table.keyspace, table.name);
        if table.counter {
            return Err(Error::new(Kind::Unsupported, subject, "holds counters, whose shards CQL cannot write")
                .hint("restore it with --to sstables"));
        }
        let layout = Layout::of(table)?;
        let last = layout.columns().map(|(c, _)| c.number as usize).max().unwrap_or(0);
        let mut places = vec![None; last + 1];
        for (place, (column, _)) in layout.columns().enumerate() {
            if matches!(column.role, ColumnRole::Static | ColumnRole::Regular) {
                places[column.number as usize] = Some(place);
            }
        }
        let texts = Texts::new(&layout, keyspace, name);
        let (not_carried, group, keys) = (BTreeMap::new(), Vec::new(), Vec::new());
        Ok(Mutations { layout, texts, places, ttl, times, not_carried, group, keys, deleted: false, open: None })
    }

    /// What could not be carried exactly so far: names and numbers.
    pub fn not_carried(&self) -> &BTreeMap<&'static str, u64> {
        &self.not_carried
    }

    /// Takes the next record and appends its statements; those of a range deletion come with the record that ends it.
    /// `now` is in seconds since 1970.
    pub fn push(&mut self, record: &Record<'_>, now: u32, out: &mut Vec<Mutation>) -> Result<()> {
        if record.group() != self.group {
            self.finish(out)?;
            self.begin(record)?;
        }
        match record.class {
            Class::Group => {
                if let Some(entry) = Entries::new(record.body).next_entry()? {
                    self.deleted = true;
                    if let Some(time) = self.outer_time(entry.time, 0) {
                        out.push(self.texts.delete(&[], &[], time, &self.keys, 0));
                    }
                }
            }
            Class::Marker => {
                let deletion = Entries::new(record.body).next_entry()?;
                if let Some((from, time)) = self.open.take() {
                    self.delete_range(&from, record.key, time, out)?;
                }
                self.open = deletion.map(|entry| (record.key.to_vec(), entry.time));
            }
            Class::Static | Class::Row => self.row(record, now, out)?,
        }
        Ok(())
    }

    /// The records have ended: a range deletion that is open ends with its partition.
    pub fn finish(&mut self, out: &mut Vec<Mutation>) -> Result<()> {
        if let Some((from, time)) = self.open.take() {
            let mut end = self.group.clone();
            self.layout.clustering().bound(&mut end, &[], true)?;
            self.delete_range(&from, &end, time, out)?;
        }
        Ok(())
    }

    /// Statements that delete what lies between two keys of one partition, up to `time`: between two places among rows, or
    /// from the key of the partition's deletion on: then the whole partition.
    pub fn delete_slice(&mut self, from: &[u8], to: &[u8], time: i64, out: &mut Vec<Mutation>) -> Result<()> {
        let key = comparable::split(from)?;
        self.keys = self.partition_values(&key.partition_key)?;
        self.group.clear();
        if key.position == comparable::Position::Group {
            out.push(self.texts.delete(&[], &[], time, &self.keys, 0));
            return Ok(());
        }
        slice::delete(self.layout.clustering(), &self.texts, &self.keys, (from, to), time, out)
    }

    fn delete_range(&mut self, from: &[u8], to: &[u8], time: i64, out: &mut Vec<Mutation>) -> Result<()> {
        let Some(time) = self.outer_time(time, 1) else { return Ok(()) };
        slice::delete(self.layout.clustering(), &self.texts, &self.keys, (from, to), time, out)
    }

    fn begin(&mut self, record: &Record<'_>) -> Result<()> {
        self.group.clear();
        self.group.extend_from_slice(record.group());
        self.deleted = false;
        let key = comparable::split(record.key)?.partition_key;
        self.keys = self.partition_values(&key)?;
        Ok(())
    }

    fn partition_values(&self, key: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(self.layout.split_partition_key(key)?.into_iter().map(<[u8]>::to_vec).collect())
    }

    fn count(&mut self, name: &'static str, n: u64) {
        if n > 0 {
            *self.not_carried.entry(name).or_insert(0) += n;
        }
    }

    /// Counts a deletion around rows, and gives its time if it is to be written; `depth` 0 that of a partition, 1 that of
    /// a range.
    fn outer_time(&mut self, time: i64, depth: i64) -> Option<i64> {
        let time = match self.times {
            Times::Keep => Some(time),
            Times::From(base) => Some(base.saturating_add(depth)),
            Times::Over(_) => None,
        };
        self.count(if time.is_some() { DELETIONS } else { LEFT_OUT }, 1);
        time
    }

    /// The raw clustering of a row.
    fn clustering(&self, record: &Record<'_>, entries: &[Entry<'_>]) -> Result<Option<Vec<Vec<u8>>>> {
        let raw = entries.iter().find(|e| e.column == 0 && e.kind == EntryKind::Raw).and_then(|e| e.value);
        let parts: Vec<Option<Vec<u8>>> = match raw {
            Some(raw) => comparable::raw_parts(raw)?.into_iter().map(|part| part.map(<[u8]>::to_vec)).collect(),
            None => self.clustering_of(record.key)?,
        };
        Ok(parts.into_iter().collect())
    }

    fn clustering_of(&self, key: &[u8]) -> Result<Vec<Option<Vec<u8>>>> {
        self.layout.clustering().decode(comparable::split(key)?.clustering)
    }
}

/// A value that any column of the type takes, to cut all rows into those up to it and those after it.
fn some_value(t: &CqlType) -> Vec<u8> {
    match t {
        CqlType::TimeUuid => vec![0, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0, 0, 0, 0, 0],
        CqlType::Decimal => vec![0; 5],
        CqlType::VarInt | CqlType::TinyInt => vec![0],
        CqlType::SmallInt => vec![0; 2],
        CqlType::Date | CqlType::Inet => vec![0; 4],
        CqlType::Time => vec![0; 8],
        CqlType::List { .. } | CqlType::Set { .. } | CqlType::Map { .. } => vec![0; 4],
        CqlType::Tuple(parts) => vec![0xff; 4 * parts.len()],
        CqlType::Udt { udt, .. } => vec![0xff; 4 * udt.fields.len()],
        CqlType::Vector { element, dimension } => {
            let one = some_value(element);
            let mut all = Vec::new();
            for _ in 0..*dimension {
                super::value::put_element(&mut all, element, &one);
            }
            all
        }
        other => vec![0; other.fixed_len().unwrap_or(0)],
    }
}

/// Whether a table's clustering has columns.
fn has_rows(clustering: &Clustering) -> bool {
    !clustering.columns().is_empty()
}

#[cfg(test)]
mod tests;
