//! The plain bytes of `Data.db`, chunk by chunk, each checked against its checksum before it is shown.
//!
//! ```text
//! CompressionInfo.db = compressor utf │ n u32 │ n × (option utf │ value utf) │ chunk length u32
//!                    │ [largest packed length u32] │ plain length u64 │ chunks u32 │ chunks × (offset u64)
//! Data.db, packed    = chunks × (packed bytes │ their crc32 u32);   not packed where as long as "largest packed length"
//! CRC.db             = chunk length u32 │ chunks × (crc32 u32), beside a Data.db that is not compressed
//! ```
//! Before `na` every chunk is packed, and there is no "largest packed length".
//! The offsets of a Data.db of 100 GB are 50 MB: they are read along with the chunks and never held.
//! Sources: `CompressionMetadata`, `CompressedChunkReader`, `CompressedSequentialWriter`, `DataIntegrityMetadata`.

use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::volume::{Place, Pooled};

use super::codec::Codec;
use super::cursor::{Cursor, Fault, Parsed};
use super::files::{Files, READ_BUFFER, READ_LEAST};
use super::name::Revision;

/// Largest chunk that is read, plain bytes; Cassandra's default is 16 KiB.
pub const CHUNK_MAX: usize = 16 << 20;
/// The fixed part of `CompressionInfo.db` must lie within so many bytes.
pub const INFO_HEAD_MAX: usize = 64 << 10;
/// Bytes in which that part mostly lies.
const HEAD: usize = 4096;
/// Of what is read at a time, the part that the offsets and checksums that are read along take.
const SIDE_PART: usize = 16;

/// Where plain bytes come from.
pub trait Source: Send {
    /// Appends the next chunk to `out`. Returns its length in bytes, 0 at the end.
    fn next_chunk(&mut self, out: &mut Vec<u8>) -> Result<usize>;
    /// The CRC-32 of the bytes of the file read so far; at the end, that of the whole file.
    fn digest(&self) -> u32;

    /// Bytes that are read at a time now.
    fn window(&self) -> usize {
        READ_BUFFER
    }
}

/// Reads a file forwards through one buffer and shows as many bytes in a row as are asked for.
struct Input {
    file: Pooled,
    files: Arc<Files>,
    name: String,
    /// Reads a 16th of what `Data.db` does at a time.
    side: bool,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Offset in the file of the first byte not yet taken.
    offset: u64,
    /// Of all bytes read.
    digest: crc32fast::Hasher,
}

impl Input {
    fn open(files: &Arc<Files>, place: &Place) -> Result<Input> {
        Ok(Input::of(files, Pooled::open(&files.pool, place)?, false))
    }

    fn of(files: &Arc<Files>, file: Pooled, side: bool) -> Input {
        let (files, name, digest) = (Arc::clone(files), file.place().to_string(), crc32fast::Hasher::new());
        Input { file, files, name, side, buffer: Vec::new(), start: 0, end: 0, offset: 0, digest }
    }

    /// The next `n` bytes, fewer only at the end of the file.
    fn take(&mut self, n: usize) -> Result<&[u8]> {
        if self.end - self.start < n {
            self.refill(n)?;
        }
        let n = n.min(self.end - self.start);
        let from = self.start;
        self.start += n;
        self.offset += n as u64;
        Ok(&self.buffer[from..from + n])
    }

    /// Exactly `n` bytes.
    fn take_all(&mut self, n: usize) -> Result<&[u8]> {
        let (at, name) = (self.offset, self.name.clone());
        let bytes = self.take(n)?;
        if bytes.len() < n {
            return Err(Fault::Short.at(format_args!("{name} at byte {at}")));
        }
        Ok(bytes)
    }

    fn refill(&mut self, n: usize) -> Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let window = self.files.window() / if self.side { SIDE_PART } else { 1 };
        // Begins with little: by the next time as many are read at once as will be.
        let wanted = window.min((2 * self.buffer.len()).max(READ_LEAST)).max(4096).max(n);
        if self.buffer.len() > wanted {
            self.buffer.truncate(wanted);
            self.buffer.shrink_to_fit();
        } else if self.buffer.len() < wanted {
            self.buffer.reserve_exact(wanted - self.buffer.len());
            self.buffer.resize(wanted, 0);
        }
        while self.end < n {
            let at = self.offset + self.end as u64;
            match self.file.read_at(&mut self.buffer[self.end..], at)? {
                0 => break,
                read => {
                    self.digest.update(&self.buffer[self.end..self.end + read]);
                    self.end += read;
                }
            }
        }
        Ok(())
    }

    fn fault(&self, at: u64, fault: Fault) -> Error {
        fault.at(format_args!("{} at byte {at}", self.name))
    }
}

