//! Index objects (SPEC "Index objects"): where chunks lie, sorted, with a filter, signed by their writer.
//!
//! ```text
//! header │ session 16 │ writer 32 │ head length u32 │ table length u32 │ nonce 24 │ nonce 24
//!        │ sealed head │ sealed table │ zeros │ signature 64
//! head   = packs varint │ packs × (session 16 │ class u8 │ hash 32 │ size u32) │ filter string
//! table  = frames varint │ frames × (pack u16 │ at u32 │ length u32 │ kind u8)
//!        │ chunks varint │ chunks × (id 32 │ frame u32 │ position u16 │ length u32)
//! ```

use crate::error::{FormatError, Result};
use crate::header::{self, NONCE_LEN, Nonce, TAG_LEN};
use crate::id::{ChunkId, ChunkKind, ObjectHash, RepoId, SessionId, WriterId};
use crate::key::{IndexKey, SIGNATURE_LEN, SignKey, Signed};
use crate::limits::{CHUNK_MAX, INDEX_ENTRIES_MAX, INDEX_MAX, INDEX_PACKS_MAX, PACK_MAX, padme};
use crate::names::{IndexName, ObjectKind, PackClass, PackName};
use crate::pack::PackFrame;
use crate::wire::{Put, Reader};

/// Bits of filter for each chunk.
pub const FILTER_BITS: usize = 10;
/// Bits of the filter that one chunk sets.
pub const FILTER_HASHES: u64 = 7;
/// Bytes before the sealed head.
pub const INDEX_HEADER_LEN: usize = 10 + SessionId::LEN + WriterId::LEN + 4 + 4 + 2 * NONCE_LEN;

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    /// The chunk.
    pub id: ChunkId,
    /// Its kind.
    pub kind: ChunkKind,
    /// The pack.
    pub pack: PackName,
    /// Where the frame starts in the pack, in bytes.
    pub frame_offset: u32,
    /// Length of the frame in bytes.
    pub frame_length: u32,
    /// Which chunk of the frame, from 0.
    pub position: u16,
    /// Plaintext length of the chunk in bytes.
    pub length: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameRow {
    pack: u16,
    offset: u32,
    length: u32,
    kind: ChunkKind,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkRow {
    id: ChunkId,
    frame: u32,
    position: u16,
    length: u32,
}

/// Collects the contents of packs into an index object.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    packs: Vec<(PackName, u32)>,
    frames: Vec<FrameRow>,
    chunks: Vec<ChunkRow>,
}

impl IndexBuilder {
    /// Empty.
    pub fn new() -> IndexBuilder {
        IndexBuilder::default()
    }

    /// Whether a pack of that many chunks still fits. Where it does not, finish this object first; a pack always fits
    /// into an empty one.
    pub fn fits(&self, chunks: usize) -> bool {
        self.packs.len() < INDEX_PACKS_MAX && self.chunks.len() + chunks <= INDEX_ENTRIES_MAX
    }

    /// Adds a pack of `size` bytes.
    pub fn add(&mut self, name: PackName, size: u32, frames: &[PackFrame]) -> Result<()> {
        let chunks = frames.iter().map(|f| f.chunks.len()).sum();
        if !self.fits(chunks) {
            return Err(FormatError::TooLarge("index object"));
        }
        let pack = self.packs.len() as u16;
        self.packs.push((name, size));
        for frame in frames {
            let row = self.frames.len() as u32;
            self.frames.push(FrameRow { pack, offset: frame.offset, length: frame.length, kind: frame.kind });
            for (position, chunk) in frame.chunks.iter().enumerate() {
                let position = u16::try_from(position).map_err(|_| FormatError::TooLarge("frame"))?;
                self.chunks.push(ChunkRow { id: chunk.id, frame: row, position, length: chunk.length });
            }
        }
        Ok(())
    }

    /// Packs so far.
    pub fn packs(&self) -> usize {
        self.packs.len()
    }

