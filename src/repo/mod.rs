//! The repository: chunks into packs, packs into a store, and out again; the log that orders it all.

pub mod alone;
mod anew;
pub mod cache;
pub mod check;
pub mod claim;
mod doubt;
pub mod epochs;
mod frames;
mod fresh;
pub mod index;
pub mod index_memory;
#[cfg(feature = "rocksdb")]
pub mod index_rocksdb;
pub mod kept;
pub mod keys;
mod locate;
pub mod log;
mod log_store;
mod losses;
mod mover;
pub mod open;
pub mod opened;
pub mod packer;
pub mod prune;
pub mod reader;
pub mod rehearsal;
mod remarks;
pub mod repair;
pub mod session;
pub mod sightings;
pub mod sink;
mod sort;
pub mod twice;
pub mod unsound;
mod uploads;
pub mod verified;
pub mod world;
pub mod writer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use repo_format::config::Config;
use repo_format::credential::{KeyRing, Sets};
use repo_format::id::{CredentialId, ObjectHash, SessionId, SnapshotId, WriterId};
use repo_format::key::{ContentKey, SignKey, WrappedKey};
use repo_format::log::{Body, Roles};
use repo_format::log_state::State;
use repo_format::names::Name;
use repo_format::recipient::Identity;
use repo_format::snapshot::Snapshot;

use self::cache::RepoCache;
use self::index::Index;
use self::kept::Kept;
use self::log::Log;
use crate::error::{Error, Kind, Result};
use crate::store::fetched::Fetched;
use crate::store::watched::{Requests, Watched};
use crate::store::{Store, lock};

pub use self::fresh::Like;
pub use self::open::{InitOptions, Sizes};
pub use self::reader::Reader;
pub use self::rehearsal::Rehearsal;
pub use self::sink::{WriteOptions, WriteStats};
pub use self::sort::scratch;
pub use self::writer::Writer;

/// An open repository: its keys, its log, its index. Cheap to clone; shared by threads.
#[derive(Clone)]
pub struct Repo {
    core: Arc<Core>,
}

/// What readers, writers and checks share.
struct Core {
    /// With retries; what everything below uses.
    store: Arc<dyn Store>,
    watched: Arc<Watched<Arc<dyn Store>>>,
    /// What opened it.
    credential: CredentialId,
    /// The secret of that alone: opens what was granted to it.
    own: Identity,
    ring: KeyRing,
    config: Config,
    config_hash: ObjectHash,
    log: Log,
    cache: Option<RepoCache>,
    /// What this machine keeps of the store, with a cache.
    kept: Option<Kept>,
    /// Number of the last entry that the cache knows.
    remembered: AtomicU64,
    /// Opened when first needed.
    index: RwLock<Option<Arc<dyn Index>>>,
    /// Content keys unwrapped so far.
    content: Mutex<HashMap<(SessionId, WrappedKey), ContentKey>>,
}

/// A snapshot on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its id.
    pub id: SnapshotId,
    /// When it was committed, in milliseconds since 1970, by its writer's clock.
    pub time_ms: u64,
    /// The session that made it.
    pub session: SessionId,
    /// Number of the log entry that committed it: snapshots are ordered by it.
    pub n: u64,
}

impl Repo {
    /// Its fixed parameters.
    pub fn config(&self) -> &Config {
        &self.core.config
    }

    /// The keys that the credential gave.
    pub fn ring(&self) -> &KeyRing {
        &self.core.ring
    }

    /// The credential that opened it.
    pub fn credential(&self) -> CredentialId {
        self.core.credential
    }

    /// Where it is.
    pub fn store(&self) -> &dyn Store {
        &*self.core.store
    }

    /// What was asked of the store since it was opened.
    pub fn requests(&self) -> Requests {
        self.core.watched.requests()
    }

    /// What the log said when it was last read.
    pub fn state(&self) -> Arc<State> {
        self.core.log.state()
    }

    /// Reads the log on.
    pub fn refresh(&self) -> Result<Arc<State>> {
        let state = self.core.log.catch_up()?;
        self.core.remember(&state);
        Ok(state)
    }

    /// Why the log cannot be read to its end: one entry is damaged or missing. The snapshots before it stand; nothing can
    /// be added.
    pub fn stopped(&self) -> Option<Error> {
        self.core.log.stopped()
    }

    /// What went wrong since the last call without stopping the work, and costs no data.
    pub fn take_notes(&self) -> Vec<Error> {
        self.core.log.take_notes()
    }

