//! Packs (SPEC "Packs"): many frames of one class in one object, with a sealed list of what they hold.
//!
//! ```text
//! header │ session 16 │ class u8 │ frames … │ nonce 24 │ sealed list, tag 16 │ zeros
//!        │ list at u32 │ list length u32 │ "onefpack"
//! list   = count varint │ count × (at u32 │ length u32 │ kind u8 │ chunks varint │ chunks × (id 32 │ length u32))
//! ```

use crate::error::{FormatError, Result};
use crate::frame::{FrameHeader, Listed, list_hash};
use crate::header::{self, NONCE_LEN, Nonce, TAG_LEN};
use crate::id::{ChunkId, ChunkKind, ObjectHash, SessionId};
use crate::key::IndexKey;
use crate::limits::{
    CHUNK_MAX, FRAME_CHUNKS_MAX, FRAME_PADDING, PACK_CHUNKS_MAX, PACK_FOOTER_MAX, PACK_FRAMES_MAX, PACK_MAX, padme,
};
use crate::names::{ObjectKind, PackClass, PackName};
use crate::wire::{Put, Reader};
use std::ops::Range;

/// Last bytes of every pack.
pub const PACK_END: &[u8; 8] = b"onefpack";
/// Bytes of the trailer: place and length of the list, end mark.
pub const TRAILER_LEN: usize = 16;
/// Bytes before the first frame.
pub const PACK_HEADER_LEN: usize = 7 + 1 + 1 + 1 + SessionId::LEN + 1;

/// A frame in a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackFrame {
    /// Where it starts, in bytes from the start of the pack.
    pub offset: u32,
    /// Its length in bytes.
    pub length: u32,
    /// Kind of its chunks.
    pub kind: ChunkKind,
    /// Its chunks, in order.
    pub chunks: Vec<Listed>,
}

/// A finished pack.
#[derive(Debug, Clone)]
pub struct BuiltPack {
    /// Its name.
    pub name: PackName,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it holds: what the index object needs.
    pub frames: Vec<PackFrame>,
}

/// Collects frames into a pack.
#[derive(Debug)]
pub struct PackBuilder {
    session: SessionId,
    class: PackClass,
    bytes: Vec<u8>,
    frames: Vec<PackFrame>,
    chunks: usize,
}

impl PackBuilder {
    /// An empty pack of `session` for frames of one class.
    pub fn new(session: SessionId, class: PackClass) -> PackBuilder {
        PackBuilder::with_capacity(session, class, 0)
    }

    /// An empty pack of `session` with room for `capacity` bytes, so that it does not move while it grows.
    pub fn with_capacity(session: SessionId, class: PackClass, capacity: usize) -> PackBuilder {
        PackBuilder::in_memory(session, class, Vec::with_capacity(capacity))
    }

    /// An empty pack of `session` in the memory of `bytes`, which are forgotten: the bytes of a pack that is no longer needed.
    pub fn in_memory(session: SessionId, class: PackClass, mut bytes: Vec<u8>) -> PackBuilder {
        bytes.clear();
        put_start(&mut bytes, &session, class);
        PackBuilder { session, class, bytes, frames: Vec::new(), chunks: 0 }
    }

    /// Whether a frame of that many bytes and chunks fits under `target` (or the pack is still empty). Where it
    /// does not, finish this pack first.
    pub fn fits(&self, frame_length: usize, chunks: usize, target: u32) -> bool {
        self.frames.is_empty()
            || (self.bytes.len() + frame_length <= target as usize
                && self.frames.len() < PACK_FRAMES_MAX
                && self.chunks + chunks <= PACK_CHUNKS_MAX)
    }

    /// Appends a sealed frame, its own or one copied from another pack; returns its offset in bytes. Refuses a frame
    /// whose header disagrees with `kind` and `chunks`, and one of the other class.
    pub fn push(&mut self, frame: &[u8], kind: ChunkKind, chunks: &[Listed]) -> Result<u32> {
        let head = FrameHeader::parse(frame)?;
        if head.length as usize != frame.len() || head.list_hash != list_hash(&head.nonce, kind, chunks) {
            return Err(FormatError::Mismatch("frame and its list"));
        }
        if PackClass::of(kind) != self.class {
            return Err(FormatError::Mismatch("frame and its pack's class"));
        }
        if self.frames.len() >= PACK_FRAMES_MAX || self.chunks + chunks.len() > PACK_CHUNKS_MAX {
            return Err(FormatError::TooLarge("pack"));
        }
        if (self.bytes.len() + frame.len() + PACK_FOOTER_MAX) / 100 * 112 > PACK_MAX {
            return Err(FormatError::TooLarge("pack"));
        }
        let offset = self.bytes.len() as u32;
        self.bytes.extend_from_slice(frame);
        self.chunks += chunks.len();
        self.frames.push(PackFrame { offset, length: head.length, kind, chunks: chunks.to_vec() });
        Ok(offset)
    }

