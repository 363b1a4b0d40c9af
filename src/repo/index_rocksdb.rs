//! The index in RocksDB, in the machine's cache directory. One process writes, others read at the same time.
//!
//! ```text
//! "c" │ chunk id 32        → places, each: source number u32 │ offset u32 │ length u32 │ position u16
//! "p" │ source number u32  → index name 48 │ pack name 49 │ size u32: a pack of an index object
//! "n" │ index name 48      → number of its first pack u32; the others follow
//! "i" │ index name 48      → length u32: this index object has been taken in, whole
//! "next"                   → the next source number u32
//! ```
//! Integers are little-endian. This is a cache of one machine, no part of the format: what is wrong is thrown away.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

use repo_format::id::{ChunkId, ObjectHash, SessionId};
use repo_format::index::{Index as IndexObject, IndexEntry};
use repo_format::names::{IndexName, PackName};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DataBlockIndexType, Direction, ErrorKind, IteratorMode, Options,
    WriteBatch,
};
use rustix::fs::{FlockOperation, flock};

use super::index::{Index, Place};
use crate::error::{Error, Kind, Result};
use crate::store::lock;

const WRITE_BUFFER: usize = 8 << 20;
const BLOCK_CACHE: usize = 16 << 20;
/// Chunks in one write.
const BATCH: usize = 4096;
const PLACE_LEN: usize = 14;
/// A session and a hash.
const NAME_LEN: usize = 48;

/// See the module.
pub struct RocksIndex {
    db: DB,
    /// Held by the one writer; a file of our own, because RocksDB's cannot be told from other errors.
    _lock: Option<File>,
    path: String,
    /// Held while an index object is taken in; the next source number.
    next: Mutex<u32>,
}

/// How to open the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Alone among writers; [`Kind::Busy`] while another process writes. Made if missing.
    Write,
    /// Beside a writer; sees what was there at this moment. [`Kind::NotFound`] if there is none.
    Read,
}

impl RocksIndex {
    /// Opens the cache in the directory `path`.
    pub fn open(path: &Path, access: Access) -> Result<RocksIndex> {
        let shown = path.display().to_string();
        let lock = match access {
            Access::Write => Some(write_lock(path)?),
            Access::Read => None,
        };
        let options = options(access);
        let opened = match access {
            Access::Write => DB::open(&options, path),
            Access::Read if !path.join("CURRENT").exists() => {
                return Err(Error::new(Kind::NotFound, shown, "there is no index cache"));
            }
            Access::Read => open_beside_writer(&options, path),
        };
        let db = opened.map_err(|e| wrong(&shown, &e))?;
        let next = match db.get(b"next").map_err(|e| wrong(&shown, &e))? {
            Some(bytes) => number(&bytes).ok_or_else(|| broken(&shown))?,
            None => 0,
        };
        Ok(RocksIndex { db, _lock: lock, path: shown, next: Mutex::new(next) })
    }

    /// Removes the cache, whatever state it is in; [`Kind::Busy`] while another process writes to it.
    pub fn destroy(path: &Path) -> Result<()> {
        let _lock = write_lock(path)?;
        match std::fs::remove_dir_all(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path.display(), e)),
            _ => Ok(()),
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<rocksdb::DBPinnableSlice<'_>>> {
        self.db.get_pinned(key).map_err(|e| wrong(&self.path, &e))
    }

    fn source(&self, number: &[u8]) -> Result<(IndexName, PackName)> {
        let names = self.get(&key(b'p', number))?.ok_or_else(|| broken(&self.path))?;
        split_source(&names).map(|(index, pack, _)| (index, pack)).ok_or_else(|| broken(&self.path))
    }

    fn write(&self, batch: WriteBatch) -> Result<()> {
        self.db.write(batch).map_err(|e| wrong(&self.path, &e))
    }

    /// The number of the first pack of an index object; the rest follow. Numbers taken before a crash serve again.
    fn number_sources(&self, next: &mut u32, name: &IndexName, packs: &[(PackName, u32)]) -> Result<u32> {
        let index = join_name(&name.session, &name.hash);
        if let Some(bytes) = self.get(&key(b'n', &index))? {
            return number(&bytes).ok_or_else(|| broken(&self.path));
        }
        let first = *next;
        let mut batch = WriteBatch::default();
        batch.put(key(b'n', &index), first.to_le_bytes());
        for (n, (pack, size)) in (first..).zip(packs) {
            let pack = pack.to_bytes();
            batch.put(key(b'p', &n.to_le_bytes()), [&index[..], &pack[..], &size.to_le_bytes()[..]].concat());
        }
        *next += packs.len() as u32;
        batch.put(b"next", next.to_le_bytes());
        self.write(batch)?;
        Ok(first)
    }
}

