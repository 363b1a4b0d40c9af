//! The index in memory: for tests, and where no other cache can be had. About 100 bytes a chunk.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use repo_format::id::ChunkId;
use repo_format::index::Index as IndexObject;
use repo_format::names::{IndexName, PackName};

use super::index::{Index, Place};
use crate::error::Result;

/// A map.
#[derive(Default)]
pub struct MemoryIndex {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Lengths of the index objects.
    names: HashMap<IndexName, u64>,
    /// Each pack of each index object, and its size.
    sources: Vec<(IndexName, PackName, u32)>,
    /// The first place, and the rare others.
    chunks: HashMap<ChunkId, (Packed, Vec<Packed>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Packed {
    source: u32,
    offset: u32,
    length: u32,
    position: u16,
}

impl MemoryIndex {
    /// Empty.
    pub fn new() -> MemoryIndex {
        MemoryIndex::default()
    }

    fn inner(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn place(&self, p: &Packed) -> Place {
        let (source, pack, _) = self.sources[p.source as usize];
        Place { source, pack, offset: p.offset, length: p.length, position: p.position }
    }
}

impl Index for MemoryIndex {
    fn find(&self, id: &ChunkId, visit: &mut dyn FnMut(Place) -> bool) -> Result<bool> {
        let inner = self.inner();
        let Some((first, others)) = inner.chunks.get(id) else { return Ok(false) };
        Ok(visit(inner.place(first)) || others.iter().any(|p| visit(inner.place(p))))
    }

    fn add(&self, name: &IndexName, object: &IndexObject) -> Result<()> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if inner.names.insert(*name, object.object_len()).is_some() {
            return Ok(());
        }
        let first = inner.sources.len();
        inner.sources.extend(object.head().packs.iter().map(|(pack, size)| (*name, *pack, *size)));
        let numbers: HashMap<PackName, u32> =
            inner.sources[first..].iter().zip(first as u32..).map(|((_, pack, _), i)| (*pack, i)).collect();
        for entry in object.iter() {
            let Some(&source) = numbers.get(&entry.pack) else { continue };
            let (offset, length, position) = (entry.frame_offset, entry.frame_length, entry.position);
            let packed = Packed { source, offset, length, position };
            match inner.chunks.get_mut(&entry.id) {
                None => {
                    inner.chunks.insert(entry.id, (packed, Vec::new()));
                }
                Some((first, others)) if *first != packed && !others.contains(&packed) => others.push(packed),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<HashMap<IndexName, u64>> {
        Ok(self.inner().names.clone())
    }

    fn packs(&self, visit: &mut dyn FnMut(&IndexName, &PackName, u32)) -> Result<()> {
        self.inner().sources.iter().for_each(|(source, pack, size)| visit(source, pack, *size));
        Ok(())
    }

    fn size(&self) -> u64 {
        100 * self.inner().chunks.len() as u64
    }
}
