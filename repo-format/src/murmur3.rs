//! The token of a partition key under Cassandra's `Murmur3Partitioner`.
//!
//! MurmurHash3 x64 128 (Austin Appleby, public domain), first half, seed 0, with Cassandra's deviation: the bytes of
//! the tail are sign-extended (`org.apache.cassandra.utils.MurmurHash.hash3_x64_128`).

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

fn mix1(k: u64) -> u64 {
    k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn mix2(k: u64) -> u64 {
    k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn fmix(mut k: u64) -> u64 {
    k ^= k >> 33;
    k = k.wrapping_mul(0xff51_afd7_ed55_8ccd);
    k ^= k >> 33;
    k = k.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ (k >> 33)
}

/// Up to eight tail bytes, each sign-extended, as Java's `(long) byte << n` does.
fn tail(bytes: &[u8]) -> u64 {
    bytes.iter().enumerate().fold(0, |k, (i, b)| k ^ ((*b as i8 as i64 as u64) << (8 * i)))
}

/// Token of a serialised partition key. The least `i64` is no token and becomes the greatest.
pub fn token(key: &[u8]) -> i64 {
    let hash = hash(key).0 as i64;
    if hash == i64::MIN { i64::MAX } else { hash }
}

/// Both halves of the hash; Bloom filters take both.
pub fn hash(key: &[u8]) -> (u64, u64) {
    let (mut h1, mut h2) = (0u64, 0u64);
    let (blocks, rest) = key.as_chunks::<16>();
    for block in blocks {
        let (k1, k2) = halves(block);
        h1 ^= mix1(k1);
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mix2(k2);
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    if rest.len() > 8 {
        h2 ^= mix2(tail(&rest[8..]));
    }
    h1 ^= mix1(tail(&rest[..rest.len().min(8)]));
    h1 ^= key.len() as u64;
    h2 ^= key.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    let h2 = fmix(h2);
    let h1 = fmix(h1).wrapping_add(h2);
    (h1, h1.wrapping_add(h2))
}

fn halves(block: &[u8; 16]) -> (u64, u64) {
    let n = u128::from_le_bytes(*block);
    (n as u64, (n >> 64) as u64)
}

/// The first eight bytes of a key: the token so that unsigned byte order is token order.
pub fn token_bytes(token: i64) -> [u8; 8] {
    (token as u64 ^ (1 << 63)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_that_cassandra_prints() {
        // `SELECT token(k)` of a blob key on Cassandra 5.0.
        assert_eq!(token(b""), 0);
        assert_eq!(token(&[0, 0, 0, 1]), -4069959284402364209);
        assert_eq!(token(&[0, 0, 0, 2]), -3248873570005575792);
    }
}
