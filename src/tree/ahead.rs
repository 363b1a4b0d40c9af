//! What lies beside leaves is asked for before the reader comes to it.
//!
//! Memory: 40 bytes for each blob beside the leaves that are known. What is fetched lies in the memory that the source keeps
//! anyway, so no more than [`AHEAD_BYTES`] is asked for at a time.

use std::collections::VecDeque;

use repo_format::leaf::{LeafReader, beside};

use crate::blob::{self, BlobRef};
use crate::error::Result;
use crate::run::ChunkSource;

/// Bytes of values that are asked for ahead of the reader: a quarter of what a source keeps opened.
const AHEAD_BYTES: u64 = 8 << 20;

/// The blobs beside some leaves that the reader has not come to, in the order in which it does.
#[derive(Default)]
pub(super) struct Ahead {
    blobs: VecDeque<BlobRef>,
    /// So many of them were asked for.
    asked: usize,
    /// Bytes of these.
    bytes: u64,
}

impl Ahead {
    /// Adds those of a leaf's records with keys in `[from, to)`.
    pub fn add(&mut self, leaf: &[u8], from: &[u8], to: Option<&[u8]>) -> Result<()> {
        let mut leaf = LeafReader::new(leaf)?;
        let mut body = Vec::new();
        while leaf.next_key()?.is_some() {
            let key = leaf.key();
            if to.is_some_and(|to| key >= to) {
                break;
            }
            let wanted = key >= from;
            body.clear();
            if let (_, true) = leaf.body(&mut body)? {
                self.blobs.extend(beside(&body)?.into_iter().filter(|_| wanted));
            }
        }
        Ok(())
    }

    /// Asks for as much as may be asked for. Whether more could be, if more were known.
    pub fn ask(&mut self, chunks: &dyn ChunkSource) -> bool {
        while let Some(blob) = self.blobs.get(self.asked) {
            let bytes = self.bytes.saturating_add(blob.length);
            // What is not as it should be is told when it is read.
            if bytes > AHEAD_BYTES || blob::ask(blob, chunks).is_err() {
                return false;
            }
            self.bytes = bytes;
            self.asked += 1;
        }
        true
    }

    /// The next `count` blobs are read now: asks for what comes behind them.
    pub fn step(&mut self, count: usize, chunks: &dyn ChunkSource) {
        for blob in self.blobs.drain(..count.min(self.blobs.len())) {
            if let Some(asked) = self.asked.checked_sub(1) {
                (self.asked, self.bytes) = (asked, self.bytes - blob.length);
            }
        }
        self.ask(chunks);
    }
}
