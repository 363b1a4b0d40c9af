//! The sink of chunks: names them, drops those that are stored, frames the rest, and commits.
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
use repo_format::limits::CHUNK_MAX;
use repo_format::log::Body;
use repo_format::log_state::State;
use repo_format::names::{IndexName, Name, PackName};
use repo_format::snapshot::{Says, Snapshot};

use super::doubt::{self, Doubts};
use super::index::{Index, Place};
use super::locate::Purpose;
use super::packer::{INDEX_PACKS, Packer, Setup};
use super::session::{Adopts, Session};
use super::{Core, SnapshotInfo, twice, world};
use crate::error::{Error, Kind, Result};
use crate::run::{ChunkId, ChunkKind, ChunkSink};
use crate::store::lock;

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

/// An open session. Dropped without a commit it leaves its uploaded packs for the next session of this machine.
pub struct Writer {
    core: Arc<Core>,
    session: Session,
    /// What the log said when the session began: decides what may be reused.
    state: Arc<State>,
    index: Arc<dyn Index>,
    own: WriterId,
    /// Sorted.
    adopted: Vec<IndexName>,
    doubts: Doubts,
    packer: Packer,
    /// The open frame of each kind of chunk: so branches lie together and are read together.
    frames: [Mutex<FramePlain>; ChunkKind::ALL.len()],
    /// Packs of earlier sessions, taken over or not, that chunks are reused from: must still stand at the commit, like
    /// this session's own.
    relied: Mutex<HashSet<PackName>>,
    counters: Counters,
}

impl Writer {
    pub(super) fn open(core: Arc<Core>, options: WriteOptions) -> Result<Writer> {
        core.store.sweep()?;
        let sign = core.sign_key()?.clone();
        let own = sign.id();
        let adopts = if options.take_over { Adopts::Unknown } else { Adopts::Dead };
        let session = Session::open(&core, options.bases, adopts)?;
        let state = core.log.state();
        let index = core.index(Purpose::Write)?;
        let adopted = session.adopt(&core, &*index)?;
        let mut doubts = doubt::look(&core, &*index, &state)?;
        doubts.name_anew(&core, &*index, &session.id())?;
        let packer = Packer::start(Setup {
            store: core.store.clone(),
            index: index.clone(),
            repo: core.ring.repo_id,
            keys: core.ring.repo.clone(),
            key: session.key.clone(),
            sign,
            level: options.level,
            threads: options.threads,
            pack_target: core.config.pack_target,
            index_packs: options.index_packs.max(1),
        })?;
        let frames = ChunkKind::ALL.map(|kind| Mutex::new(FramePlain::new(kind)));
        let (relied, counters) = (Mutex::default(), Counters::default());
        Ok(Writer { core, session, state, index, own, adopted, doubts, packer, frames, relied, counters })
    }

