//! The digest of a run (SPEC "Digest of a run"): whoever reads the run again knows whether it is the same, record for
//! record.
//!
//! ```text
//! head   = key length varint │ group length varint │ class u8 │ body length varint
//! digest = hash of (hash of all heads 32 │ hash of all keys and bodies 32)
//! ```

use blake3::Hasher;
use zeroize::Zeroize;

use crate::key::RunDigestKey;
use crate::record::Class;
use crate::wire::Put;

/// What a digest is told of a record beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the key.
    pub key_len: usize,
    /// Bytes of the prefix of the key that names the group.
    pub group_len: usize,
    /// What the record is within its group.
    pub class: Class,
    /// Bytes of the body.
    pub body_len: usize,
}

/// Computes the digest of a run. How the run comes in batches does not matter.
pub struct RunDigest {
    key: RunDigestKey,
    heads: Hasher,
    bytes: Hasher,
    buffer: Vec<u8>,
}

impl RunDigest {
    /// Of a run of which nothing was seen yet.
    pub fn new(key: &RunDigestKey) -> RunDigest {
        let hasher = || Hasher::new_keyed(key.expose());
        RunDigest { key: key.clone(), heads: hasher(), bytes: hasher(), buffer: Vec::new() }
    }

    /// Takes in the next records: their heads, and their keys and bodies, key, body, key, body, without anything between.
    /// Fast for some 100 KiB at a time.
    pub fn update(&mut self, heads: impl Iterator<Item = Head>, bytes: &[u8]) {
        self.buffer.clear();
        for head in heads {
            self.buffer.put_varint(head.key_len as u64);
            self.buffer.put_varint(head.group_len as u64);
            self.buffer.push(head.class as u8);
            self.buffer.put_varint(head.body_len as u64);
        }
        self.heads.update(&self.buffer);
        self.bytes.update(bytes);
    }

    /// The digest of all that was taken in.
    pub fn finish(&self) -> [u8; 32] {
        let mut both = Hasher::new_keyed(self.key.expose());
        both.update(self.heads.finalize().as_bytes()).update(self.bytes.finalize().as_bytes());
        *both.finalize().as_bytes()
    }
}

impl Drop for RunDigest {
    fn drop(&mut self) {
        self.heads.zeroize();
        self.bytes.zeroize();
    }
}
