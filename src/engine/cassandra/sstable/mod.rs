//! Reading SSTables: one file group in, one run of records out.
//!
//! Read in this order: [`name`] (which files), [`stats`] (the header), [`layout`] (what of it the rows need),
//! [`chunks`] over `input` and [`codec`] (plain bytes), [`run`] (partitions, `markers`) over [`key`], [`rows`] and
//! [`cells`]; [`piece`] over [`seek`] (a range of keys, by the index).
//!
//! Understood: format `big` in versions `ma` to `me` (3.x), `na`, `nb` (4.0, 4.1, and 5.0 as it comes) and `oa` (5.0 without
//! compatibility), and format `bti`, version `da`. Everything else is refused by name, so that the caller can keep the
//! files byte for byte. Every byte that reaches a record was checked against a checksum; but before `na` the statistics
//! have none.
//!
//! Decisions, where the format leaves one:
//! - A row that stands twice in its partition, as upgrades from 2.x left them, is one: merged as two files' would be.
//! - Without `CRC.db`, `Digest.crc32` decides; where there are checksums of chunks too, they decide, and it is compared.
//! - A row without liveness, deletion and cells gives no record: Cassandra skips it on reading too.
//! - A deletion with the least time is none, whatever its local deletion time.
//! - A local deletion time that the version cannot hold (in `nb` an `i32`) is [`cells::INVALID_LDT`], as Cassandra 5 reads it.
//! - Two bounds on one position are one marker, and a marker that changes nothing is left out.

mod agree;
pub mod cells;
pub mod chunks;
pub mod codec;
pub mod cursor;
pub mod digest;
pub mod files;
pub mod fuzzing;
mod input;
pub mod key;
pub mod layout;
mod markers;
pub mod name;
pub mod piece;
mod push;
pub mod rows;
pub mod run;
pub mod seek;
pub mod stats;
pub mod write;

use std::sync::Arc;

use crate::engine::cassandra::comparable;
use crate::engine::cassandra::schema::Table;
use crate::error::{Error, Kind, Result};
use crate::volume::{Place, Pooled, if_there};

pub use digest::Remark;
pub use files::{Files, READ_BUFFER};
pub use name::{Component, Descriptor, Generation, Revision, Version, old};
pub use run::SsTableRun;
pub use stats::Statistics;

use cursor::Cursor;
use digest::Seal;
use layout::Layout;

/// The only order of partitions that records can have.
const PARTITIONER: &str = "org.apache.cassandra.dht.Murmur3Partitioner";
const PARTITIONERS: &str = "org.apache.cassandra.dht.";

/// An SSTable whose header was read and understood.
#[derive(Debug, Clone)]
pub struct SsTable {
    folder: Place,
    descriptor: Descriptor,
    statistics: Statistics,
    layout: Arc<Layout>,
}

impl SsTable {
    /// Reads the header of the SSTable `descriptor` in `folder`, which belongs to `table`.
    ///
    /// Errors name the file: `Unsupported` where its version, partitioner, a type, a column or a kind of counter is not
    /// understood, `Damaged` where a checksum or a structure is wrong, `NotFound` where a file is missing.
    pub fn open(folder: &Place, descriptor: &Descriptor, table: &Table) -> Result<SsTable> {
        let (statistics, file) = read_statistics(folder, descriptor)?;
        let unsupported = |what: String| Err(Error::new(Kind::Unsupported, &file, what));
        if statistics.partitioner != PARTITIONER {
            let class = statistics.partitioner.as_str();
            let name = class.strip_prefix(PARTITIONERS).unwrap_or(class);
            return unsupported(format!("partitioner {name} is not supported (only Murmur3Partitioner is)"));
        }
        if statistics.stats.legacy_counter_shards {
            return unsupported("holds counters in local or remote shards, from before 2.1".to_string());
        }
        let layout = Layout::new(&statistics.header, statistics.revision, table, &file)?;
        let (folder, descriptor) = (folder.clone(), descriptor.clone());
        Ok(SsTable { folder, descriptor, statistics, layout: Arc::new(layout) })
    }

    /// Header and statistics.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The file with the rows.
    pub fn data(&self) -> Place {
        self.place(Component::Data)
    }

    /// Starts reading the rows; `buffer` bytes of `Data.db` are read at a time. Needs about `buffer`, two chunks and
    /// twice the largest row of memory.
    pub fn run(&self, buffer: usize) -> Result<SsTableRun> {
        self.run_through(&Files::alone(buffer))
    }

