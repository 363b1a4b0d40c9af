//! What `Statistics.db` says about the rows, counted while they are written, and the file itself.
//! Sources: `MetadataCollector`, `Rows.collectStats`, `StatsMetadata`, `MetadataSerializer`.

use repo_format::record::Entry;

use crate::engine::cassandra::comparable;
use crate::error::Result;

use super::super::PARTITIONER;
use super::super::cells::{Deletion, INVALID_LDT};
use super::super::name::Version;
use super::cardinality::Cardinality;
use super::clustering::{Bound, Components, put_bound_kind};
use super::histogram::{Drops, Sizes};
use super::layout::Layout;
use super::options::Options;
use super::put;
use super::times::Times;

/// Least and greatest of what came by; `None` where nothing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extremes<T>(Option<(T, T)>);

impl<T> Default for Extremes<T> {
    fn default() -> Extremes<T> {
        Extremes(None)
    }
}

impl<T: Ord + Copy> Extremes<T> {
    /// Takes a value in.
    #[inline]
    pub fn add(&mut self, value: T) {
        self.0 = match self.0 {
            None => Some((value, value)),
            Some((least, most)) => Some((least.min(value), most.max(value))),
        };
    }

    /// Least and greatest.
    pub fn get(&self) -> Option<(T, T)> {
        self.0
    }
}

/// The local deletion time of what is neither deleted nor expires; greater than any other.
const NEVER: u32 = u32::MAX;

/// Counts.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Microseconds.
    pub times: Extremes<i64>,
    /// Seconds; [`NEVER`] for what never expires.
    ldts: Extremes<u32>,
    /// Seconds; 0 for cells that do not expire.
    ttls: Extremes<u32>,
    drops: Drops,
    cells: u64,
    /// Rows, static ones among them.
    pub rows: u64,
    columns: u64,
    /// Partitions.
    pub partitions: u64,
    partition_sizes: Sizes,
    partition_cells: Sizes,
    partition_deletions: bool,
    keys: Cardinality,
    first_key: Vec<u8>,
    last_key: Vec<u8>,
    /// Parts of keys after the group: of the first and the last row or bound of all partitions.
    least: Vec<u8>,
    most: Vec<u8>,
}

impl Default for Facts {
    fn default() -> Facts {
        Facts {
            times: Extremes::default(),
            ldts: Extremes::default(),
            ttls: Extremes::default(),
            drops: Drops::default(),
            cells: 0,
            rows: 0,
            columns: 0,
            partitions: 0,
            partition_sizes: Sizes::new(155),
            partition_cells: Sizes::new(118),
            partition_deletions: false,
            keys: Cardinality::default(),
            first_key: Vec::new(),
            last_key: Vec::new(),
            least: Vec::new(),
            most: Vec::new(),
        }
    }
}

impl Facts {
    /// A deletion within a partition.
    pub fn deletion(&mut self, Deletion { time, ldt }: Deletion) {
        self.times.add(time);
        self.ldts.add(ldt);
        self.drops.add(ldt);
    }

    /// That of a partition.
    pub fn partition_deletion(&mut self, deletion: Deletion) {
        self.partition_deletions = true;
        self.deletion(deletion);
    }

    /// A cell or its tombstone.
    #[inline]
    pub fn cell(&mut self, cell: &Entry<'_>) {
        self.cells += 1;
        self.liveness(cell);
    }

    /// The liveness of a row.
    #[inline]
    pub fn liveness(&mut self, live: &Entry<'_>) {
        self.times.add(live.time);
        self.ttls.add(live.ttl);
        if live.expires() || live.kind == repo_format::record::EntryKind::Tombstone {
            self.ldts.add(live.ldt);
            self.drops.add(live.ldt);
        } else {
            self.ldts.add(NEVER);
        }
    }

    /// A row, with how many columns hold cells.
    pub fn row(&mut self, columns: u64) {
        self.rows += 1;
        self.columns += columns;
    }

