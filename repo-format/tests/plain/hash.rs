//! The hashes that SPEC "Cassandra keys" and "Trees" name, each from its definition.

/// MurmurHash3 x64 128, seed 0, first half, tail bytes sign-extended; the least number becomes the greatest.
pub fn token(key: &[u8]) -> i64 {
    const C1: i64 = 0x87c3_7b91_1142_53d5_u64 as i64;
    const C2: i64 = 0x4cf5_ad43_2745_937f;
    let mul = i64::wrapping_mul;
    let mix = |k: i64, by: (i64, u32, i64)| mul(mul(k, by.0).rotate_left(by.1), by.2);
    let (first, second) = ((C1, 31, C2), (C2, 33, C1));
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0i64, |n, b| (n << 8) | i64::from(*b));
    let (mut h1, mut h2) = (0i64, 0i64);
    let blocks = key.len() / 16;
    for block in key.chunks(16).take(blocks) {
        h1 ^= mix(word(&block[..8]), first);
        h1 = mul(h1.rotate_left(27).wrapping_add(h2), 5).wrapping_add(0x52dc_e729);
        h2 ^= mix(word(&block[8..]), second);
        h2 = mul(h2.rotate_left(31).wrapping_add(h1), 5).wrapping_add(0x3849_5ab5);
    }
    let (mut k1, mut k2) = (0i64, 0i64);
    for (i, byte) in key[16 * blocks..].iter().enumerate() {
        let byte = i64::from(*byte as i8);
        if i < 8 {
            k1 ^= byte << (8 * i);
        } else {
            k2 ^= byte << (8 * (i - 8));
        }
    }
    h2 ^= mix(k2, second);
    h1 ^= mix(k1, first);
    h1 ^= key.len() as i64;
    h2 ^= key.len() as i64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    let last = |k: i64| {
        let shifted = |k: i64| k ^ ((k as u64 >> 33) as i64);
        let k = mul(shifted(k), 0xff51_afd7_ed55_8ccd_u64 as i64);
        shifted(mul(shifted(k), 0xc4ce_b9fe_1a85_ec53_u64 as i64))
    };
    let token = last(h1).wrapping_add(last(h2));
    if token == i64::MIN { i64::MAX } else { token }
}

/// SipHash-2-4 with 64 bits of output.
pub fn sip(key: [u8; 16], message: &[u8]) -> u64 {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |n, b| (n << 8) | u64::from(*b));
    let (k0, k1) = (word(&key[..8]), word(&key[8..]));
    let start = [0x736f_6d65_7073_6575, 0x646f_7261_6e64_6f6d, 0x6c79_6765_6e65_7261, 0x7465_6462_7974_6573];
    let mut v = [k0 ^ start[0], k1 ^ start[1], k0 ^ start[2], k1 ^ start[3]];
    let round = |v: &mut [u64; 4]| {
        v[0] = v[0].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[0] = v[0].rotate_left(32);
        v[2] = v[2].wrapping_add(v[3]);
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].wrapping_add(v[3]);
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[2] = v[2].rotate_left(32);
    };
    let mut padded = message.to_vec();
    while padded.len() % 8 != 7 {
        padded.push(0);
    }
    padded.push(message.len() as u8);
    for block in padded.chunks(8) {
        let m = word(block);
        v[3] ^= m;
        (0..2).for_each(|_| round(&mut v));
        v[0] ^= m;
    }
    v[2] ^= 0xff;
    (0..4).for_each(|_| round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}
