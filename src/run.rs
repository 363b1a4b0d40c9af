//! The traits of the flow: a run of records, and where chunks go to and come from.

use crate::error::{Error, Result};
pub use repo_format::id::{ChunkId, ChunkKind};
use repo_format::key::RunDigestKey;
pub use repo_format::names::PackClass;
use repo_format::record::{Class, Traits};
use repo_format::run_digest::{Head, RunDigest};

/// One record as a batch shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Order-preserving bytes; keys of a run ascend strictly.
    pub key: &'a [u8],
    /// Length of the prefix of `key` that names the group.
    pub group_len: usize,
    /// What the record is within its group.
    pub class: Class,
    /// Facts about the body, see [`Traits`].
    pub traits: Traits,
    /// Entries in canonical form (`repo_format::record`).
    pub body: &'a [u8],
}

impl<'a> Record<'a> {
    /// The part of the key that names the group.
    #[inline]
    pub fn group(&self) -> &'a [u8] {
        &self.key[..self.group_len]
    }

    /// What says whose it is, of all the nodes: the group; the key where groups are not used.
    #[inline]
    pub fn whose(&self) -> &'a [u8] {
        if self.group_len == 0 { self.key } else { self.group() }
    }

    /// Whether it has cells: it is no deletion of a group and no marker.
    #[inline]
    pub fn is_row(&self) -> bool {
        matches!(self.class, Class::Row | Class::Static)
    }
}

#[derive(Clone, Copy)]
struct Slot {
    start: u32,
    body: u32,
    end: u32,
    group_len: u32,
    class: Class,
    traits: Traits,
}

/// Some hundreds of records in one allocation that is used again and again.
pub struct RecordBatch {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    limit: usize,
    /// Key of a large record that comes next; empty where nothing is said.
    coming: Vec<u8>,
    /// Ranks of the first records; the records behind have rank 0.
    ranks: Vec<u64>,
}

impl Default for RecordBatch {
    fn default() -> RecordBatch {
        RecordBatch { bytes: Vec::new(), slots: Vec::new(), limit: BATCH_BYTES, coming: Vec::new(), ranks: Vec::new() }
    }
}

/// A batch is full once it holds this many bytes, unless less was said; one record may pass it.
pub const BATCH_BYTES: usize = 128 << 10;
/// A batch is full once it holds this many records.
pub const BATCH_RECORDS: usize = 2048;
/// A record from this size on is large: it is read when its turn has come, see [`RecordBatch::coming`].
pub const RECORD_LARGE: usize = 2 * BATCH_BYTES;
/// The largest record, key and body together. Decoders refuse larger ones.
pub const RECORD_MAX: usize = 64 << 20;

impl RecordBatch {
    /// An empty batch.
    pub fn new() -> RecordBatch {
        RecordBatch::default()
    }

