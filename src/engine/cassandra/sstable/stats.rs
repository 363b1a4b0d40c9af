//! `Statistics.db`: the header without which the rows cannot be read, and facts about them.
//!
//! ```text
//! file   = n u32 │ crc │ n × (type u32 │ offset u32) │ crc of all before but the first crc │ n × (component │ crc)
//!          before `na` without any crc
//! header = min time, min local deletion time, min ttl (vint, from the epoch below) │ key type │ clustering types
//!        │ static columns │ regular columns, each with its type; types as class names of `org.apache.cassandra.db.marshal`
//! ```
//! Sources: `MetadataSerializer`, `ValidationMetadata`, `StatsMetadata`, `SerializationHeader`, `EncodingStats`.

use crate::engine::cassandra::types;

use super::cursor::{Cursor, Fault, Parsed};
use super::key;
use super::layout::ClusteringColumn;
use super::name::Revision;

/// Largest `Statistics.db` that is read; real ones have some kilobytes.
pub const STATISTICS_MAX: u64 = 64 << 20;

/// 2015-09-22 UTC in microseconds, from which the header counts its smallest write time.
const TIME_EPOCH: i64 = 1_442_880_000_000_000;
/// The same in seconds, for the smallest local deletion time.
const DELETION_EPOCH: i64 = 1_442_880_000;

/// The local deletion time of what is neither deleted nor expires (source: `Cell.NO_DELETION_TIME`).
pub const NEVER: i64 = i64::MAX;

const VALIDATION: u32 = 0;
const STATS: u32 = 2;
const HEADER: u32 = 3;

/// A column as the file's header names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderColumn {
    /// Name.
    pub name: String,
    /// Class name of its type with parameters.
    pub marshal: String,
}

/// What is needed to read the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Microseconds; write times are stored as differences to it.
    pub min_time: i64,
    /// Seconds; local deletion times are stored as differences to it.
    pub min_ldt: i64,
    /// Seconds; times to live are stored as differences to it.
    pub min_ttl: i64,
    /// Type of the partition key.
    pub key: String,
    /// Types of the clustering columns; `ReversedType(…)` where descending.
    pub clustering: Vec<String>,
    /// Static columns in the order in which rows store them.
    pub statics: Vec<HeaderColumn>,
    /// Regular columns in the order in which rows store them.
    pub regulars: Vec<HeaderColumn>,
}

/// Facts about the rows, as Cassandra counted them.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// Smallest and largest write time, microseconds.
    pub times: (i64, i64),
    /// Smallest and largest local deletion time, seconds; [`NEVER`] for cells that never expire.
    pub ldts: (i64, i64),
    /// Smallest and largest time to live, seconds.
    pub ttls: (i32, i32),
    /// Level of leveled compaction.
    pub level: i32,
    /// Milliseconds; 0 where the file was never repaired.
    pub repaired_at: i64,
    /// Counters written before 2.1, in local or remote shards.
    pub legacy_counter_shards: bool,
    /// Rows in the file.
    pub rows: i64,
    /// The node that wrote the file, which after streaming is not the one that holds it.
    pub origin: Option<[u8; 16]>,
    /// What only `oa` counts.
    pub more: Option<More>,
}

/// Statistics that came with `oa`.
#[derive(Debug, Clone, PartialEq)]
pub struct More {
    /// Whether a partition is deleted.
    pub partition_deletions: bool,
    /// Raw keys of the first and last partition.
    pub keys: (Vec<u8>, Vec<u8>),
    /// Part of the token ring that the node's ranges in the file cover.
    pub coverage: f64,
}

/// The parts of `Statistics.db` that matter here.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// That of the file.
    pub revision: Revision,
    /// Class name of the partitioner, which decides the order of partitions.
    pub partitioner: String,
    /// What is needed to read the rows.
    pub header: Header,
    /// Facts about the rows.
    pub stats: Stats,
}

/// Parses a whole `Statistics.db` and checks its checksums.
pub fn parse(file: &[u8], revision: Revision) -> Parsed<Statistics> {
    read(file, revision, revision >= Revision::Na)
}

/// Parses a whole `Statistics.db`, with or without checksums.
pub(super) fn read(file: &[u8], revision: Revision, checksums: bool) -> Parsed<Statistics> {
    let parts = parts(file, checksums)?;
    let part = |wanted| parts.iter().find(|(kind, _)| *kind == wanted).map(|(_, bytes)| *bytes);
    let validation = part(VALIDATION).ok_or(Fault::Bad("list of components (no validation)"))?;
    let stats = part(STATS).ok_or(Fault::Bad("list of components (no statistics)"))?;
    let header = part(HEADER).ok_or(Fault::Bad("list of components (no header)"))?;
    Ok(Statistics {
        revision,
        partitioner: Cursor::new(validation).utf()?.to_string(),
        header: parse_header(header)?,
        stats: parse_stats(stats, revision)?,
    })
}

