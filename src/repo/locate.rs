//! Keeps the index in step with the log: opened from the machine's cache, completed, or built again from the store.

use std::sync::{Arc, PoisonError};

use repo_format::id::{ChunkId, RepoId, SessionId};
use repo_format::index::{Index as IndexObject, IndexBuilder};
use repo_format::key::{IndexKey, SignKey};
use repo_format::log_state::State;
use repo_format::names::{IndexName, Name};

use super::index::{Index, Place};
use super::index_memory::MemoryIndex;
use super::{Core, world};
use crate::error::{Error, Kind, Result};
use crate::store::fetched;

/// Index objects that are read at once.
const INDEXES: usize = 8;

/// What an index is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Look-ups only; any number of processes at once.
    Read,
    /// Index objects will be added; one process at a time keeps them in the cache, others in memory.
    Write,
}

impl Core {
    /// The index, knowing every index object that counts (but for damaged ones, which `check` names).
    pub(super) fn index(&self, purpose: Purpose) -> Result<Arc<dyn Index>> {
        let open = self.index.read().unwrap_or_else(PoisonError::into_inner).clone();
        match open {
            Some(index) if purpose == Purpose::Read => match self.complete(&*index) {
                Err(e) if e.kind() == Kind::Damaged => self.rebuild_index(),
                other => other.map(|()| index),
            },
            _ => self.keep(self.open_index(purpose)?),
        }
    }

    /// Throws the cache away and builds the index from the index objects: something in it was wrong.
    pub(super) fn rebuild_index(&self) -> Result<Arc<dyn Index>> {
        #[cfg(feature = "rocksdb")]
        if let Some(cache) = &self.cache {
            super::index_rocksdb::RocksIndex::destroy(&cache.index_dir())?;
        }
        self.keep(self.open_index(Purpose::Read)?)
    }

    fn keep(&self, index: Arc<dyn Index>) -> Result<Arc<dyn Index>> {
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Some(index.clone());
        Ok(index)
    }

    /// The next to ask opens it anew.
    pub(super) fn close_index(&self) {
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn open_index(&self, purpose: Purpose) -> Result<Arc<dyn Index>> {
        #[cfg(feature = "rocksdb")]
        if let Some(cache) = &self.cache {
            return self.open_cached(&cache.index_dir(), purpose).map(Arc::from);
        }
        let _ = purpose;
        let index = MemoryIndex::new();
        self.complete(&index)?;
        Ok(Arc::new(index))
    }

    /// Takes in the index objects that count and that the index does not know yet.
    fn complete(&self, index: &dyn Index) -> Result<()> {
        let state = self.log.state();
        let known = index.names()?;
        let new: Vec<IndexName> = state.indexes().keys().filter(|name| !known.contains_key(*name)).copied().collect();
        self.each_index(&new, &state, |name, object| match object {
            Ok(object) => index.add(name, &object),
            // What it names is not found; what others name is. `check` and whoever misses a chunk say which.
            Err(e) if matches!(e.kind(), Kind::Damaged | Kind::NotFound) => Ok(()),
            Err(e) => Err(e),
        })
    }

    /// Reads index objects that count, some at a time, and shows each in order. Errors: those of `visit`.
    pub(super) fn each_index(
        &self,
        names: &[IndexName],
        state: &State,
        mut visit: impl FnMut(&IndexName, Result<IndexObject>) -> Result<()>,
    ) -> Result<()> {
        let shown = |name: &IndexName| Name::Index(*name).to_string();
        fetched::each(&*self.store, INDEXES, names, shown, |name, read| {
            visit(name, self.index_object(name, state, read))
        })
    }

    /// Writes an index object of a session of one's own, once it opens to what was put in; `index` takes it in.
    pub(super) fn write_index(
        &self,
        session: &SessionId,
        builder: IndexBuilder,
        index: Option<&dyn Index>,
    ) -> Result<IndexName> {
        let (repo, key) = (&self.ring.repo_id, &self.ring.repo.index);
        let (name, bytes, object) = seal_index(builder, session, repo, key, self.sign_key()?)?;
        self.store.create(&Name::Index(name).to_string(), bytes.into())?;
        index.map_or(Ok(()), |index| index.add(&name, &object))?;
        Ok(name)
    }

    /// Whether the index object that a place comes from says the same, as far as it can be read.
    pub(super) fn confirms(&self, place: &Place, id: &ChunkId) -> bool {
        match self.read_index(&place.source, &self.log.state()) {
            Ok(object) => object.find(id).any(|entry| Place::new(&place.source, &entry) == *place),
            Err(_) => true,
        }
    }

    /// Reads and verifies an index object that counts.
    pub(super) fn read_index(&self, name: &IndexName, state: &State) -> Result<IndexObject> {
        self.index_object(name, state, self.store.read(&Name::Index(*name).to_string()))
    }

    fn index_object(&self, name: &IndexName, state: &State, read: Result<Vec<u8>>) -> Result<IndexObject> {
        let shown = Name::Index(*name).to_string();
        let bytes = read.map_err(|e| match e.kind() {
            Kind::NotFound => Error::damaged(&shown, "is missing"),
            _ => e,
        })?;
        let object = IndexObject::open(name, &bytes, &self.ring.repo_id, &self.ring.repo.index)
            .map_err(|e| Error::from(e).within(&shown))?;
        // Of one that no commit names yet, its session's name says whose it must be.
        let writer = &object.head().writer;
        if !state.indexes().get(name).map_or_else(|| name.session.is_of(writer), |i| i.writer == *writer) {
            return Err(Error::damaged(&shown, "is signed by another writer than the log says"));
        }
        Ok(object)
    }
}

/// An index object: its name, its bytes, and what they open to.
pub(super) fn seal_index(
    builder: IndexBuilder,
    session: &SessionId,
    repo: &RepoId,
    key: &IndexKey,
    sign: &SignKey,
) -> Result<(IndexName, Vec<u8>, IndexObject)> {
    let nonces = [world::random()?, world::random()?];
    let (name, bytes) = builder.finish(*session, repo, key, &nonces, sign)?;
    let object = IndexObject::open(&name, &bytes, repo, key)?;
    Ok((name, bytes, object))
}

#[cfg(feature = "rocksdb")]
mod cached {
    use std::path::Path;