    /// Chunks so far.
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Whether no pack was added.
    pub fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }

    /// Writes the object. The nonces must be fresh and random.
    pub fn finish(
        mut self,
        session: SessionId,
        repo: &RepoId,
        key: &IndexKey,
        nonces: &[Nonce; 2],
        writer: &SignKey,
    ) -> Result<(IndexName, Vec<u8>)> {
        self.chunks.sort_unstable_by_key(|c| (c.id, c.frame, c.position));
        let head = self.head();
        let table = self.table();
        let mut out = Vec::new();
        header::put(&mut out, ObjectKind::Index);
        out.extend_from_slice(&session.0);
        out.extend_from_slice(&writer.id().0);
        out.put_u32((head.len() + TAG_LEN) as u32);
        out.put_u32((table.len() + TAG_LEN) as u32);
        out.extend_from_slice(&nonces[0]);
        out.extend_from_slice(&nonces[1]);
        let aad = out.clone();
        for (nonce, plain) in nonces.iter().zip([head, table]) {
            let from = out.len();
            out.extend_from_slice(&plain);
            header::seal(key.expose(), nonce, &aad, &mut out, from)?;
        }
        out.resize(padme(out.len() + SIGNATURE_LEN) - SIGNATURE_LEN, 0);
        let signature = writer.sign(Signed::Index, repo, &out);
        out.extend_from_slice(&signature);
        if out.len() > INDEX_MAX {
            return Err(FormatError::TooLarge("index object"));
        }
        Ok((IndexName { session, hash: ObjectHash::of(&out) }, out))
    }

    fn head(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_varint(self.packs.len() as u64);
        for (name, size) in &self.packs {
            out.extend_from_slice(&name.to_bytes());
            out.put_u32(*size);
        }
        let mut filter = vec![0u8; (self.chunks.len() * FILTER_BITS).div_ceil(8)];
        for chunk in &self.chunks {
            for bit in filter_bits(&chunk.id, filter.len() as u64 * 8) {
                filter[bit as usize / 8] |= 1 << (bit % 8);
            }
        }
        out.put_string(&filter);
        out
    }

    fn table(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.frames.len() * 11 + self.chunks.len() * 42 + 16);
        out.put_varint(self.frames.len() as u64);
        for frame in &self.frames {
            out.put_u16(frame.pack);
            out.put_u32(frame.offset);
            out.put_u32(frame.length);
            out.push(frame.kind as u8);
        }
        out.put_varint(self.chunks.len() as u64);
        for chunk in &self.chunks {
            out.extend_from_slice(&chunk.id.0);
            out.put_u32(chunk.frame);
            out.put_u16(chunk.position);
            out.put_u32(chunk.length);
        }
        out
    }
}

/// The bits a chunk sets in a filter of `bits` bits (more than none). Ids are uniform, so they are their own hash.
fn filter_bits(id: &ChunkId, bits: u64) -> impl Iterator<Item = u64> {
    let word = |at: usize| id.0[at..at + 8].iter().rev().fold(0u64, |w, b| w << 8 | u64::from(*b));
    let (first, step) = (word(0), word(8) | 1);
    (0..FILTER_HASHES).map(move |i| first.wrapping_add(i.wrapping_mul(step)) % bits)
}

/// What the first part of an index object says.
#[derive(Debug, Clone)]
pub struct IndexHead {
    /// The session that wrote it.
    pub session: SessionId,
    /// Who signed it.
    pub writer: WriterId,
    /// The packs it covers and their sizes in bytes.
    pub packs: Vec<(PackName, u32)>,
    filter: Vec<u8>,
    table: (usize, usize),
    table_nonce: Nonce,
}

impl IndexHead {
    /// Length in bytes of the part that [`IndexHead::open`] needs, from the first [`INDEX_HEADER_LEN`] bytes.
    pub fn length(start: &[u8]) -> Result<usize> {
        let (_, _, head, _) = read_start(&mut Reader::new(start, "index object"))?;
        Ok(INDEX_HEADER_LEN + head)
    }

    /// Opens the head alone, from the first [`IndexHead::length`] bytes. Neither name nor signature are checked: good
    /// as a hint where to look, not as a promise.
    pub fn open(bytes: &[u8], key: &IndexKey) -> Result<IndexHead> {
        let mut r = Reader::new(bytes, "index object");
        let (session, writer, head, table) = read_start(&mut r)?;
        let (nonce, table_nonce) = (r.array()?, r.array()?);
        let aad = bytes.get(..INDEX_HEADER_LEN).ok_or(FormatError::Truncated("index object"))?;
        let mut plain = r.bytes(head)?.to_vec();
        header::open(key.expose(), &nonce, aad, &mut plain, "head of an index object")?;
        let (packs, filter) = read_head(&plain)?;
        Ok(IndexHead { session, writer, packs, filter, table: (INDEX_HEADER_LEN + head, table), table_nonce })
    }

    /// Whether the chunk may be in the table. `false` is certain.
    pub fn may_hold(&self, id: &ChunkId) -> bool {
        let bits = self.filter.len() as u64 * 8;
        bits != 0 && filter_bits(id, bits).all(|bit| self.filter[bit as usize / 8] & 1 << (bit % 8) != 0)
    }
}

/// Packs with their sizes, and the filter.
pub(crate) type Head = (Vec<(PackName, u32)>, Vec<u8>);

pub(crate) fn read_head(plain: &[u8]) -> Result<Head> {
    let mut r = Reader::new(plain, "head of an index object");
    let count = r.count(PackName::LEN + 4)?;
    if count > INDEX_PACKS_MAX {
        return Err(FormatError::TooLarge("index object"));
    }
    let mut packs = Vec::with_capacity(count);
    for _ in 0..count {
        let name = PackName::read(&mut r)?;
        let size = r.u32()?;
        if size as usize > PACK_MAX {
            return Err(FormatError::TooLarge("pack"));
        }
        packs.push((name, size));
    }
    let filter = r.string()?.to_vec();
    r.end()?;
    Ok((packs, filter))
}