    /// What it holds.
    pub fn class(&self) -> PackClass {
        self.class
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it holds no frame.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What it holds so far.
    pub fn frames(&self) -> &[PackFrame] {
        &self.frames
    }

    /// Writes the list, the padding and the trailer. `nonce` must be fresh and random.
    pub fn finish(self, key: &IndexKey, nonce: &Nonce) -> Result<BuiltPack> {
        let PackBuilder { session, class, mut bytes, frames, .. } = self;
        let aad = bytes.get(..PACK_HEADER_LEN).ok_or(FormatError::Truncated("pack"))?.to_vec();
        let at = bytes.len();
        bytes.extend_from_slice(nonce);
        bytes.put_varint(frames.len() as u64);
        for frame in &frames {
            bytes.put_u32(frame.offset);
            bytes.put_u32(frame.length);
            bytes.push(frame.kind as u8);
            bytes.put_varint(frame.chunks.len() as u64);
            for chunk in &frame.chunks {
                bytes.extend_from_slice(&chunk.id.0);
                bytes.put_u32(chunk.length);
            }
        }
        header::seal(key.expose(), nonce, &aad, &mut bytes, at + NONCE_LEN)?;
        let length = bytes.len() - at;
        if length > PACK_FOOTER_MAX {
            return Err(FormatError::TooLarge("list of a pack"));
        }
        bytes.resize(padme(bytes.len() + TRAILER_LEN) - TRAILER_LEN, 0);
        bytes.put_u32(at as u32);
        bytes.put_u32(length as u32);
        bytes.extend_from_slice(PACK_END);
        let name = PackName { session, class, hash: ObjectHash::of(&bytes) };
        Ok(BuiltPack { name, bytes, frames })
    }
}

fn put_start(out: &mut Vec<u8>, session: &SessionId, class: PackClass) {
    header::put(out, ObjectKind::Pack);
    out.extend_from_slice(&session.0);
    out.push(class as u8);
}

/// Where the list of a pack lies, from its last [`TRAILER_LEN`] bytes and its size in bytes.
pub fn footer_range(trailer: &[u8], size: u64) -> Result<Range<u64>> {
    let mut r = Reader::new(trailer, "pack trailer");
    let (at, length) = (u64::from(r.u32()?), u64::from(r.u32()?));
    if r.array::<8>()? != *PACK_END {
        return Err(FormatError::Invalid("end of a pack"));
    }
    r.end()?;
    if size > PACK_MAX as u64 || length > PACK_FOOTER_MAX as u64 {
        return Err(FormatError::TooLarge("pack"));
    }
    let end = at + length;
    if at < PACK_HEADER_LEN as u64 || length < (NONCE_LEN + TAG_LEN) as u64 || end + TRAILER_LEN as u64 > size {
        return Err(FormatError::Invalid("place of a pack's list"));
    }
    Ok(at..end)
}

/// Opens the list of the pack `name`: `footer` are the bytes of [`footer_range`], which starts at `at`.
pub fn open_footer(footer: &[u8], at: u64, name: &PackName, key: &IndexKey) -> Result<Vec<PackFrame>> {
    let mut aad = Vec::with_capacity(PACK_HEADER_LEN);
    put_start(&mut aad, &name.session, name.class);
    let Some((nonce, sealed)) = footer.split_first_chunk::<NONCE_LEN>() else {
        return Err(FormatError::Truncated("list of a pack"));
    };
    let mut plain = sealed.to_vec();
    header::open(key.expose(), nonce, &aad, &mut plain, "list of a pack")?;
    parse_list(&plain, at, name.class)
}

/// The frames must fill the pack from its header to the list without a gap, and be of its class.
pub(crate) fn parse_list(plain: &[u8], end: u64, class: PackClass) -> Result<Vec<PackFrame>> {
    let mut r = Reader::new(plain, "list of a pack");
    let count = r.count(46)?;
    if count > PACK_FRAMES_MAX {
        return Err(FormatError::TooLarge("list of a pack"));
    }
    let mut frames = Vec::with_capacity(count);
    let (mut next, mut total) = (PACK_HEADER_LEN as u64, 0);
    for _ in 0..count {
        let (offset, length) = (r.u32()?, r.u32()?);
        if u64::from(offset) != next {
            return Err(FormatError::Invalid("offset of a frame"));
        }
        next += u64::from(length);
        let kind = ChunkKind::from_u8(r.u8()?)?;
        if PackClass::of(kind) != class {
            return Err(FormatError::Mismatch("frame and its pack's class"));
        }
        let chunks = read_chunks(&mut r)?;
        total += chunks.len();
        frames.push(PackFrame { offset, length, kind, chunks });
    }
    r.end()?;
    if total > PACK_CHUNKS_MAX {
        return Err(FormatError::TooLarge("list of a pack"));
    }
    if next != end {
        return Err(FormatError::Invalid("place of a pack's list"));
    }
    Ok(frames)
}

/// Looks for frames in what is left of a pack, by nothing but their own headers: each begins at the end of the header of the pack or a
/// multiple of [`FRAME_PADDING`] after it. `open` is given each place that may be one, and its bytes, and says whether it is.
pub fn salvage<'a>(bytes: &'a [u8], open: &mut dyn FnMut(u32, &'a [u8]) -> bool) {
    let mut at = PACK_HEADER_LEN;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty() && at < PACK_MAX) {
        let sealed = FrameHeader::parse(rest).ok().and_then(|head| rest.get(..head.length as usize));
        at += match sealed {
            Some(sealed) if open(at as u32, sealed) => sealed.len(),
            _ => FRAME_PADDING,
        };
    }
}