    /// Whether a stored copy of the chunk may be relied on; remembers on which pack.
    fn is_stored(&self, id: &ChunkId) -> Result<bool> {
        self.index.find(id, &mut |place: Place| {
            if !self.state.usable(&place.pack, place.offset) || self.doubts.unsound.covers(&place) {
                return false;
            }
            // Of an adopted session only what was found in the store again: a cache may remember more than a loss of
            // power has left.
            let ours = place.source.session == self.session.id() || self.adopted.binary_search(&place.source).is_ok();
            let stands = ours || self.state.trusts(&self.own, &place.source);
            if stands && place.pack.session != self.session.id() {
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
            let full = frame.is_full(self.core.config.frame_target);
            // The next one will be about as long, and need not grow into it.
            full.then(|| frame.len()).map(|n| std::mem::replace(&mut *frame, self.packer.empty_frame(kind, n)))
        };
        full.map_or(Ok(()), |frame| self.packer.push(frame))
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session.id()
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
            index_objects_adopted: self.adopted.len() as u64,
            packs_doubted: self.doubts.unsound.packs.len() as u64,
            index_objects_doubted: self.doubts.unsound.indexes.len() as u64,
            packs_named_anew: self.doubts.named_anew,
        }
    }

    /// Uploads what is left, then the snapshot, then the log entry that makes it count. `roots` name every chunk that
    /// `says` names. On an error nothing counts, and the next session uses what was uploaded.
    pub fn commit(mut self, roots: Vec<(ChunkKind, ChunkId)>, says: Says) -> Result<(SnapshotInfo, WriteStats)> {
        for frame in &self.frames {
            let mut frame = lock(frame);
            if !frame.is_empty() {
                let kind = frame.kind();
                self.packer.push(std::mem::replace(&mut *frame, FramePlain::new(kind)))?;
            }
        }
        let mut indexes = self.packer.finish()?;
        indexes.extend(self.adopted.iter().chain(&self.doubts.written));
        indexes.sort_unstable();
        indexes.dedup();
        let mut stats = self.stats();
        let (id, bytes) = self.seal_snapshot(roots, says)?;
        twice::create(&*self.core.store, &Name::Snapshot(id), &bytes)?;
        stats.bytes_stored += 2 * bytes.len() as u64;
        let session = self.session.id();
        let key = self.core.sign_key()?;
        let state = self.core.append(key, &mut |state| {
            self.check_relied(state)?;
            let replaces = self.doubts.replaced(state, &self.own);
            Ok(Body::Commit { session, snapshot: Some(id), indexes: indexes.clone(), replaces })
        })?;
        self.core.remember(&state);
        self.session.forget(&self.core);
        let (n, time_ms) = state.snapshots().get(&id).map_or((state.n(), state.time_ms()), |c| (c.n, c.time_ms));
        Ok((SnapshotInfo { id, time_ms, session, n }, stats))
    }

    fn seal_snapshot(&self, roots: Vec<(ChunkKind, ChunkId)>, says: Says) -> Result<(SnapshotId, Vec<u8>)> {
        let sign = self.core.sign_key()?;
        let repo = &self.core.ring.repo_id;
        let snapshot = Snapshot { session: self.session.id(), writer: sign.id(), roots, says };
        let (id, bytes) = snapshot.seal(repo, &self.session.key, &world::random()?, sign)?;
        if Snapshot::open(&id, &bytes, repo, &self.session.key.content)? != snapshot {
            return Err(Error::damaged("snapshot just built", "does not open to what was put in"));
        }
        Ok((id, bytes))
    }

    /// Since the session began somebody may have condemned a pack, or found one damaged, that it reuses chunks of or wrote.
    fn check_relied(&self, state: &State) -> Result<()> {
        if state.withdrawn() <= self.state.n() {
            return Ok(());
        }
        let gone = |pack: &&PackName| {
            state.condemned().contains_key(*pack) || state.lost().get(*pack) != self.state.lost().get(*pack)
        };
        let own = |pack: &&PackName| pack.session == self.session.id();
        let written = state.condemned().keys().chain(state.lost().keys()).filter(own);
        match lock(&self.relied).iter().chain(written).find(gone) {
            None => Ok(()),
            Some(pack) => {
                Err(Error::new(Kind::Busy, pack, "was condemned or found damaged while this backup relied on it")
                    .hint("run the backup again: what was uploaded is used again"))
            }
        }
    }
}

impl Drop for Writer {
    /// Lets go of the index cache's lock, so that other processes may write to it.
    fn drop(&mut self) {
        self.core.close_index();
    }
}

impl ChunkSink for Writer {
    fn put(&self, kind: ChunkKind, plain: &[u8]) -> Result<ChunkId> {
        if plain.len() > CHUNK_MAX {
            return Err(Error::new(Kind::TooLarge, "chunk", format!("{} bytes, more than {CHUNK_MAX}", plain.len())));
        }
        let id = self.core.ring.repo.chunk_id.id(kind, plain);
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