    use super::super::index::Layered;
    use super::super::index_rocksdb::{Access, RocksIndex};
    use super::*;

    impl Core {
        pub(super) fn open_cached(&self, dir: &Path, purpose: Purpose) -> Result<Box<dyn Index>> {
            if purpose == Purpose::Read {
                // Missing, damaged or not complete: then it is put in order below, by whoever may write.
                if let Some(index) = self.open_complete(dir) {
                    return Ok(Box::new(index));
                }
            }
            match self.put_in_order(dir) {
                Ok(index) if purpose == Purpose::Write => Ok(Box::new(index)),
                Ok(index) => {
                    drop(index);
                    RocksIndex::open(dir, Access::Read).map(|i| Box::new(i) as Box<dyn Index>)
                }
                // Another process writes (or the cache directory cannot be used): what is new to us stays in memory.
                Err(e) if matches!(e.kind(), Kind::Busy | Kind::Full | Kind::Io) => self.layered(dir),
                Err(e) => Err(e),
            }
        }

        fn open_complete(&self, dir: &Path) -> Option<RocksIndex> {
            let index = RocksIndex::open(dir, Access::Read).ok()?;
            let names = index.names().ok()?;
            self.log.state().indexes().keys().all(|name| names.contains_key(name)).then_some(index)
        }

        /// Opens the cache for writing, and makes it whole: thrown away first when it is damaged or mostly stale.
        fn put_in_order(&self, dir: &Path) -> Result<RocksIndex> {
            let state = self.log.state();
            let try_open = || -> Result<RocksIndex> {
                let index = RocksIndex::open(dir, Access::Write)?;
                let stale = index.names()?.keys().filter(|name| is_stale(name, &state)).count();
                if stale > 64 + state.indexes().len() / 4 {
                    return Err(Error::damaged(dir.display(), "is mostly of other times"));
                }
                self.complete(&index)?;
                Ok(index)
            };
            match try_open() {
                Err(e) if e.kind() == Kind::Damaged => {
                    RocksIndex::destroy(dir)?;
                    let index = RocksIndex::open(dir, Access::Write)?;
                    self.complete(&index)?;
                    Ok(index)
                }
                other => other,
            }
        }

        fn layered(&self, dir: &Path) -> Result<Box<dyn Index>> {
            let above = MemoryIndex::new();
            let index: Box<dyn Index> = match RocksIndex::open(dir, Access::Read) {
                Ok(below) => Box::new(Layered::new(Arc::new(below), Arc::new(above))),
                Err(_) => Box::new(above),
            };
            self.complete(&*index)?;
            Ok(index)
        }
    }

    /// Whether an index object neither counts nor may come to count: its session has ended without it.
    fn is_stale(name: &IndexName, state: &State) -> bool {
        !state.indexes().contains_key(name) && !state.spared(&name.session)
    }
}
