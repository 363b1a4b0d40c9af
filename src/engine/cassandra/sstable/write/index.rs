//! `Index.db`, with an index of the rows within large partitions, and `Summary.db`.
//!
//! ```text
//! Index.db   = partitions × (key length u16 │ key │ position vint │ size vint │ [rows])
//! rows       = length of the head vint │ deletion │ blocks vint │ blocks │ blocks × (offset u32)
//! block      = first prefix │ last prefix │ offset vint │ width - 64 KiB signed vint │ open u8 │ [open deletion]
//! Summary.db = interval u32 │ n u32 │ bytes u64 │ level u32 │ n at full level u32 │ n × (offset u32, little-endian)
//!            │ n × (key │ position in Index.db u64, little-endian) │ first and last key, each after its length u32
//! ```
//! Sources: `BigTableWriter.IndexWriter`, `BigFormatPartitionWriter`, `RowIndexEntry`, `IndexInfo`, `IndexSummaryBuilder`,
//! `IndexSummary.IndexSummarySerializer`, `IndexSummaryComponent`.

use std::path::Path;

use crate::error::{Error, Kind, Result};

use super::super::cells::Deletion;
use super::output::Output;
use super::put;
use super::times::Times;

/// What widths of blocks are differences to (`IndexInfo.Serializer.WIDTH_BASE`).
const WIDTH_BASE: i64 = 64 << 10;
/// Bytes that the blocks of a partition may take.
const BLOCKS_MAX: usize = 4 << 20;
/// The sampling level of a summary that was never thinned out (`Downsampling.BASE_SAMPLING_LEVEL`).
const FULL_LEVEL: u32 = 128;
/// Bytes of a summary; a larger one is left out, and Cassandra makes it when it opens the file.
const SUMMARY_MAX: usize = 64 << 20;

/// A piece of a partition.
struct Block {
    first: Vec<u8>,
    last: Vec<u8>,
    /// From the partition's start, bytes.
    offset: u64,
    width: u64,
    /// The range deletion that holds at its end.
    open: Option<Deletion>,
}

impl Block {
    fn size(&self) -> usize {
        self.first.len() + self.last.len() + 48
    }
}

/// Rows of the partition that is being written, in blocks.
pub struct Blocks {
    list: Vec<Block>,
    /// About what `list` takes, bytes, and may take.
    size: usize,
    most: usize,
    /// Bytes of a block in this partition, and at first.
    length: u64,
    first_length: u64,
    /// Block that is being filled: its first prefix and where it starts.
    start: Option<u64>,
    first: Vec<u8>,
    last: Vec<u8>,
}

impl Blocks {
    /// Blocks of `length` bytes; twice as long, and again, in a partition whose blocks would take more than `most` bytes.
    pub fn new(length: usize, most: usize) -> Blocks {
        let length = length.max(1) as u64;
        let (list, first, last) = (Vec::new(), Vec::new(), Vec::new());
        Blocks { list, size: 0, most, length, first_length: length, start: None, first, last }
    }

    /// A partition begins.
    pub fn clear(&mut self) {
        self.list.clear();
        self.size = 0;
        self.length = self.first_length;
        self.start = None;
    }

    /// Takes a row or marker in, from `start` to `end` in the partition. `kind` and `prefix` are its clustering, `open` what
    /// holds behind it; `can_end`: a block may end here.
    pub fn add(&mut self, kind: &[u8], prefix: &[u8], start: u64, end: u64, open: Option<Deletion>, can_end: bool) {
        let from = *self.start.get_or_insert_with(|| {
            self.first.clear();
            self.first.extend_from_slice(kind);
            self.first.extend_from_slice(prefix);
            start
        });
        self.last.clear();
        self.last.extend_from_slice(kind);
        self.last.extend_from_slice(prefix);
        if end - from >= self.length && can_end {
            self.end_block(end, open);
        }
    }

    fn end_block(&mut self, end: u64, open: Option<Deletion>) {
        let Some(offset) = self.start.take() else { return };
        let (first, last) = (self.first.clone(), self.last.clone());
        self.list.push(Block { first, last, offset, width: end - offset, open });
        self.size += self.list.last().map_or(0, Block::size);
        if self.size > self.most && self.list.len() > 2 {
            self.join();
        }
    }

    fn join(&mut self) {
        let mut joined: Vec<Block> = Vec::with_capacity(self.list.len() / 2 + 1);
        let mut blocks = std::mem::take(&mut self.list).into_iter();
        while let Some(block) = blocks.next() {
            joined.push(match blocks.next() {
                None => block,
                Some(next) => {
                    Block { first: block.first, offset: block.offset, width: block.width + next.width, ..next }
                }
            });
        }
        self.size = joined.iter().map(Block::size).sum();
        self.list = joined;
        self.length *= 2;
    }