/// `CompressionInfo.db` without the offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressionInfo {
    /// Class name of the compressor.
    pub compressor: String,
    /// Plain bytes in every chunk but the last.
    pub chunk_length: usize,
    /// A chunk is stored plain where its packed length reaches this.
    pub packed_max: usize,
    /// Plain bytes in all.
    pub data_length: u64,
    /// Number of chunks.
    pub chunks: u64,
    /// Length of this head; the offsets follow.
    pub head_length: usize,
}

impl CompressionInfo {
    /// Parses the head of the file.
    pub fn parse(head: &[u8], revision: Revision) -> Parsed<CompressionInfo> {
        let mut c = Cursor::new(head);
        let compressor = c.utf()?.to_string();
        for _ in 0..c.count(4)? {
            c.utf()?;
            c.utf()?;
        }
        let chunk_length = c.i32()?;
        let packed_max = if revision >= Revision::Na { c.i32()? } else { i32::MAX };
        let data_length = c.i64()?;
        let chunks = c.i32()?;
        if chunk_length <= 0 || packed_max < 0 || data_length < 0 || chunks <= 0 {
            return Err(Fault::Bad("head of the compression information"));
        }
        if chunk_length as usize > CHUNK_MAX {
            return Err(Fault::TooLarge("length of a chunk"));
        }
        let (data_length, chunks) = (data_length as u64, chunks as u64);
        // Compaction often leaves an empty chunk at the end.
        if data_length.div_ceil(chunk_length as u64) > chunks {
            return Err(Fault::Bad("number of chunks"));
        }
        let (chunk_length, packed_max) = (chunk_length as usize, packed_max as usize);
        Ok(CompressionInfo { compressor, chunk_length, packed_max, data_length, chunks, head_length: c.at() })
    }
}

/// A compressed `Data.db`.
struct Packed {
    data: Input,
    offsets: Input,
    info: CompressionInfo,
    codec: Codec,
    /// Chunks shown.
    done: u64,
    /// Where the chunk after the next one starts; the length of the file after the last.
    next: u64,
    length: u64,
}

/// Opens `data` of `revision`, compressed as `info` says, to be read through `files`.
pub fn open_packed(files: &Arc<Files>, data: &Place, info: Pooled, revision: Revision) -> Result<Box<dyn Source>> {
    let mut offsets = Input::of(files, info, true);
    let name = offsets.name.clone();
    let mut parsed = CompressionInfo::parse(offsets.take(HEAD)?, revision);
    if parsed == Err(Fault::Short) {
        offsets.rewind_to(0)?;
        parsed = CompressionInfo::parse(offsets.take(INFO_HEAD_MAX)?, revision);
    }
    let parsed = parsed.map_err(|fault| fault.at(&name))?;
    let codec = Codec::by_name(&parsed.compressor).ok_or_else(|| {
        let class = &parsed.compressor;
        let message = match class.to_ascii_lowercase().contains("encrypt") {
            true => format!("encrypted by {class} (TDE), which is not supported"),
            false => format!("compressor {class} is not understood"),
        };
        Error::new(Kind::Unsupported, &name, message)
    })?;
    offsets.rewind_to(parsed.head_length)?;
    let data = Input::open(files, data)?;
    let length = data.file.length();
    let mut packed = Packed { data, offsets, info: parsed, codec, done: 0, next: 0, length };
    if packed.read_offset()? != 0 {
        return Err(packed.offsets.fault(packed.info.head_length as u64, Fault::Bad("offset of the first chunk")));
    }
    Ok(Box::new(packed))
}

impl Input {
    /// Back to `offset`; everything taken so far must still be in the buffer.
    fn rewind_to(&mut self, offset: usize) -> Result<()> {
        let back = (self.offset as usize).checked_sub(offset).filter(|back| *back <= self.start);
        let back = back.ok_or_else(|| self.fault(offset as u64, Fault::Bad("offset")))?;
        self.start -= back;
        self.offset -= back as u64;
        Ok(())
    }
}

impl Source for Packed {
    fn next_chunk(&mut self, out: &mut Vec<u8>) -> Result<usize> {
        while self.done < self.info.chunks {
            let n = self.chunk(out)?;
            if n > 0 {
                return Ok(n);
            }
        }
        Ok(0)
    }

    fn digest(&self) -> u32 {
        self.data.digest.clone().finalize()
    }

    fn window(&self) -> usize {
        self.data.files.window()
    }
}

impl Packed {
    fn read_offset(&mut self) -> Result<u64> {
        let mut eight = [0; 8];
        eight.copy_from_slice(self.offsets.take_all(8)?);
        Ok(u64::from_be_bytes(eight))
    }

