//! The source of chunks: index, one range read of a frame, open, verify; opened frames are kept for a while, those of
//! metadata also on this machine ([`super::kept`]).
//!
//! What is said to be asked for soon is fetched by a pool of threads, as many as the store likes, so that a store far away is
//! waited for once and not once for each frame.
//!
//! Memory: [`super::frames::CACHE_BYTES`] of opened frames, and for each thread one frame as read and as opened (0.5 MiB, at most
//! 26 MiB for the largest the format allows).

use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use repo_format::frame::{FrameHeader, Opener};
use repo_format::key::RunDigestKey;
use repo_format::names::PackClass;

use super::Core;
use super::frames::{Frame, Frames};
use super::index::{Index, Place};
use super::locate::Purpose;
use super::opened::Opened;
use crate::error::{Error, Kind, Result};
use crate::run::{ChunkId, ChunkKind, ChunkSource};
use crate::store::lock;

/// Chunks that may wait to be fetched ahead; further hints are forgotten.
const AHEAD: usize = 256;
/// Threads that fetch ahead, at most, whatever the store says.
const THREADS_MAX: usize = 16;
/// How often a chunk is looked up anew: prunes may move what it lies in while it is read.
const REFRESHED_MAX: usize = 8;

/// Reads chunks of one repository. Shared by threads.
pub struct Reader {
    inner: Arc<Inner>,
    ahead: Option<Sender<ChunkId>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Inner {
    core: Arc<Core>,
    index: RwLock<Arc<dyn Index>>,
    /// Whether the index has been built anew since something was not where it said.
    rebuilt: Mutex<bool>,
    frames: Mutex<Frames>,
    loaded: Condvar,
    openers: Mutex<Vec<Opener>>,
    /// What was opened, where somebody wants to know.
    opened: Mutex<Option<Opened>>,
}

impl Reader {
    pub(super) fn new(core: Arc<Core>) -> Result<Reader> {
        if core.ring.read.is_empty() {
            return Err(core.lacks(repo_format::credential::Sets::READ));
        }
        let index = RwLock::new(core.index(Purpose::Read)?);
        let inner = Arc::new(Inner {
            core,
            index,
            rebuilt: Mutex::new(false),
            frames: Mutex::default(),
            loaded: Condvar::new(),
            openers: Mutex::default(),
            opened: Mutex::default(),
        });
        let (sender, receiver) = bounded(AHEAD);
        let reader = Reader { inner, ahead: Some(sender), threads: Mutex::default() };
        for number in 0..reader.inner.core.store.concurrency().clamp(1, THREADS_MAX) {
            let (inner, receiver) = (reader.inner.clone(), receiver.clone());
            let builder = thread::Builder::new().name(format!("fetch {number}"));
            let thread = builder.spawn(move || inner.fetch_ahead(&receiver));
            lock(&reader.threads).push(thread.map_err(|e| Error::io("reading thread", e))?);
        }
        Ok(reader)
    }

    /// Whether the chunk is in the index; its bytes are not looked at.
    pub fn knows(&self, id: &ChunkId) -> Result<bool> {
        self.inner.index().find(id, &mut |_| true)
    }

    /// From now on remembers which frames it opens.
    pub fn remember_opened(&self) {
        *lock(&self.inner.opened) = Some(Opened::default());
    }

    /// What was opened since; from now on that is not remembered.
    pub fn take_opened(&self) -> Opened {
        lock(&self.inner.opened).take().unwrap_or_default()
    }

    /// The packs that should hold the chunk.
    pub fn packs_of(&self, id: &ChunkId) -> Result<Vec<String>> {
        Ok(self.inner.places(id)?.iter().map(|place| place.pack.to_string()).collect())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.ahead = None;
        for thread in lock(&self.threads).drain(..) {
            // It never panics; and if it did, it only fetched ahead.
            let _ = thread.join();
        }
    }
}

impl ChunkSource for Reader {
    fn name_of(&self, kind: ChunkKind, plain: &[u8]) -> Option<ChunkId> {
        Some(self.inner.core.ring.repo.chunk_id.id(kind, plain))
    }

