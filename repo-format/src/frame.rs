//! Frames (SPEC "Frames"): some chunks of one kind, compressed and sealed together.
//!
//! ```text
//! version u8 │ session 16 │ wrapped key 84 │ nonce 24 │ length u32 │ list hash 32
//!        │ sealed … │ tag 16                                                                (a multiple of 4 KiB)
//! sealed = kind u8 │ codec u8 │ stored u32 │ count varint │ count × (id 32 │ length varint) │ bytes │ zeros
//! ```

mod seal;

use crate::error::{FormatError, Result};
use crate::header::{self, NONCE_LEN, Nonce};
use crate::id::{ChunkId, ChunkKind, ObjectHash, SessionId};
use crate::key::{ChunkIdKey, ContentKey, WrappedKey, context};
use crate::limits::{CHUNK_MAX, FRAME_CHUNKS_MAX, FRAME_MAX, FRAME_PADDING, FRAME_PLAIN_MAX, VERSION};
use crate::wire::Reader;
use zstd::bulk::Decompressor;

pub use seal::Sealer;

/// Bytes before the sealed part. They are its associated data.
pub const FRAME_HEADER_LEN: usize = 1 + SessionId::LEN + WrappedKey::LEN + NONCE_LEN + 4 + 32;

/// The bytes are stored as they are.
const CODEC_RAW: u8 = 0;
/// The bytes are one zstd frame.
const CODEC_ZSTD: u8 = 1;

/// A chunk in a list: its id and the length of its plaintext in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: ChunkId,
    /// Plaintext length in bytes.
    pub length: u32,
}

/// The plaintext of a frame: chunks of one kind, one after the other.
#[derive(Debug, Clone)]
pub struct FramePlain {
    kind: ChunkKind,
    list: Vec<Listed>,
    bytes: Vec<u8>,
}

impl FramePlain {
    /// Of no chunks yet.
    pub fn new(kind: ChunkKind) -> FramePlain {
        FramePlain::with_capacity(kind, 0)
    }

    /// Of no chunks yet, with room for so many bytes.
    pub fn with_capacity(kind: ChunkKind, bytes: usize) -> FramePlain {
        FramePlain { kind, list: Vec::new(), bytes: Vec::with_capacity(bytes) }
    }

    /// Appends a chunk. `id` is trusted here and checked whenever the frame is opened.
    pub fn push(&mut self, id: ChunkId, plain: &[u8]) -> Result<()> {
        if plain.len() > CHUNK_MAX {
            return Err(FormatError::TooLarge("chunk"));
        }
        if self.list.len() >= FRAME_CHUNKS_MAX || self.bytes.len() + plain.len() > FRAME_PLAIN_MAX {
            return Err(FormatError::TooLarge("frame"));
        }
        self.list.push(Listed { id, length: plain.len() as u32 });
        self.bytes.extend_from_slice(plain);
        Ok(())
    }

    /// Whether it should be sealed: its plaintext has reached `target` bytes or it can take no more chunks.
    pub fn is_full(&self, target: u32) -> bool {
        self.bytes.len() >= target as usize || self.list.len() >= FRAME_CHUNKS_MAX
    }

    /// Kind of its chunks.
    pub fn kind(&self) -> ChunkKind {
        self.kind
    }

    /// Its chunks, in order.
    pub fn list(&self) -> &[Listed] {
        &self.list
    }

    /// Plaintext bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it holds no chunk.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Forgets the chunks, keeps the memory: for others of `kind`.
    pub fn clear_for(&mut self, kind: ChunkKind) {
        self.kind = kind;
        self.list.clear();
        self.bytes.clear();
    }
}

/// What a frame says without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// The session whose content key sealed it.
    pub session: SessionId,
    /// That key, wrapped: so a frame is opened with *read* and its own bytes.
    pub wrapped: WrappedKey,
    /// Nonce of the sealed part.
    pub nonce: Nonce,
    /// Length of the whole frame in bytes.
    pub length: u32,
    /// Hash of nonce, kind and list of chunks: what a holder of the list but not of the content key can check.
    pub list_hash: ObjectHash,
}

impl FrameHeader {
    /// From the start of a frame.
    pub fn parse(bytes: &[u8]) -> Result<FrameHeader> {
        let mut r = Reader::new(bytes, "frame header");
        let version = r.u8()?;
        if version > VERSION {
            return Err(FormatError::Unsupported(format!("frame version {version}")));
        }
        let (session, wrapped, nonce) = (SessionId(r.array()?), WrappedKey::read(&mut r)?, r.array()?);
        let length = r.u32()?;
        if length as usize > FRAME_MAX {
            return Err(FormatError::TooLarge("frame"));
        }
        if length == 0 || !(length as usize).is_multiple_of(FRAME_PADDING) {
            return Err(FormatError::Invalid("length of a frame"));
        }
        Ok(FrameHeader { session, wrapped, nonce, length, list_hash: ObjectHash(r.array()?) })
    }
}

/// The hash in a frame's header.
pub fn list_hash(nonce: &Nonce, kind: ChunkKind, list: &[Listed]) -> ObjectHash {
    let mut hasher = blake3::Hasher::new_derive_key(context::FRAME_LIST);
    hasher.update(nonce).update(&[kind as u8]);
    for chunk in list {
        hasher.update(&chunk.id.0).update(&chunk.length.to_le_bytes());
    }
    ObjectHash(*hasher.finalize().as_bytes())
}

