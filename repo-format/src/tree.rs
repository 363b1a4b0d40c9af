//! Where leaves and branches end (breaks), and what a branch holds (SPEC "Trees").
//!
//! ```text
//! branch = version u8 (0) │ level u8 │ class u8 │ children varint │ ints shared │ strings rests │ children × id 32
//!        │ ints records │ ints blobs
//! ```

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::error::{FormatError, Result};
use crate::id::ChunkId;
use crate::ints::{Ints, PLANES_MAX, Strings, StringsReader, put_ints};
use crate::names::PackClass;
use crate::wire::{Put, Reader};

/// Most bytes of keys and bodies in a leaf, of keys in a branch; the record or child that reaches it ends the leaf or
/// branch.
pub const LEAF_BYTES_MAX: usize = 1 << 20;
/// Most children of a branch, whatever the repository's mean.
pub const BRANCH_MAX: usize = 4 * crate::limits::BRANCH_CHILDREN_RANGE.1 as usize;
/// Most levels of branches: more than any tree of 2^64 records has.
pub const LEVEL_MAX: u8 = 16;

const VERSION: u8 = 0;

/// Decides after each key whether a leaf (level 0) or branch (from 1) ends with it: SipHash-2-4 of the key under a secret
/// key, so that equal ranges break alike whatever surrounds them, and nobody without the key can foresee where.
#[derive(Clone)]
pub struct Breaks {
    secret: [u8; 16],
    level: u8,
    target: u32,
    count: u32,
    bytes: usize,
}

impl Breaks {
    /// A break after `target` keys on average, never before a quarter or after four times as many.
    pub fn new(secret: [u8; 16], level: u8, target: u32) -> Breaks {
        Breaks { secret, level, target: target.max(1), count: 0, bytes: 0 }
    }

    /// Takes note of a key and the bytes of its record (of a child, those of its key); whether its leaf or branch ends
    /// with it. No branch ends for its bytes with its first child.
    #[inline]
    pub fn ends(&mut self, key: &[u8], bytes: usize) -> bool {
        self.count += 1;
        self.bytes += bytes;
        let least = self.target / 4;
        let ends = self.count >= self.target.saturating_mul(4)
            || (self.bytes >= LEAF_BYTES_MAX && (self.level == 0 || self.count > 1))
            || (self.count > least && self.hash(key) < u64::MAX / u64::from((self.target - least).max(1)));
        if ends {
            (self.count, self.bytes) = (0, 0);
        }
        ends
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(key);
        hasher.write_u8(self.level);
        hasher.finish()
    }
}

/// One child of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// First key under it.
    pub first_key: Vec<u8>,
    /// The chunk.
    pub id: ChunkId,
    /// Records under it.
    pub records: u64,
    /// Of these, the ones under which something hangs. Where there is none, nothing hangs under its leaves.
    pub blobs: u64,
}

/// Appends a branch at `level` (1: its children are leaves) of a tree whose leaves are of `class`.
pub fn put_branch(out: &mut Vec<u8>, level: u8, class: PackClass, children: &[Child]) {
    let mut scratch = Vec::new();
    let mut shared = Vec::with_capacity(children.len());
    let mut rests = Strings::default();
    let mut last: &[u8] = &[];
    for child in children {
        let n = child.first_key.iter().zip(last).take_while(|(a, b)| a == b).count();
        shared.push(n as u64);
        rests.push(&child.first_key[n..]);
        last = &child.first_key;
    }
    out.push(VERSION);
    out.extend_from_slice(&[level, class as u8]);
    out.put_varint(children.len() as u64);
    put_ints(out, &shared, &mut scratch);
    rests.put(out, false, &mut scratch);
    children.iter().for_each(|c| out.extend_from_slice(&c.id.0));
    let records: Vec<u64> = children.iter().map(|c| c.records).collect();
    put_ints(out, &records, &mut scratch);
    let blobs: Vec<u64> = children.iter().map(|c| c.blobs).collect();
    put_ints(out, &blobs, &mut scratch);
}

/// Reads a branch that must be at `level` of a tree whose leaves are of `class`.
pub fn read_branch(bytes: &[u8], level: u8, class: PackClass) -> Result<Vec<Child>> {
    let mut r = Reader::new(bytes, "branch");
    let version = r.u8()?;
    if version != VERSION {
        return Err(FormatError::Unsupported(format!("branch version {version}")));
    }
    if r.u8()? != level {
        return Err(FormatError::Invalid("level of a branch"));
    }
    if PackClass::from_u8(r.u8()?)? != class {
        return Err(FormatError::Invalid("class of a branch's leaves"));
    }
    let count = r.count(32)?;
    if count == 0 || count > BRANCH_MAX {
        return Err(FormatError::Invalid("number of children"));
    }
    let mut shared = Ints::read(&mut r, count)?;
    let mut rests = StringsReader::read(&mut r, count)?;
    let ids = r.bytes(32 * count)?;
    let mut records = Ints::read(&mut r, count)?;
    let mut blobs = Ints::read(&mut r, count)?;
    r.end()?;
    let mut children: Vec<Child> = Vec::with_capacity(count);
    let mut buffer = [0; PLANES_MAX];
    let mut bytes = 0;
    for id in ids.as_chunks::<32>().0 {
        let last = children.last().map_or(&[][..], |c| &c.first_key);
        if children.len() > 1 && bytes >= LEAF_BYTES_MAX {
            return Err(FormatError::TooLarge("keys in a branch"));
        }
        let n = shared.next_len()?;
        let mut first_key = last.get(..n).ok_or(FormatError::Invalid("shared part of a key"))?.to_vec();
        first_key.extend_from_slice(rests.next_string(&mut buffer)?);
        if !children.is_empty() && first_key.as_slice() <= last {
            return Err(FormatError::Invalid("order of children"));
        }
        bytes += first_key.len();
        let child = Child { first_key, id: ChunkId(*id), records: records.next_int()?, blobs: blobs.next_int()? };
        if child.blobs > child.records {
            return Err(FormatError::Invalid("blobs under a child"));
        }
        children.push(child);
    }
    if !rests.is_used_up() {
        return Err(FormatError::Invalid("branch with more than its children"));
    }
    Ok(children)
}
