//! The rows of a small system table, merged from the files of one node.
//!
//! A merge of its own, because the schema must be known before the one that needs a schema can run: newest write time
//! wins, at equal times a tombstone, then the greater value; deletions hide what is not newer.

use std::collections::BTreeMap;

use repo_format::record::{Class, Entries, Entry, EntryKind};

use crate::engine::cassandra::capture::CapturedTable;
use crate::engine::cassandra::comparable::{self, Clustering};
use crate::engine::cassandra::sstable::{self, SsTable, layout};
use crate::engine::cassandra::types;
use crate::engine::cassandra::value::Parts;
use crate::error::{Error, Kind, Result};
use crate::run::{RecordBatch, Run};

/// Most bytes of keys and bodies taken from one system table; a schema of ten thousand tables has some ten million.
const BYTES_MAX: usize = 64 << 20;

/// A live row: column and element to value.
#[derive(Debug, Default)]
pub struct SystemRow {
    /// Raw partition key.
    pub key: Vec<u8>,
    /// Raw clustering values.
    pub clustering: Vec<Vec<u8>>,
    pub(super) cells: BTreeMap<(String, Vec<u8>), Vec<u8>>,
}

impl SystemRow {
    /// Of raw values: key, clustering, and simple columns by name.
    pub fn new(
        key: Vec<u8>,
        clustering: Vec<Vec<u8>>,
        columns: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> SystemRow {
        let cells = columns.into_iter().map(|(name, value)| ((name, Vec::new()), value)).collect();
        SystemRow { key, clustering, cells }
    }

    /// Takes the value of a simple column for a set, as CQL answers with one: each of its elements becomes a cell.
    pub fn expand_set(&mut self, column: &str) -> Result<()> {
        let Some(value) = self.cells.remove(&(column.to_string(), Vec::new())).filter(|v| !v.is_empty()) else {
            return Ok(());
        };
        let mut parts = Parts::new(&value);
        for _ in 0..parts.count(1)? {
            let element = parts.part()?.unwrap_or_default().to_vec();
            self.cells.insert((column.to_string(), element), Vec::new());
        }
        Ok(())
    }

    /// The value of a simple column.
    pub fn value(&self, column: &str) -> Option<&[u8]> {
        self.cells.get(&(column.to_string(), Vec::new())).map(Vec::as_slice)
    }

    /// The elements of a collection with a cell for each: element and value.
    pub fn elements<'a>(&'a self, column: &'a str) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let from = (column.to_string(), Vec::new());
        let cells = self.cells.range(from..).take_while(move |(path, _)| path.0 == column);
        cells.map(|(path, value)| (path.1.as_slice(), value.as_slice()))
    }
}

/// A cell of the merge: write time, whether it is a tombstone, value. The greatest wins.
type Version = (i64, bool, Vec<u8>);

#[derive(Default)]
struct Merged {
    deleted: Option<i64>,
    live: Option<Version>,
    columns_deleted: BTreeMap<String, i64>,
    cells: BTreeMap<(String, Vec<u8>), Version>,
    clustering: Vec<Vec<u8>>,
}

/// What one or more files say.
#[derive(Default)]
struct Merge {
    rows: BTreeMap<Vec<u8>, Merged>,
    /// By group.
    partitions_deleted: BTreeMap<Vec<u8>, i64>,
    /// From a key, to a key, up to a time.
    ranges_deleted: Vec<(Vec<u8>, Vec<u8>, i64)>,
    bytes: usize,
}

/// The live rows of `table`, in order of keys. Fails where a file of it cannot be read.
pub fn read(table: &CapturedTable) -> Result<Vec<SystemRow>> {
    let mut merge = Merge::default();
    for files in &table.sstables {
        let (statistics, name) = sstable::read_statistics(&files.folder, &files.descriptor)?;
        let from_header = layout::table_of(&statistics.header).map_err(|e| e.within(&name))?;
        let names: BTreeMap<u32, &str> =
            from_header.columns.iter().filter(|c| c.number != 0).map(|c| (c.number, c.name.as_str())).collect();
        let parse = |class: &String| types::parse_clustering_class(class);
        let clustering = Clustering::new(statistics.header.clustering.iter().map(parse).collect::<Result<_>>()?)?;
        let mut run = SsTable::open(&files.folder, &files.descriptor, &from_header)?.run(64 << 10)?;
        merge.file(&mut run, &names, &clustering).map_err(|e| e.within(name))?;
    }
    merge.finish()
}