    /// Where the next chunk starts in the file, and the length of its stored bytes.
    fn place(&mut self) -> Result<(u64, usize)> {
        let start = self.next;
        let last = self.done + 1 == self.info.chunks;
        self.next = if last { self.length } else { self.read_offset()? };
        // A compressor that gains nothing may add a little.
        let longest = self.info.chunk_length * 2 + 1024;
        let stored = self.next.checked_sub(start).and_then(|n| n.checked_sub(4));
        match stored.and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= longest) {
            Some(stored) => Ok((start, stored)),
            None => Err(self.offsets.fault(self.offsets.offset.saturating_sub(8), Fault::Bad("offset of a chunk"))),
        }
    }

    fn chunk(&mut self, out: &mut Vec<u8>) -> Result<usize> {
        let (start, stored) = self.place()?;
        let left = self.info.data_length.saturating_sub(self.done * self.info.chunk_length as u64);
        let plain_length = left.min(self.info.chunk_length as u64) as usize;
        let at = out.len();
        if at < plain_length {
            // No more than is needed, unless a long row is being put together: many SSTables may be read at once.
            out.reserve_exact(plain_length);
        }
        let shown = match self.data.take(stored + 4)?.split_last_chunk::<4>() {
            Some((chunk, crc)) if chunk.len() == stored => {
                if crc32fast::hash(chunk) != u32::from_be_bytes(*crc) {
                    Err(Fault::Bad("checksum of a chunk"))
                } else if chunk.len() < self.info.packed_max {
                    out.resize(at + plain_length, 0);
                    self.codec.expand(chunk, &mut out[at..])
                } else {
                    stored_plain(chunk, plain_length, self.info.packed_max).map(|plain| out.extend_from_slice(plain))
                }
            }
            _ => Err(Fault::Short),
        };
        shown.map_err(|fault| self.data.fault(start, fault))?;
        self.done += 1;
        Ok(plain_length)
    }
}

/// A chunk that was stored as it is, padded with zeros where it would seem to be a packed one.
fn stored_plain(chunk: &[u8], plain_length: usize, packed_max: usize) -> Parsed<&[u8]> {
    match chunk.split_at_checked(plain_length) {
        Some((plain, padding)) if chunk.len() == plain_length.max(packed_max) && padding.iter().all(|b| *b == 0) => {
            Ok(plain)
        }
        _ => Err(Fault::Bad("length of a stored chunk")),
    }
}

/// A `Data.db` that is not compressed, with the checksums beside it.
struct Plain {
    data: Input,
    chunk_length: usize,
    sums: Input,
}

/// A `Data.db` that is not compressed, without checksums beside it: only [`Source::digest`] tells whether it is whole.
struct Bare {
    data: Input,
}

/// Bytes of a [`Bare`] shown at a time.
const BARE_CHUNK: usize = 64 << 10;

/// Opens `data`, which is not compressed and has no `CRC.db`.
pub fn open_bare(files: &Arc<Files>, data: &Place) -> Result<Box<dyn Source>> {
    let data = Input::open(files, data)?;
    Ok(Box::new(Bare { data }))
}

impl Source for Bare {
    fn next_chunk(&mut self, out: &mut Vec<u8>) -> Result<usize> {
        let chunk = self.data.take(BARE_CHUNK)?;
        out.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    fn digest(&self) -> u32 {
        self.data.digest.clone().finalize()
    }

    fn window(&self) -> usize {
        self.data.files.window()
    }
}

/// Opens `data`, which is not compressed, to be read through `files`; `crc` is its `CRC.db`.
pub fn open_plain(files: &Arc<Files>, data: &Place, crc: Pooled) -> Result<Box<dyn Source>> {
    let data = Input::open(files, data)?;
    let mut sums = Input::of(files, crc, true);
    let mut four = [0; 4];
    four.copy_from_slice(sums.take_all(4)?);
    let chunk_length = u32::from_be_bytes(four) as usize;
    if chunk_length == 0 || chunk_length > CHUNK_MAX {
        return Err(sums.fault(0, Fault::Bad("length of a chunk")));
    }
    Ok(Box::new(Plain { data, chunk_length, sums }))
}

impl Source for Plain {
    fn next_chunk(&mut self, out: &mut Vec<u8>) -> Result<usize> {
        let start = self.data.offset;
        let chunk = self.data.take(self.chunk_length)?;
        let length = chunk.len();
        let crc = crc32fast::hash(chunk).to_be_bytes();
        out.extend_from_slice(chunk);
        if length == 0 {
            // A file cut at the end of a chunk leaves checksums over. That of an empty chunk is zero.
            let over = self.sums.take(4)?;
            return if over.iter().all(|b| *b == 0) { Ok(0) } else { Err(self.data.fault(start, Fault::Short)) };
        }
        if self.sums.take_all(4)? != crc {
            return Err(self.data.fault(start, Fault::Bad("checksum of a chunk")));
        }
        Ok(length)
    }

    fn digest(&self) -> u32 {
        self.data.digest.clone().finalize()
    }

    fn window(&self) -> usize {
        self.data.files.window()
    }
}
