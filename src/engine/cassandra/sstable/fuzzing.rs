//! Bodies of fuzz targets, one for each parser. None may panic, hang or allocate more than a small multiple of its
//! input, whatever the bytes.

use std::sync::Arc;

use crate::engine::cassandra::types::CqlType;
use crate::error::Result;
use crate::run::{RecordBatch, Run};

use super::chunks::{CompressionInfo, Source};
use super::codec::Codec;
use super::digest::{Seal, Sum};
use super::layout::{Clustering, Column, Columns, Layout};
use super::{Descriptor, Files, Revision, SsTable, SsTableRun, Version, seek, stats};

/// `Statistics.db`, of every version; also as if it had no checksums, or no change would ever come past them.
pub fn statistics(bytes: &[u8]) {
    for revision in [Revision::Ma, Revision::Me, Revision::Nb, Revision::Oa] {
        let _ = (stats::parse(bytes, revision), stats::read(bytes, revision, false));
    }
}

/// The head of `CompressionInfo.db`, of every version.
pub fn compression_info(bytes: &[u8]) {
    let _ = (CompressionInfo::parse(bytes, Revision::Me), CompressionInfo::parse(bytes, Revision::Nb));
}

/// `Digest.crc32`.
pub fn digest(bytes: &[u8]) {
    let _ = super::digest::parse(bytes);
}

/// `Summary.db` and `Index.db`: the first 8 bytes are a token, the next two the length of the summary. What is found twice is the
/// same.
pub fn index(bytes: &[u8]) {
    let Some((token, rest)) = bytes.split_first_chunk::<8>() else { return };
    let Some((length, rest)) = rest.split_first_chunk::<2>() else { return };
    let (summary, index) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes(*length))));
    let find = || seek::find(&Held(summary), &Held(index), i64::from_be_bytes(*token)).ok();
    assert_eq!(find(), find(), "a look-up depends on the bytes alone");
}

/// A file in memory.
struct Held<'a>(&'a [u8]);

impl seek::Bytes for Held<'_> {
    fn name(&self) -> String {
        "fuzz".to_string()
    }

    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, to: &mut [u8], offset: u64) -> Result<usize> {
        let from = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        let n = from.len().min(to.len());
        to[..n].copy_from_slice(&from[..n]);
        Ok(n)
    }
}

/// A file's name.
pub fn file_name(bytes: &[u8]) {
    if let Ok(name) = std::str::from_utf8(bytes) {
        let _ = Descriptor::parse(name);
    }
}

/// A chunk; the first byte picks the compressor, the second the plain length in KiB.
pub fn chunk(bytes: &[u8]) {
    let [which, kib, packed @ ..] = bytes else { return };
    let names = ["LZ4Compressor", "SnappyCompressor", "ZstdCompressor", "DeflateCompressor", "NoopCompressor"];
    if let Some(mut codec) = Codec::by_name(names[usize::from(*which) % names.len()]) {
        let _ = codec.expand(packed, &mut vec![0; usize::from(*kib) << 10]);
    }
}

/// `Data.db`, plain, of a table with a static column, two clustering columns (one descending; byte-exact or not) and
/// regular columns of every shape, `nb` or `oa`. Records that come out must be canonical.
pub fn data(bytes: &[u8]) {
    let column = |number, fixed, complex| Column { number, fixed, complex };
    let types = match bytes.len() % 2 {
        0 => vec![(CqlType::Text, false), (CqlType::Int, true)],
        _ => vec![(CqlType::Decimal, false), (CqlType::VarInt, true)],
    };
    let Ok(clustering) = Clustering::new(types) else { return };
    let mut regulars = vec![column(1, Some(4), false), column(4, None, false)];
    if bytes.len() % 4 > 1 {
        regulars.push(column(2, None, true));
    }
    let mut layout = Layout {
        statics: Columns::new(vec![column(3, None, false)]),
        regulars: Columns::new(regulars),
        clustering,
        version: Version::Nb,
        min_time: 1_700_000_000_000_000,
        min_ldt: 1_700_000_000,
        min_ttl: 0,
        counter: false,
    };
    let _ = decode(Arc::new(layout.clone()), bytes);
    layout.version = Version::Oa;
    let _ = decode(Arc::new(layout), bytes);
}

/// `Data.db`, plain, laid out as that of a real SSTable. Counts the records.
pub fn data_like(sstable: &SsTable, plain: &[u8]) -> Result<usize> {
    decode(Arc::clone(&sstable.layout), plain)
}

/// The plain bytes of an SSTable, to be mutated.
pub fn plain(sstable: &SsTable) -> Result<Vec<u8>> {
    let files = Files::alone(64 << 10);
    let (mut source, _) = sstable.source(&files, sstable.open_data(&files)?)?;
    let mut bytes = Vec::new();
    while source.next_chunk(&mut bytes)? > 0 {}
    Ok(bytes)
}

fn decode(layout: Arc<Layout>, plain: &[u8]) -> Result<usize> {
    let source = Box::new(Slice { bytes: plain.to_vec(), at: 0 });
    let mut run = SsTableRun::new(source, "fuzz".to_string(), layout, Seal::default());
    let mut batch = RecordBatch::new();
    let mut count = 0;
    while run.next_batch(&mut batch)? {
        for record in batch.iter() {
            let traits = repo_format::record::check(record.body);
            assert!(
                traits.is_ok_and(|traits| traits == record.traits),
                "the decoder wrote a body that is not canonical"
            );
        }
        count += batch.len();
    }
    Ok(count)
}

/// Gives a slice in pieces of 100 bytes, so that everything is cut somewhere.
struct Slice {
    bytes: Vec<u8>,
    at: usize,
}

impl Source for Slice {
    fn next_chunk(&mut self, out: &mut Vec<u8>) -> Result<usize> {
        let piece = &self.bytes[self.at..(self.at + 100).min(self.bytes.len())];
        out.extend_from_slice(piece);
        self.at += piece.len();
        Ok(piece.len())
    }

    fn sum(&self) -> Sum {
        let mut sum = Sum::of(self.bytes.len() as u64);
        sum.add(0, &self.bytes[..self.at]);
        sum
    }
}