/// Opens frames; keeps its decompressor and buffers between them.
pub struct Opener {
    zstd: Decompressor<'static>,
    sealed: Vec<u8>,
    plain: Vec<u8>,
    list: Vec<Listed>,
}

/// An opened frame: every chunk has been checked against its id.
#[derive(Debug, Clone, Copy)]
pub struct OpenFrame<'a> {
    kind: ChunkKind,
    list: &'a [Listed],
    bytes: &'a [u8],
}

impl<'a> OpenFrame<'a> {
    /// Kind of its chunks.
    pub fn kind(&self) -> ChunkKind {
        self.kind
    }

    /// Its chunks, in order.
    pub fn list(&self) -> &'a [Listed] {
        self.list
    }

    /// The chunks and their plaintexts, in order.
    pub fn chunks(&self) -> impl Iterator<Item = (ChunkId, &'a [u8])> + use<'a> {
        let mut rest = self.bytes;
        self.list.iter().map(move |chunk| {
            let (head, tail) = rest.split_at(rest.len().min(chunk.length as usize));
            rest = tail;
            (chunk.id, head)
        })
    }

    /// The plaintext of the chunk at `position`.
    pub fn chunk(&self, position: usize) -> Option<(ChunkId, &'a [u8])> {
        self.chunks().nth(position)
    }
}

impl Opener {
    /// With empty buffers.
    pub fn new() -> Result<Opener> {
        let zstd = Decompressor::new().map_err(|_| FormatError::Invalid("decompression context"))?;
        Ok(Opener { zstd, sealed: Vec::new(), plain: Vec::new(), list: Vec::new() })
    }

    /// Opens a whole frame and checks everything in it: tag, list, padding, and each chunk against its id.
    pub fn open(&mut self, key: &ContentKey, ids: &ChunkIdKey, frame: &[u8]) -> Result<OpenFrame<'_>> {
        let open = self.unseal(key, frame)?;
        if open.chunks().any(|(id, plain)| ids.id(open.kind, plain) != id) {
            return Err(FormatError::Mismatch("chunk id"));
        }
        Ok(open)
    }

    /// Opens a frame that was just sealed, and checks that all of `plain` is in it, and nothing else.
    pub fn verify(&mut self, key: &ContentKey, plain: &FramePlain, frame: &[u8]) -> Result<()> {
        let open = self.unseal(key, frame)?;
        let same = (open.kind, open.list, open.bytes) == (plain.kind, &plain.list[..], &plain.bytes[..]);
        if same { Ok(()) } else { Err(FormatError::Mismatch("frame")) }
    }

    /// Opens a frame; its chunks are not yet checked.
    fn unseal(&mut self, key: &ContentKey, frame: &[u8]) -> Result<OpenFrame<'_>> {
        let head = FrameHeader::parse(frame)?;
        if frame.len() != head.length as usize {
            return Err(FormatError::Truncated("frame"));
        }
        let Some((aad, sealed)) = frame.split_first_chunk::<FRAME_HEADER_LEN>() else {
            return Err(FormatError::Truncated("frame"));
        };
        let opened = header::open_into(key.expose(), &head.nonce, aad, sealed, &mut self.sealed, "frame")?;
        let mut r = Reader::new(opened, "frame");
        let kind = ChunkKind::from_u8(r.u8()?)?;
        let codec = r.u8()?;
        let stored = r.u32()? as usize;
        let total = read_list(&mut r, &mut self.list)?;
        if list_hash(&head.nonce, kind, &self.list) != head.list_hash {
            return Err(FormatError::Mismatch("list of a frame"));
        }
        let stored = r.bytes(stored)?;
        if r.bytes(r.remaining())?.iter().any(|b| *b != 0) {
            return Err(FormatError::Invalid("padding of a frame"));
        }
        let bytes = match codec {
            CODEC_RAW if stored.len() == total => stored,
            CODEC_ZSTD => {
                self.plain.resize(total, 0);
                match self.zstd.decompress_to_buffer(stored, &mut self.plain[..]) {
                    Ok(n) if n == total => &self.plain[..],
                    _ => return Err(FormatError::Mismatch("compressed bytes of a frame")),
                }
            }
            CODEC_RAW => return Err(FormatError::Invalid("length of a frame's bytes")),
            _ => return Err(FormatError::Unsupported(format!("frame codec {codec}"))),
        };
        Ok(OpenFrame { kind, list: &self.list, bytes })
    }
}

/// Reads the list of chunks; returns the sum of their lengths, within its limit.
pub(crate) fn read_list(r: &mut Reader<'_>, list: &mut Vec<Listed>) -> Result<usize> {
    list.clear();
    let count = r.count(33)?;
    if count == 0 {
        return Err(FormatError::Invalid("frame without chunks"));
    }
    if count > FRAME_CHUNKS_MAX {
        return Err(FormatError::TooLarge("list of a frame"));
    }
    let mut total = 0;
    for _ in 0..count {
        let id = ChunkId(r.array()?);
        let length = r.varint()?;
        if length > CHUNK_MAX as u64 {
            return Err(FormatError::TooLarge("chunk"));
        }
        total += length as usize;
        list.push(Listed { id, length: length as u32 });
    }
    if total > FRAME_PLAIN_MAX {
        return Err(FormatError::TooLarge("frame"));
    }
    Ok(total)
}
