//! From frames to packs in the store: sealed on a few threads, checked, spread over the open packs, uploaded by others, indexed.
//!
//! Memory: the open packs (two of content of 16 MiB, one of metadata of 4 MiB), those on their way ([`super::uploads`]), the
//! queue and the open frames
//! (256 KiB each), about 5 MiB a thread for zstd and buffers, and 40 bytes for each chunk that no index object names
//! yet: with two threads and a folder about 100 MiB at most (measured with the index cache, at 0.5 and
//! at 2 GiB written: 110 MiB).

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use repo_format::frame::{FramePlain, Opener, Sealer};
use repo_format::id::{ChunkId, ChunkKind, RepoId};
use repo_format::index::IndexBuilder;
use repo_format::key::{RepoKeys, SessionKey, SignKey};
use repo_format::names::{IndexName, Name, PackClass};
use repo_format::pack::{BuiltPack, PackBuilder};

use super::index::Index;
use super::locate::seal_index;
use super::uploads::Uploads;
use super::world;
use crate::error::{Error, Kind, Result};
use crate::store::{Store, lock};

/// Packs of content that fill at the same time; each frame goes to one of them at random, so that the order of chunks in
/// time does not show. (Of metadata there is so little that a second pack would be an object more for each backup, and
/// what its order shows is the order of leaves that nobody can see.)
const CONTENT_PACKS: usize = 2;
/// A pack of metadata is closed at the target of packs divided by this: what a small cache fetches is small.
const METADATA_PART: u32 = 4;
/// Frames that wait for a sealing thread.
const QUEUE: usize = 4;
/// An index object is written after so many packs, or after [`INDEX_AGE`]; after twice as many for each
/// [`INDEX_STEP`] already written, so that the list in the commit stays within its limit.
pub const INDEX_PACKS: usize = 16;
const INDEX_STEP: usize = 4096;
/// No uploaded pack waits longer than about this for its index object, so that a crash costs a few minutes of work.
const INDEX_AGE: Duration = Duration::from_secs(180);

/// What a packer needs to know.
pub struct Setup {
    /// Where packs go.
    pub store: Arc<dyn Store>,
    /// Told about every index object that is written.
    pub index: Arc<dyn Index>,
    /// The repository.
    pub repo: RepoId,
    /// Its keys.
    pub keys: RepoKeys,
    /// The content key of the session that writes.
    pub key: SessionKey,
    /// The writer's key.
    pub sign: SignKey,
    /// zstd level, 1 to 19.
    pub level: i32,
    /// Sealing threads, at least 1.
    pub threads: usize,
    /// Bytes at which a pack is closed.
    pub pack_target: u32,
    /// Packs after which an index object is written.
    pub index_packs: usize,
}

/// What a packer has done.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames sealed.
    pub frames: AtomicU64,
    /// Packs uploaded.
    pub packs: AtomicU64,
    /// Index objects written.
    pub index_objects: AtomicU64,
    /// Bytes of packs and index objects uploaded.
    pub bytes_stored: AtomicU64,
}

/// Takes frames, leaves packs and index objects in the store.
pub struct Packer {
    shared: Arc<Shared>,
    uploads: Arc<Uploads<PackBuilder>>,
    queue: Option<Sender<FramePlain>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    setup: Setup,
    /// Those of content, and last the one of metadata.
    open: Mutex<[PackBuilder; CONTENT_PACKS + 1]>,
    uploaded: Mutex<Uploaded>,
    /// Memory of packs and frames that are no longer needed, for the next: to touch new memory takes a twentieth of a backup's CPU.
    spare_packs: Mutex<Vec<Vec<u8>>>,
    spare_frames: Mutex<Vec<FramePlain>>,
    /// Chunks given to this packer that no index object names yet.
    pending: Mutex<HashSet<ChunkId>>,
    failed: AtomicBool,
    failure: Mutex<Option<Error>>,
    counters: Counters,
}

/// Packs in the store that no index object names yet, and the index objects written.
struct Uploaded {
    builder: IndexBuilder,
    since: Option<Instant>,
    written: Vec<IndexName>,
}

impl Packer {
    /// Starts the threads.
    pub fn start(setup: Setup) -> Result<Packer> {
        let (sender, receiver) = bounded(QUEUE);
        let threads = setup.threads.max(1);
        let shared = Arc::new(Shared {
            open: Mutex::new(std::array::from_fn(|at| empty_pack(&setup, class_at(at)))),
            uploaded: Mutex::new(Uploaded { builder: IndexBuilder::new(), since: None, written: Vec::new() }),
            setup,
            spare_packs: Mutex::default(),
            spare_frames: Mutex::default(),
            pending: Mutex::default(),
            failed: AtomicBool::new(false),
            failure: Mutex::default(),
            counters: Counters::default(),
        });
        let uploader = shared.clone();
        let upload = move |pack: PackBuilder| uploader.try_upload(pack);
        let uploads = Arc::new(Uploads::start(shared.setup.store.concurrency(), upload)?);
        let mut packer = Packer { shared, uploads, queue: Some(sender), threads: Vec::new() };
        for i in 0..threads {
            let (shared, uploads, receiver) = (packer.shared.clone(), packer.uploads.clone(), receiver.clone());
            let builder = thread::Builder::new().name(format!("seal {i}"));
            let run = move || shared.run(&receiver, &uploads);
            let thread = builder.spawn(run).map_err(|e| Error::io("sealing thread", e))?;
            packer.threads.push(thread);
        }
        Ok(packer)
    }

