//! The log of one repository: reading it cheaply, appending to it, noticing that something is hidden. Every entry is
//! stored twice; which of several writers wins a number is decided under the first name.

mod checkpoints;
mod opening;
mod trimming;
mod verify;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;

use bytes::Bytes;
use repo_format::FormatError;
use repo_format::config::Config;
use repo_format::id::{ObjectHash, WriterId};
use repo_format::key::SignKey;
use repo_format::log::{Body, Entry};
use repo_format::log_rules::Outcome;
use repo_format::log_state::State;
use repo_format::names::Name;
use repo_format::trim;

use super::{twice, world};
use crate::error::{Error, Kind, Result};
use crate::store::fetched::{AT_ONCE, Fetched};
use crate::store::{Store, create_or_same, lock, read_if_exists};

pub use trimming::Trimmed;

/// Attempts to append before we give up: each lost race means that another entry was written.
const ATTEMPTS: usize = 100;

/// What a log begins with, and who reads it.
pub struct Start {
    /// The configuration.
    pub config: Config,
    /// The hash of its object, to which the first entry is chained.
    pub hash: ObjectHash,
    /// The writer's key id, whose checkpoints are believed.
    pub own: Option<WriterId>,
    /// Whether we may write: then what is missing is written again from its second copy.
    pub mends: bool,
}

/// The log, as far as read, and how to add to it. Shared by threads.
pub struct Log {
    store: Arc<dyn Store>,
    start: Start,
    /// The state after the last entry read. Replaced, never changed.
    state: RwLock<Arc<State>>,
    /// Held while entries are read or written.
    turn: Mutex<Turn>,
    /// What went wrong without stopping the work.
    notes: Mutex<Vec<Error>>,
}

/// How far the log is known.
#[derive(Default)]
struct Turn {
    /// The last entry of which this process has seen both objects.
    copied: u64,
    /// Why the entry after the last one read cannot be read, though it is there.
    stopped: Option<Error>,
    /// Why nobody knows whether what was read is the log.
    lost: Option<Error>,
}

impl Turn {
    /// Why nothing can be appended.
    fn why_not(&self) -> Option<Error> {
        self.lost.as_ref().or(self.stopped.as_ref()).map(Error::again)
    }
}

impl Log {
    /// Whether entry `n` is the one with this hash; `None` where it is gone.
    pub fn is_entry(&self, n: u64, hash: &str) -> Result<Option<bool>> {
        let state = self.state();
        if n == state.n() || n == 0 {
            let of = if n == 0 { self.start.hash } else { state.head() };
            return Ok(Some(of.to_string() == hash));
        }
        let found = twice::read(&*self.store, &Name::Log(n), |bytes| Ok::<_, FormatError>(ObjectHash::of(bytes)))?;
        Ok(found.map(|found| found.value.to_string() == hash))
    }

