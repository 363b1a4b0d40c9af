//! Writing SSTables: a run of records in, one file group out, as Cassandra itself would have written it.
//!
//! Read in this order: [`options`]; [`layout`] and [`marshal`] (the header); [`row`] over [`clustering`], [`times`] and [`put`]
//! (bytes of rows and markers); [`data`] (chunks); [`index`] and [`filter`] (finding partitions and rows); [`facts`] over
//! [`histogram`] and [`cardinality`] (statistics). Here: partitions, range deletions, and the files together.
//!
//! Memory: one chunk, the row in hand (twice), some MB of a large partition's index, 32 MiB of the filter, and of every
//! 128 keys one with 12 bytes; a first batch of records is held until the smallest write time in it is known.
//!
//! Decisions, where the format leaves one:
//! - Cells of dropped columns, and those that a drop of a column that was added again hides, are left out, as a
//!   compaction would: the files need no record of the drop in the schema, and nothing comes back where there is none.
//! - Header: all columns of the table, see [`layout`]; times see [`times`].
//! - Statistics: as if the files had never belonged to a node; covered clusterings with both ends inclusive.

pub mod cardinality;
pub mod clustering;
pub mod data;
pub mod facts;
pub mod filter;
pub mod fuzzing;
pub mod histogram;
pub mod index;
pub mod layout;
pub mod marshal;
pub mod options;
mod output;
mod partition;
pub mod put;
pub mod row;
pub mod times;

use std::path::{Path, PathBuf};

use repo_format::record::{Class, Entries, EntryKind};

use crate::engine::cassandra::comparable::{self, Position};
use crate::engine::cassandra::rows::Layout as Columns;
use crate::engine::cassandra::schema::{ColumnRole, Table};
use crate::engine::cassandra::shown;
use crate::error::{Error, Kind, Result};
use crate::run::{Record, RecordBatch};

pub use options::{Compression, Compressor, LateTimes, Options};

use super::cells::Deletion;
use super::name::{Component, Descriptor, Generation, Version};
use super::rows;
use clustering::Bound;
use data::Data;
use facts::Facts;
use index::Index;
use layout::Layout;
use row::{Context, Encoder};
use times::{Of, TIME_EPOCH, Times};

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The files in the folder and their lengths in bytes, `TOC.txt` last. None where nothing was left to be written.
    pub files: Vec<(String, u64)>,
    /// Partitions.
    pub partitions: u64,
    /// Rows, static ones among them.
    pub rows: u64,
    /// Plain bytes of `Data.db`.
    pub plain_bytes: u64,
    /// Least and greatest write time, microseconds.
    pub times: Option<(i64, i64)>,
    /// Local deletion times that were capped ([`LateTimes::Cap`]).
    pub capped: u64,
    /// Cells of dropped columns that were left out.
    pub hidden: u64,
}

/// The partition that is being written.
#[derive(Default)]
struct Partition {
    /// The part of all keys that names it; empty before the first.
    group: Vec<u8>,
    /// Its head is written.
    started: bool,
    /// Its raw key.
    key: Vec<u8>,
    /// Where it begins in the plain bytes of `Data.db`.
    start: u64,
    deletion: Option<Deletion>,
    /// Length of its head and static row, once that is written.
    head: Option<u64>,
    /// Start of the row or marker before, from the start of the partition; 0 before the first.
    previous: u64,
    /// The range deletion in force.
    open: Option<Deletion>,
    /// Parts of keys after the group, of the first and the last row or bound.
    first: Vec<u8>,
    last: Vec<u8>,
}

/// Writes one SSTable. Dropped before [`SsTableWriter::finish`], it removes its files.
pub struct SsTableWriter {
    directory: PathBuf,
    descriptor: Descriptor,
    options: Options,
    layout: Layout,
    /// For naming a row that cannot be written.
    columns: Columns,
    times: Times,
    facts: Facts,
    encoder: Encoder,
    /// Bytes of one row, marker or head.
    bytes: Vec<u8>,
    /// `None` once finished.
    open: Option<(Data, Index)>,
    partition: Partition,
    /// Key of the last record.
    last: Vec<u8>,
    /// The first records, until the header's times are known.
    first: Option<RecordBatch>,
}

impl SsTableWriter {
    /// Creates the files of SSTable `generation` of `table` in `directory`, which exists.
    ///
    /// Errors: `AlreadyExists` where one of its files is there; `Unsupported` or `TooLarge` for types and columns.
    pub fn create(directory: &Path, generation: u64, table: &Table, options: &Options) -> Result<SsTableWriter> {
        let generation = Generation::Number(generation);
        let descriptor = Descriptor { generation, version: options.version.to_string(), format: "big".to_string() };
        let layout = Layout::of(table)?;
        let mut writer = SsTableWriter {
            directory: directory.to_path_buf(),
            descriptor,
            layout,
            columns: Columns::of(table)?,
            times: Times::new(options.version, options.late_times, TIME_EPOCH),
            facts: Facts::default(),
            encoder: Encoder::default(),
            bytes: Vec::new(),
            open: None,
            partition: Partition::default(),
            last: Vec::new(),
            first: Some(RecordBatch::new()),
            options: options.clone(),
        };
        writer.open = Some(writer.create_files()?);
        Ok(writer)
    }