impl Index for RocksIndex {
    fn find(&self, id: &ChunkId, visit: &mut dyn FnMut(Place) -> bool) -> Result<bool> {
        let Some(places) = self.get(&key(b'c', &id.0))? else { return Ok(false) };
        if !places.len().is_multiple_of(PLACE_LEN) {
            return Err(broken(&self.path));
        }
        for place in places.chunks_exact(PLACE_LEN) {
            let word = |at: usize| number(&place[at..at + 4]).unwrap_or(0);
            let (source, pack) = self.source(&place[..4])?;
            let found = Place {
                source,
                pack,
                offset: word(4),
                length: word(8),
                position: u16::from_le_bytes([place[12], place[13]]),
            };
            if visit(found) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn add(&self, name: &IndexName, object: &IndexObject) -> Result<()> {
        let mark = key(b'i', &join_name(&name.session, &name.hash));
        let mut next = lock(&self.next);
        if self.get(&mark)?.is_some() {
            return Ok(());
        }
        let packs = &object.head().packs;
        let first = self.number_sources(&mut next, name, packs)?;
        let numbers: HashMap<PackName, u32> = packs.iter().zip(first..).map(|((pack, _), n)| (*pack, n)).collect();
        let mut batch = WriteBatch::default();
        let mut last: Option<ChunkId> = None;
        let mut places = Vec::new();
        for entry in object.iter() {
            // One chunk's places follow one another.
            if last != Some(entry.id) {
                if batch.len() >= BATCH {
                    self.write(std::mem::take(&mut batch))?;
                }
                places.clear();
                if let Some(old) = self.get(&key(b'c', &entry.id.0))? {
                    places.extend_from_slice(&old);
                }
                last = Some(entry.id);
            }
            let number = numbers.get(&entry.pack).copied().ok_or_else(|| broken(&self.path))?;
            let bytes = pack_place(number, &entry);
            if !places.chunks_exact(PLACE_LEN).any(|p| p == bytes) {
                places.extend_from_slice(&bytes);
                batch.put(key(b'c', &entry.id.0), &places);
            }
        }
        batch.put(mark, u32::try_from(object.object_len()).unwrap_or(u32::MAX).to_le_bytes());
        self.write(batch)
    }

    fn names(&self) -> Result<HashMap<IndexName, u64>> {
        let mut names = HashMap::new();
        for item in self.db.iterator(IteratorMode::From(b"i", Direction::Forward)) {
            let (key, length) = item.map_err(|e| wrong(&self.path, &e))?;
            let Some(name) = key.strip_prefix(b"i") else { break };
            let (session, hash) = split_name(name).ok_or_else(|| broken(&self.path))?;
            let length = number(&length).ok_or_else(|| broken(&self.path))?;
            names.insert(IndexName { session, hash }, u64::from(length));
        }
        Ok(names)
    }

    fn packs(&self, visit: &mut dyn FnMut(&IndexName, &PackName, u32)) -> Result<()> {
        for item in self.db.iterator(IteratorMode::From(b"p", Direction::Forward)) {
            let (key, names) = item.map_err(|e| wrong(&self.path, &e))?;
            if !key.starts_with(b"p") {
                break;
            }
            let (index, pack, size) = split_source(&names).ok_or_else(|| broken(&self.path))?;
            visit(&index, &pack, size);
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.db.property_int_value("rocksdb.estimate-live-data-size").ok().flatten().unwrap_or(0)
    }
}

/// A writer may remove a file between our reading its name and opening it: then we look again.
fn open_beside_writer(options: &Options, path: &Path) -> std::result::Result<DB, rocksdb::Error> {
    for _ in 0..4 {
        if let Ok(db) = DB::open_for_read_only(options, path, false) {
            return Ok(db);
        }
    }
    DB::open_for_read_only(options, path, false)
}

/// Beside the directory, so that it outlives it.
fn write_lock(path: &Path) -> Result<File> {
    let lock = path.with_extension("lock");
    let wrong = |e| Error::io(lock.display(), e);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(wrong)?;
    }
    let file = File::options().create(true).append(true).open(&lock).map_err(wrong)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(Error::new(Kind::Busy, path.display(), "another process writes to the index cache")),
    }
}

fn options(access: Access) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE));
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // Chunks are looked up one by one.
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    let mut options = Options::default();
    options.create_if_missing(access == Access::Write);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(WRITE_BUFFER);
    options.set_max_write_buffer_number(2);
    // A reader opens every file at once: those that the writer then compacts away stay readable to it.
    options.set_max_open_files(if access == Access::Read { -1 } else { 64 });
    options.set_keep_log_file_num(2);
    options.set_stats_dump_period_sec(0);
    options.set_skip_stats_update_on_db_open(true);
    options.increase_parallelism(1);
    options
}

fn pack_place(source: u32, entry: &IndexEntry) -> [u8; PLACE_LEN] {
    let mut bytes = [0; PLACE_LEN];
    bytes[..4].copy_from_slice(&source.to_le_bytes());
    bytes[4..8].copy_from_slice(&entry.frame_offset.to_le_bytes());
    bytes[8..12].copy_from_slice(&entry.frame_length.to_le_bytes());
    bytes[12..].copy_from_slice(&entry.position.to_le_bytes());
    bytes
}

fn key(tag: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(tag);
    key.extend_from_slice(rest);
    key
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_le_bytes)
}

fn join_name(session: &SessionId, hash: &ObjectHash) -> Vec<u8> {
    [&session.0[..], &hash.0[..]].concat()
}

fn split_name(bytes: &[u8]) -> Option<(SessionId, ObjectHash)> {
    let (session, hash) = bytes.split_first_chunk::<16>()?;
    Some((SessionId(*session), ObjectHash(hash.try_into().ok()?)))
}

fn split_source(bytes: &[u8]) -> Option<(IndexName, PackName, u32)> {
    let (index, rest) = bytes.split_first_chunk::<NAME_LEN>()?;
    let (pack, size) = rest.split_first_chunk::<{ PackName::LEN }>()?;
    let (session, hash) = split_name(index)?;
    Some((IndexName { session, hash }, PackName::from_bytes(pack).ok()?, number(size)?))
}

fn broken(path: &str) -> Error {
    Error::damaged(path, "the index cache contradicts itself")
        .hint("delete this directory: it is built again from the repository")
}

fn wrong(path: &str, e: &rocksdb::Error) -> Error {
    match e.kind() {
        ErrorKind::Busy | ErrorKind::TryAgain => Error::new(Kind::Busy, path, e),
        ErrorKind::IOError if e.as_ref().contains("No space") => Error::new(Kind::Full, path, e),
        _ => Error::damaged(path, e).hint("delete this directory: it is built again from the repository"),
    }
}
