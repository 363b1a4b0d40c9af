//! `Data.db` and what describes its chunks; `super::super::chunks` tells the formats.
//! Sources: `CompressedSequentialWriter`, `ChecksummedSequentialWriter`, `ChecksumWriter`, `CompressionMetadata.Writer`.

use std::path::Path;

use crate::error::{Error, Kind, Result};

use super::options::{Compression, Compressor};
use super::output::Output;
use super::put;

/// Bytes per checksum of a `Data.db` that is not compressed.
const PLAIN_CHUNK: usize = 64 << 10;

/// Takes the plain bytes of `Data.db` and writes it, chunk by chunk. Holds one chunk.
pub struct Data {
    chunk: Vec<u8>,
    chunk_length: usize,
    /// Plain bytes in the chunks before.
    before: u64,
    out: Output,
    digest: crc32fast::Hasher,
    side: Side,
}

/// What is kept beside the chunks.
enum Side {
    /// `CompressionInfo.db`.
    Packed { info: Output, packer: Packer, packed: Vec<u8>, packed_max: usize, lengths_at: u64, chunks: u32 },
    /// `CRC.db`.
    Plain { sums: Output },
}

/// What a whole `Data.db` came to.
pub struct Done {
    /// Bytes of the file.
    pub length: u64,
    /// Bytes of the file beside it.
    pub side_length: u64,
    /// Plain bytes.
    pub plain: u64,
    /// Checksum of the whole file, for `Digest.crc32`.
    pub digest: u32,
}

impl Data {
    /// Creates `data` and, `side`, its `CompressionInfo.db` or (without `compression`) its `CRC.db`.
    pub fn create(data: &Path, side: &Path, compression: Option<&Compression>) -> Result<Data> {
        let out = Output::create(data)?;
        let mut beside = Output::create(side)?;
        let (chunk_length, side) = match compression {
            None => {
                beside.write(&(PLAIN_CHUNK as u32).to_be_bytes())?;
                (PLAIN_CHUNK, Side::Plain { sums: beside })
            }
            Some(compression) => {
                let mut head = Vec::new();
                put::utf(&mut head, compression.compressor.class());
                head.extend_from_slice(&(compression.others.len() as u32).to_be_bytes());
                for (name, value) in &compression.others {
                    put::utf(&mut head, name);
                    put::utf(&mut head, value);
                }
                head.extend_from_slice(&(compression.chunk_length as u32).to_be_bytes());
                head.extend_from_slice(&(compression.packed_max as u32).to_be_bytes());
                let lengths_at = head.len() as u64;
                head.extend_from_slice(&[0; 8 + 4]);
                beside.write(&head)?;
                let packer = Packer::new(compression.compressor)?;
                let (packed, packed_max) = (Vec::new(), compression.packed_max);
                let side = Side::Packed { info: beside, packer, packed, packed_max, lengths_at, chunks: 0 };
                (compression.chunk_length, side)
            }
        };
        let chunk = Vec::with_capacity(chunk_length);
        Ok(Data { chunk, chunk_length, before: 0, out, digest: crc32fast::Hasher::new(), side })
    }

    /// Plain bytes so far.
    #[inline]
    pub fn position(&self) -> u64 {
        self.before + self.chunk.len() as u64
    }

    /// Bytes of the file so far.
    pub fn length(&self) -> u64 {
        self.out.position()
    }

