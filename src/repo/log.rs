//! The log of one repository: reading it cheaply, appending to it, noticing that something is hidden. Every entry is
//! stored twice; which of several writers wins a number is decided under the first name.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use repo_format::FormatError;
use repo_format::config::Config;
use repo_format::id::{ObjectHash, WriterId};
use repo_format::key::SignKey;
use repo_format::log::{Body, Entry};
use repo_format::log_rules::Outcome;
use repo_format::log_state::State;
use repo_format::names::{COPIES, Name, ObjectKind};

use super::{twice, world};
use crate::error::{Error, Kind, Result};
use crate::store::fetched::{AT_ONCE, Fetched};
use crate::store::{Store, lock, read_if_exists};

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
}

impl Log {
    /// Goes on from a state that was verified before (a cache's): a few small reads when nothing was added. Without one
    /// reads from the newest believable checkpoint, or from the configuration.
    ///
    /// The entry that `seen` ends with must still be there. If it is hidden, or another entry stands in its place, the error names
    /// it. An entry that cannot be read stops the reading, not the opening: [`Log::stopped`].
    pub fn open(store: Arc<dyn Store>, start: Start, seen: Option<State>) -> Result<Log> {
        let empty = State::new(start.hash, &start.config);
        let turn = Mutex::default();
        let log = Log { store, start, state: RwLock::new(Arc::new(empty)), turn, notes: Mutex::default() };
        let mut ahead = Fetched::default();
        if let Some(seen) = &seen {
            // What stands and what comes next, at once.
            let [stands, next] = [Name::Log(seen.n()), Name::Log(seen.n() + 1)];
            ahead = Fetched::of(&*log.store, [stands.to_string(), next.to_string(), next.copy()]);
        }
        match seen {
            Some(seen) if log.stands(&seen, &mut ahead)? => {
                log.set(seen);
                log.read_on(&mut lock(&log.turn), ahead)?;
            }
            _ => {
                let own = log.start.own.as_ref();
                if let Some(state) = checkpoint(&*log.store, &log.start.config, own, None)? {
                    log.set(state);
                }
                log.catch_up()?;
                log.check_no_gap()?;
            }
        }
        Ok(log)
    }

