//! Where reading the log begins, and whether it has an end that can be relied on.

use std::cell::Cell;
use std::sync::{Arc, Mutex, RwLock};
use std::thread;

use repo_format::FormatError;
use repo_format::id::ObjectHash;
use repo_format::key::SignKey;
use repo_format::log::{Body, Entry};
use repo_format::log_state::State;
use repo_format::names::Name;
use repo_format::trim;

use super::checkpoints::checkpoint;
use super::{Log, STOPPED, Start};
use crate::error::{Error, Result};
use crate::repo::twice;
use crate::store::fetched::Fetched;
use crate::store::{Store, lock};

/// Whether the entry that a state ends with is there.
enum Stands {
    There,
    /// The administrator has trimmed the log since.
    Trimmed,
    Missing,
}

/// The two names of an object.
const BOTH: [fn(&Name) -> String; 2] = [Name::to_string, Name::copy];

impl Log {
    /// Goes on from a state that was verified before (a cache's): a few small reads when nothing was added. Without one
    /// reads from the newest believable checkpoint, or from the configuration.
    ///
    /// The entry that `seen` ends with must still be there: another in its place is an error. One that is missing or cannot be read, and
    /// one that is missing before others, stop the reading, not the opening: [`Log::stopped`].
    pub fn open(store: Arc<dyn Store>, start: Start, seen: Option<State>) -> Result<Log> {
        let empty = State::new(start.hash, &start.config);
        let turn = Mutex::default();
        let log = Log { store, start, state: RwLock::new(Arc::new(empty)), turn, notes: Mutex::default() };
        match seen {
            Some(seen) if log.goes_on(&seen)? => {}
            _ => log.begin()?,
        }
        Ok(log)
    }

    /// From the newest believable checkpoint, or from the configuration.
    fn begin(&self) -> Result<()> {
        let own = self.start.own.as_ref();
        let newest = checkpoint(&*self.store, &self.start.config, own, None)?;
        // What this machine knows beyond it is not forgotten.
        let first = newest.filter(|state| state.n() >= self.state().n()).map(|state| self.set(state));
        let reached = self.catch_up()?;
        let last = self.last_listed(reached.n(), &BOTH)?;
        if self.is_gap_before(last)? {
            let name = Name::Log(self.state().n() + 1);
            let message = format!("is missing under both its names, though the log goes on to {last}");
            self.stop(Error::damaged(name, message).hint(STOPPED));
        } else if let Some(state) = first.filter(|state| state.n() == self.state().n() && self.stopped().is_none())
            && !self.is_entry_there(&state)?
        {
            let message = "is missing under both its names, though a checkpoint was made of it: whether the log went on is not known";
            self.stop(Error::damaged(Name::Log(state.n()), message).hint(LOST_HEAD));
        }
        Ok(())
    }

    /// From a state that was seen before; `false` where that leads no further: the administrator has trimmed the log since, or an entry
    /// is missing.
    fn goes_on(&self, seen: &State) -> Result<bool> {
        // What stands and what comes next, and whether something lies beyond, at once.
        let [stands, next] = [Name::Log(seen.n()), Name::Log(seen.n() + 1)];
        let names = [stands.to_string(), next.to_string(), next.copy(), trim::mark_of(seen.n() + 1).to_string()];
        let list = || self.last_listed(seen.n(), &[Name::to_string]);
        let (mut ahead, last) = thread::scope(|scope| {
            let beside = thread::Builder::new().spawn_scoped(scope, list);
            let ahead = Fetched::of(&*self.store, names);
            // Where there is no thread to be had, one after the other.
            (ahead, beside.ok().and_then(|beside| beside.join().ok()).unwrap_or_else(list))
        });
        match self.stands(seen, &mut ahead)? {
            Stands::There => {
                self.set(seen.clone());
                self.read_on(&mut lock(&self.turn), ahead)?;
                // Beyond a gap a checkpoint may lead, or nothing.
                return Ok(!self.is_gap_before(last?)?);
            }
            Stands::Missing => {
                self.set(seen.clone());
                let message = match self.read_on(&mut lock(&self.turn), ahead)?.n() > seen.n() {
                    true => "is lost or damaged under both its names, though the log goes on behind it",
                    false => {
                        "is missing or damaged, but this machine has seen it: the repository was rolled back, or the entry is lost or hidden"
                    }
                };
                self.stop(Error::damaged(stands, message).hint(ROLLED_BACK));
            }
            Stands::Trimmed => return Ok(false),
        }
        Ok(true)
    }

    /// Nothing is appended any more, for this reason, whatever is read yet.
    pub fn stop(&self, why: Error) {
        lock(&self.turn).lost = Some(why);
    }