    fn create_files(&self) -> Result<(Data, Index)> {
        // Nothing of another writer may be removed when this one fails.
        for component in self.components() {
            let path = self.path(component);
            if path.exists() {
                return Err(Error::new(Kind::AlreadyExists, path.display(), "is there already"));
            }
        }
        let compression = self.options.compression.as_ref();
        let opened = Data::create(&self.path("Data.db"), &self.path(self.side()), compression).and_then(|data| {
            let (interval, block) = (self.options.index_interval, self.options.column_index_size);
            Ok((data, Index::create(&self.path("Index.db"), interval, block)?))
        });
        if opened.is_err() {
            self.remove_files();
        }
        opened
    }

    /// Takes the next record. Keys must ascend. After an error the writer must be dropped.
    ///
    /// Errors: `Damaged` for a record that does not belong to the table; `Unsupported` for what the version cannot hold;
    /// `TooLarge`; those of the disk.
    pub fn push(&mut self, record: &Record<'_>) -> Result<()> {
        if record.key <= &self.last[..] && !self.last.is_empty() {
            return Err(self.wrong("records do not ascend"));
        }
        self.last.clear();
        self.last.extend_from_slice(record.key);
        match &mut self.first {
            None => self.write(record),
            Some(first) => {
                first.push(record);
                if first.is_full() { self.begin() } else { Ok(()) }
            }
        }
    }

    /// Bytes of `Data.db` so far.
    pub fn bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, |(data, _)| data.length())
    }

    /// Writes what is left, every other file, and brings all to the disk. Without a partition no file is left.
    pub fn finish(mut self) -> Result<Written> {
        self.begin()?;
        self.end_partition()?;
        let Some((data, mut index)) = self.open.take() else { return Err(self.wrong("is finished")) };
        let written = |files, plain_bytes| Written {
            files,
            partitions: self.facts.partitions,
            rows: self.facts.rows,
            plain_bytes,
            times: self.facts.times.get(),
            capped: self.times.capped,
            hidden: self.encoder.hidden,
        };
        if index.keys() == 0 {
            drop((data, index));
            self.remove_files();
            return Ok(written(Vec::new(), 0));
        }
        let files = self.finish_files(data, &mut index).and_then(|(mut files, plain)| {
            files.insert(1, (self.name("Index.db"), index.finish()?));
            let names: Vec<&str> = files.iter().filter_map(|(name, _)| name.rsplit_once('-').map(|(_, n)| n)).collect();
            let toc = names.iter().chain(&["TOC.txt"]).fold(String::new(), |toc, name| toc + name + "\n");
            files.push((self.name("TOC.txt"), output::write_file(&self.path("TOC.txt"), toc.as_bytes())?));
            output::sync_directory(&self.directory)?;
            Ok((files, plain))
        });
        match files {
            Ok((files, plain)) => Ok(written(files, plain)),
            Err(e) => {
                self.remove_files();
                Err(e)
            }
        }
    }

    /// All but `Index.db` and `TOC.txt`, and the plain bytes of `Data.db`.
    fn finish_files(&self, data: Data, index: &mut Index) -> Result<(Vec<(String, u64)>, u64)> {
        let done = data.finish()?;
        let mut files = vec![(self.name("Data.db"), done.length), (self.name(self.side()), done.side_length)];
        let mut file = |name: &str, bytes: &[u8]| -> Result<()> {
            files.push((self.name(name), output::write_file(&self.path(name), bytes)?));
            Ok(())
        };
        let ratio = self.options.compression.as_ref().map(|_| done.length as f64 / done.plain.max(1) as f64);
        file("Digest.crc32", done.digest.to_string().as_bytes())?;
        file("Statistics.db", &self.facts.file(&self.layout, &self.options, &self.times, ratio)?)?;
        let (first, last) = self.facts.keys();
        if let Some(summary) = index.summary(first, last) {
            file("Summary.db", &summary)?;
        }
        index.flush()?;
        if self.options.bloom_fp_chance < 1.0 {
            let (path, index_path) = (self.path("Filter.db"), self.path("Index.db"));
            let length = filter::write(&path, &index_path, index.keys(), self.options.bloom_fp_chance)?;
            files.push((self.name("Filter.db"), length));
        }
        Ok((files, done.plain))
    }

    fn side(&self) -> &'static str {
        if self.options.compression.is_some() { "CompressionInfo.db" } else { "CRC.db" }
    }

    fn components(&self) -> [&'static str; 8] {
        ["Data.db", self.side(), "Index.db", "Statistics.db", "Summary.db", "Filter.db", "Digest.crc32", "TOC.txt"]
    }

    fn name(&self, component: &str) -> String {
        format!("{}-{component}", self.descriptor)
    }

    fn path(&self, component: &str) -> PathBuf {
        self.directory.join(self.name(component))
    }

    fn remove_files(&self) {
        output::remove(self.components().map(|component| self.path(component)));
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::damaged(self.directory.join(self.descriptor.file(Component::Data)).display(), what)
    }
}

impl Drop for SsTableWriter {
    fn drop(&mut self) {
        if self.open.take().is_some() {
            self.remove_files();
        }
    }
}