impl Merge {
    fn file(&mut self, run: &mut dyn Run, names: &BTreeMap<u32, &str>, clustering: &Clustering) -> Result<()> {
        let mut open: Option<(Vec<u8>, i64)> = None;
        let mut batch = RecordBatch::new();
        while run.next_batch(&mut batch)? {
            for record in batch.iter() {
                self.bytes += record.key.len() + record.body.len();
                if self.bytes > BYTES_MAX {
                    let message = format_args!("holds more than {BYTES_MAX} bytes, too many for a system table");
                    return Err(Error::new(Kind::TooLarge, "system table", message));
                }
                match record.class {
                    Class::Group => {
                        let newest = self.partitions_deleted.entry(record.group().to_vec()).or_insert(i64::MIN);
                        *newest = (*newest).max(deletion(record.body)?.unwrap_or(i64::MIN));
                    }
                    Class::Marker => {
                        if let Some((from, time)) = open.take() {
                            self.ranges_deleted.push((from, record.key.to_vec(), time));
                        }
                        open = deletion(record.body)?.map(|time| (record.key.to_vec(), time));
                    }
                    Class::Row | Class::Static => {
                        let row = self.rows.entry(record.key.to_vec()).or_default();
                        row.take_in(record.body, names)?;
                        let parts = clustering.decode(comparable::split(record.key)?.clustering)?;
                        row.clustering = parts.into_iter().map(Option::unwrap_or_default).collect();
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<SystemRow>> {
        let mut live = Vec::new();
        for (key, row) in self.rows {
            let parts = comparable::split(&key)?;
            let mut deleted = row.deleted.max(self.partitions_deleted.get(&key[..parts.group_len]).copied());
            for (from, to, time) in &self.ranges_deleted {
                if *from < key && key < *to {
                    deleted = deleted.max(Some(*time));
                }
            }
            let stands = |version: &Version, deleted: Option<i64>| !version.1 && deleted.is_none_or(|d| version.0 > d);
            let mut cells = BTreeMap::new();
            for (path, version) in row.cells {
                let deleted = deleted.max(row.columns_deleted.get(&path.0).copied());
                if stands(&version, deleted) {
                    cells.insert(path, version.2);
                }
            }
            if !cells.is_empty() || row.live.is_some_and(|live| stands(&live, deleted)) {
                live.push(SystemRow { key: parts.partition_key, clustering: row.clustering, cells });
            }
        }
        Ok(live)
    }
}

impl Merged {
    fn take_in(&mut self, body: &[u8], names: &BTreeMap<u32, &str>) -> Result<()> {
        for entry in Entries::new(body) {
            let Entry { column, kind, element, time, value, .. } = entry?;
            let name = names.get(&column).copied().unwrap_or_default();
            let version = (time, kind == EntryKind::Tombstone, value.unwrap_or_default().to_vec());
            match (column, kind) {
                (_, EntryKind::Raw) => {}
                (0, EntryKind::Deletion) => self.deleted = self.deleted.max(Some(time)),
                (0, _) => self.live = self.live.take().max(Some(version)),
                (_, EntryKind::Deletion) => {
                    let newest = self.columns_deleted.entry(name.to_string()).or_insert(i64::MIN);
                    *newest = (*newest).max(time);
                }
                _ => {
                    let path = (name.to_string(), element.unwrap_or_default().to_vec());
                    let newest = self.cells.entry(path).or_insert((i64::MIN, false, Vec::new()));
                    if version > *newest {
                        *newest = version;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Write time of the deletion that is the one entry of a body, if there is one.
fn deletion(body: &[u8]) -> Result<Option<i64>> {
    Ok(Entries::new(body).next_entry()?.map(|entry| entry.time))
}
