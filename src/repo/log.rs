//! The log of one repository: reading it cheaply, appending to it, noticing that something is hidden.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use repo_format::config::Config;
use repo_format::id::{ObjectHash, RepoId, WriterId};
use repo_format::key::SignKey;
use repo_format::log::{Body, Entry};
use repo_format::log_rules::Outcome;
use repo_format::log_state::State;
use repo_format::names::{Name, ObjectKind};

use super::world;
use crate::error::{Error, Kind, Result};
use crate::store::{Store, lock, read_if_exists};

/// Attempts to append before we give up: each lost race means that another entry was written.
const ATTEMPTS: usize = 100;

/// The log, as far as read, and how to add to it. Shared by threads.
pub struct Log {
    store: Arc<dyn Store>,
    repo: RepoId,
    /// The state after the last entry read. Replaced, never changed.
    state: RwLock<Arc<State>>,
    /// Held while entries are read or written.
    turn: Mutex<()>,
}

impl Log {
    /// Goes on from a state that was verified before (a cache's). Two small reads when nothing was added.
    ///
    /// The entry that the state ends with must still be there: where it is hidden or another, that is an error which
    /// names it.
    pub fn resume(store: Arc<dyn Store>, repo: RepoId, seen: State) -> Result<Log> {
        if seen.n() > 0 {
            let name = Name::Log(seen.n()).to_string();
            let Some(bytes) = read_if_exists(&*store, &name)? else {
                let message =
                    "is missing, but this machine has seen it: the repository was rolled back or an entry hidden";
                return Err(Error::damaged(name, message).hint(ROLLED_BACK));
            };
            if ObjectHash::of(&bytes) != seen.head() {
                return Err(Error::damaged(name, "is not the entry that this machine has seen").hint(ROLLED_BACK));
            }
        }
        let log = Log::at(store, repo, seen);
        log.catch_up()?;
        Ok(log)
    }

    /// Reads the log from the newest believable checkpoint, or from the configuration (`hash` is that of its object).
    /// `own` is the writer's key id, whose
    /// checkpoints it believes.
    pub fn read(
        store: Arc<dyn Store>,
        repo: RepoId,
        hash: ObjectHash,
        config: &Config,
        own: Option<WriterId>,
    ) -> Result<Log> {
        let state = match newest_checkpoint(&*store, config, own.as_ref())? {
            Some(state) => state,
            None => State::new(hash, config),
        };
        let log = Log::at(store, repo, state);
        log.catch_up()?;
        log.check_no_gap()?;
        Ok(log)
    }

    fn at(store: Arc<dyn Store>, repo: RepoId, state: State) -> Log {
        Log { store, repo, state: RwLock::new(Arc::new(state)), turn: Mutex::new(()) }
    }