    /// Claims a chunk: `false` if it was claimed before and is on its way.
    pub fn claim(&self, id: ChunkId) -> bool {
        lock(&self.shared.pending).insert(id)
    }

    /// Takes back a claim: the chunk is in the store already.
    pub fn unclaim(&self, id: &ChunkId) {
        lock(&self.shared.pending).remove(id);
    }

    /// An empty frame with room for some `bytes`.
    pub fn empty_frame(&self, kind: ChunkKind, bytes: usize) -> FramePlain {
        match lock(&self.shared.spare_frames).pop() {
            Some(mut frame) => {
                frame.clear_for(kind);
                frame
            }
            None => FramePlain::with_capacity(kind, bytes),
        }
    }

    /// Gives a full frame away; waits while the queue is full.
    pub fn push(&self, frame: FramePlain) -> Result<()> {
        self.check()?;
        let gone = || Error::new(Kind::Io, "sealing threads", "have ended");
        self.queue.as_ref().ok_or_else(gone)?.send(frame).map_err(|_| gone())
    }

    /// Nothing of this session may count any more.
    pub fn fail(&self, error: &Error) {
        self.shared.fail(error.again());
    }

    /// What was done so far.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Seals what waits, uploads every open pack and writes the last index object. The names of all index objects.
    /// After an error nobody may rely on what was claimed.
    pub fn finish(&mut self) -> Result<Vec<IndexName>> {
        self.join();
        self.check()?;
        for pack in lock(&self.shared.open).iter_mut().filter(|p| !p.is_empty()) {
            let empty = PackBuilder::new(self.shared.setup.key.session, pack.class());
            push(&self.uploads, std::mem::replace(pack, empty))?;
        }
        self.uploads.join()?;
        self.check()?;
        let mut uploaded = lock(&self.shared.uploaded);
        self.shared.write_index(&mut uploaded)?;
        Ok(std::mem::take(&mut uploaded.written))
    }

    fn join(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.shared.fail(Error::new(Kind::Io, "sealing thread", "panicked"));
            }
        }
    }

    /// Fails once any thread has failed.
    fn check(&self) -> Result<()> {
        if !self.shared.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        match &*lock(&self.shared.failure) {
            Some(e) => Err(e.again()),
            None => Ok(()),
        }
    }
}

impl Drop for Packer {
    /// Packs that are not full are lost; what was uploaded stays for the next session to adopt.
    fn drop(&mut self) {
        self.shared.failed.store(true, Ordering::Release);
        self.join();
        // Nobody relies on what was uploaded any more.
        let _ = self.uploads.join();
    }
}

impl Shared {
    /// Seals frames until the queue is closed. After a failure it only empties the queue, so that nobody waits.
    fn run(&self, queue: &Receiver<FramePlain>, uploads: &Uploads<PackBuilder>) {
        let mut work = match Work::new(self.setup.level) {
            Ok(work) => work,
            Err(e) => return self.fail(e),
        };
        for frame in queue {
            if self.failed.load(Ordering::Acquire) {
                continue;
            }
            if let Err(e) = self.frame(&mut work, &frame, uploads) {
                self.fail(e);
            }
            lock(&self.spare_frames).push(frame);
        }
    }

    /// Uploads a pack. After a failure it only takes it, so that nobody waits.
    fn try_upload(&self, pack: PackBuilder) {
        if self.failed.load(Ordering::Acquire) {
            return;
        }
        if let Err(e) = self.upload(pack) {
            self.fail(e);
        }
    }

    fn fail(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
        self.failed.store(true, Ordering::Release);
    }

    /// Seals one frame, opens what was built and compares, and puts it into an open pack.
    fn frame(&self, work: &mut Work, plain: &FramePlain, uploads: &Uploads<PackBuilder>) -> Result<()> {
        let setup = &self.setup;
        work.sealed.clear();
        work.sealer.seal(&setup.key, &world::random()?, plain, &mut work.sealed)?;
        let wrong = |_| Error::damaged("frame just built", "does not open to what was put in").hint(FAULTY_MACHINE);
        work.opener.verify(&setup.key.content, plain, &work.sealed).map_err(wrong)?;
        self.counters.frames.fetch_add(1, Ordering::Relaxed);
        let full = {
            let at = match PackClass::of(plain.kind()) {
                PackClass::Content => usize::from(world::random::<1>()?[0]) % CONTENT_PACKS,
                PackClass::Metadata => CONTENT_PACKS,
            };
            let mut packs = lock(&self.open);
            let pack = &mut packs[at];
            let chunks = plain.list().len();
            let fits = pack.fits(work.sealed.len(), chunks, room(pack, chunks, setup.pack_target));
            let full = (!fits).then(|| std::mem::replace(pack, self.empty_pack(class_at(at))));
            pack.push(&work.sealed, plain.kind(), plain.list())?;
            full
        };
        full.map_or(Ok(()), |pack| push(uploads, pack))
    }

