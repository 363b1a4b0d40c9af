//! The compressors that Cassandra brings along, chunk by chunk.
//! Sources: `LZ4Compressor`, `SnappyCompressor`, `ZstdCompressor`, `DeflateCompressor`, `NoopCompressor`.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress};

use super::cursor::Fault;

thread_local! {
    /// Working memory of zstd, 160 KiB: one for each thread, since many SSTables may be read at once.
    static ZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Undoes one compressor. Keeps its working memory between chunks.
pub enum Codec {
    /// `LZ4Compressor`: length of the plain bytes as little-endian u32, then one raw block.
    Lz4,
    /// `SnappyCompressor`: the raw format.
    Snappy(snap::raw::Decoder),
    /// `ZstdCompressor`: one frame.
    Zstd,
    /// `DeflateCompressor`: a zlib stream, often without its end.
    Deflate(Decompress),
    /// `NoopCompressor`.
    Noop,
}

impl Codec {
    /// By the class name in `CompressionInfo.db`, with or without its package; `None` for any other.
    pub fn by_name(class: &str) -> Option<Codec> {
        match class.strip_prefix("org.apache.cassandra.io.compress.").unwrap_or(class) {
            "LZ4Compressor" => Some(Codec::Lz4),
            "SnappyCompressor" => Some(Codec::Snappy(snap::raw::Decoder::new())),
            "ZstdCompressor" => Some(Codec::Zstd),
            "DeflateCompressor" => Some(Codec::Deflate(Decompress::new(true))),
            "NoopCompressor" => Some(Codec::Noop),
            _ => None,
        }
    }

    /// Fills `plain` exactly from `packed`; anything else is a fault.
    pub fn expand(&mut self, packed: &[u8], plain: &mut [u8]) -> Result<(), Fault> {
        let bad = Fault::Bad("compressed chunk");
        let written = match self {
            Codec::Lz4 => {
                let (length, block) = packed.split_first_chunk::<4>().ok_or(bad)?;
                if u32::from_le_bytes(*length) as usize != plain.len() {
                    return Err(Fault::Bad("length of an LZ4 chunk"));
                }
                lz4_flex::block::decompress_into(block, plain).map_err(|_| bad)?
            }
            Codec::Snappy(decoder) => {
                if snap::raw::decompress_len(packed).map_err(|_| bad)? != plain.len() {
                    return Err(Fault::Bad("length of a Snappy chunk"));
                }
                decoder.decompress(packed, plain).map_err(|_| bad)?
            }
            Codec::Zstd => ZSTD.with_borrow_mut(|decoder| expand_zstd(decoder, packed, plain)).map_err(|_| bad)?,
            Codec::Deflate(decoder) => inflate(decoder, packed, plain).ok_or(bad)?,
            Codec::Noop => {
                if packed.len() != plain.len() {
                    return Err(bad);
                }
                plain.copy_from_slice(packed);
                packed.len()
            }
        };
        if written == plain.len() { Ok(()) } else { Err(Fault::Bad("length of a chunk")) }
    }
}

fn expand_zstd(
    decoder: &mut Option<zstd::bulk::Decompressor<'static>>,
    packed: &[u8],
    plain: &mut [u8],
) -> std::io::Result<usize> {
    let made = match decoder.take() {
        Some(made) => made,
        None => zstd::bulk::Decompressor::new()?,
    };
    decoder.insert(made).decompress_to_buffer(packed, plain)
}

/// Inflates until the input is used up; the stream need not end. Number of bytes, which may be one more than fit.
fn inflate(decoder: &mut Decompress, packed: &[u8], plain: &mut [u8]) -> Option<usize> {
    decoder.reset(true);
    let mut one_more = [0];
    loop {
        let (read, written) = (decoder.total_in() as usize, decoder.total_out() as usize);
        let room = if written == plain.len() { &mut one_more[..] } else { plain.get_mut(written..)? };
        decoder.decompress(packed.get(read..)?, room, FlushDecompress::None).ok()?;
        if (decoder.total_in() as usize, decoder.total_out() as usize) == (read, written) {
            return Some(written);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unterminated_zlib_stream_expands() {
        let text = b"one fold, one fold, one fold, and no end to the stream".repeat(40);
        let mut zlib = flate2::Compress::new(flate2::Compression::default(), true);
        let mut packed = vec![0; 4096];
        zlib.compress(&text, &mut packed, flate2::FlushCompress::Sync).unwrap();
        packed.truncate(zlib.total_out() as usize);
        let mut plain = vec![0; text.len()];
        Codec::by_name("DeflateCompressor").unwrap().expand(&packed, &mut plain).unwrap();
        assert_eq!(plain, text);
        for other in [text.len() - 1, text.len() + 1, 0] {
            assert!(Codec::by_name("DeflateCompressor").unwrap().expand(&packed, &mut vec![0; other]).is_err());
        }
    }

    #[test]
    fn every_codec_refuses_other_lengths_and_noise() {
        let noise: Vec<u8> = (0..200u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for name in ["LZ4Compressor", "SnappyCompressor", "ZstdCompressor", "DeflateCompressor", "NoopCompressor"] {
            let mut codec = Codec::by_name(name).unwrap();
            for n in 0..noise.len() {
                assert!(codec.expand(&noise[..n], &mut vec![0; n + 1]).is_err(), "{name} {n}");
            }
        }
        assert!(Codec::by_name("com.example.Brotli").is_none());
    }
}
