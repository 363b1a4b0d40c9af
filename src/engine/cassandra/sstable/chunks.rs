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
use crate::volume::Pooled;

use super::codec::Codec;
use super::cursor::{Cursor, Fault, Parsed};
use super::digest::Sum;
use super::files::{Files, READ_BUFFER};
use super::input::Input;
use super::name::Revision;

/// Largest chunk that is read, plain bytes; Cassandra's default is 16 KiB.
pub const CHUNK_MAX: usize = 16 << 20;
/// The fixed part of `CompressionInfo.db` must lie within so many bytes.
pub const INFO_HEAD_MAX: usize = 64 << 10;
/// Bytes in which that part mostly lies.
const HEAD: usize = 4096;
/// Where plain bytes come from.
pub trait Source: Send {
    /// Appends the next chunk to `out`. Returns its length in bytes, 0 at the end.
    fn next_chunk(&mut self, out: &mut Vec<u8>) -> Result<usize>;
    /// What was read of the file so far; at the end, all of it.
    fn sum(&self) -> Sum;

    /// Bytes that are read at a time now.
    fn window(&self) -> usize {
        READ_BUFFER
    }

    /// Goes on with the chunk that holds plain byte `position`, and gives the plain byte that it begins with. [`Source::sum`]
    /// begins anew, without that chunk unless `position` is its first byte. `None`: it can only be read from the start.
    fn seek(&mut self, _position: u64) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Plain bytes in all; `None` where that is not known before the end.
    fn plain_length(&self) -> Option<u64> {
        None
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
    /// Chunks shown or passed by.
    done: u64,
    /// The first that counts.
    counted: u64,
    sum: Sum,
    /// Where the chunk after the next one starts; the length of the file after the last.
    next: u64,
    length: u64,
}

/// Opens `data` of `revision`, compressed as `info` says, to be read through `files`.
pub fn open_packed(files: &Arc<Files>, data: Arc<Pooled>, info: Pooled, revision: Revision) -> Result<Box<dyn Source>> {
    let mut offsets = Input::of(files, Arc::new(info), true);
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
    let (length, data) = (data.length(), Input::of(files, data, false));
    let sum = Sum::of(length);
    let mut packed = Packed { data, offsets, info: parsed, codec, done: 0, counted: 0, sum, next: 0, length };
    if packed.read_offset()? != 0 {
        return Err(packed.offsets.fault(packed.info.head_length as u64, Fault::Bad("offset of the first chunk")));
    }
    Ok(Box::new(packed))
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

    fn sum(&self) -> Sum {
        self.sum.clone()
    }

    fn window(&self) -> usize {
        self.data.files.window()
    }

    fn seek(&mut self, position: u64) -> Result<Option<u64>> {
        let length = self.info.chunk_length as u64;
        self.done = (position / length).min(self.info.chunks);
        self.counted = position.div_ceil(length);
        self.sum = Sum::of(self.length);
        if self.done < self.info.chunks {
            self.offsets.go_to(self.info.head_length as u64 + 8 * self.done);
            self.next = self.read_offset()?;
            self.data.go_to(self.next);
        }
        Ok(Some(self.done * length))
    }

    fn plain_length(&self) -> Option<u64> {
        Some(self.info.data_length)
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
        let bytes = self.data.take(stored + 4)?;
        if self.done >= self.counted {
            self.sum.add(start, bytes);
        }
        let shown = match bytes.split_last_chunk::<4>() {
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
    /// Where the first chunk begins that counts.
    counted: u64,
    sum: Sum,
}

/// A `Data.db` that is not compressed, without checksums beside it: only [`Source::digest`] tells whether it is whole.
struct Bare {
    data: Input,
    sum: Sum,
}

/// Bytes of a [`Bare`] shown at a time.
const BARE_CHUNK: usize = 64 << 10;

/// Opens `data`, which is not compressed and has no `CRC.db`.
pub fn open_bare(files: &Arc<Files>, data: Arc<Pooled>) -> Box<dyn Source> {
    let sum = Sum::of(data.length());
    Box::new(Bare { data: Input::of(files, data, false), sum })
}

impl Source for Bare {
    fn next_chunk(&mut self, out: &mut Vec<u8>) -> Result<usize> {
        let start = self.data.offset;
        let chunk = self.data.take(BARE_CHUNK)?;
        self.sum.add(start, chunk);
        out.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    fn sum(&self) -> Sum {
        self.sum.clone()
    }

    fn window(&self) -> usize {
        self.data.files.window()
    }
}

/// Opens `data`, which is not compressed, to be read through `files`; `crc` is its `CRC.db`.
pub fn open_plain(files: &Arc<Files>, data: Arc<Pooled>, crc: Pooled) -> Result<Box<dyn Source>> {
    let (sum, data) = (Sum::of(data.length()), Input::of(files, data, false));
    let mut sums = Input::of(files, Arc::new(crc), true);
    let mut four = [0; 4];
    four.copy_from_slice(sums.take_all(4)?);
    let chunk_length = u32::from_be_bytes(four) as usize;
    if chunk_length == 0 || chunk_length > CHUNK_MAX {
        return Err(sums.fault(0, Fault::Bad("length of a chunk")));
    }
    Ok(Box::new(Plain { data, chunk_length, sums, counted: 0, sum }))
}

impl Source for Plain {
    fn next_chunk(&mut self, out: &mut Vec<u8>) -> Result<usize> {
        let start = self.data.offset;
        let chunk = self.data.take(self.chunk_length)?;
        let length = chunk.len();
        let crc = crc32fast::hash(chunk).to_be_bytes();
        if start >= self.counted {
            self.sum.add(start, chunk);
        }
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

    fn sum(&self) -> Sum {
        self.sum.clone()
    }

    fn window(&self) -> usize {
        self.data.files.window()
    }

    fn seek(&mut self, position: u64) -> Result<Option<u64>> {
        let chunk = position / self.chunk_length as u64;
        let start = chunk * self.chunk_length as u64;
        self.data.go_to(start);
        self.sums.go_to(4 + 4 * chunk);
        self.counted = position;
        self.sum = Sum::of(self.data.file.length());
        Ok(Some(start))
    }

    fn plain_length(&self) -> Option<u64> {
        Some(self.data.file.length())
    }
}
