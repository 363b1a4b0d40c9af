//! The sink of chunks: names them, drops those that are stored, frames and packs the rest.
//!
//! A chunk counts as stored when this session put it (or a dead session that it took over), when an index object of
//! the same writer names it, or one that a holder of *read* vouches for; never on another writer's word alone. Packs
//! that are condemned or known to be damaged do not count, nor do those that the store has not whole ([`super::doubt`]).
//!
//! Memory: what [`super::packer`] states, 256 KiB for each of the five kinds, 80 bytes for each pack of earlier
//! sessions that chunks are reused from, and what [`super::doubt`] states.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use repo_format::frame::FramePlain;
use repo_format::id::{SessionId, SnapshotId, WriterId};
use repo_format::key::{RepoKeys, SessionKey};
use repo_format::limits::CHUNK_MAX;
use repo_format::log_state::State;
use repo_format::names::{IndexName, PackName};

use super::Core;
use super::doubt::Doubts;
use super::index::{Index, Place};
use super::packer::{INDEX_PACKS, Packer, Setup};
use crate::error::{Error, Kind, Result};
use crate::run::{ChunkId, ChunkKind, ChunkSink};
use crate::store::{Store, lock};

/// How to write.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// zstd level, 1 to 19.
    pub level: i32,
    /// Threads that compress and encrypt.
    pub threads: usize,
    /// Snapshots that this one builds on, which prune must spare meanwhile. `None`: the newest.
    pub bases: Option<Vec<SnapshotId>>,
    /// Also takes over an open session of this writer of which this machine does not know that its process has died.
    /// If it lives on another machine, its commit will fail.
    pub take_over: bool,
    /// Packs after which an index object is written: what a crash costs, unless three minutes are less.
    pub index_packs: usize,
}

impl Default for WriteOptions {
    fn default() -> WriteOptions {
        WriteOptions { level: 1, threads: 2, bases: None, take_over: false, index_packs: INDEX_PACKS }
    }
}

/// What a session has written. Lengths in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct WriteStats {
    /// Chunks put, known or new.
    pub chunks: u64,
    /// Their plaintext.
    pub bytes: u64,
    /// Chunks that were not stored yet.
    pub chunks_new: u64,
    /// Their plaintext.
    pub bytes_new: u64,
    /// Frames sealed.
    pub frames: u64,
    /// Packs uploaded.
    pub packs: u64,
    /// Index objects written.
    pub index_objects: u64,
    /// Bytes uploaded: packs, index objects, the snapshot.
    pub bytes_stored: u64,
    /// Index objects taken over from dead sessions.
    pub index_objects_adopted: u64,
    /// Packs of earlier sessions that are missing, cut or damaged: their chunks were stored anew where they came again.
    pub packs_doubted: u64,
    /// Index objects that are missing or damaged.
    pub index_objects_doubted: u64,
    /// Packs that no index object named any more, and one of this session does now.
    pub packs_named_anew: u64,
}

#[derive(Default)]
struct Counters {
    chunks: AtomicU64,
    bytes: AtomicU64,
    chunks_new: AtomicU64,
    bytes_new: AtomicU64,
}

/// What was stored before, and how far it is to be believed.
pub(super) struct Before {
    /// What the log said when the session began: decides what may be reused.
    pub state: Arc<State>,
    /// Where chunks lie.
    pub index: Arc<dyn Index>,
    /// Index objects of dead sessions that were taken over. Sorted.
    pub adopted: Vec<IndexName>,
    /// What is not relied on.
    pub doubts: Doubts,
}

/// See the module.
pub(super) struct Sink {
    session: SessionId,
    own: WriterId,
    keys: RepoKeys,
    frame_target: u32,
    pub before: Before,
    packer: Packer,
    /// The open frame of each kind of chunk: so branches lie together and are read together.
    frames: [Mutex<FramePlain>; ChunkKind::ALL.len()],
    /// Packs of earlier sessions, taken over or not, that chunks are reused from: must still stand at the commit, like
    /// this session's own.
    pub relied: Mutex<HashSet<PackName>>,
    counters: Counters,
}