    /// The state after the last entry read.
    pub fn state(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the log goes on after what was read, but cannot be read: an entry is damaged or missing under both names.
    /// What stands before can be relied on; nothing can be appended.
    pub fn stopped(&self) -> Option<Error> {
        lock(&self.turn).why_not()
    }

    /// What went wrong since the last call without stopping the work: an entry without its second copy, a checkpoint
    /// that could not be written.
    pub fn take_notes(&self) -> Vec<Error> {
        std::mem::take(&mut *lock(&self.notes))
    }

    /// Reads what was added since, and returns the state after it.
    pub fn catch_up(&self) -> Result<Arc<State>> {
        self.read_on(&mut lock(&self.turn), Fetched::default())
    }

    /// Reads entries that follow, more and more at a time: as many as were found are asked for in vain at most. `ahead` may hold
    /// the next one.
    fn read_on(&self, turn: &mut Turn, mut ahead: Fetched) -> Result<Arc<State>> {
        let known = self.state();
        let mut newer: Option<State> = None;
        let mut window = 1;
        loop {
            let state = newer.as_ref().unwrap_or(&known);
            let name = Name::Log(state.n() + 1);
            if !ahead.has(&name.to_string()) {
                let names = (1..=window).map(|i| Name::Log(state.n() + i).to_string());
                // Most often there is no next one, under neither name, and nothing was trimmed.
                let (copy, mark) = ((window == 1).then(|| name.copy()), trim::mark_of(state.n() + 1));
                ahead = Fetched::of(&*self.store, names.chain(copy).chain([mark.to_string()]));
                window = (2 * window).min(AT_ONCE as u64);
            }
            let mut read = |name: &str| ahead.read(&*self.store, name);
            let found = match twice::read_by(&mut read, &name, |bytes| follows(state, bytes, &self.start.config)) {
                Ok(Some(found)) => found,
                Ok(None) if !self.is_trimmed(state.n() + 1, &mut ahead)? => break,
                Ok(None) => match self.beyond(state.n() + 1)? {
                    Some(checkpoint) => {
                        (newer, turn.stopped, ahead) = (Some(checkpoint), None, Fetched::default());
                        continue;
                    }
                    None => {
                        turn.stopped = Some(Error::damaged(name, NO_CHECKPOINT).hint(STOPPED));
                        break;
                    }
                },
                Err(e) if !e.is_of_bytes() => return Err(e),
                Err(e) => {
                    turn.stopped = Some(e.hint(STOPPED));
                    break;
                }
            };
            let (hash, entry) = &found.value;
            newer.get_or_insert_with(|| State::clone(&known)).apply(*hash, entry)?;
            turn.stopped = None;
            self.mend(&name, &found);
        }
        Ok(newer.map_or(known, |state| self.set(state)))
    }

    fn mend<T>(&self, name: &Name, found: &twice::Found<T>) {
        // Its second copy serves as long as this fails, and `check` says so.
        if self.start.mends {
            let _ = twice::mend(&*self.store, name, found);
        }
    }

    fn set(&self, state: State) -> Arc<State> {
        let state = Arc::new(state);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state.clone();
        state
    }

    /// Appends what `make` says, given the state that it will stand on. When another writer is faster, the log is read
    /// on and `make` asked again. An entry that the rules would void is not written: an error instead. Once the entry
    /// stands, nothing makes it an error.
    pub fn append(&self, key: &SignKey, make: &mut dyn FnMut(&State) -> Result<Body>) -> Result<Arc<State>> {
        let mut turn = lock(&self.turn);
        for _ in 0..ATTEMPTS {
            let mut state = State::clone(&*self.read_on(&mut turn, Fetched::default())?);
            if let Some(why) = turn.why_not() {
                return Err(why);
            }
            if !self.copy_head(&mut turn, &state)? {
                continue;
            }
            let n = state.n() + 1;
            let entry =
                Entry { n, previous: state.head(), writer: key.id(), time_ms: world::now_ms(), body: make(&state)? };
            let (hash, bytes) = entry.encode(&self.start.config.repo, key)?;
            let bytes = Bytes::from(bytes);
            let name = Name::Log(n);
            if let Outcome::Void(why) = state.apply(hash, &entry)? {
                return Err(Error::new(Kind::Denied, name, format!("would be void: {why}")));
            }
            if !self.create(&name, &bytes)? {
                continue;
            }
            match self.settle(n, &bytes)? {
                Some(Ok(())) => turn.copied = n,
                Some(Err(e)) => {
                    self.note(e.within("the entry stands, but has no second copy until the next is written"))
                }
                None => {
                    let now = self.read_on(&mut turn, Fetched::default())?;
                    if is_done(&now, &entry.body) {
                        return Ok(now);
                    }
                    continue;
                }
            }
            if state.checkpoint_due()
                && let Err(e) = self.checkpoint(&state, key)
            {
                self.note(e.within("the entry stands, but opening will take longer: no checkpoint"));
            }
            return Ok(self.set(state));
        }
        Err(Error::new(Kind::Busy, self.store.place(), format!("lost {ATTEMPTS} races for the log in turn"))
            .hint("too many writers at once, or the store answers wrongly: try again later"))
    }

    /// Creates an entry; `false` where another has the number. A failure whose request was carried out is none.
    fn create(&self, name: &Name, bytes: &Bytes) -> Result<bool> {
        match self.store.create(&name.to_string(), bytes.clone()) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == Kind::AlreadyExists => Ok(false),
            Err(e) => match read_if_exists(&*self.store, &name.to_string()) {
                Ok(Some(found)) if found == *bytes => Ok(true),
                _ => Err(e),
            },
        }
    }

