//! References (SPEC "References"): what hangs under a record, besides what the record itself says.
//!
//! ```text
//! reference = 1 u8 │ length varint │ id 32                              a blob
//!           = 2 u8 │ level u8 │ records varint │ blobs varint │ id 32   a tree
//!           = 3 u8 │ length varint │ id 32                              a chunk of data
//! ```
//! A reference is the value of a raw entry in a column from 1 on.

use crate::blob::BlobRef;
use crate::error::{FormatError, Result};
use crate::id::ChunkId;
use crate::limits::DATA_CHUNK_MAX;
use crate::record::{Entries, Entry, EntryKind};
use crate::tree::LEVEL_MAX;
use crate::wire::{Put, Reader};

const BLOB: u8 = 1;
const TREE: u8 = 2;
const CHUNK: u8 = 3;

/// The root of a tree, which is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeRef {
    /// The topmost chunk.
    pub id: ChunkId,
    /// 0: that chunk is a leaf.
    pub level: u8,
    /// Records in all.
    pub records: u64,
    /// Of these, the ones under which something hangs (SPEC "Trees").
    pub blobs: u64,
}

/// What a record refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// A blob.
    Blob(BlobRef),
    /// A tree.
    Tree(TreeRef),
    /// One chunk of data: a blob of one chunk, without the list that would name it.
    Chunk(BlobRef),
}

impl Reference {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        match self {
            Reference::Blob(blob) => {
                out.push(BLOB);
                blob.put(out);
            }
            Reference::Tree(tree) => {
                out.extend_from_slice(&[TREE, tree.level]);
                out.put_varint(tree.records);
                out.put_varint(tree.blobs);
                out.extend_from_slice(&tree.id.0);
            }
            Reference::Chunk(chunk) => {
                out.push(CHUNK);
                chunk.put(out);
            }
        }
    }

    /// Reads the value of an entry that is a reference.
    ///
    /// Errors: `Unsupported` for a kind that is not known; what is not the one encoding of a reference.
    pub fn parse(value: &[u8]) -> Result<Reference> {
        let mut r = Reader::new(value, "reference");
        let reference = match r.u8()? {
            BLOB => Reference::Blob(BlobRef::read(&mut r)?),
            CHUNK => {
                let chunk = BlobRef::read(&mut r)?;
                if chunk.length == 0 || chunk.length > DATA_CHUNK_MAX as u64 {
                    return Err(FormatError::Invalid("reference to a chunk"));
                }
                Reference::Chunk(chunk)
            }
            TREE => {
                let (level, records, blobs) = (r.u8()?, r.varint()?, r.varint()?);
                if level > LEVEL_MAX || records == 0 {
                    return Err(FormatError::Invalid("reference to a tree"));
                }
                Reference::Tree(TreeRef { id: ChunkId(r.array()?), level, records, blobs })
            }
            kind => return Err(FormatError::Unsupported(format!("kind {kind} of reference"))),
        };
        r.end()?;
        Ok(reference)
    }
}

/// Whether an entry of this kind and column is a reference.
#[inline]
pub fn is_reference(kind: EntryKind, column: u32) -> bool {
    kind == EntryKind::Raw && column > 0
}

/// The references of a body, each with its column, in the order of the columns.
pub fn references(body: &[u8]) -> impl Iterator<Item = Result<(u32, Reference)>> {
    let one = |entry: Entry<'_>| Reference::parse(entry.value.unwrap_or_default()).map(|r| (entry.column, r));
    let wanted = |entry: &Result<Entry<'_>>| entry.as_ref().map_or(true, |e| is_reference(e.kind, e.column));
    Entries::new(body).filter(wanted).map(move |entry| entry.and_then(one))
}