    /// Starts reading the rows through `files`, which are shared with other SSTables.
    pub fn run_through(&self, files: &Arc<Files>) -> Result<SsTableRun> {
        self.run_of(files, self.open_data(files)?, true)
    }

    /// Starts reading `data`, the file with the rows; `sealed`: at its end it is judged.
    fn run_of(&self, files: &Arc<Files>, data: Arc<Pooled>, sealed: bool) -> Result<SsTableRun> {
        let digest = if sealed { digest::read(&self.place(Component::Digest))? } else { None };
        let (source, bare) = self.source(files, data)?;
        let (name, layout) = (self.data().to_string(), Arc::clone(&self.layout));
        Ok(SsTableRun::new(source, name, layout, Seal { digest, bare: bare && sealed }))
    }

    fn open_data(&self, files: &Arc<Files>) -> Result<Arc<Pooled>> {
        Pooled::open(&files.pool, &self.data()).map(Arc::new)
    }

    /// Another file of the SSTable, by the last part of its name.
    fn beside(&self, name: &str) -> Place {
        self.folder.join(format!("{}-{name}", self.descriptor))
    }

    /// What all keys of the first partition begin with; `None` where there is none. Reads the first chunk, so that
    /// an SSTable which cannot be read at all is found out.
    pub fn first_group(&self) -> Result<Option<Vec<u8>>> {
        let files = Files::alone(files::READ_LEAST);
        let (mut source, _) = self.source(&files, self.open_data(&files)?)?;
        let mut window = Vec::new();
        loop {
            if let Ok(key) = Cursor::new(&window).short_bytes() {
                let mut group = Vec::new();
                comparable::put_group(&mut group, key);
                return Ok(Some(group));
            }
            if source.next_chunk(&mut window)? == 0 {
                // An end in the middle of the key is told when the rows are read.
                return Ok(None);
            }
        }
    }

    fn place(&self, component: Component) -> Place {
        self.folder.join(self.descriptor.file(component))
    }

    /// The plain bytes of `Data.db`, and whether they have no checksums beside them, as other programs write it: Cassandra
    /// reads them without. Damaged: the file is compressed, as `TOC.txt` says, and how is missing.
    fn source(&self, files: &Arc<Files>, data: Arc<Pooled>) -> Result<(Box<dyn chunks::Source>, bool)> {
        let revision = self.statistics.revision;
        let beside = |component| if_there(Pooled::open(&files.pool, &self.place(component)));
        if let Some(info) = beside(Component::CompressionInfo)? {
            return Ok((chunks::open_packed(files, data, info, revision)?, false));
        }
        if let Some(crc) = beside(Component::Crc)? {
            return Ok((chunks::open_plain(files, data, crc)?, false));
        }
        match if_there(read_toc(&self.place(Component::Toc)))? {
            Some(toc) if names_component(&toc, Component::CompressionInfo) => {
                Err(Error::damaged(self.data(), "its CompressionInfo.db is not there"))
            }
            _ => Ok((chunks::open_bare(files, data), true)),
        }
    }
}

/// Largest `TOC.txt` that is read, bytes: a larger one is none.
const TOC_MAX: u64 = 64 << 10;

/// The lines of a `TOC.txt`; none where it is too large.
pub fn read_toc(place: &Place) -> Result<String> {
    match place.read(TOC_MAX) {
        Err(e) if e.kind() == Kind::TooLarge => Ok(String::new()),
        read => Ok(String::from_utf8_lossy(&read?).into_owned()),
    }
}

/// Whether a `TOC.txt` names a component.
pub fn names_component(toc: &str, component: Component) -> bool {
    toc.lines().any(|line| Component::parse(line.trim()) == component)
}

/// Reads and checks `Statistics.db`. Returns it with the name of the file, for errors.
pub fn read_statistics(folder: &Place, descriptor: &Descriptor) -> Result<(Statistics, String)> {
    let place = folder.join(descriptor.file(Component::Statistics));
    let file = place.to_string();
    let revision = Revision::of(descriptor, &file)?;
    let statistics = stats::parse(&place.read(stats::STATISTICS_MAX)?, revision).map_err(|fault| fault.at(&file))?;
    Ok((statistics, file))
}