    /// Forgets the records, keeps the memory (unless one large record made it huge).
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(4 * self.limit);
        self.slots.clear();
        self.coming.clear();
        self.ranks.clear();
    }

    /// The key of a large record that comes after those of the batch. It is not read before the next batch is asked for: of
    /// the nodes of a cluster each may stand before one. A merge may find it deleted then: what comes has this key or a later one.
    pub fn coming(&self) -> Option<&[u8]> {
        (!self.coming.is_empty()).then_some(self.coming.as_slice())
    }

    /// Says that a large record with this key comes next. The batch is full then.
    pub fn set_coming(&mut self, key: &[u8]) {
        self.coming.clear();
        self.coming.extend_from_slice(key);
    }

    /// Bytes at which it is full.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many records more it takes, if they are small.
    pub fn room(&self) -> usize {
        BATCH_RECORDS.saturating_sub(self.slots.len())
    }

    /// Says that it is full once it holds `bytes`.
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// Bytes of all records.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Exchanges the records of two batches; each keeps its limit.
    pub fn swap(&mut self, other: &mut RecordBatch) {
        std::mem::swap(&mut self.bytes, &mut other.bytes);
        std::mem::swap(&mut self.slots, &mut other.slots);
        std::mem::swap(&mut self.coming, &mut other.coming);
        std::mem::swap(&mut self.ranks, &mut other.ranks);
    }

    /// The last record's key, if there is one.
    pub fn last_key(&self) -> Option<&[u8]> {
        let last = self.slots.last()?;
        Some(&self.bytes[last.start as usize..last.body as usize])
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether a producer should stop adding.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= self.limit || self.slots.len() >= BATCH_RECORDS || !self.coming.is_empty()
    }

    /// The `i`-th record; `i < len()`.
    #[inline]
    pub fn get(&self, i: usize) -> Record<'_> {
        let s = self.slots[i];
        Record {
            key: &self.bytes[s.start as usize..s.body as usize],
            group_len: s.group_len as usize,
            class: s.class,
            traits: s.traits,
            body: &self.bytes[s.body as usize..s.end as usize],
        }
    }

    /// Forgets the records from the `n`-th on.
    pub fn truncate(&mut self, n: usize) {
        if let Some(slot) = self.slots.get(n) {
            self.bytes.truncate(slot.start as usize);
            self.slots.truncate(n);
            self.ranks.truncate(n);
        }
    }

    /// Rank of the `i`-th record: which of two records without versions is the later one. 0 unless it was said.
    #[inline]
    pub fn rank(&self, i: usize) -> u64 {
        self.ranks.get(i).copied().unwrap_or(0)
    }

    /// Says the rank of all records from the `from`-th on.
    #[inline]
    pub fn set_rank(&mut self, from: usize, rank: u64) {
        if rank > 0 || !self.ranks.is_empty() {
            self.ranks.resize(from, 0);
            self.ranks.resize(self.slots.len(), rank);
        }
    }

    /// All records in order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.slots.len()).map(|i| self.get(i))
    }

    /// Adds all records to the digest of their run.
    pub fn digest(&self, digest: &mut RunDigest) {
        // Records lie one after the other, from the first byte to the last.
        let head = |s: &Slot| Head {
            key_len: (s.body - s.start) as usize,
            group_len: s.group_len as usize,
            class: s.class,
            body_len: (s.end - s.body) as usize,
        };
        digest.update(self.slots.iter().map(head), &self.bytes);
    }

    /// Copies a record in.
    #[inline]
    pub fn push(&mut self, r: &Record<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(r.key);
        let body = self.bytes.len();
        self.bytes.extend_from_slice(r.body);
        self.slot(start, body, r.group_len, r.class, r.traits);
    }

    /// Whether both have these records, and the `i`-th is the `j`-th of `other`, byte for byte.
    #[inline]
    pub fn is_same(&self, i: usize, other: &RecordBatch, j: usize) -> bool {
        let (Some(a), Some(b)) = (self.slots.get(i).copied(), other.slots.get(j).copied()) else { return false };
        a.body - a.start == b.body - b.start
            && (a.group_len, a.class) == (b.group_len, b.class)
            && self.whole(a) == other.whole(b)
    }

    /// Key and body, which lie one after the other.
    #[inline]
    fn whole(&self, s: Slot) -> &[u8] {
        &self.bytes[s.start as usize..s.end as usize]
    }

    /// Copies records of `other` in, from the `from`-th on: as many as `wanted` accepts, `most` of them, until the batch is full.
    /// Gives the first that was not copied.
    #[inline]
    pub fn push_from(
        &mut self,
        other: &RecordBatch,
        from: usize,
        wanted: impl Fn(Record<'_>) -> bool,
        most: usize,
    ) -> usize {
        let Some(first) = other.slots.get(from) else { return from };
        // Wraps around and back again where records move towards the start.
        let moved = (self.bytes.len() as u32).wrapping_sub(first.start);
        let (mut to, mut end) = (from, first.start);
        while let Some(s) = other.slots.get(to).filter(|_| to - from < most) {
            let is_full = end.wrapping_add(moved) as usize >= self.limit || self.slots.len() >= BATCH_RECORDS;
            if is_full || !wanted(other.get(to)) {
                break;
            }
            let at = |place: u32| place.wrapping_add(moved);
            self.slots.push(Slot { start: at(s.start), body: at(s.body), end: at(s.end), ..*s });
            end = s.end;
            to += 1;
        }
        // Records lie one after the other.
        self.bytes.extend_from_slice(&other.bytes[first.start as usize..end as usize]);
        if let Some(ranks) = other.ranks.get(from..).filter(|ranks| !ranks.is_empty()) {
            self.ranks.resize(self.slots.len() - (to - from), 0);
            self.ranks.extend_from_slice(&ranks[..ranks.len().min(to - from)]);
        }
        to
    }

    /// Builds a record in place: `write` appends the body to the buffer that already holds the key, and returns the
    /// body's traits. Nothing is added when it fails.
    #[inline]
    pub fn push_with<E>(
        &mut self,
        key: &[u8],
        group_len: usize,
        class: Class,
        write: impl FnOnce(&mut Vec<u8>) -> std::result::Result<Traits, E>,
    ) -> std::result::Result<(), E> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let body = self.bytes.len();
        match write(&mut self.bytes) {
            Ok(traits) => {
                self.slot(start, body, group_len, class, traits);
                Ok(())
            }
            Err(e) => {
                self.bytes.truncate(start);
                Err(e)
            }
        }
    }

    fn slot(&mut self, start: usize, body: usize, group_len: usize, class: Class, traits: Traits) {
        let end = self.bytes.len();
        debug_assert!(end <= u32::MAX as usize && group_len <= body - start);
        self.slots.push(Slot {
            start: start as u32,
            body: body as u32,
            end: end as u32,
            group_len: group_len as u32,
            class,
            traits,
        });
    }
}