impl Sink {
    /// Begins to take chunks of the session that `key` is of. What is new goes to `store`.
    pub fn start(
        core: &Core,
        key: &SessionKey,
        before: Before,
        store: Arc<dyn Store>,
        options: &WriteOptions,
    ) -> Result<Sink> {
        let sign = core.sign_key()?.clone();
        let (session, own, keys) = (key.session, sign.id(), core.ring.repo.clone());
        let packer = Packer::start(Setup {
            store,
            index: before.index.clone(),
            repo: core.ring.repo_id,
            keys: keys.clone(),
            key: key.clone(),
            sign,
            level: options.level,
            threads: options.threads,
            pack_target: core.config.pack_target,
            index_packs: options.index_packs.max(1),
        })?;
        let frames = ChunkKind::ALL.map(|kind| Mutex::new(FramePlain::new(kind)));
        let (relied, counters, frame_target) = (Mutex::default(), Counters::default(), core.config.frame_target);
        Ok(Sink { session, own, keys, frame_target, before, packer, frames, relied, counters })
    }

    /// Whether a stored copy of the chunk may be relied on; remembers on which pack.
    fn is_stored(&self, id: &ChunkId) -> Result<bool> {
        self.before.index.find(id, &mut |place: Place| {
            if !self.before.state.usable(&place.pack, place.offset) || self.before.doubts.unsound.covers(&place) {
                return false;
            }
            // Of an adopted session only what was found in the store again: a cache may remember more than a loss of
            // power has left.
            let ours = place.source.session == self.session || self.before.adopted.binary_search(&place.source).is_ok();
            let stands = ours || self.before.state.trusts(&self.own, &place.source);
            if stands && place.pack.session != self.session {
                lock(&self.relied).insert(place.pack);
            }
            stands
        })
    }

    fn store_new(&self, kind: ChunkKind, id: ChunkId, plain: &[u8]) -> Result<()> {
        self.counters.chunks_new.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes_new.fetch_add(plain.len() as u64, Ordering::Relaxed);
        let full = {
            let mut frame = lock(&self.frames[kind as usize - 1]);
            frame.push(id, plain)?;
            let full = frame.is_full(self.frame_target);
            // The next one will be about as long, and need not grow into it.
            full.then(|| frame.len()).map(|n| std::mem::replace(&mut *frame, self.packer.empty_frame(kind, n)))
        };
        full.map_or(Ok(()), |frame| self.packer.push(frame))
    }

    /// What was done so far.
    pub fn stats(&self) -> WriteStats {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let packer = self.packer.counters();
        WriteStats {
            chunks: get(&self.counters.chunks),
            bytes: get(&self.counters.bytes),
            chunks_new: get(&self.counters.chunks_new),
            bytes_new: get(&self.counters.bytes_new),
            frames: get(&packer.frames),
            packs: get(&packer.packs),
            index_objects: get(&packer.index_objects),
            bytes_stored: get(&packer.bytes_stored),
            index_objects_adopted: self.before.adopted.len() as u64,
            packs_doubted: self.before.doubts.unsound.packs.len() as u64,
            index_objects_doubted: self.before.doubts.unsound.indexes.len() as u64,
            packs_named_anew: self.before.doubts.named_anew.len() as u64,
        }
    }

    /// Seals and uploads what is left. The names of the index objects that the session stands on, ascending.
    pub fn finish(&mut self) -> Result<Vec<IndexName>> {
        for frame in &self.frames {
            let mut frame = lock(frame);
            if !frame.is_empty() {
                let kind = frame.kind();
                self.packer.push(std::mem::replace(&mut *frame, FramePlain::new(kind)))?;
            }
        }
        let mut indexes = self.packer.finish()?;
        indexes.extend(self.before.adopted.iter().chain(&self.before.doubts.written));
        indexes.sort_unstable();
        indexes.dedup();
        Ok(indexes)
    }
}

impl ChunkSink for Sink {
    fn relies_on(&self, id: &ChunkId) -> Result<bool> {
        self.is_stored(id)
    }

    fn put(&self, kind: ChunkKind, plain: &[u8]) -> Result<ChunkId> {
        if plain.len() > CHUNK_MAX {
            return Err(Error::new(Kind::TooLarge, "chunk", format!("{} bytes, more than {CHUNK_MAX}", plain.len())));
        }
        let id = self.keys.chunk_id.id(kind, plain);
        self.counters.chunks.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes.fetch_add(plain.len() as u64, Ordering::Relaxed);
        // Claimed first, looked up then: of two threads with the same chunk one goes on.
        if !self.packer.claim(id) {
            return Ok(id);
        }
        let stored = self.is_stored(&id);
        let done = stored.and_then(|stored| match stored {
            true => {
                self.packer.unclaim(&id);
                Ok(())
            }
            false => self.store_new(kind, id, plain),
        });
        // Others may have relied on our claim: after an error nothing of this session may be committed.
        done.inspect_err(|e| self.packer.fail(e)).map(|()| id)
    }
}
