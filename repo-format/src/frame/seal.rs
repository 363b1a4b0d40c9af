//! Frames sealed.

use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, SafeResult, zstd_sys::ZSTD_EndDirective};

use super::{CODEC_RAW, CODEC_ZSTD, FRAME_HEADER_LEN, FramePlain, list_hash};
use crate::error::{FormatError, Result};
use crate::header::{self, NONCE_LEN, Nonce, TAG_LEN};
use crate::id::{ChunkKind, SessionId};
use crate::key::{SessionKey, WrappedKey};
use crate::leaf;
use crate::limits::{FRAME_MAX, FRAME_PADDING, FRAME_PLAIN_MAX, VERSION};
use crate::wire::Put;

/// Streams of a leaf of fewer bytes share a block with their neighbours: each block costs a table of codes.
const STREAM_LEAST: usize = 2 << 10;

/// Seals frames; keeps its compressor between them.
pub struct Sealer {
    zstd: CCtx<'static>,
    level: i32,
    /// Where the compressor begins a new block, and the end.
    ends: Vec<usize>,
}

impl Sealer {
    /// `level` is zstd's, 1 to 19.
    pub fn new(level: i32) -> Result<Sealer> {
        let wrong = || FormatError::Invalid("compression level");
        let mut zstd = CCtx::try_create().ok_or_else(wrong)?;
        // A window over the whole frame: where it ends earlier, matching takes a slower path.
        for parameter in [CParameter::CompressionLevel(level), CParameter::WindowLog(FRAME_PLAIN_MAX.ilog2())] {
            zstd.set_parameter(parameter).map_err(|_| wrong())?;
        }
        Ok(Sealer { zstd, level, ends: Vec::new() })
    }

    /// Appends the sealed frame to `out`. `nonce` must be fresh and random. Compressed where that is smaller.
    pub fn seal(&mut self, key: &SessionKey, nonce: &Nonce, plain: &FramePlain, out: &mut Vec<u8>) -> Result<()> {
        if plain.list.is_empty() {
            return Err(FormatError::Invalid("frame without chunks"));
        }
        let start = out.len();
        out.push(VERSION);
        out.extend_from_slice(&key.session.0);
        key.wrapped.put(out);
        out.extend_from_slice(nonce);
        out.put_u32(0);
        out.extend_from_slice(&list_hash(nonce, plain.kind, &plain.list).0);
        let sealed = out.len();
        out.push(plain.kind as u8);
        out.push(CODEC_RAW);
        out.put_u32(plain.bytes.len() as u32);
        out.put_varint(plain.list.len() as u64);
        for chunk in &plain.list {
            out.extend_from_slice(&chunk.id.0);
            out.put_varint(u64::from(chunk.length));
        }
        let body = out.len();
        match self.compress(plain, out) {
            Some(stored) => {
                out[sealed + 1] = CODEC_ZSTD;
                out[sealed + 2..sealed + 6].copy_from_slice(&stored.to_le_bytes());
            }
            None => {
                out.truncate(body);
                out.extend_from_slice(&plain.bytes);
            }
        }
        let length = (out.len() - start + TAG_LEN).next_multiple_of(FRAME_PADDING);
        if length > FRAME_MAX {
            return Err(FormatError::TooLarge("frame"));
        }
        out.resize(start + length - TAG_LEN, 0);
        let field = start + 1 + SessionId::LEN + WrappedKey::LEN + NONCE_LEN;
        out[field..field + 4].copy_from_slice(&(length as u32).to_le_bytes());
        let mut aad = [0; FRAME_HEADER_LEN];
        aad.copy_from_slice(&out[start..sealed]);
        header::seal(key.content.expose(), nonce, &aad, out, sealed)
    }

    /// Appends the compressed bytes; `None` where that saves nothing.
    fn compress(&mut self, plain: &FramePlain, out: &mut Vec<u8>) -> Option<u32> {
        self.divide(plain);
        self.tune(plain.kind).ok()?;
        let start = out.len();
        out.resize(start + plain.bytes.len(), 0);
        match self.write_blocks(&plain.bytes, &mut out[start..]) {
            Ok(n) if n < plain.bytes.len() => {
                out.truncate(start + n);
                Some(n as u32)
            }
            _ => None,
        }
    }

    /// Contents at the lowest level: a table of four times the size and shorter matches take 2.3 % of the bytes away for a tenth of the time
    /// (benches/README.md). Leaves gain nothing by that.
    fn tune(&mut self, kind: ChunkKind) -> SafeResult {
        self.zstd.reset(ResetDirective::SessionOnly)?;
        let (table, least) = if kind == ChunkKind::Data && self.level == 1 { (16, 6) } else { (0, 0) };
        self.zstd.set_parameter(CParameter::HashLog(table))?;
        self.zstd.set_parameter(CParameter::MinMatch(least))
    }

    /// Finds where blocks end: streams of leaves differ too much to share one table of codes.
    fn divide(&mut self, plain: &FramePlain) {
        self.ends.clear();
        let mut chunk = 0;
        let mut last = 0;
        for listed in plain.list.iter().filter(|_| matches!(plain.kind, ChunkKind::Leaf | ChunkKind::MetadataLeaf)) {
            let next = chunk + listed.length as usize;
            for end in plain.bytes.get(chunk..next).and_then(|leaf| leaf::streams(leaf).ok()).unwrap_or_default() {
                if chunk + end - last >= STREAM_LEAST {
                    last = chunk + end;
                    self.ends.push(last);
                }
            }
            chunk = next;
        }
        if last < plain.bytes.len() {
            self.ends.push(plain.bytes.len());
        }
    }

    /// One zstd frame of `bytes`; its length, which is that of `to` where it does not fit.
    fn write_blocks(&mut self, bytes: &[u8], to: &mut [u8]) -> SafeResult {
        self.zstd.set_pledged_src_size(Some(bytes.len() as u64))?;
        if self.ends.len() == 1 {
            return self.zstd.compress2(to, bytes);
        }
        let room = to.len();
        let mut out = OutBuffer::around(to);
        let mut at = 0;
        for end in &self.ends {
            let mut block = InBuffer::around(&bytes[at..*end]);
            let last = *end == bytes.len();
            let then = if last { ZSTD_EndDirective::ZSTD_e_end } else { ZSTD_EndDirective::ZSTD_e_flush };
            while self.zstd.compress_stream2(&mut out, &mut block, then)? > 0 {
                if out.pos() == room {
                    return Ok(room);
                }
            }
            at = *end;
        }
        Ok(out.pos())
    }
}