    /// Whether the entry that a state ends with is there.
    ///
    /// Errors: another is in its place.
    fn stands(&self, seen: &State, ahead: &mut Fetched) -> Result<Stands> {
        if seen.n() == 0 {
            return Ok(Stands::There);
        }
        let (name, is_another) = (Name::Log(seen.n()), Cell::new(false));
        let fits = |bytes: &[u8]| {
            if ObjectHash::of(bytes) == seen.head() {
                return Ok(());
            }
            is_another.set(is_another.get() || Entry::parse(bytes, &self.start.config.repo).is_ok());
            Err(Error::damaged("entry", "is not the entry that this machine has seen"))
        };
        let mut read = |name: &str| ahead.read(&*self.store, name);
        match twice::read_by(&mut read, &name, fits) {
            Ok(Some(found)) => {
                self.mend(&name, &found);
                return Ok(Stands::There);
            }
            Err(e) if !e.is_of_bytes() => return Err(e),
            Err(e) if is_another.get() => return Err(e.hint(REPLACED)),
            // Nor can anybody else read it.
            Ok(None) | Err(_) => {}
        }
        let is_told = |state: State| state.n() > seen.n() || state.head() == seen.head();
        let is_beyond = checkpoint(&*self.store, &self.start.config, None, None)?.is_some_and(is_told);
        Ok(match is_beyond || self.is_trimmed(seen.n(), ahead)? {
            true => Stands::Trimmed,
            false => Stands::Missing,
        })
    }

    /// Entries follow one another without a gap: one that is listed beyond the head has lost its predecessor.
    fn is_gap_before(&self, last: u64) -> Result<bool> {
        // Entries may have been added while we listed; they are there.
        let mut turn = lock(&self.turn);
        Ok(last > self.state().n() && self.read_on(&mut turn, Fetched::default())?.n() < last && turn.stopped.is_none())
    }

    /// Goes on after an entry that is lost, from its state, which the administrator (`key`) gives to all; an entry follows, so that
    /// nobody takes what was lost for what may still come.
    pub fn go_on(&self, key: &SignKey) -> Result<Arc<State>> {
        let state = self.state();
        let (name, bytes) = state.to_checkpoint(&self.start.config.repo, key)?;
        twice::create(&*self.store, &name, bytes)?;
        if self.is_entry_there(&state)? {
            lock(&self.turn).lost = None;
            return Ok(state);
        }
        let mut turn = lock(&self.turn);
        (turn.stopped, turn.lost, turn.copied) = (None, None, state.n());
        drop(turn);
        self.append(key, &mut |_| Ok(Body::Forget { snapshots: Vec::new() }))
    }

    /// Whether the entry that a state ends with is stored, or was trimmed.
    fn is_entry_there(&self, state: &State) -> Result<bool> {
        if state.n() == 0 {
            return Ok(true);
        }
        let fits = |bytes: &[u8]| match ObjectHash::of(bytes) == state.head() {
            true => Ok(()),
            false => Err(FormatError::Mismatch("chain of the log")),
        };
        match twice::read(&*self.store, &Name::Log(state.n()), fits) {
            Ok(Some(_)) => Ok(true),
            Err(e) if !e.is_of_bytes() => Err(e),
            Ok(None) | Err(_) => self.is_trimmed(state.n(), &mut Fetched::default()),
        }
    }

    /// The greatest number above `n` that is listed under these names, or `n`.
    fn last_listed(&self, n: u64, names: &[fn(&Name) -> String]) -> Result<u64> {
        let mut last = n;
        for name in names {
            let after = name(&Name::Log(n));
            let folder = after.rsplit_once('/').map_or("", |(folder, _)| folder);
            self.store.list_after(folder, &after, &mut |text, _| {
                if let Ok(Name::Log(n)) = Name::parse(text).or_else(|_| Name::parse_copy(text)) {
                    last = last.max(n);
                }
                Ok(())
            })?;
        }
        Ok(last)
    }
}

const REPLACED: &str =
    "find out who rolled the repository back; if that was you, delete this machine's cache directory";
const ROLLED_BACK: &str = "what this machine knows of the log still stands and can be restored; put the entries back from another copy of the store, or give \
     what this machine knows to all: `onefold recover` here, with admin. If it was you who rolled the repository back, delete this \
     machine's cache directory";
const LOST_HEAD: &str = "put the entries back from another copy of the store; or run `onefold recover`, with admin, on a machine that knows the log beyond. \
     If none does: `onefold recover --log-ends-here`; snapshots that only lost entries list are then on no list";