    /// A partition that ends: its raw key, its bytes, and the parts after the group of the keys of its first and last row
    /// or bound, where it has any.
    pub fn partition(&mut self, key: &[u8], bytes: u64, first: &[u8], last: &[u8]) {
        self.partitions += 1;
        self.partition_sizes.add(bytes);
        self.partition_cells.add(std::mem::take(&mut self.cells));
        self.keys.add(key);
        if self.partitions == 1 {
            self.first_key = key.to_vec();
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        if !first.is_empty() && (self.least.is_empty() || first < &self.least[..]) {
            self.least = first.to_vec();
        }
        if last > &self.most[..] {
            self.most = last.to_vec();
        }
    }

    /// Raw keys of the first and the last partition.
    pub fn keys(&self) -> (&[u8], &[u8]) {
        (&self.first_key, &self.last_key)
    }

    /// The whole file. `ratio`: bytes of `Data.db` per plain byte; `None` where it is not compressed.
    pub fn file(&self, layout: &Layout, options: &Options, times: &Times, ratio: Option<f64>) -> Result<Vec<u8>> {
        let mut validation = Vec::new();
        put::utf(&mut validation, PARTITIONER);
        validation.extend_from_slice(&options.bloom_fp_chance.to_be_bytes());
        let mut compaction = Vec::new();
        self.keys.put(&mut compaction);
        let stats = self.stats(layout, options, ratio)?;
        let mut header = Vec::new();
        times.put_header(&mut header);
        layout.put_types(&mut header);
        Ok(assemble(&[validation, compaction, stats, header]))
    }

    fn stats(&self, layout: &Layout, options: &Options, ratio: Option<f64>) -> Result<Vec<u8>> {
        let version = options.version;
        let mut out = Vec::new();
        self.partition_sizes.put(&mut out);
        self.partition_cells.put(&mut out);
        put_no_position(&mut out); // up to there the commit log is in the file: it is no node's commit log
        let (least, most) = self.times.get().unwrap_or_default();
        out.extend_from_slice(&least.to_be_bytes());
        out.extend_from_slice(&most.to_be_bytes());
        let (least, most) = self.ldts.get().unwrap_or((NEVER, NEVER));
        out.extend_from_slice(&stored_ldt(least, version).to_be_bytes());
        out.extend_from_slice(&stored_ldt(most, version).to_be_bytes());
        let (least, most) = self.ttls.get().unwrap_or_default();
        out.extend_from_slice(&least.to_be_bytes());
        out.extend_from_slice(&most.to_be_bytes());
        out.extend_from_slice(&ratio.unwrap_or(-1.0).to_be_bytes());
        let latest = if version >= Version::Oa { INVALID_LDT - 1 } else { i32::MAX as u32 - 1 };
        self.drops.put(&mut out, version, latest);
        out.extend_from_slice(&options.level.to_be_bytes());
        out.extend_from_slice(&0_u64.to_be_bytes()); // never repaired
        self.put_covered(&mut out, layout, version)?;
        out.push(0); // no counters in local or remote shards
        out.extend_from_slice(&self.columns.to_be_bytes());
        out.extend_from_slice(&self.rows.to_be_bytes());
        put_no_position(&mut out);
        out.extend_from_slice(&0_u32.to_be_bytes()); // intervals of the commit log
        out.extend_from_slice(&[0, 0, 0]); // no pending repair, not transient, of no node
        if version >= Version::Oa {
            out.push(u8::from(self.partition_deletions));
            put::vbytes(&mut out, &self.first_key);
            put::vbytes(&mut out, &self.last_key);
            // Not known, as in what a flush writes: Cassandra takes it from the keys then.
            out.extend_from_slice(&f64::NAN.to_be_bytes());
        }
        Ok(out)
    }

    /// Bounds of all rows and range deletions, both inclusive: `nb` has no other.
    fn put_covered(&self, out: &mut Vec<u8>, layout: &Layout, version: Version) -> Result<()> {
        if version >= Version::Oa {
            layout.put_clustering_types(out);
        }
        for (suffix, bound) in [(&self.least, Bound::InclusiveStart), (&self.most, Bound::InclusiveEnd)] {
            let mut components = Components::default();
            if !suffix.is_empty() {
                let (_, key) = comparable::position(suffix)?;
                components.of_key(key, &layout.clustering)?;
            }
            if version >= Version::Oa {
                put_bound_kind(out, bound, components.len());
                components.put(out, &layout.clustering)?;
            } else {
                put_legacy_bound(out, &components);
            }
        }
        Ok(())
    }
}

/// Values up to the first that is null or too long to be written: fewer cover more.
fn put_legacy_bound(out: &mut Vec<u8>, components: &Components) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut count = 0_u32;
    for value in components.iter() {
        if !value.is_some_and(|value| put::short_bytes(out, value)) {
            break;
        }
        count += 1;
    }
    out[at..at + 4].copy_from_slice(&count.to_be_bytes());
}

fn stored_ldt(ldt: u32, version: Version) -> u32 {
    match ldt {
        _ if version >= Version::Oa => ldt,
        NEVER => i32::MAX as u32,
        _ => ldt.min(i32::MAX as u32 - 1),
    }
}

/// `CommitLogPosition.NONE`.
fn put_no_position(out: &mut Vec<u8>) {
    out.extend_from_slice(&(-1_i64).to_be_bytes());
    out.extend_from_slice(&0_u32.to_be_bytes());
}

/// Components in the order of their types, with their places and checksums.
fn assemble(components: &[Vec<u8>; 4]) -> Vec<u8> {
    let mut out = (components.len() as u32).to_be_bytes().to_vec();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&out);
    out.extend_from_slice(&crc.clone().finalize().to_be_bytes());
    let mut offset = 8 + 8 * components.len() + 4;
    for (kind, component) in components.iter().enumerate() {
        let place = (kind as u64) << 32 | offset as u64;
        crc.update(&place.to_be_bytes());
        out.extend_from_slice(&place.to_be_bytes());
        offset += component.len() + 4;
    }
    out.extend_from_slice(&crc.finalize().to_be_bytes());
    for component in components {
        out.extend_from_slice(component);
        out.extend_from_slice(&crc32fast::hash(component).to_be_bytes());
    }
    out
}