    /// In memory that was touched before, if there is any.
    fn empty_pack(&self, class: PackClass) -> PackBuilder {
        let spare = if class == PackClass::Content { lock(&self.spare_packs).pop() } else { None };
        match spare {
            Some(bytes) => PackBuilder::in_memory(self.setup.key.session, class, bytes),
            None => empty_pack(&self.setup, class),
        }
    }

    fn upload(&self, pack: PackBuilder) -> Result<()> {
        let BuiltPack { name, bytes, frames } = pack.finish(&self.setup.keys.index, &world::random()?)?;
        let size = bytes.len() as u32;
        let bytes = Bytes::from(bytes);
        self.setup.store.create(&Name::Pack(name).to_string(), bytes.clone())?;
        self.counters.packs.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes_stored.fetch_add(u64::from(size), Ordering::Relaxed);
        // A client may still hold what it was given.
        if name.class == PackClass::Content && bytes.is_unique() {
            lock(&self.spare_packs).push(bytes.into());
        }
        let mut uploaded = lock(&self.uploaded);
        if !uploaded.builder.fits(frames.iter().map(|f| f.chunks.len()).sum()) {
            self.write_index(&mut uploaded)?;
        }
        uploaded.builder.add(name, size, &frames)?;
        let since = *uploaded.since.get_or_insert_with(Instant::now);
        let enough = self.setup.index_packs << (uploaded.written.len() / INDEX_STEP).min(16);
        if uploaded.builder.packs() >= enough || since.elapsed() >= INDEX_AGE {
            self.write_index(&mut uploaded)?;
        }
        Ok(())
    }

    /// Writes the index object of the packs uploaded since the last one. From then on the index knows their chunks.
    fn write_index(&self, uploaded: &mut Uploaded) -> Result<()> {
        uploaded.since = None;
        let builder = std::mem::take(&mut uploaded.builder);
        if builder.is_empty() {
            return Ok(());
        }
        let Setup { repo, key, keys, sign, .. } = &self.setup;
        let (name, bytes, object) = seal_index(builder, &key.session, repo, &keys.index, sign)?;
        let len = bytes.len() as u64;
        self.setup.store.create(&Name::Index(name).to_string(), bytes.into())?;
        self.counters.index_objects.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes_stored.fetch_add(len, Ordering::Relaxed);
        uploaded.written.push(name);
        self.setup.index.add(&name, &object)?;
        let mut pending = lock(&self.pending);
        for entry in object.iter() {
            pending.remove(&entry.id);
        }
        Ok(())
    }
}

/// Gives a pack away, whose list comes to it yet.
fn push(uploads: &Uploads<PackBuilder>, pack: PackBuilder) -> Result<()> {
    let bytes = pack.len() + list_length(&pack, 0) as usize;
    uploads.push(pack, bytes)
}

/// Which class the open pack `at` is of.
fn class_at(at: usize) -> PackClass {
    if at < CONTENT_PACKS { PackClass::Content } else { PackClass::Metadata }
}

/// Bytes at which a pack is closed.
pub(super) fn target(pack_target: u32, class: PackClass) -> u32 {
    match class {
        PackClass::Content => pack_target,
        PackClass::Metadata => pack_target / METADATA_PART,
    }
}

/// Bytes that the frames of a pack may take, with one of so many chunks more.
pub(super) fn room(pack: &PackBuilder, chunks: usize, pack_target: u32) -> u32 {
    target(pack_target, pack.class()).saturating_sub(list_length(pack, chunks))
}

/// With all the room it needs: memory that is not touched costs nothing, memory that moves is needed twice.
fn empty_pack(setup: &Setup, class: PackClass) -> PackBuilder {
    PackBuilder::with_capacity(setup.key.session, class, target(setup.pack_target, class) as usize)
}

/// Bytes that the list of a pack will take with one frame of so many chunks more. Reserved, so that a full pack ends
/// just below its target (a power of two) and needs next to no padding.
fn list_length(pack: &PackBuilder, chunks: usize) -> u32 {
    let held: usize = pack.frames().iter().map(|f| 12 + 36 * f.chunks.len()).sum();
    u32::try_from(held + 12 + 36 * chunks + 128).unwrap_or(u32::MAX)
}

const FAULTY_MACHINE: &str = "memory or processor may be faulty: test this machine before trusting it with backups";

/// What a thread keeps between frames.
struct Work {
    sealer: Sealer,
    opener: Opener,
    sealed: Vec<u8>,
}

impl Work {
    fn new(level: i32) -> Result<Work> {
        Ok(Work { sealer: Sealer::new(level)?, opener: Opener::new()?, sealed: Vec::new() })
    }
}