    /// Whether entry `n` of the log is the one with this hash, in hex; `None` where it is gone.
    pub fn is_entry(&self, n: u64, hash: &str) -> Result<Option<bool>> {
        self.core.log.is_entry(n, hash)
    }

    /// For [`Repo::take_notes`].
    pub fn note(&self, e: Error) {
        self.core.log.note(e);
    }

    /// Appends an entry that only the administrator may write (fence, forget, writers).
    pub fn administer(&self, make: &mut dyn FnMut(&State) -> Result<Body>) -> Result<Arc<State>> {
        let key = self.core.ring.admin_key.as_ref().ok_or_else(|| self.core.lacks(Sets::ADMIN))?;
        self.core.append(key, make)
    }

    /// The snapshots that can be restored, oldest first.
    pub fn snapshots(&self) -> Vec<SnapshotInfo> {
        let state = self.state();
        let info = |(id, c): (&SnapshotId, &repo_format::log_state::Committed)| SnapshotInfo {
            id: *id,
            time_ms: c.time_ms,
            session: c.session,
            n: c.n,
        };
        let mut all: Vec<SnapshotInfo> = state.snapshots().iter().map(info).collect();
        all.sort_by_key(|s| s.n);
        all
    }

    /// The snapshot that `name` means: `latest`, or the beginning of an id that fits one snapshot only.
    pub fn find_snapshot(&self, name: &str) -> Result<SnapshotInfo> {
        let all = self.snapshots();
        let missing = |what: &str| {
            Error::new(Kind::NotFound, format!("snapshot {name}"), what).hint("`onefold snapshots` lists what is there")
        };
        if name.is_empty() {
            return Err(Error::new(Kind::Usage, "snapshot", "has no name")
                .hint("name a snapshot by the beginning of its id, or `latest`"));
        }
        if name == "latest" {
            return all.last().copied().ok_or_else(|| missing("the repository holds no snapshot yet"));
        }
        let mut fitting = all.iter().filter(|s| s.id.to_string().starts_with(name));
        match (fitting.next(), fitting.next()) {
            (Some(one), None) => Ok(*one),
            (None, _) => Err(missing("there is no such snapshot")),
            (Some(_), Some(_)) => Err(missing("fits several snapshots: give more digits")),
        }
    }

    /// Reads and verifies a snapshot object. Needs *read*.
    pub fn snapshot(&self, id: &SnapshotId) -> Result<Snapshot> {
        self.core.snapshot(id, &mut Fetched::default())
    }

    /// The same of many, whose objects are read side by side. Errors: those of `visit`. Memory: [`SNAPSHOTS`] objects.
    pub fn each_snapshot(
        &self,
        ids: &[SnapshotId],
        mut visit: impl FnMut(&SnapshotId, Result<Snapshot>) -> Result<()>,
    ) -> Result<()> {
        for some in ids.chunks(SNAPSHOTS) {
            let names = some.iter().map(|id| Name::Snapshot(*id).to_string());
            let mut fetched = Fetched::of(&*self.core.store, names);
            some.iter().try_for_each(|id| visit(id, self.core.snapshot(id, &mut fetched)))?;
        }
        Ok(())
    }

    /// A source of chunks. Needs *read*.
    pub fn reader(&self) -> Result<Reader> {
        Reader::new(self.core.clone())
    }

    /// Opens a session and gives a sink of chunks. Needs *write*.
    /// [`writer`] says what to expect of it.
    pub fn writer(&self, options: WriteOptions) -> Result<Writer> {
        Writer::open(self.core.clone(), options)
    }

    /// A sink of chunks that counts what a writer would write, and writes nothing. Needs *write*, as it does.
    pub fn rehearsal(&self, options: &WriteOptions) -> Result<Rehearsal> {
        Rehearsal::open(self.core.clone(), options)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let state = self.log.state();
        if self.remembered.load(Ordering::Relaxed) != state.n() {
            self.remember(&state);
        }
    }
}

impl Core {
    fn lacks(&self, sets: Sets) -> Error {
        let message = format!("this credential holds {}, the work needs {sets}", self.ring.sets());
        Error::new(Kind::Denied, self.store.place(), message)
            .hint("use a credential that holds it: `onefold key list` shows them")
    }

    /// Whether what is missing may be written again from its second copy: not by who only reads.
    fn mends(&self) -> bool {
        may_write(&self.ring)
    }

    fn sign_key(&self) -> Result<&SignKey> {
        self.ring.writer.as_ref().ok_or_else(|| self.lacks(Sets::WRITE))
    }

    /// The writer of this credential, if it is one of a writer.
    fn own(&self) -> Option<WriterId> {
        self.ring.writer.as_ref().map(|key| key.id())
    }

