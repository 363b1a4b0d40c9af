//! `Filter.db`: a Bloom filter over the partition keys.
//!
//! ```text
//! file = hashes u32 │ words u32 │ words × 8 bytes, in which bit i is bit i%8 of byte i/8
//! ```
//! It is made when the number of keys is known, from the keys in `Index.db`, in as many passes as keep a part of it within
//! [`PART`]. Sources: `BloomFilter`, `BloomCalculations`, `FilterFactory`, `BloomFilterSerializer`, `OffHeapBitSet`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use repo_format::murmur3;

use crate::error::{Error, Kind, Result};

use super::output::Output;

/// Bytes of the filter that are made at a time.
const PART: u64 = 32 << 20;
/// Most bits for a key; they let one of 15,000 absent keys through.
const BITS_MAX: u32 = 20;
/// Bits that Cassandra adds.
const EXCESS: u64 = 20;

/// Bits for a key and number of hashes: the fewest bits with which the best number of hashes keeps to `chance`, then the
/// fewest hashes that still do.
fn shape(chance: f64) -> (u32, u32) {
    // With n keys in n·bits bits, a bit is set with probability 1 - e^(-hashes/bits).
    let passes = |bits: u32, hashes: u32| (1.0 - (-f64::from(hashes) / f64::from(bits)).exp()).powi(hashes as i32);
    let best = |bits: u32| (1..=bits).min_by(|a, b| passes(bits, *a).total_cmp(&passes(bits, *b))).unwrap_or(1);
    let bits = (2..BITS_MAX).find(|bits| passes(*bits, best(*bits)) <= chance).unwrap_or(BITS_MAX);
    let hashes = (1..=best(bits)).find(|hashes| passes(bits, *hashes) <= chance).unwrap_or(best(bits));
    (bits, hashes)
}

/// Writes the filter over the `keys` keys of the `Index.db` at `index`. Returns the length of the file.
pub fn write(path: &Path, index: &Path, keys: u64, chance: f64) -> Result<u64> {
    write_in_parts(path, index, keys, chance, PART)
}

/// As [`write()`], `part_length` bytes of the filter at a time.
pub fn write_in_parts(path: &Path, index: &Path, keys: u64, chance: f64, part_length: u64) -> Result<u64> {
    let (bits, hashes) = shape(chance);
    let words = (keys * u64::from(bits) + EXCESS).div_ceil(64);
    let count = i32::try_from(words).map_err(|_| {
        let message = format_args!("{keys} keys need a filter of more than 16 GB");
        Error::new(Kind::TooLarge, path.display(), message).hint("raise the table's bloom_filter_fp_chance")
    })?;
    let mut out = Output::create(path)?;
    out.write(&hashes.to_be_bytes())?;
    out.write(&count.to_be_bytes())?;
    let (bytes, mut from) = (words * 8, 0);
    while from < bytes {
        let mut part = vec![0; (bytes - from).min(part_length.max(1)) as usize];
        each_key(index, |key| set(&mut part, from, key, hashes, words * 64))?;
        out.write(&part)?;
        from += part.len() as u64;
    }
    out.finish()
}

/// Sets the bits of a key that lie in the part of the filter from byte `from` on.
#[inline]
fn set(part: &mut [u8], from: u64, key: &[u8], hashes: u32, capacity: u64) {
    let (step, mut hash) = murmur3::hash(key);
    for _ in 0..hashes {
        let bit = (hash as i64 % capacity as i64).unsigned_abs();
        if let Some(byte) = (bit / 8).checked_sub(from).and_then(|at| part.get_mut(at as usize)) {
            *byte |= 1 << (bit % 8);
        }
        hash = hash.wrapping_add(step);
    }
}

/// Shows every key of an `Index.db` that was written here.
fn each_key(path: &Path, mut show: impl FnMut(&[u8])) -> Result<()> {
    let mut file = File::open(path).map(|file| BufReader::with_capacity(256 << 10, file));
    let mut read = || -> std::io::Result<()> {
        let file = file.as_mut().map_err(|e| std::io::Error::from(e.kind()))?;
        let mut key = Vec::new();
        while !file.fill_buf()?.is_empty() {
            let mut length = [0; 2];
            file.read_exact(&mut length)?;
            key.resize(usize::from(u16::from_be_bytes(length)), 0);
            file.read_exact(&mut key)?;
            show(&key);
            vint(file)?;
            let rows = vint(file)?;
            if rows > 0 {
                file.seek_relative(rows as i64)?;
            }
        }
        Ok(())
    };
    read().map_err(|e| Error::io(path.display(), e))
}

fn vint(file: &mut impl Read) -> std::io::Result<u64> {
    let mut first = [0];
    file.read_exact(&mut first)?;
    let extra = first[0].leading_ones() as usize;
    let mut bytes = [0; 8];
    file.read_exact(&mut bytes[8 - extra..])?;
    let head = if extra >= 7 { 0 } else { u64::from(first[0] & (0x7f >> extra)) << (8 * extra) };
    Ok(head | u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_those_that_cassandra_takes() {
        // At 0.001 Cassandra takes 7 hashes, since its table rounds 0.001002. The file says how many there are.
        for (chance, bits, hashes) in [(0.01, 10, 5), (0.1, 5, 3), (0.001, 15, 8), (0.3, 3, 1)] {
            assert_eq!(shape(chance), (bits, hashes), "{chance}");
        }
    }
}