fn read_chunks(r: &mut Reader<'_>) -> Result<Vec<Listed>> {
    let count = r.count(36)?;
    if count == 0 || count > FRAME_CHUNKS_MAX {
        return Err(FormatError::Invalid("number of chunks in a frame"));
    }
    let mut chunks = Vec::with_capacity(count);
    for _ in 0..count {
        let (id, length) = (ChunkId(r.array()?), r.u32()?);
        if length as usize > CHUNK_MAX {
            return Err(FormatError::TooLarge("chunk"));
        }
        chunks.push(Listed { id, length });
    }
    Ok(chunks)
}

/// Checks a whole pack against its name and opens its list. Frames are checked against the list by their headers,
/// not opened.
pub fn open_pack(name: &PackName, bytes: &[u8], key: &IndexKey) -> Result<Vec<PackFrame>> {
    if bytes.len() > PACK_MAX {
        return Err(FormatError::TooLarge("pack"));
    }
    if ObjectHash::of(bytes) != name.hash {
        return Err(FormatError::Mismatch("pack's name"));
    }
    let mut r = Reader::new(bytes, "pack");
    header::read(&mut r, ObjectKind::Pack)?;
    if SessionId(r.array()?) != name.session {
        return Err(FormatError::Mismatch("session of a pack"));
    }
    if PackClass::from_u8(r.u8()?)? != name.class {
        return Err(FormatError::Mismatch("class of a pack"));
    }
    let trailer = bytes.last_chunk::<TRAILER_LEN>().ok_or(FormatError::Truncated("pack"))?;
    let range = footer_range(trailer, bytes.len() as u64)?;
    let (at, end) = (range.start as usize, range.end as usize);
    let frames = open_footer(&bytes[at..end], range.start, name, key)?;
    if bytes[end..bytes.len() - TRAILER_LEN].iter().any(|b| *b != 0) {
        return Err(FormatError::Invalid("padding of a pack"));
    }
    for frame in &frames {
        let start = frame.offset as usize;
        let head = FrameHeader::parse(&bytes[start..start + frame.length as usize])?;
        if head.length != frame.length || head.list_hash != list_hash(&head.nonce, frame.kind, &frame.chunks) {
            return Err(FormatError::Mismatch("frame and its list"));
        }
    }
    Ok(frames)
}