    /// The state after the last entry read.
    pub fn state(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads what was added since, and returns the state after it.
    pub fn catch_up(&self) -> Result<Arc<State>> {
        let _turn = lock(&self.turn);
        self.read_on()
    }

    fn read_on(&self) -> Result<Arc<State>> {
        let known = self.state();
        let mut newer: Option<State> = None;
        loop {
            let n = newer.as_ref().unwrap_or(&known).n() + 1;
            let Some(bytes) = read_if_exists(&*self.store, &Name::Log(n).to_string())? else { break };
            let state = newer.get_or_insert_with(|| State::clone(&known));
            apply(state, &bytes, &self.repo)?;
        }
        Ok(newer.map_or(known, |state| self.set(state)))
    }

    fn set(&self, state: State) -> Arc<State> {
        let state = Arc::new(state);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state.clone();
        state
    }

    /// Appends what `make` says, given the state that it will stand on. When another writer is faster, the log is read
    /// on and `make` asked again. An entry that the rules would void is not written: an error instead.
    pub fn append(&self, key: &SignKey, make: &mut dyn FnMut(&State) -> Result<Body>) -> Result<Arc<State>> {
        let _turn = lock(&self.turn);
        for _ in 0..ATTEMPTS {
            let mut state = State::clone(&*self.read_on()?);
            let n = state.n() + 1;
            let entry =
                Entry { n, previous: state.head(), writer: key.id(), time_ms: world::now_ms(), body: make(&state)? };
            let (hash, bytes) = entry.encode(&self.repo, key)?;
            let name = Name::Log(n).to_string();
            if let Outcome::Void(why) = state.apply(hash, &entry)? {
                return Err(Error::new(Kind::Denied, name, format!("would be void: {why}")));
            }
            match self.store.create(&name, &bytes) {
                Ok(()) => {
                    if state.checkpoint_due() {
                        self.checkpoint(&state, key)?;
                    }
                    return Ok(self.set(state));
                }
                Err(e) if e.kind() == Kind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        Err(Error::new(Kind::Busy, self.store.place(), format!("lost {ATTEMPTS} races for the log in turn"))
            .hint("too many writers at once, or the store answers wrongly: try again later"))
    }

    fn checkpoint(&self, state: &State, key: &SignKey) -> Result<()> {
        let (name, bytes) = state.to_checkpoint(&self.repo, key)?;
        crate::store::create_or_same(&*self.store, &name.to_string(), &bytes)
    }

    /// Entries follow one another without a gap: one that is listed beyond the head has lost its predecessor.
    fn check_no_gap(&self) -> Result<()> {
        let head = self.state().n();
        let mut last = head;
        self.store.list(ObjectKind::Log.word(), &mut |name, _| {
            if let Ok(Name::Log(n)) = Name::parse(name) {
                last = last.max(n);
            }
            Ok(())
        })?;
        // Entries may have been added while we listed; they are there.
        if last > head && self.catch_up()?.n() < last {
            let name = Name::Log(self.state().n() + 1).to_string();
            return Err(Error::damaged(name, format!("is missing, though the log goes on to {last}")));
        }
        Ok(())
    }

    /// Reads every entry anew from the first and compares with the state; shows each problem. Returns the entries read.
    pub fn verify(&self, hash: ObjectHash, config: &Config, problem: &mut dyn FnMut(Error)) -> Result<u64> {
        let known = self.state();
        let mut state = State::new(hash, config);
        while state.n() < known.n() {
            let name = Name::Log(state.n() + 1).to_string();
            let Some(bytes) = read_if_exists(&*self.store, &name)? else {
                problem(Error::damaged(name, "is missing").hint(LOST_ENTRY));
                return Ok(state.n());
            };
            if let Err(e) = apply(&mut state, &bytes, &self.repo) {
                problem(e);
                return Ok(state.n());
            }
        }
        if state != *known {
            problem(Error::damaged(Name::Log(state.n()).to_string(), "does not lead to the state that is known"));
        }
        Ok(state.n())
    }
}

const ROLLED_BACK: &str =
    "find out who rolled the repository back; if that was you, delete this machine's cache directory";
const LOST_ENTRY: &str =
    "copy the object from another copy of the store; the state still stands on a checkpoint or cache";

/// Verifies the next entry and applies it. Void ones keep their place.
fn apply(state: &mut State, bytes: &[u8], repo: &RepoId) -> Result<()> {
    let name = Name::Log(state.n() + 1).to_string();
    let parsed = Entry::parse(bytes, repo).and_then(|(hash, entry)| state.apply(hash, &entry));
    parsed.map(drop).map_err(|e| Error::from(e).within(name))
}

/// The newest checkpoint that we may believe and that is whole. Others are passed over: they only save time.
fn newest_checkpoint(store: &dyn Store, config: &Config, own: Option<&WriterId>) -> Result<Option<State>> {
    let mut names = Vec::new();
    store.list(ObjectKind::Checkpoint.word(), &mut |text, _| {
        if let Ok(name @ Name::Checkpoint(n, _)) = Name::parse(text) {
            names.push((n, name));
        }
        Ok(())
    })?;
    names.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
    for (_, name) in names {
        let Some(bytes) = read_if_exists(store, &name.to_string())? else { continue };
        if let Ok(state) = State::from_checkpoint(&name, &bytes, config, own) {
            return Ok(Some(state));
        }
    }
    Ok(None)
}
