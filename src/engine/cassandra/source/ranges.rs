//! A table read in ranges of tokens: where it may be cut, and one range of one SSTable.

use repo_format::murmur3;

use super::super::capture::CapturedSsTable;
use super::super::sstable::files::Reading;
use super::super::sstable::piece::{INDEX, Piece, SUMMARY};
use super::super::sstable::{Component, Descriptor};
use super::part::begins_later;
use super::{CapturedNodes, part};
use crate::engine::{Shard, Without};
use crate::error::Result;
use crate::run::{RecordBatch, Run};
use crate::watch::Watch;

/// Stored bytes of a `Data.db` that may be read from its start for every range: a look-up in the index costs as much as decoding
/// these, about 0.2 ms.
const SMALL: u64 = 64 << 10;

/// Whether ranges of an SSTable are found by its index; `None` where that takes reading it from its start, and it is too large
/// to be read so often.
pub fn by_index(s: &CapturedSsTable) -> Option<bool> {
    let has = |component| s.files.iter().any(|(c, _)| *c == component);
    let file = |name: &str| format!("{}-{name}", s.descriptor);
    let beside = |name| s.files.iter().any(|(_, f)| *f.place.file_name() == *file(name));
    let is_checked = has(Component::CompressionInfo) || has(Component::Crc);
    let data = s.files.iter().find(|(c, _)| *c == Component::Data).map_or(0, |(_, f)| f.length);
    match data > SMALL {
        true if is_big(&s.descriptor) && is_checked && beside(INDEX) && beside(SUMMARY) => Some(true),
        true => None,
        false => Some(false),
    }
}

fn is_big(descriptor: &Descriptor) -> bool {
    descriptor.format == "big"
}

impl CapturedNodes {
    /// Tokens at even distances, as the keys of all partitions from them on begin; none where a part of the shard cannot be read
    /// from them on.
    pub(super) fn cuts(&self, shard: &Shard, without: &Without, pieces: usize) -> Vec<Vec<u8>> {
        for (node, captured) in self.captured.iter().enumerate() {
            let tables = captured.capture.tables.iter().filter(|t| t.id == shard.id);
            let mut sstables = tables.flat_map(|t| &t.sstables);
            if sstables.any(|s| by_index(s).is_none() && !without.contains(&(node, part::name(s)))) {
                return Vec::new();
            }
        }
        let pieces = pieces as u128;
        (1..pieces).map(|n| murmur3::token_bytes(((n << 64) / pieces) as u64 as i64 ^ i64::MIN).to_vec()).collect()
    }
}

/// One range of an SSTable. Tells the watch how far it has been read, in bytes of the file.
pub struct Ranged<'a> {
    pub piece: Piece,
    pub reading: Reading,
    pub name: String,
    /// What no key of the file may come before; taken with the first batch.
    pub from: Option<Vec<u8>>,
    pub watch: &'a Watch,
    /// Of the whole file.
    pub bytes: u64,
    pub told: u64,
}

impl Run for Ranged<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        self.reading.limit(out);
        let more = self.piece.next_batch(out)?;
        if let Some(from) = self.from.take()
            && more
            && self.piece.is_first()
        {
            begins_later(&self.name, &from, out)?;
        }
        let done = self.piece.done(self.bytes);
        self.watch.advance(done.saturating_sub(self.told));
        self.told = self.told.max(done);
        Ok(more)
    }
}
