//! What a session would write, to the byte, without writing it: chunks are looked up, compressed, sealed and packed as a
//! [`Writer`](super::Writer) does, and then counted in place of uploaded.
//!
//! Nothing is written to the store, nor to what the machine remembers of it. What a dead session has left is not taken over here, so
//! a backup that does take it over uploads less.
//!
//! Memory: that of a writer, and about 100 bytes for each new chunk.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use repo_format::key::SessionKey;
use repo_format::log::{Body, Entry};
use repo_format::snapshot::Says;

use super::doubt;
use super::index::{Index, Layered};
use super::index_memory::MemoryIndex;
use super::locate::Purpose;
use super::sink::{Before, Sink, WriteOptions, WriteStats};
use super::{Core, session, world, writer};
use crate::error::Result;
use crate::run::{ChunkId, ChunkKind, ChunkSink};
use crate::store::watched::{Requests, Watched};
use crate::store::{Store, missing};

/// See the module.
pub struct Rehearsal {
    core: Arc<Core>,
    key: SessionKey,
    sink: Sink,
    nowhere: Arc<Watched<Nowhere>>,
}

impl Rehearsal {
    pub(super) fn open(core: Arc<Core>, options: &WriteOptions) -> Result<Rehearsal> {
        let state = core.log.state();
        let key = session::next_key(&core, &state)?;
        // What is added is of objects that do not exist: it must not reach the cache.
        let index: Arc<dyn Index> = Arc::new(Layered::new(core.index(Purpose::Read)?, Arc::new(MemoryIndex::new())));
        let doubts = doubt::look(&core, &*index, &state)?;
        let before = Before { state, index, adopted: Vec::new(), doubts };
        let nowhere = Arc::new(Watched::new(Nowhere { width: core.store.concurrency(), place: core.store.place() }));
        let sink = Sink::start(&core, &key, before, nowhere.clone(), options)?;
        Ok(Rehearsal { core, key, sink, nowhere })
    }

    /// What the session would have written, and the requests by which. `roots` and `says` as in
    /// [`Writer::commit`](super::Writer::commit).
    pub fn finish(mut self, roots: Vec<(ChunkKind, ChunkId)>, says: Says) -> Result<(WriteStats, Requests)> {
        let indexes = self.sink.finish()?;
        let mut stats = self.sink.stats();
        let session = self.key.session;
        let (id, snapshot) = writer::seal(&self.core, &self.key, roots, says)?;
        stats.bytes_stored += 2 * snapshot.len() as u64;
        let opened = Body::Open { session, key: self.key.wrapped, adopts: None, bases: Vec::new() };
        let commit = Body::Commit { session, snapshot: Some(id), indexes, replaces: Vec::new() };
        let mut requests = self.nowhere.requests();
        let entries = [self.entry(opened)?, self.entry(commit)?];
        // Each of the three in two objects.
        for length in entries.into_iter().chain([snapshot.len() as u64]) {
            requests.creates += 2;
            requests.bytes_created += 2 * length;
        }
        Ok((stats, requests))
    }

    /// Length of an entry of the log.
    fn entry(&self, body: Body) -> Result<u64> {
        let (state, key) = (&self.sink.before.state, self.core.sign_key()?);
        let (n, previous) = (state.n() + 1, state.head());
        let entry = Entry { n, previous, writer: key.id(), time_ms: world::now_ms(), body };
        Ok(entry.encode(&self.core.ring.repo_id, key)?.1.len() as u64)
    }
}

impl ChunkSink for Rehearsal {
    fn relies_on(&self, id: &ChunkId) -> Result<bool> {
        self.sink.relies_on(id)
    }

    fn put(&self, kind: ChunkKind, plain: &[u8]) -> Result<ChunkId> {
        self.sink.put(kind, plain)
    }
}

/// Takes everything and keeps nothing.
struct Nowhere {
    width: usize,
    place: String,
}

impl Store for Nowhere {
    fn create(&self, _: &str, _: Bytes) -> Result<()> {
        Ok(())
    }
    fn read(&self, name: &str) -> Result<Vec<u8>> {
        Err(missing(name))
    }
    fn read_range(&self, name: &str, _: Range<u64>) -> Result<Vec<u8>> {
        Err(missing(name))
    }
    fn list(&self, _: &str, _: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        Ok(())
    }
    fn delete(&self, name: &str) -> Result<()> {
        Err(missing(name))
    }
    fn concurrency(&self) -> usize {
        self.width
    }
    fn place(&self) -> String {
        self.place.clone()
    }
}
