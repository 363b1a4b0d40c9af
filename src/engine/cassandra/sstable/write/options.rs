//! What the writer of an SSTable may choose.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};

use super::super::chunks::CHUNK_MAX;
use super::super::name::Version;

/// What to do with local deletion times that the version of the files cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LateTimes {
    /// An error of kind `Unsupported` that names the time and the version.
    #[default]
    Refuse,
    /// They become the latest time that the version can hold, and are counted (`Written::capped`).
    Cap,
}

/// How one SSTable is to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Version of the files.
    pub version: Version,
    /// `None`: `Data.db` is not compressed.
    pub compression: Option<Compression>,
    /// Part of the absent keys that the Bloom filter lets through (`bloom_filter_fp_chance`); from 1 on there is no filter.
    pub bloom_fp_chance: f64,
    /// Partitions per entry of the summary (`min_index_interval`). Cassandra rebuilds a summary with another one.
    pub index_interval: u32,
    /// Bytes of a partition per block of its index (`column_index_size`).
    pub column_index_size: usize,
    /// Level of leveled compaction.
    pub level: u32,
    /// For local deletion times that the version cannot hold.
    pub late_times: LateTimes,
}

impl Default for Options {
    /// Cassandra's own defaults, for version `nb`.
    fn default() -> Options {
        Options {
            version: Version::Nb,
            compression: Some(Compression::default()),
            bloom_fp_chance: 0.01,
            index_interval: 128,
            column_index_size: 16 << 10,
            level: 0,
            late_times: LateTimes::Refuse,
        }
    }
}

/// The compressors that Cassandra brings along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compressor {
    /// `LZ4Compressor`.
    Lz4,
    /// `SnappyCompressor`.
    Snappy,
    /// `ZstdCompressor` with its level.
    Zstd(i32),
    /// `DeflateCompressor`.
    Deflate,
    /// `NoopCompressor`.
    Noop,
}

impl Compressor {
    /// Its class, without the package.
    pub fn class(self) -> &'static str {
        match self {
            Compressor::Lz4 => "LZ4Compressor",
            Compressor::Snappy => "SnappyCompressor",
            Compressor::Zstd(_) => "ZstdCompressor",
            Compressor::Deflate => "DeflateCompressor",
            Compressor::Noop => "NoopCompressor",
        }
    }
}

/// How `Data.db` is compressed (`CompressionParams`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compression {
    /// Which compressor.
    pub compressor: Compressor,
    /// Plain bytes in a chunk; a power of two.
    pub chunk_length: usize,
    /// A chunk that compresses to so many bytes or more is stored as it is; `i32::MAX` for never.
    pub packed_max: usize,
    /// What the compressor itself was told, by name; kept in `CompressionInfo.db`.
    pub others: BTreeMap<String, String>,
}

impl Default for Compression {
    /// LZ4 in chunks of 16 KiB.
    fn default() -> Compression {
        let others = BTreeMap::new();
        Compression { compressor: Compressor::Lz4, chunk_length: 16 << 10, packed_max: i32::MAX as usize, others }
    }
}

impl Compression {
    /// From a table's option `compression`, as `system_schema.tables` keeps it; `None` where it is off. Errors are
    /// `Unsupported`: a compressor of another package, a value that Cassandra would refuse.
    pub fn parse(options: &BTreeMap<String, String>) -> Result<Option<Compression>> {
        let refuse = |what: String| Error::new(Kind::Unsupported, "compression", what);
        let class = options.get("class").or_else(|| options.get("sstable_compression"));
        let Some(class) = class.filter(|class| !class.is_empty()) else { return Ok(None) };
        if options.get("enabled").is_some_and(|enabled| enabled.eq_ignore_ascii_case("false")) {
            return Ok(None);
        }
        let number = |name: &str| -> Result<Option<f64>> {
            let Some(text) = options.get(name) else { return Ok(None) };
            text.parse().map(Some).map_err(|_| refuse(format!("{name} is {text}")))
        };
        let compressor = match class.strip_prefix("org.apache.cassandra.io.compress.").unwrap_or(class) {
            "LZ4Compressor" => Compressor::Lz4,
            "SnappyCompressor" => Compressor::Snappy,
            "ZstdCompressor" => Compressor::Zstd(number("compression_level")?.unwrap_or(3.0) as i32),
            "DeflateCompressor" => Compressor::Deflate,
            "NoopCompressor" => Compressor::Noop,
            _ => return Err(refuse(format!("compressor {class} is not understood"))),
        };
        let kib = match number("chunk_length_in_kb")? {
            None => number("chunk_length_kb")?.unwrap_or(16.0),
            Some(kib) => kib,
        };
        let chunk_length = (kib * 1024.0) as usize;
        if !chunk_length.is_power_of_two() || chunk_length > CHUNK_MAX {
            return Err(refuse(format!("chunks of {kib} KiB: not a power of two up to {} KiB", CHUNK_MAX >> 10)));
        }
        let packed_max = match number("min_compress_ratio")?.unwrap_or(0.0) {
            ratio if ratio >= 1.0 => (chunk_length as f64 / ratio).ceil() as usize,
            _ => i32::MAX as usize,
        };
        const OWN: [&str; 8] = [
            "class",
            "sstable_compression",
            "enabled",
            "chunk_length_in_kb",
            "chunk_length_kb",
            "min_compress_ratio",
            "crc_check_chance",
            "max_compressed_length",
        ];
        let mut others = options.clone();
        others.retain(|name, _| !OWN.contains(&name.as_str()));
        Ok(Some(Compression { compressor, chunk_length, packed_max, others }))
    }
}