    fn digest_key(&self) -> Option<RunDigestKey> {
        Some(self.inner.core.ring.repo.fingerprint.run_digest())
    }

    fn tree_secret(&self) -> Option<[u8; 16]> {
        Some(self.inner.core.ring.repo.cut.tree_secret())
    }

    fn get(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        let mut got = self.inner.get(kind, id);
        // Perhaps it was our view of the index that was old, or its cache that was wrong; and again, where packs go quickly.
        for _ in 0..REFRESHED_MAX {
            let e = match got {
                Err(e) if e.kind() == Kind::Damaged => e,
                _ => break,
            };
            if !self.inner.refresh(id)? {
                return Err(e);
            }
            got = self.inner.get(kind, id).map_err(|again| if again.kind() == Kind::Damaged { e } else { again });
        }
        got
    }

    fn prefetch(&self, ids: &[ChunkId]) {
        let Some(ahead) = &self.ahead else { return };
        for id in ids {
            if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = ahead.try_send(*id) {
                return;
            }
        }
    }
}

impl Inner {
    fn index(&self) -> Arc<dyn Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// After a chunk could not be had: looks whether the index is to blame, and if so gets a better one. `false` where
    /// that changes nothing. Errors: `Io` where that cannot be known now.
    fn refresh(&self, id: &ChunkId) -> Result<bool> {
        let passes = |e: &Error| e.kind() == Kind::Io;
        let mut rebuilt = lock(&self.rebuilt);
        let before = self.places(id);
        // Packs may have been emptied since, and others hold what they held; or a session of this process added to it.
        if let Err(e) = self.core.log.catch_up()
            && passes(&e)
        {
            return Err(e);
        }
        match self.core.index(Purpose::Read) {
            Ok(index) => {
                self.set_index(index);
                if self.places(id).ok() != before.as_ref().ok().cloned() {
                    return Ok(true);
                }
            }
            Err(e) if passes(&e) => return Err(e),
            Err(_) => {}
        }
        let to_blame = match &before {
            Ok(places) => places.is_empty() || !places.iter().all(|place| self.core.confirms(place, id)),
            Err(_) => true,
        };
        if *rebuilt || !to_blame {
            return Ok(false);
        }
        *rebuilt = true;
        Ok(self.core.rebuild_index().map(|index| self.set_index(index)).is_ok())
    }

    fn set_index(&self, index: Arc<dyn Index>) {
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
    }

    fn get(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        if let Some((frame, position)) = lock(&self.frames).find(id) {
            return frame.chunk(kind, id, position);
        }
        let mut failure: Option<Error> = None;
        let places = self.places(id)?;
        for place in &places {
            match self.frame(place).and_then(|frame| frame.chunk(kind, id, usize::from(place.position))) {
                Ok(bytes) => return Ok(bytes),
                Err(e) if e.kind() == Kind::Interrupted => return Err(e),
                // Whatever hinders this copy (damage, a version not known, a bad disk), another may be whole.
                // What may pass is told rather than damage: the copy that is whole may be the one that could not be asked for.
                Err(e) => {
                    let passes = e.kind() == Kind::Io;
                    if failure.as_ref().is_none_or(|first| passes && first.kind() != Kind::Io) {
                        failure = Some(unreadable(e, place, id));
                    }
                }
            }
        }
        let Some(failure) = failure else {
            let message = "is named by no index object that can be read";
            return Err(Error::damaged(format!("chunk {id}"), message).hint(UNKNOWN_CHUNK));
        };
        Err(match places.len() {
            1 => failure,
            n => failure.within(format!("one of {n} copies, none of which can be read")),
        })
    }

    /// Every known place; those that the log stands behind first.
    fn places(&self, id: &ChunkId) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        self.index().find(id, &mut |place| {
            places.push(place);
            false
        })?;
        if places.len() > 1 {
            let state = self.core.log.state();
            places.sort_by_key(|p| (!state.indexes().contains_key(&p.source), !state.usable(&p.pack, p.offset)));
        }
        Ok(places)
    }