    /// Whether the log believes this credential's writer when it stands for what others wrote.
    fn vouches(&self, state: &State) -> bool {
        self.ring.writer.as_ref().is_some_and(|key| state.roles(&key.id()).has(Roles::VOUCH))
    }

    fn append(&self, key: &SignKey, make: &mut dyn FnMut(&State) -> Result<Body>) -> Result<Arc<State>> {
        self.log.append(key, make)
    }

    /// Keeps the state for the next process on this machine: when a repository is opened, refreshed, a session ends,
    /// and at last; not at each entry, for the whole state is written. A full or read-only cache directory must not stop
    /// work.
    fn remember(&self, state: &State) {
        if let Some(cache) = &self.cache
            && !self.store.rehearses()
        {
            let _ = cache.set_state(&self.ring.repo_id, &self.ring.repo, state);
            self.remembered.store(state.n(), Ordering::Relaxed);
        }
    }

    /// The content key of a session, from what stands beside everything that it sealed. Needs *read*.
    fn content_key(&self, session: &SessionId, wrapped: &WrappedKey) -> Result<ContentKey> {
        let name = (*session, *wrapped);
        if let Some(key) = lock(&self.content).get(&name) {
            return Ok(key.clone());
        }
        if self.ring.read.is_empty() {
            return Err(self.lacks(Sets::READ));
        }
        let secret = self.secret(wrapped.epoch)?;
        let key = wrapped
            .unwrap(&[secret], &self.ring.repo_id, session)
            .map_err(|e| Error::from(e).within(format!("session {session}")))?;
        let mut known = lock(&self.content);
        if known.len() >= KEYS_KEPT {
            known.clear();
        }
        known.insert(name, key.clone());
        Ok(key)
    }

    fn snapshot(&self, id: &SnapshotId, fetched: &mut Fetched) -> Result<Snapshot> {
        let name = Name::Snapshot(*id);
        let state = self.log.state();
        let missing = || Error::new(Kind::NotFound, name, "there is no such snapshot");
        let committed = state.snapshots().get(id).ok_or_else(missing)?;
        let (session, snapshot) = self.any_snapshot(id, fetched)?;
        // The log's word for the session, not the object's: only its writer can have made the snapshot.
        if session != committed.session {
            return Err(Error::damaged(name, "is of another session than the log says"));
        }
        if committed.writer != snapshot.writer {
            return Err(Error::damaged(name, "is signed by another writer than the log says"));
        }
        Ok(snapshot)
    }

    /// A snapshot, whatever the log says of it; and its session.
    fn any_snapshot(&self, id: &SnapshotId, fetched: &mut Fetched) -> Result<(SessionId, Snapshot)> {
        let name = Name::Snapshot(*id);
        let within = |e| Error::from(e).within(name);
        let lost = || match self.log.catch_up() {
            Ok(state) if !state.snapshots().contains_key(id) && !state.held().contains(id) => {
                Error::new(Kind::NotFound, name, "was forgotten meanwhile")
            }
            _ => Error::damaged(name, "is missing, though the log names it").hint(LOST_SNAPSHOT),
        };
        let mut read = |name: &str| fetched.read(&*self.store, name);
        let found = twice::read_by(&mut read, &name, |bytes| Snapshot::sealed_by(id, bytes))
            .map_err(|e| e.hint(LOST_SNAPSHOT))?
            .ok_or_else(lost)?;
        if self.mends() {
            // As long as this fails, the second copy serves.
            let _ = twice::mend(&*self.store, &name, &found);
        }
        let (session, wrapped) = found.value;
        let key = self.content_key(&session, &wrapped)?;
        Ok((session, Snapshot::open(id, &found.bytes, &self.ring.repo_id, &key).map_err(within)?))
    }

    /// A cache folder that is full or cannot be written to is named, and does not stop work.
    fn keep_bytes(&self, kept: &Kept, name: &str, bytes: &[u8]) {
        if let Some(e) = kept.put(name, bytes) {
            self.log.note(e);
        }
    }
}

/// Snapshots that are read at once.
const SNAPSHOTS: usize = 8;

/// Unwrapped content keys that are remembered, 150 bytes each: one for a session, unless somebody wrote others.
const KEYS_KEPT: usize = 4096;

fn may_write(ring: &KeyRing) -> bool {
    ring.writer.is_some() || ring.admin_key.is_some()
}

const LOST_SNAPSHOT: &str =
    "this snapshot is lost unless another copy of the store has the object; others are not affected";
