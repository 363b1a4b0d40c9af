//! Files in the folders of nodes, `ROOT/NODE/KEYSPACE/TABLE`: written in that of a part's first node, linked into those of the
//! others. Copied where the file system has no hard links.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::Parts;
use super::files::{FileSink, Files, Finished, Place};
use crate::engine::cassandra::schema::Table;
use crate::engine::cassandra::sstable::Version;
use crate::engine::cassandra::sstable::write::{Compression, LateTimes, Options, SsTableWriter};
use crate::error::{Error, Result};
use crate::run::Record;

/// How a table's files are written: as the table's options say.
pub fn options(table: &Table, version: Version, late_times: LateTimes, level: u32) -> Result<Options> {
    let unless = Options::default();
    let within = |e: Error| e.within(format_args!("table {}.{}", table.keyspace, table.name));
    let compression = match table.options.map("compression") {
        Some(map) => Compression::parse(map).map_err(within)?,
        None => unless.compression.clone(),
    };
    let bloom_fp_chance = table.options.number("bloom_filter_fp_chance").unwrap_or(unless.bloom_fp_chance);
    let interval = table.options.number("min_index_interval").map(|n| n as u32);
    let index_interval = interval.filter(|n| *n > 0).unwrap_or(unless.index_interval);
    Ok(Options { version, compression, bloom_fp_chance, index_interval, level, late_times, ..unless })
}

/// What was written of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    /// SSTables, each counted once, however many nodes have it.
    pub sstables: u64,
    /// Rows, static ones too, in all SSTables.
    pub rows: u64,
    /// Bytes of all components, on the disk.
    pub bytes: u64,
    /// Deletion and expiry times that were capped.
    pub capped: u64,
    /// The newest write time.
    pub newest: Option<i64>,
}

/// Where the files of nodes lie, and how they are numbered.
#[derive(Debug, Clone, Copy)]
pub struct Out<'a> {
    /// The folder of folders.
    pub root: &'a Path,
    /// Folder of each node, by its place.
    pub nodes: &'a [String],
    /// Files are numbered from here on.
    pub first: u64,
    /// Whether a node's folder is written, by its place; the others are left as they are.
    pub wanted: &'a [bool],
}

impl<'a> Out<'a> {
    fn folder(&self, place: usize, table: &Table) -> Option<PathBuf> {
        let node = self.nodes.get(place).filter(|_| self.wanted.get(place).is_some_and(|wanted| *wanted))?;
        Some(folder(self.root, node, table))
    }
}

/// The folder of a node's files of a table.
pub fn folder(root: &Path, node: &str, table: &Table) -> PathBuf {
    root.join(node).join(&table.keyspace).join(&table.name)
}

/// The folders of a table.
pub struct Folders<'a> {
    table: &'a Table,
    parts: &'a Parts,
    options: Options,
    /// By the node's place; none where it is left as it is.
    folders: Vec<Option<PathBuf>>,
    first: u64,
    totals: Totals,
}

impl<'a> Folders<'a> {
    /// The files of `table`, written as `options` says.
    pub fn new(out: Out<'_>, table: &'a Table, parts: &'a Parts, options: Options) -> Folders<'a> {
        let folders = (0..out.nodes.len()).map(|place| out.folder(place, table)).collect();
        Folders { table, parts, options, folders, first: out.first, totals: Totals::default() }
    }

    /// What was written so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Removes what is there of the table, and makes its folder for every node.
    pub fn clear(&self) -> Result<()> {
        for folder in self.folders.iter().flatten() {
            match fs::remove_dir_all(folder) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io(folder.display(), e)),
                _ => fs::create_dir_all(folder).map_err(|e| Error::io(folder.display(), e))?,
            }
        }
        Ok(())
    }

    fn of_part(&self, part: usize) -> impl Iterator<Item = &PathBuf> {
        self.parts.nodes(part).into_iter().filter_map(|node| self.folders.get(node)?.as_ref())
    }
}

impl Files for Folders<'_> {
    fn create(&mut self, place: &Place) -> Result<Box<dyn FileSink>> {
        let Some(folder) = self.of_part(place.part).next().cloned() else { return Ok(Box::new(Nowhere)) };
        let number = self.first + place.number;
        let writer = SsTableWriter::create(&folder, number, self.table, &self.options);
        let writer = writer.map_err(|e| e.within(folder.display()))?;
        Ok(Box::new(Sink { writer, folder }))
    }

    fn finished(&mut self, place: &Place, file: Finished) -> Result<()> {
        for folder in self.of_part(place.part).skip(1) {
            for path in &file.files {
                let Some(name) = path.file_name() else { continue };
                link(path, &folder.join(name)).map_err(|e| Error::io(folder.join(name).display(), e))?;
            }
            File::open(folder).and_then(|f| f.sync_all()).map_err(|e| Error::io(folder.display(), e))?;
        }
        let totals = &mut self.totals;
        totals.sstables += u64::from(!file.files.is_empty());
        totals.rows += file.rows;
        totals.bytes += file.bytes;
        totals.capped += file.capped;
        totals.newest = totals.newest.max(file.newest);
        Ok(())
    }
}

/// A second name, or a copy where there is none to be had.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    use io::ErrorKind as E;
    match fs::hard_link(from, to) {
        Err(e) if matches!(e.kind(), E::Unsupported | E::PermissionDenied | E::CrossesDevices | E::TooManyLinks) => {
            fs::copy(from, to)?;
            File::open(to)?.sync_all()
        }
        done => done,
    }
}

struct Sink {
    writer: SsTableWriter,
    folder: PathBuf,
}

impl FileSink for Sink {
    fn push(&mut self, record: &Record<'_>) -> Result<()> {
        self.writer.push(record)
    }

    fn bytes(&self) -> u64 {
        self.writer.bytes()
    }

    fn finish(self: Box<Self>) -> Result<Finished> {
        let written = self.writer.finish()?;
        Ok(Finished {
            files: written.files.iter().map(|(name, _)| self.folder.join(name)).collect(),
            bytes: written.files.iter().map(|(_, length)| length).sum(),
            rows: written.rows,
            newest: written.times.map(|(_, newest)| newest),
            capped: written.capped,
        })
    }
}

/// For what none of the folders that are written holds.
struct Nowhere;

impl FileSink for Nowhere {
    fn push(&mut self, _: &Record<'_>) -> Result<()> {
        Ok(())
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn finish(self: Box<Self>) -> Result<Finished> {
        Ok(Finished::default())
    }
}
