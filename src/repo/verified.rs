//! When each pack was last read and found whole by this machine: kept in its cache, so that a check which reads a share goes on
//! with what was read longest ago. Losing it costs reading, and nothing else: what is not known was never read.
//!
//! ```text
//! hash of what follows 32 │ count × (hash of the pack 32 │ milliseconds since 1970 u64), ascending
//! ```
//!
//! Memory and disk: 40 bytes for each pack on disk, twice that in memory.

use std::collections::{BTreeSet, HashMap};

use repo_format::id::ObjectHash;

/// Bytes of a pack's hash and its time.
const ITEM: usize = 40;

/// See the module. By the hash in a pack's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified(HashMap<ObjectHash, u64>);

/// How much of the packs was read, and how long ago.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verification {
    /// Packs that this machine has never found whole.
    pub packs_never: u64,
    /// Their bytes.
    pub bytes_never: u64,
    /// When the pack was read that was read longest ago, of those that were; milliseconds since 1970.
    pub oldest_ms: Option<u64>,
}

impl Verified {
    /// Reads what [`Verified::encode`] kept. Bytes that are torn or not understood say nothing; so do times after `now_ms`, for
    /// then one of the two clocks was wrong.
    pub fn decode(bytes: &[u8], now_ms: u64) -> Verified {
        let Some((hash, items)) = bytes.split_first_chunk::<32>() else { return Verified::default() };
        let (items, rest) = items.as_chunks::<ITEM>();
        if !rest.is_empty() || ObjectHash::of(items.as_flattened()).0 != *hash {
            return Verified::default();
        }
        let item = |item: &[u8; ITEM]| {
            let (hash, time) = item.split_first_chunk::<32>()?;
            Some((ObjectHash(*hash), u64::from_le_bytes(time.try_into().ok()?)))
        };
        Verified(items.iter().filter_map(item).filter(|(_, time)| *time <= now_ms).collect())
    }

    /// For the cache.
    pub fn encode(&self) -> Vec<u8> {
        let mut items: Vec<(&ObjectHash, &u64)> = self.0.iter().collect();
        items.sort_unstable();
        let mut bytes = vec![0; 32];
        for (hash, time) in items {
            bytes.extend_from_slice(&hash.0);
            bytes.extend_from_slice(&time.to_le_bytes());
        }
        let hash = ObjectHash::of(&bytes[32..]);
        bytes[..32].copy_from_slice(&hash.0);
        bytes
    }

    /// The pack was read and is whole.
    pub fn saw(&mut self, pack: ObjectHash, now_ms: u64) {
        self.0.insert(pack, now_ms);
    }

    /// The pack is not whole.
    pub fn strike(&mut self, pack: &ObjectHash) {
        self.0.remove(pack);
    }

    /// When it was read; 0: never.
    pub fn time(&self, pack: &ObjectHash) -> u64 {
        self.0.get(pack).copied().unwrap_or(0)
    }

    /// Forgets packs that are gone.
    pub fn keep(&mut self, packs: &BTreeSet<ObjectHash>) {
        self.0.retain(|pack, _| packs.contains(pack));
    }

    /// What is known of these packs, each with its length in bytes.
    pub fn of(&self, packs: impl Iterator<Item = (ObjectHash, u64)>) -> Verification {
        let mut all = Verification::default();
        for (pack, bytes) in packs {
            match self.time(&pack) {
                0 => {
                    all.packs_never += 1;
                    all.bytes_never += bytes;
                }
                time => all.oldest_ms = Some(all.oldest_ms.map_or(time, |oldest| oldest.min(time))),
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u8) -> ObjectHash {
        ObjectHash([n; 32])
    }

    #[test]
    fn what_is_kept_is_read_again_and_what_is_torn_is_not_believed() {
        let mut verified = Verified::default();
        assert_eq!(Verified::decode(&verified.encode(), 9), verified);
        [(1, 5), (2, 7), (3, 9)].iter().for_each(|(n, at)| verified.saw(hash(*n), *at));
        let bytes = verified.encode();
        assert_eq!(Verified::decode(&bytes, 9), verified);
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 1;
            assert_eq!(Verified::decode(&torn, 9), Verified::default());
            assert_eq!(Verified::decode(&bytes[..at], 9), Verified::default());
        }
        // A clock that was set back says nothing of what was read "later".
        assert_eq!(Verified::decode(&bytes, 8).time(&hash(3)), 0);
        let packs = [(hash(1), 10), (hash(2), 20), (hash(4), 40)];
        let all = verified.of(packs.into_iter());
        assert_eq!(all, Verification { packs_never: 1, bytes_never: 40, oldest_ms: Some(5) });
        verified.strike(&hash(1));
        verified.keep(&BTreeSet::from([hash(1), hash(2)]));
        assert_eq!((verified.time(&hash(1)), verified.time(&hash(2)), verified.time(&hash(3))), (0, 7, 0));
    }
}