    /// Appends plain bytes.
    #[inline]
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        loop {
            let room = self.chunk_length - self.chunk.len();
            if bytes.len() < room {
                self.chunk.extend_from_slice(bytes);
                return Ok(());
            }
            let (now, rest) = bytes.split_at(room);
            self.chunk.extend_from_slice(now);
            self.end_chunk()?;
            bytes = rest;
        }
    }

    fn end_chunk(&mut self) -> Result<()> {
        self.before += self.chunk.len() as u64;
        match &mut self.side {
            Side::Plain { sums } => {
                self.out.write(&self.chunk)?;
                self.digest.update(&self.chunk);
                sums.write(&crc32fast::hash(&self.chunk).to_be_bytes())?;
            }
            Side::Packed { info, packer, packed, packed_max, chunks, .. } => {
                packed.clear();
                packer.pack(&self.chunk, packed)?;
                let stored = if packed.len() < *packed_max {
                    &packed[..]
                } else {
                    // Only the last chunk can be shorter than that; zeros make it look stored.
                    let length = self.chunk.len().max(*packed_max);
                    self.chunk.resize(length, 0);
                    &self.chunk[..]
                };
                info.write(&self.out.position().to_be_bytes())?;
                let sum = crc32fast::hash(stored).to_be_bytes();
                self.out.write(stored)?;
                self.out.write(&sum)?;
                self.digest.update(stored);
                self.digest.update(&sum);
                *chunks = chunks.checked_add(1).filter(|n| i32::try_from(*n).is_ok()).ok_or_else(|| {
                    Error::new(Kind::TooLarge, self.out.path().display(), "has more chunks than its index can count")
                })?;
            }
        }
        self.chunk.clear();
        Ok(())
    }

    /// Writes what is left and brings both files to the disk.
    pub fn finish(mut self) -> Result<Done> {
        if !self.chunk.is_empty() {
            self.end_chunk()?;
        }
        let plain = self.before;
        let side_length = match self.side {
            Side::Plain { sums } => sums.finish()?,
            Side::Packed { mut info, lengths_at, chunks, .. } => {
                info.patch(lengths_at, &[&plain.to_be_bytes()[..], &chunks.to_be_bytes()].concat())?;
                info.finish()?
            }
        };
        Ok(Done { length: self.out.finish()?, side_length, plain, digest: self.digest.finalize() })
    }
}

/// A compressor with its working memory. What `super::super::codec` undoes.
enum Packer {
    Lz4(lz4_flex::block::CompressTable),
    Snappy(Box<snap::raw::Encoder>),
    Zstd(zstd::bulk::Compressor<'static>),
    Deflate(flate2::Compress),
    Noop,
}

impl Packer {
    fn new(compressor: Compressor) -> Result<Packer> {
        let zstd = |level| zstd::bulk::Compressor::new(level).map_err(|e| Error::io("zstd", e));
        Ok(match compressor {
            Compressor::Lz4 => Packer::Lz4(lz4_flex::block::CompressTable::small()),
            Compressor::Snappy => Packer::Snappy(Box::new(snap::raw::Encoder::new())),
            Compressor::Zstd(level) => Packer::Zstd(zstd(level)?),
            Compressor::Deflate => Packer::Deflate(flate2::Compress::new(flate2::Compression::default(), true)),
            Compressor::Noop => Packer::Noop,
        })
    }

    /// Appends the packed form of `plain` to `packed`, which is empty.
    fn pack(&mut self, plain: &[u8], packed: &mut Vec<u8>) -> Result<()> {
        let failed = |e: &dyn std::fmt::Display| Error::new(Kind::Io, "compressor", e);
        match self {
            Packer::Lz4(table) => {
                packed.extend_from_slice(&(plain.len() as u32).to_le_bytes());
                packed.resize(4 + lz4_flex::block::get_maximum_output_size(plain.len()), 0);
                let n = lz4_flex::block::compress_into_with_table(plain, &mut packed[4..], table);
                let n = n.map_err(|e| failed(&e))?;
                packed.truncate(4 + n);
            }
            Packer::Snappy(encoder) => {
                packed.resize(snap::raw::max_compress_len(plain.len()), 0);
                let n = encoder.compress(plain, packed).map_err(|e| failed(&e))?;
                packed.truncate(n);
            }
            Packer::Zstd(encoder) => {
                packed.reserve(zstd::zstd_safe::compress_bound(plain.len()));
                encoder.compress_to_buffer(plain, packed).map_err(|e| failed(&e))?;
            }
            Packer::Deflate(encoder) => deflate(encoder, plain, packed)?,
            Packer::Noop => packed.extend_from_slice(plain),
        }
        Ok(())
    }
}

fn deflate(encoder: &mut flate2::Compress, plain: &[u8], packed: &mut Vec<u8>) -> Result<()> {
    encoder.reset();
    loop {
        packed.reserve(plain.len() + 64);
        let taken = encoder.total_in() as usize;
        let status = encoder.compress_vec(&plain[taken..], packed, flate2::FlushCompress::Finish);
        if status.map_err(|e| Error::new(Kind::Io, "compressor", e))? == flate2::Status::StreamEnd {
            return Ok(());
        }
    }
}
