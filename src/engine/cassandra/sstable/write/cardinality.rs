//! How many different keys there are, roughly: HyperLogLog++ with 2^13 registers, so that the keys of several files can be
//! counted together. Sources: `MetadataCollector.addKey`, `MurmurHash.hash2_64`, and `HyperLogLogPlus` and
//! `RegisterSet` of stream-lib 2.5.2.

/// Bits of a hash that choose the register.
const P: u32 = 13;
/// The precision that a sparse form would have.
const SPARSE_P: u32 = 25;
/// Registers of five bits in an integer.
const PER_WORD: usize = 6;
/// What a register holds at most.
const REGISTER_MAX: u8 = 31;
/// stream-lib adds one word unless there are a multiple of 32.
const WORDS: usize = (1 << P) / PER_WORD + 1;

/// The registers.
#[derive(Debug, Clone)]
pub struct Cardinality {
    registers: Vec<u8>,
}

impl Default for Cardinality {
    fn default() -> Cardinality {
        Cardinality { registers: vec![0; 1 << P] }
    }
}

impl Cardinality {
    /// Counts a partition key.
    pub fn add(&mut self, key: &[u8]) {
        let hash = hash2_64(key);
        let register = (hash >> (64 - P)) as usize;
        let run = ((hash << P) | 1 << (P - 1)).leading_zeros() as u8 + 1;
        self.registers[register] = self.registers[register].max(run.min(REGISTER_MAX));
    }

    /// Appends the normal (not sparse) form.
    pub fn put(&self, out: &mut Vec<u8>) {
        let mut form = (-2_i32).to_be_bytes().to_vec(); // of version 2, negative to tell it from older ones
        for n in [P, SPARSE_P, 0, WORDS as u32 * 4] {
            leb128(&mut form, n);
        }
        for i in 0..WORDS {
            let registers = self.registers.iter().skip(i * PER_WORD).take(PER_WORD);
            let word =
                registers.enumerate().fold(0_u32, |word, (at, register)| word | u32::from(*register) << (5 * at));
            form.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(&(form.len() as u32).to_be_bytes());
        out.extend_from_slice(&form);
    }
}

fn leb128(out: &mut Vec<u8>, mut n: u32) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// MurmurHash2 64A (Austin Appleby, public domain), seed 0, with Cassandra's deviation: the bytes of the tail are
/// sign-extended.
fn hash2_64(key: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = M.wrapping_mul(key.len() as u64);
    let (blocks, tail) = key.as_chunks::<8>();
    for block in blocks {
        let mut k = u64::from_le_bytes(*block).wrapping_mul(M);
        k ^= k >> 47;
        hash = (hash ^ k.wrapping_mul(M)).wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            hash ^= (*byte as i8 as i64 as u64) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 47;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 47
}