/// The components by type; with checksums, each was checked.
fn parts(file: &[u8], checksums: bool) -> Parsed<Vec<(u32, &[u8])>> {
    let mut c = Cursor::new(file);
    let mut crc = crc32fast::Hasher::new();
    let count = c.u32()?;
    crc.update(&count.to_be_bytes());
    if checksums && c.u32()? != crc.clone().finalize() {
        return Err(Fault::Bad("checksum of the number of components"));
    }
    if count as usize > file.len() / 8 {
        return Err(Fault::Short);
    }
    let from = c.at();
    let mut places = Vec::with_capacity(count as usize);
    for _ in 0..count {
        places.push((c.u32()?, c.u32()? as usize));
    }
    crc.update(c.since(from));
    if checksums && c.u32()? != crc.finalize() {
        return Err(Fault::Bad("checksum of the list of components"));
    }
    let mut parts = Vec::with_capacity(places.len());
    for (i, (kind, start)) in places.iter().enumerate() {
        let end = places.get(i + 1).map_or(file.len(), |next| next.1);
        let part = file.get(*start..end).ok_or(Fault::Bad("offset of a component"))?;
        if !checksums {
            parts.push((*kind, part));
            continue;
        }
        let (bytes, crc) = part.split_last_chunk::<4>().ok_or(Fault::Short)?;
        if u32::from_be_bytes(*crc) != crc32fast::hash(bytes) {
            return Err(Fault::Bad("checksum of a component"));
        }
        parts.push((*kind, bytes));
    }
    Ok(parts)
}

fn parse_header(bytes: &[u8]) -> Parsed<Header> {
    let mut c = Cursor::new(bytes);
    let min_time = (c.vint()? as i64).wrapping_add(TIME_EPOCH);
    let min_ldt = i64::from(c.vint()? as i32).wrapping_add(DELETION_EPOCH);
    let min_ttl = i64::from(c.vint()? as i32);
    let key = text(&mut c)?;
    let clustering = list(&mut c, text)?;
    let statics = list(&mut c, column)?;
    let regulars = list(&mut c, column)?;
    // Cassandra counts nine bytes for a smallest local deletion time that it writes in five, and pads with zeros.
    if c.bytes(c.remaining())?.iter().any(|byte| *byte != 0) {
        return Err(Fault::Bad("end of the header"));
    }
    Ok(Header { min_time, min_ldt, min_ttl, key, clustering, statics, regulars })
}

fn text(c: &mut Cursor<'_>) -> Parsed<String> {
    let bytes = c.vbytes()?;
    std::str::from_utf8(bytes).map(str::to_string).map_err(|_| Fault::Bad("text"))
}

fn column(c: &mut Cursor<'_>) -> Parsed<HeaderColumn> {
    Ok(HeaderColumn { name: text(c)?, marshal: text(c)? })
}

fn list<T>(c: &mut Cursor<'_>, item: impl Fn(&mut Cursor<'_>) -> Parsed<T>) -> Parsed<Vec<T>> {
    let count = c.length()?;
    if count > c.remaining() {
        return Err(Fault::Short);
    }
    (0..count).map(|_| item(c)).collect()
}

fn parse_stats(bytes: &[u8], revision: Revision) -> Parsed<Stats> {
    let mut c = Cursor::new(bytes);
    for _histogram in 0..2 {
        let n = c.count(16)?;
        c.bytes(16 * n)?;
    }
    c.bytes(12)?; // commit log position up to which the file holds everything
    let times = (c.i64()?, c.i64()?);
    let ldts = (ldt(&mut c, revision)?, ldt(&mut c, revision)?);
    let ttls = (c.i32()?, c.i32()?);
    c.bytes(8 + 4)?; // compression ratio; size of the tombstone histogram
    let each = if revision >= Revision::Oa { 12 } else { 16 };
    let n = c.count(each)?;
    c.bytes(each * n)?;
    let level = c.i32()?;
    let repaired_at = c.i64()?;
    if revision >= Revision::Oa {
        skip_slice(&mut c)?;
    } else {
        for _bound in 0..2 {
            for _ in 0..c.count(2)? {
                c.short_bytes()?;
            }
        }
    }
    let legacy_counter_shards = c.u8()? != 0;
    c.bytes(8)?; // cells
    let rows = c.i64()?;
    if revision >= Revision::Mb {
        c.bytes(12)?; // commit log position from which on the file holds everything
    }
    if revision >= Revision::Mc {
        let n = c.count(24)?;
        c.bytes(24 * n)?;
    }
    if revision >= Revision::Na {
        if c.u8()? != 0 {
            c.bytes(16)?; // pending repair
        }
        c.u8()?; // transient
    }
    let has_origin = revision >= Revision::Nb || revision == Revision::Me;
    let origin = if has_origin && c.u8()? != 0 { c.bytes(16)?.first_chunk::<16>().copied() } else { None };
    let more = if revision >= Revision::Oa { Some(parse_more(&mut c)?) } else { None };
    Ok(Stats { times, ldts, ttls, level, repaired_at, legacy_counter_shards, rows, origin, more })
}

fn ldt(c: &mut Cursor<'_>, revision: Revision) -> Parsed<i64> {
    let four = c.i32()?;
    let (never, wide) =
        if revision >= Revision::Oa { (-1, i64::from(four as u32)) } else { (i32::MAX, i64::from(four)) };
    Ok(if four == never { NEVER } else { wide })
}

/// The rows that the file covers: types of the clustering columns, then two bounds.
fn skip_slice(c: &mut Cursor<'_>) -> Parsed<()> {
    let unsupported = Fault::Unsupported("type of a clustering column");
    let column = |class: &String| types::parse_clustering_class(class).map(ClusteringColumn::new);
    let columns: Vec<_> = list(c, text)?.iter().map(column).collect::<Result<_, _>>().map_err(|_| unsupported)?;
    key::skip_bound(c, &columns)?;
    key::skip_bound(c, &columns)
}

fn parse_more(c: &mut Cursor<'_>) -> Parsed<More> {
    let partition_deletions = c.u8()? != 0;
    let keys = (c.vbytes()?.to_vec(), c.vbytes()?.to_vec());
    let coverage = f64::from_bits(c.i64()? as u64);
    Ok(More { partition_deletions, keys, coverage })
}