    /// An opened frame, from memory or the store; several threads that want the same one read it once.
    fn frame(&self, place: &Place) -> Result<Arc<Frame>> {
        let key = (place.pack, place.offset);
        let mut frames = lock(&self.frames);
        loop {
            if let Some(frame) = frames.touch(&key) {
                return Ok(frame);
            }
            if frames.loading.insert(key) {
                break;
            }
            frames = self.loaded.wait(frames).unwrap_or_else(PoisonError::into_inner);
        }
        drop(frames);
        let loaded = self.load(place).map(Arc::new);
        let mut frames = lock(&self.frames);
        frames.loading.remove(&key);
        if let Ok(frame) = &loaded {
            frames.insert(key, frame.clone());
        }
        drop(frames);
        self.loaded.notify_all();
        loaded
    }

    fn load(&self, place: &Place) -> Result<Frame> {
        let kept = self.core.kept.as_ref().filter(|_| place.pack.class == PackClass::Metadata && self.may_remember());
        let name = format!("{}@{}", place.pack, place.offset);
        if let Some(frame) = kept.and_then(|kept| kept.get(&name)).map(|bytes| self.open(place, &bytes)) {
            match frame {
                Err(e) if e.is_of_bytes() => {}
                other => return other,
            }
        }
        let range = u64::from(place.offset)..u64::from(place.offset) + u64::from(place.length);
        let read = || {
            self.core.store.read_range(&place.pack.to_string(), range.clone()).map_err(|e| match e.kind() {
                Kind::NotFound => Error::damaged("pack", "is missing"),
                _ => e,
            })
        };
        let mut bytes = read()?;
        let mut frame = self.open(place, &bytes);
        if frame.as_ref().is_err_and(Error::is_of_bytes) {
            // Perhaps only the answer was wrong.
            bytes = read()?;
            frame = self.open(place, &bytes);
        }
        if let (Ok(_), Some(kept)) = (&frame, kept) {
            self.core.keep_bytes(kept, &name, &bytes);
        }
        frame
    }

    /// Not where it shall be known what the store gives.
    fn may_remember(&self) -> bool {
        lock(&self.opened).is_none()
    }

    fn open(&self, place: &Place, bytes: &[u8]) -> Result<Frame> {
        let head = FrameHeader::parse(bytes)?;
        let content = self.core.content_key(&head.session, &head.wrapped)?;
        let pooled = lock(&self.openers).pop();
        let mut opener = pooled.map_or_else(Opener::new, Ok)?;
        let open = opener.open(&content, &self.core.ring.repo.chunk_id, bytes)?;
        if let Some(opened) = lock(&self.opened).as_mut() {
            opened.add(&place.pack, (place.offset, place.length), open.kind(), open.list());
        }
        let frame =
            Frame { kind: open.kind(), chunks: open.chunks().map(|(id, plain)| (id, plain.to_vec())).collect() };
        lock(&self.openers).push(opener);
        Ok(frame)
    }

    /// Opens the frames of the chunks that will be asked for. Errors are left to whoever asks.
    fn fetch_ahead(&self, ids: &Receiver<ChunkId>) {
        for id in ids {
            if lock(&self.frames).chunks.contains_key(&id) {
                continue;
            }
            if let Some(place) = self.places(&id).ok().and_then(|places| places.first().copied())
                && !lock(&self.frames).loading.contains(&(place.pack, place.offset))
            {
                let _ = self.frame(&place);
            }
        }
    }
}

fn unreadable(e: Error, place: &Place, id: &ChunkId) -> Error {
    let hint = if e.kind() == Kind::Damaged { Some(DAMAGED_FRAME) } else { None };
    let error = e.within(format!("{}: frame at {}: chunk {id}", place.pack, place.offset));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

const DAMAGED_FRAME: &str =
    "`onefold check --read-data` says what else is damaged; the next backup stores it anew if it is still there";
const UNKNOWN_CHUNK: &str = "`onefold check` names the index object that is missing or damaged";