    /// Writes the second object of an entry that was created, and looks meanwhile whether its number was trimmed (`None`): we slept, and what
    /// was created goes. If we slept before it was, another had taken the number, and it is no entry.
    ///
    /// Errors: nobody knows whether it is one.
    fn settle(&self, n: u64, bytes: &Bytes) -> Result<Option<Result<()>>> {
        let (store, name, mark) = (&*self.store, Name::Log(n), trim::mark_of(n));
        let look = || {
            let mut both = Fetched::of(store, [mark.to_string(), mark.copy()]);
            self.is_marked(&mark, &mut |name| both.read(store, name))
        };
        let (second, is_trimmed) = thread::scope(|scope| {
            let beside = thread::Builder::new().spawn_scoped(scope, look);
            let second = create_or_same(store, &name.copy(), bytes.clone());
            // Where there is no thread to be had, one after the other.
            (second, beside.ok().and_then(|beside| beside.join().ok()).unwrap_or_else(look))
        });
        let unknown = |e: Error| e.within("an entry was written, but may have come too late");
        if !is_trimmed.map_err(unknown)? {
            return Ok(Some(second));
        }
        // What stays is no part of the log, and goes with the next trimming.
        [name.to_string(), name.copy()].iter().for_each(|name| drop(store.delete(name)));
        Ok(None)
    }

    /// Nothing is built on an entry before it is stored twice: whoever wrote it may have died between. `false`: it was trimmed meanwhile.
    fn copy_head(&self, turn: &mut Turn, state: &State) -> Result<bool> {
        if state.n() == 0 || turn.copied >= state.n() {
            return Ok(true);
        }
        let name = Name::Log(state.n());
        if read_if_exists(&*self.store, &name.copy())?.is_none() {
            let Some(bytes) = read_if_exists(&*self.store, &name.to_string())? else {
                return match self.is_trimmed(state.n(), &mut Fetched::default())? {
                    true => Ok(false),
                    false => Err(Error::damaged(name, "is gone since it was read").hint(STOPPED)),
                };
            };
            if ObjectHash::of(&bytes) != state.head() {
                return Err(Error::damaged(name, "is no longer the entry that was read").hint(STOPPED));
            }
            create_or_same(&*self.store, &name.copy(), bytes)?;
        }
        turn.copied = state.n();
        Ok(true)
    }

    /// For [`Log::take_notes`].
    pub fn note(&self, e: Error) {
        lock(&self.notes).push(e);
    }

    fn checkpoint(&self, state: &State, key: &SignKey) -> Result<()> {
        let (name, bytes) = state.to_checkpoint(&self.start.config.repo, key)?;
        if key.id() == state.admin() {
            return twice::create(&*self.store, &name, bytes);
        }
        create_or_same(&*self.store, &name.to_string(), bytes)
    }
}

/// Whether the log has gone on from this entry, which is gone: its snapshot is listed, or its index objects stand.
fn is_done(state: &State, body: &Body) -> bool {
    match body {
        Body::Commit { snapshot: Some(id), .. } => state.snapshots().contains_key(id),
        Body::Commit { indexes, .. } => {
            !indexes.is_empty() && indexes.iter().all(|index| state.indexes().contains_key(index))
        }
        // What was opened is opened anew; what the administrator says is worked out anew.
        _ => false,
    }
}

const NO_CHECKPOINT: &str = "was trimmed, and no checkpoint after it can be read";
const STOPPED: &str = "what the log says up to there still stands and can be restored; before anything is added, put \
                       the entry back from another copy of the store";

/// Parses and verifies what should be the next entry. Void ones keep their place.
fn follows(state: &State, bytes: &[u8], config: &Config) -> std::result::Result<(ObjectHash, Entry), FormatError> {
    let (hash, entry) = Entry::parse(bytes, &config.repo)?;
    state.expects(&entry)?;
    Ok((hash, entry))
}
