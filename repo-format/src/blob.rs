//! Blobs (SPEC "Blobs"): a large value or an opaque file as a list of chunks.
//!
//! ```text
//! list = level u8 │ count varint │ count × (id 32 │ length varint)
//! ref  = length varint │ id 32
//! ```
//! A list of level 0 names data chunks, one of level n lists of level n - 1. Every list but the last of its level is
//! full, so that equal bytes give an equal root.

use crate::error::{FormatError, Result};
use crate::id::ChunkId;
use crate::wire::{Put, Reader};

/// Entries of a full list.
pub const BLOB_FANOUT: usize = 1024;
/// The highest level: more than 2^64 bytes of the smallest chunks never need another.
pub const BLOB_LEVEL_MAX: u8 = 6;

/// A blob: its length in bytes and the chunk (kind blob list) that is its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlobRef {
    /// Bytes in all.
    pub length: u64,
    /// The root list.
    pub root: ChunkId,
}

impl BlobRef {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.put_varint(self.length);
        out.extend_from_slice(&self.root.0);
    }

    /// Reads it.
    pub fn read(r: &mut Reader<'_>) -> Result<BlobRef> {
        Ok(BlobRef { length: r.varint()?, root: ChunkId(r.array()?) })
    }
}

/// The body of a chunk of kind blob list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobList {
    /// 0: the entries are data chunks.
    pub level: u8,
    /// Each entry and how many bytes of the blob lie under it.
    pub entries: Vec<BlobRef>,
}

impl BlobList {
    /// Bytes of the blob under it; `None` when that is no sensible number.
    pub fn length(&self) -> Option<u64> {
        self.entries.iter().try_fold(0u64, |sum, e| sum.checked_add(e.length))
    }

    /// As a chunk.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.entries.len() * 36);
        out.push(self.level);
        out.put_varint(self.entries.len() as u64);
        for entry in &self.entries {
            out.extend_from_slice(&entry.root.0);
            out.put_varint(entry.length);
        }
        out
    }

    /// From a chunk.
    pub fn parse(bytes: &[u8]) -> Result<BlobList> {
        let mut r = Reader::new(bytes, "blob list");
        let level = r.u8()?;
        if level > BLOB_LEVEL_MAX {
            return Err(FormatError::TooLarge("level of a blob list"));
        }
        let count = r.count(33)?;
        if count > BLOB_FANOUT {
            return Err(FormatError::TooLarge("blob list"));
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(BlobRef { root: ChunkId(r.array()?), length: r.varint()? });
        }
        r.end()?;
        let list = BlobList { level, entries };
        list.length().ok_or(FormatError::Invalid("length of a blob"))?;
        Ok(list)
    }
}