    /// Whether the entry that a state ends with is there. Where the administrator has trimmed the log since, it need not
    /// be.
    fn stands(&self, seen: &State, ahead: &mut Fetched) -> Result<bool> {
        if seen.n() == 0 {
            return Ok(true);
        }
        let name = Name::Log(seen.n());
        let fits = |bytes: &[u8]| match ObjectHash::of(bytes) == seen.head() {
            true => Ok(()),
            false => Err(Error::damaged("entry", "is not the entry that this machine has seen")),
        };
        let mut read = |name: &str| ahead.read(&*self.store, name);
        if let Some(found) = twice::read_by(&mut read, &name, fits).map_err(|e| e.hint(ROLLED_BACK))? {
            self.mend(&name, &found);
            return Ok(true);
        }
        let trimmed = checkpoint(&*self.store, &self.start.config, None, None)?;
        if trimmed.is_some_and(|state| state.n() > seen.n() || state.head() == seen.head()) {
            return Ok(false);
        }
        let message = "is missing, but this machine has seen it: the repository was rolled back or an entry hidden";
        Err(Error::damaged(name, message).hint(ROLLED_BACK))
    }

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
        lock(&self.turn).stopped.as_ref().map(Error::again)
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
                // Most often there is no next one, under neither name.
                ahead = Fetched::of(&*self.store, names.chain((window == 1).then(|| name.copy())));
                window = (2 * window).min(AT_ONCE as u64);
            }
            let mut read = |name: &str| ahead.read(&*self.store, name);
            let found = match twice::read_by(&mut read, &name, |bytes| follows(state, bytes, &self.start.config)) {
                Ok(Some(found)) => found,
                Ok(None) => break,
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
            if let Some(stopped) = &turn.stopped {
                return Err(stopped.again());
            }
            self.copy_head(&mut turn, &state)?;
            let n = state.n() + 1;
            let entry =
                Entry { n, previous: state.head(), writer: key.id(), time_ms: world::now_ms(), body: make(&state)? };
            let (hash, bytes) = entry.encode(&self.start.config.repo, key)?;
            let name = Name::Log(n);
            if let Outcome::Void(why) = state.apply(hash, &entry)? {
                return Err(Error::new(Kind::Denied, name, format!("would be void: {why}")));
            }
            if !self.create(&name, &bytes)? {
                continue;
            }
            match crate::store::create_or_same(&*self.store, &name.copy(), &bytes) {
                Ok(()) => turn.copied = n,
                Err(e) => self.note(e.within("the entry stands, but has no second copy until the next is written")),
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
    fn create(&self, name: &Name, bytes: &[u8]) -> Result<bool> {
        match self.store.create(&name.to_string(), bytes) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == Kind::AlreadyExists => Ok(false),
            Err(e) => match read_if_exists(&*self.store, &name.to_string()) {
                Ok(Some(found)) if found == bytes => Ok(true),
                _ => Err(e),
            },
        }
    }

    /// Nothing is built on an entry before it is stored twice: whoever wrote it may have died between.
    fn copy_head(&self, turn: &mut Turn, state: &State) -> Result<()> {
        if state.n() == 0 || turn.copied >= state.n() {
            return Ok(());
        }
        let name = Name::Log(state.n());
        if read_if_exists(&*self.store, &name.copy())?.is_none() {
            let bytes = self.store.read(&name.to_string())?;
            if ObjectHash::of(&bytes) != state.head() {
                return Err(Error::damaged(name, "is no longer the entry that was read").hint(STOPPED));
            }
            crate::store::create_or_same(&*self.store, &name.copy(), &bytes)?;
        }
        turn.copied = state.n();
        Ok(())
    }

    /// For [`Log::take_notes`].
    pub fn note(&self, e: Error) {
        lock(&self.notes).push(e);
    }

    fn checkpoint(&self, state: &State, key: &SignKey) -> Result<()> {
        let (name, bytes) = state.to_checkpoint(&self.start.config.repo, key)?;
        if key.id() == state.admin() {
            return twice::create(&*self.store, &name, &bytes);
        }
        crate::store::create_or_same(&*self.store, &name.to_string(), &bytes)
    }

    /// Entries follow one another without a gap: one that is listed beyond the head has lost its predecessor.
    fn check_no_gap(&self) -> Result<()> {
        let last = self.numbers()?.last().copied().unwrap_or(0);
        // Entries may have been added while we listed; they are there.
        let mut turn = lock(&self.turn);
        if last > self.state().n() && self.read_on(&mut turn, Fetched::default())?.n() < last && turn.stopped.is_none()
        {
            let name = Name::Log(self.state().n() + 1);
            let message = format!("is missing under both its names, though the log goes on to {last}");
            turn.stopped = Some(Error::damaged(name, message).hint(STOPPED));
        }
        Ok(())
    }

    /// The numbers that are listed under either name, ascending.
    fn numbers(&self) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        listed(&*self.store, ObjectKind::Log, &mut |name| {
            numbers.extend(match name {
                Name::Log(n) => Some(n),
                _ => None,
            })
        })?;
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Reads both objects of every entry anew, from the first (or, where the administrator trimmed the log, from the
    /// checkpoint that it begins with), and compares with the state; shows each problem. Returns the entries read.
    pub fn verify(&self, problem: &mut dyn FnMut(Error)) -> Result<u64> {
        let known = self.state();
        let Some(mut state) = self.beginning()? else {
            let name = Name::Log(1);
            problem(Error::damaged(name, "is missing, and no checkpoint of the administrator says what it was"));
            return Ok(0);
        };
        if self.start.mends {
            // Between its two objects an entry is whole, only not yet safe.
            self.copy_head(&mut lock(&self.turn), &known)?;
        }
        let from = state.n();
        let mut ahead = Fetched::default();
        while state.n() < known.n() {
            let name = Name::Log(state.n() + 1);
            if !ahead.has(&name.to_string()) {
                let window = (state.n() + 1..=known.n()).take(AT_ONCE / 2).map(Name::Log);
                ahead = Fetched::of(&*self.store, window.flat_map(|name| [name.to_string(), name.copy()]));
            }
            let mut read = |name: &str| ahead.read(&*self.store, name);
            let fits = |bytes: &[u8]| follows(&state, bytes, &self.start.config);
            let found = twice::check(&*self.store, &mut read, &name, self.start.mends, fits, problem)?;
            let Some((hash, entry)) = found else {
                return Ok(state.n() - from);
            };
            state.apply(hash, &entry)?;
        }
        if state != *known {
            problem(Error::damaged(Name::Log(state.n()), "does not lead to the state that is known"));
        }
        if let Some(stopped) = self.stopped() {
            problem(stopped);
        }
        Ok(state.n() - from)
    }

    /// The state before the first entry that is there.
    fn beginning(&self) -> Result<Option<State>> {
        let Start { config, hash, .. } = &self.start;
        match self.numbers()?.first() {
            Some(first) if *first > 1 => checkpoint(&*self.store, config, None, Some(*first)),
            _ => Ok(Some(State::new(*hash, config))),
        }
    }
}

const ROLLED_BACK: &str =
    "find out who rolled the repository back; if that was you, delete this machine's cache directory";
const STOPPED: &str = "what the log says up to there still stands and can be restored; before anything is added, put \
                       the entry back from another copy of the store";

/// Parses and verifies what should be the next entry. Void ones keep their place.
fn follows(state: &State, bytes: &[u8], config: &Config) -> std::result::Result<(ObjectHash, Entry), FormatError> {
    let (hash, entry) = Entry::parse(bytes, &config.repo)?;
    state.expects(&entry)?;
    Ok((hash, entry))
}

/// The state in the newest checkpoint that we may believe and that is whole; with `least` in the oldest that the entry of
/// this number may follow. Others are passed over: they only save time.
fn checkpoint(store: &dyn Store, config: &Config, own: Option<&WriterId>, least: Option<u64>) -> Result<Option<State>> {
    let mut names = Vec::new();
    listed(store, ObjectKind::Checkpoint, &mut |name| {
        if let Name::Checkpoint(n, _) = name {
            names.push((n, name));
        }
    })?;
    names.sort_unstable();
    names.dedup();
    match least {
        Some(least) => names.retain(|(n, _)| *n + 1 >= least),
        None => names.reverse(),
    }
    for (_, name) in names {
        match twice::read(store, &name, |bytes| State::from_checkpoint(&name, bytes, config, own)) {
            Ok(Some(found)) => return Ok(Some(found.value)),
            Err(e) if e.kind() == Kind::Io => return Err(e),
            Ok(None) | Err(_) => {}
        }
    }
    Ok(None)
}

/// Shows every object of a kind that is listed under either of its names.
fn listed(store: &dyn Store, kind: ObjectKind, visit: &mut dyn FnMut(Name)) -> Result<()> {
    for folder in [kind.word().to_string(), format!("{COPIES}/{}", kind.word())] {
        store.list(&folder, &mut |text, _| {
            if let Ok(name) = Name::parse(text).or_else(|_| Name::parse_copy(text)) {
                visit(name);
            }
            Ok(())
        })?;
    }
    Ok(())
}
