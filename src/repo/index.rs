//! Where chunks lie: a cache of what the index objects say. The truth is in the store.

use std::collections::HashMap;
use std::sync::Arc;

use repo_format::id::ChunkId;
use repo_format::index::{Index as IndexObject, IndexEntry};
use repo_format::names::{IndexName, PackName};

use crate::error::Result;

/// Where one copy of a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The index object that says so: whether it is to be believed is the log's to say.
    pub source: IndexName,
    /// The pack.
    pub pack: PackName,
    /// Where the frame starts in the pack, in bytes.
    pub offset: u32,
    /// Length of the frame in bytes.
    pub length: u32,
    /// Which chunk of the frame, from 0.
    pub position: u16,
}

impl Place {
    /// The place that an entry of the index object `source` names.
    pub fn new(source: &IndexName, e: &IndexEntry) -> Place {
        Place { source: *source, pack: e.pack, offset: e.frame_offset, length: e.frame_length, position: e.position }
    }
}

/// Remembers the contents of index objects. Shared by threads.
///
/// Errors of kind [`Damaged`](crate::Kind::Damaged) mean that the cache itself is damaged: whoever holds the store
/// builds another from the index objects.
pub trait Index: Send + Sync {
    /// Shows the known places of a chunk until `visit` returns `true`; answers whether it did.
    fn find(&self, id: &ChunkId, visit: &mut dyn FnMut(Place) -> bool) -> Result<bool>;

    /// Takes in an index object. Doing so again changes nothing.
    fn add(&self, name: &IndexName, object: &IndexObject) -> Result<()>;

    /// The index objects taken in so far, and the length of each in bytes.
    fn names(&self) -> Result<HashMap<IndexName, u64>>;

    /// Shows every pack of the index objects taken in, with its size in bytes: once for each object that names it.
    fn packs(&self, visit: &mut dyn FnMut(&IndexName, &PackName, u32)) -> Result<()>;

    /// Bytes of memory and disk it uses, roughly; for `stats`.
    fn size(&self) -> u64;
}

/// How much of its frame's bytes each chunk of an index object stands for: as much as of the plaintext.
pub struct Parts(HashMap<(PackName, u32), u64>);

impl Parts {
    /// Of the chunks that `object` names.
    pub fn of(object: &IndexObject) -> Parts {
        let mut plain: HashMap<(PackName, u32), u64> = HashMap::new();
        for entry in object.iter() {
            *plain.entry((entry.pack, entry.frame_offset)).or_default() += u64::from(entry.length);
        }
        Parts(plain)
    }

    /// Bytes; of every chunk some. Rounded up: of a frame that is needed whole nothing is left over.
    pub fn part(&self, entry: &IndexEntry) -> u32 {
        let all = self.0.get(&(entry.pack, entry.frame_offset)).copied().unwrap_or_default().max(1);
        let part = (u64::from(entry.frame_length) * u64::from(entry.length)).div_ceil(all);
        u32::try_from(part).unwrap_or(u32::MAX).max(1)
    }
}

/// A cache that others read but may not change, under the index objects that came after it.
pub struct Layered {
    below: Arc<dyn Index>,
    above: Arc<dyn Index>,
}

impl Layered {
    /// `above` takes what is added; both are asked.
    pub fn new(below: Arc<dyn Index>, above: Arc<dyn Index>) -> Layered {
        Layered { below, above }
    }
}

impl Index for Layered {
    fn find(&self, id: &ChunkId, visit: &mut dyn FnMut(Place) -> bool) -> Result<bool> {
        Ok(self.above.find(id, visit)? || self.below.find(id, visit)?)
    }

    fn add(&self, name: &IndexName, object: &IndexObject) -> Result<()> {
        self.above.add(name, object)
    }

    fn names(&self) -> Result<HashMap<IndexName, u64>> {
        let mut names = self.below.names()?;
        names.extend(self.above.names()?);
        Ok(names)
    }

    fn packs(&self, visit: &mut dyn FnMut(&IndexName, &PackName, u32)) -> Result<()> {
        self.below.packs(visit)?;
        self.above.packs(visit)
    }

    fn size(&self) -> u64 {
        self.below.size() + self.above.size()
    }
}