    /// Appends the index of the partition, whose rows end at `end`; nothing but a size of 0 where one block holds all. `head` is
    /// the length of its head and static row, `deletion` its own.
    fn put(&mut self, out: &mut Vec<u8>, times: &Times, head: u64, deletion: Option<Deletion>, end: u64) {
        self.end_block(end, None);
        if self.list.len() < 2 {
            out.push(0);
            return;
        }
        let mut rows = Vec::with_capacity(self.size);
        put::vint(&mut rows, head);
        times.put_whole_deletion(&mut rows, deletion);
        put::vint(&mut rows, self.list.len() as u64);
        let mut offsets = Vec::with_capacity(4 * self.list.len());
        let from = rows.len();
        for block in &self.list {
            offsets.extend_from_slice(&((rows.len() - from) as u32).to_be_bytes());
            rows.extend_from_slice(&block.first);
            rows.extend_from_slice(&block.last);
            put::vint(&mut rows, block.offset);
            put::signed_vint(&mut rows, block.width as i64 - WIDTH_BASE);
            rows.push(u8::from(block.open.is_some()));
            if block.open.is_some() {
                times.put_whole_deletion(&mut rows, block.open);
            }
        }
        rows.extend_from_slice(&offsets);
        put::vbytes(out, &rows);
    }
}

/// Writes `Index.db` and gathers the summary: of every `interval` keys one, about its length and 12 bytes.
pub struct Index {
    out: Output,
    entry: Vec<u8>,
    /// Rows of the partition that is being written.
    pub blocks: Blocks,
    interval: u32,
    keys: u64,
    offsets: Vec<u32>,
    sampled: Vec<u8>,
}

impl Index {
    /// Creates the file.
    pub fn create(path: &Path, interval: u32, block: usize) -> Result<Index> {
        let (out, interval, blocks) = (Output::create(path)?, interval.max(1), Blocks::new(block, BLOCKS_MAX));
        Ok(Index { out, entry: Vec::new(), blocks, interval, keys: 0, offsets: Vec::new(), sampled: Vec::new() })
    }

    /// A partition ends: its raw key, where it starts in `Data.db`, the length of its head, its deletion, and where its rows end.
    pub fn partition(
        &mut self,
        times: &Times,
        key: &[u8],
        position: u64,
        head: u64,
        deletion: Option<Deletion>,
        end: u64,
    ) -> Result<()> {
        if self.keys.is_multiple_of(u64::from(self.interval)) && self.sampled.len() <= SUMMARY_MAX {
            self.offsets.push(self.sampled.len() as u32);
            self.sampled.extend_from_slice(key);
            self.sampled.extend_from_slice(&self.out.position().to_le_bytes());
        }
        self.keys += 1;
        self.entry.clear();
        if !put::short_bytes(&mut self.entry, key) {
            let message = format_args!("a partition key of {} bytes; 65535 are the most", key.len());
            return Err(Error::new(Kind::TooLarge, self.out.path().display(), message));
        }
        put::vint(&mut self.entry, position);
        self.blocks.put(&mut self.entry, times, head, deletion, end);
        self.blocks.clear();
        self.out.write(&self.entry)
    }

    /// Number of partitions.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// Lets the file be read while it is still to be finished.
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush()
    }

    /// The content of `Summary.db`, unless it is too large.
    pub fn summary(&self, first: &[u8], last: &[u8]) -> Option<Vec<u8>> {
        if self.sampled.len() > SUMMARY_MAX {
            return None;
        }
        let offsets = 4 * self.offsets.len();
        let mut out = Vec::with_capacity(24 + offsets + self.sampled.len() + 8 + first.len() + last.len());
        out.extend_from_slice(&self.interval.to_be_bytes());
        out.extend_from_slice(&(self.offsets.len() as u32).to_be_bytes());
        out.extend_from_slice(&((offsets + self.sampled.len()) as u64).to_be_bytes());
        out.extend_from_slice(&FULL_LEVEL.to_be_bytes());
        out.extend_from_slice(&(self.keys.div_ceil(u64::from(self.interval)) as u32).to_be_bytes());
        for offset in &self.offsets {
            out.extend_from_slice(&(offset + offsets as u32).to_le_bytes());
        }
        out.extend_from_slice(&self.sampled);
        for key in [first, last] {
            out.extend_from_slice(&(key.len() as u32).to_be_bytes());
            out.extend_from_slice(key);
        }
        Some(out)
    }

    /// Brings the file to the disk. Returns its length.
    pub fn finish(self) -> Result<u64> {
        self.out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_are_too_many_are_joined_and_stay_whole() {
        let mut blocks = Blocks::new(100, 5_000);
        for i in 0..10_001_u64 {
            let open = (i % 3 == 0).then_some(Deletion { time: i as i64, ldt: 1 });
            blocks.add(&[4], &i.to_be_bytes(), 7 + i * 30, 37 + i * 30, open, true);
        }
        blocks.end_block(7 + 300_030, None);
        assert!(blocks.size <= 5_000 && blocks.list.len() > 10, "{} {}", blocks.size, blocks.list.len());
        let mut at = 7;
        for block in &blocks.list {
            let row = |prefix: &[u8]| u64::from_be_bytes(prefix[1..].try_into().unwrap());
            let (first, last) = (row(&block.first), row(&block.last));
            assert_eq!((block.offset, block.width), (at, (last + 1 - first) * 30));
            assert_eq!(block.open.map(|d| d.time), (last % 3 == 0).then_some(last as i64));
            at += block.width;
        }
        assert_eq!(at, 300_037);
        blocks.clear();
        assert_eq!((blocks.length, blocks.list.len()), (100, 0));
    }
}
