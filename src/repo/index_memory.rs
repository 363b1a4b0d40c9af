//! The index in memory: for tests, and where no other cache can be had. About 100 bytes a chunk.

use std::collections::{HashMap, HashSet};
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
    names: HashSet<IndexName>,
    packs: Vec<PackName>,
    pack_numbers: HashMap<PackName, u32>,
    /// The first place, and the rare others.
    chunks: HashMap<ChunkId, (Packed, Vec<Packed>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Packed {
    pack: u32,
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
    fn number(&mut self, pack: PackName) -> u32 {
        let packs = &mut self.packs;
        *self.pack_numbers.entry(pack).or_insert_with(|| {
            packs.push(pack);
            packs.len() as u32 - 1
        })
    }

    fn place(&self, p: &Packed) -> Place {
        Place { pack: self.packs[p.pack as usize], offset: p.offset, length: p.length, position: p.position }
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
        if !inner.names.insert(*name) {
            return Ok(());
        }
        for entry in object.iter() {
            let place = Place::from(&entry);
            let pack = inner.number(place.pack);
            let packed = Packed { pack, offset: place.offset, length: place.length, position: place.position };
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

    fn names(&self) -> Result<HashSet<IndexName>> {
        Ok(self.inner().names.clone())
    }

    fn size(&self) -> u64 {
        100 * self.inner().chunks.len() as u64
    }
}