/// The point in time that all nodes of a snapshot are brought to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cut {
    /// Seconds since 1970.
    pub seconds: u32,
    /// The place in the engine's own log where it has one, in the engine's words: an optime, a log sequence number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
}

/// What the records of a shard are, and so what can be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShardKind {
    /// Rows, items, documents.
    Records,
    /// Files by their paths.
    Files,
    /// Changes by their positions in a log; nothing in it is ever replaced.
    Journal,
}

/// A sorted run. Keys ascend strictly, across batches too. What a batch shows has already been checked.
pub trait Run: Send {
    /// Clears `out` and fills it with the next records. `false` (and an empty batch) at the end; otherwise there is at
    /// least one record, or (from a run of which that is said) what is [coming](RecordBatch::coming); a merge across nodes may give an
    /// empty batch because its witness is full. After an error the run is finished: its prefix must not be used.
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool>;
}

impl<R: Run + ?Sized> Run for Box<R> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        (**self).next_batch(out)
    }
}

/// Takes chunks. The name is known at once; the bytes are safe only after the session commits.
pub trait ChunkSink: Send + Sync {
    /// Stores `plain` unless it is there already.
    fn put(&self, kind: ChunkKind, plain: &[u8]) -> Result<ChunkId>;
    /// Whether an earlier session stored the chunk and it can be relied on; it is then, up to the commit. So what refers to it need not
    /// store it again. By default nothing is.
    fn relies_on(&self, _id: &ChunkId) -> Result<bool> {
        Ok(false)
    }
    /// The same of everything that a snapshot needs, by its id, for who cannot walk its trees.
    fn stands_on(&self, _snapshot: &str) -> Result<bool> {
        Ok(false)
    }
}

/// What a walk from a root comes by: what marking and checking follow.
#[derive(Debug)]
pub enum Reached {
    /// A chunk that is needed.
    Chunk {
        /// Its kind.
        kind: ChunkKind,
        /// Its name.
        id: ChunkId,
        /// The chunk that it hangs under and that refers to it; a root has none.
        parent: Option<ChunkId>,
        /// Whether others hang under it: it is a branch, a blob list, or a leaf beside which blobs lie. It is read, and they
        /// are shown, if that is wanted.
        more: bool,
    },
    /// One into which the walk could not look: what hangs under it is not known.
    Broken(Error),
}

/// Gives chunks back. The bytes hash to `id`, or it is an error.
pub trait ChunkSource: Send + Sync {
    /// The plaintext of a chunk.
    fn get(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>>;
    /// Says what will be asked for soon.
    fn prefetch(&self, _ids: &[ChunkId]) {}
    /// What a chunk of these bytes is called, so that bytes that lie elsewhere can be compared without being fetched. `None` where
    /// that is not known.
    fn name_of(&self, _kind: ChunkKind, _plain: &[u8]) -> Option<ChunkId> {
        None
    }
    /// The key of the digests that say what runs of these chunks yield. Without it, none is compared.
    fn digest_key(&self) -> Option<RunDigestKey> {
        None
    }
    /// The secret of the breaks of trees: where the leaves of a run end that several of them hold.
    fn tree_secret(&self) -> Option<[u8; 16]> {
        None
    }
}