fn read_start(r: &mut Reader<'_>) -> Result<(SessionId, WriterId, usize, usize)> {
    header::read(r, ObjectKind::Index)?;
    let (session, writer) = (SessionId(r.array()?), WriterId(r.array()?));
    let (head, table) = (r.u32()? as usize, r.u32()? as usize);
    if head > INDEX_MAX || table > INDEX_MAX {
        return Err(FormatError::TooLarge("index object"));
    }
    Ok((session, writer, head, table))
}

/// An opened index object.
#[derive(Debug, Clone)]
pub struct Index {
    head: IndexHead,
    frames: Vec<FrameRow>,
    chunks: Vec<ChunkRow>,
}

impl Index {
    /// Checks name and signature, opens, and checks order and references. Whether the writer is one to believe is the
    /// log's to say.
    pub fn open(name: &IndexName, bytes: &[u8], repo: &RepoId, key: &IndexKey) -> Result<Index> {
        if bytes.len() > INDEX_MAX {
            return Err(FormatError::TooLarge("index object"));
        }
        if ObjectHash::of(bytes) != name.hash {
            return Err(FormatError::Mismatch("index object's name"));
        }
        let head = IndexHead::open(bytes, key)?;
        if head.session != name.session {
            return Err(FormatError::Mismatch("session of an index object"));
        }
        let Some((signed, signature)) = bytes.split_last_chunk::<SIGNATURE_LEN>() else {
            return Err(FormatError::Truncated("index object"));
        };
        head.writer.verify(Signed::Index, repo, signed, signature)?;
        let mut r = Reader::new(signed, "index object");
        r.bytes(head.table.0)?;
        let mut plain = r.bytes(head.table.1)?.to_vec();
        if r.bytes(r.remaining())?.iter().any(|b| *b != 0) {
            return Err(FormatError::Invalid("padding of an index object"));
        }
        let aad = &signed[..INDEX_HEADER_LEN];
        header::open(key.expose(), &head.table_nonce, aad, &mut plain, "table of an index object")?;
        let (frames, chunks) = read_table(&plain, &head.packs)?;
        Ok(Index { head, frames, chunks })
    }

    /// Its head: session, writer, packs, filter.
    pub fn head(&self) -> &IndexHead {
        &self.head
    }

    /// Length of the object in bytes.
    pub fn object_len(&self) -> u64 {
        let (at, length) = self.head.table;
        padme(at + length + SIGNATURE_LEN) as u64
    }

    /// Number of chunks.
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Whether it names no chunk.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// All chunks, by id.
    pub fn iter(&self) -> impl Iterator<Item = IndexEntry> + '_ {
        self.chunks.iter().map(|c| self.entry(c))
    }

    /// Every place of a chunk.
    pub fn find<'a>(&'a self, id: &ChunkId) -> impl Iterator<Item = IndexEntry> + use<'a> {
        let first = self.chunks.partition_point(|c| c.id < *id);
        let last = self.chunks.partition_point(|c| c.id <= *id);
        self.chunks[first..last].iter().map(|c| self.entry(c))
    }

    fn entry(&self, chunk: &ChunkRow) -> IndexEntry {
        let frame = &self.frames[chunk.frame as usize];
        IndexEntry {
            id: chunk.id,
            kind: frame.kind,
            pack: self.head.packs[frame.pack as usize].0,
            frame_offset: frame.offset,
            frame_length: frame.length,
            position: chunk.position,
            length: chunk.length,
        }
    }
}

pub(crate) fn read_table(plain: &[u8], packs: &[(PackName, u32)]) -> Result<(Vec<FrameRow>, Vec<ChunkRow>)> {
    let mut r = Reader::new(plain, "table of an index object");
    let count = r.count(11)?;
    if count > INDEX_ENTRIES_MAX {
        return Err(FormatError::TooLarge("index object"));
    }
    let mut frames = Vec::with_capacity(count);
    for _ in 0..count {
        let (pack, offset, length) = (r.u16()?, r.u32()?, r.u32()?);
        let kind = ChunkKind::from_u8(r.u8()?)?;
        let (name, _) = packs.get(usize::from(pack)).ok_or(FormatError::Invalid("pack of a frame"))?;
        if PackClass::of(kind) != name.class {
            return Err(FormatError::Mismatch("frame and its pack's class"));
        }
        frames.push(FrameRow { pack, offset, length, kind });
    }
    let count = r.count(42)?;
    if count > INDEX_ENTRIES_MAX {
        return Err(FormatError::TooLarge("index object"));
    }
    let mut chunks: Vec<ChunkRow> = Vec::with_capacity(count);
    for _ in 0..count {
        let row = ChunkRow { id: ChunkId(r.array()?), frame: r.u32()?, position: r.u16()?, length: r.u32()? };
        if row.frame as usize >= frames.len() || row.length as usize > CHUNK_MAX {
            return Err(FormatError::Invalid("place of a chunk"));
        }
        let key = |c: &ChunkRow| (c.id, c.frame, c.position);
        if chunks.last().is_some_and(|last| key(last) >= key(&row)) {
            return Err(FormatError::Invalid("order of an index object"));
        }
        chunks.push(row);
    }
    r.end()?;
    Ok((frames, chunks))
}
