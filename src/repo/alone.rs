//! What each snapshot alone needs, and so what forgetting it would free. Chunks are given by who walks trees; here they are compared
//! with the index objects, as sorted runs.
//!
//! Memory: an index object, 50 bytes for each frame of it, and what [`super::sort`] states twice.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use repo_format::id::SnapshotId;
use repo_format::names::{IndexName, Name, ObjectKind};

use super::index::Parts;
use super::sort::{Sorted, Sorter};
use super::{Repo, twice};
use crate::error::{Error, Result};
use crate::run::ChunkId;

/// Chunk 32 │ snapshot u32.
const NEED: usize = 36;
/// Chunk 32 │ 0 where it can be relied on, or else 1 │ its length u32 │ its part of its frame's bytes u32.
const PLACE: usize = 41;

/// In place of a snapshot's number.
const SEVERAL: u32 = u32::MAX;

/// Chunks that snapshots need, each snapshot by a number below 2^32 - 1.
pub struct Needs {
    dir: PathBuf,
    sorter: Sorter<NEED>,
}

/// What one snapshot alone needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Alone {
    /// Chunks that no other snapshot needs.
    pub chunks: u64,
    /// Their plaintext, in bytes.
    pub bytes: u64,
    /// Their parts of the bytes of frames, and its own objects: what a prune can free once this snapshot is forgotten.
    pub frees: u64,
}

impl Needs {
    /// None yet. What does not fit into memory lies in `dir` meanwhile.
    pub fn new(dir: &Path) -> Needs {
        Needs { dir: dir.to_owned(), sorter: Sorter::new(dir) }
    }

    /// The snapshot of that number needs the chunk. Of one that several need, two must be given.
    pub fn add(&mut self, snapshot: u32, id: &ChunkId) -> Result<()> {
        let mut need = [0; NEED];
        need[..32].copy_from_slice(&id.0);
        need[32..].copy_from_slice(&snapshot.to_be_bytes());
        self.sorter.add(need)
    }
}

impl Repo {
    /// What each of the snapshots numbered from 0 alone needs; and index objects that cannot be read, so that there may be more.
    pub fn alone(&self, needs: Needs, snapshots: usize) -> Result<(Vec<Alone>, Vec<Error>)> {
        let Needs { dir, sorter } = needs;
        let needs = sorter.finish()?;
        let (places, problems) = self.places_of(&needs, &dir)?;
        let mut alone = vec![Alone::default(); snapshots];
        let mut owners = needs.finder();
        let mut last = None;
        places.each(&mut |place| {
            let Some((id, _)) = place.split_first_chunk::<32>() else { return Ok(()) };
            if last.replace(*id) == Some(*id) {
                return Ok(());
            }
            let mut owner = None;
            owners.find(id, &mut |need| {
                let number = number(need, 32);
                owner = Some(if owner.is_none() { number } else { SEVERAL });
                Ok(())
            })?;
            if let Some(alone) = owner.and_then(|owner| alone.get_mut(owner as usize)) {
                alone.chunks += 1;
                alone.bytes += u64::from(number(&place, 33));
                alone.frees += u64::from(number(&place, 37));
            }
            Ok(())
        })?;
        Ok((alone, problems))
    }

    /// Bytes of the objects that are snapshots, both of each.
    pub fn snapshot_bytes(&self) -> Result<HashMap<SnapshotId, u64>> {
        let mut bytes: HashMap<SnapshotId, u64> = HashMap::new();
        twice::listed(&*self.core.store, ObjectKind::Snapshot, &mut |name, _, size| {
            if let Name::Snapshot(id) = name {
                *bytes.entry(id).or_default() += size;
            }
        })?;
        Ok(bytes)
    }

    /// Where index objects say that what is needed lies, and which of them cannot be read.
    fn places_of(&self, needs: &Sorted<NEED>, dir: &Path) -> Result<(Sorted<PLACE>, Vec<Error>)> {
        let state = self.state();
        let mut places: Sorter<PLACE> = Sorter::new(dir);
        let mut problems = Vec::new();
        let names: Vec<IndexName> = state.indexes().keys().copied().collect();
        self.core.each_index(&names, &state, |_, read| {
            let object = match read {
                Ok(object) => object,
                Err(e) if e.is_of_bytes() => {
                    problems.push(e);
                    return Ok(());
                }
                Err(e) => return Err(e),
            };
            let mut needed = needs.finder();
            let parts = Parts::of(&object);
            for entry in object.iter() {
                let mut is_needed = false;
                needed.find(&entry.id.0, &mut |_| {
                    is_needed = true;
                    Ok(())
                })?;
                if is_needed {
                    let mut place = [0; PLACE];
                    place[..32].copy_from_slice(&entry.id.0);
                    place[32] = u8::from(!state.usable(&entry.pack, entry.frame_offset));
                    place[33..37].copy_from_slice(&entry.length.to_be_bytes());
                    place[37..].copy_from_slice(&parts.part(&entry).to_be_bytes());
                    places.add(place)?;
                }
            }
            Ok(())
        })?;
        Ok((places.finish()?, problems))
    }
}

fn number(record: &[u8], at: usize) -> u32 {
    record.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(SEVERAL, u32::from_be_bytes)
}
