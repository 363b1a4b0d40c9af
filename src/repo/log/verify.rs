//! Whether the log is what it was.

use repo_format::FormatError;
use repo_format::id::ObjectHash;
use repo_format::log::Entry;
use repo_format::log_state::State;
use repo_format::names::{Name, ObjectKind};

use super::checkpoints::checkpoint;
use super::{Log, Start, follows};
use crate::error::{Error, Result};
use crate::repo::twice;
use crate::store::fetched::{AT_ONCE, Fetched};
use crate::store::lock;

impl Log {
    /// Reads both objects of every entry anew, from the first (or, where the administrator trimmed the log, from a
    /// checkpoint), and compares with the state; shows each problem. Returns the entries read.
    pub fn verify(&self, problem: &mut dyn FnMut(Error)) -> Result<u64> {
        let known = self.state();
        let first = self.trimmed_to()?;
        let Some(mut state) = self.beginning(first)? else {
            let said = "cannot be read: it was trimmed, and no checkpoint of the administrator says what it was";
            problem(Error::damaged(ObjectKind::Log.word(), said));
            return Ok(0);
        };
        if self.start.mends && self.stopped().is_none() {
            // Between its two objects an entry is whole, only not yet safe.
            self.copy_head(&mut lock(&self.turn), &known)?;
        }
        // What still stands before the checkpoint is what the checkpoint's entry is chained to.
        let earlier = if first > 0 { self.verify_back(&state, first, problem)? } else { 0 };
        let from = state.n() - earlier;
        let mut ahead = Fetched::default();
        while state.n() < known.n() {
            let name = Name::Log(state.n() + 1);
            if !ahead.has(&name.to_string()) {
                let window = (state.n() + 1..=known.n()).take(AT_ONCE / 2).map(Name::Log);
                ahead = Fetched::of(&*self.store, window.flat_map(|name| [name.to_string(), name.copy()]));
            }
            let mut read = |name: &str| ahead.read(&*self.store, name);
            let fits = |bytes: &[u8]| follows(&state, bytes, &self.start.config);
            let mut wrong = Vec::new();
            let found = twice::check(&*self.store, &mut read, &name, self.start.mends, fits, &mut |e| wrong.push(e))?;
            if let Some((hash, entry)) = found {
                wrong.into_iter().for_each(&mut *problem);
                state.apply(hash, &entry)?;
                continue;
            }
            let later = checkpoint(&*self.store, &self.start.config, None, Some(state.n() + 1))?;
            let Some(later) = later.filter(|later| later.n() <= known.n()) else {
                wrong.into_iter().for_each(&mut *problem);
                return Ok(state.n() - from);
            };
            // Nothing hangs on it any more.
            let message = format!("is lost; the administrator's checkpoint after entry {} stands for it", later.n());
            self.note(Error::damaged(name, message));
            (state, ahead) = (later, Fetched::default());
        }
        if state != *known {
            problem(Error::damaged(Name::Log(state.n()), "does not lead to the state that is known"));
        }
        if let Some(stopped) = self.stopped() {
            problem(stopped);
        }
        Ok(state.n() - from)
    }

    /// Reads entries from that of a state back to entry `first`, each of which the one after names by its hash. Returns how many.
    fn verify_back(&self, state: &State, first: u64, problem: &mut dyn FnMut(Error)) -> Result<u64> {
        let (mut expected, mut ahead, mut count) = (state.head(), Fetched::default(), 0);
        for n in (first..=state.n()).rev() {
            let name = Name::Log(n);
            if !ahead.has(&name.to_string()) {
                let window = (first..=n).rev().take(AT_ONCE / 2).map(Name::Log);
                ahead = Fetched::of(&*self.store, window.flat_map(|name| [name.to_string(), name.copy()]));
            }
            let mut read = |name: &str| ahead.read(&*self.store, name);
            let fits = |bytes: &[u8]| match ObjectHash::of(bytes) == expected {
                true => Entry::parse(bytes, &self.start.config.repo).map(|(_, entry)| entry.previous),
                false => Err(FormatError::Mismatch("chain of the log")),
            };
            let mut wrong = Vec::new();
            match twice::check(&*self.store, &mut read, &name, self.start.mends, fits, &mut |e| wrong.push(e))? {
                Some(previous) => expected = previous,
                // The checkpoint that reading begins with stands for it.
                None => {
                    wrong.into_iter().for_each(|e| {
                        self.note(e.within("is lost, and a checkpoint of the administrator stands for it"))
                    });
                    break;
                }
            }
            wrong.into_iter().for_each(&mut *problem);
            count += 1;
        }
        Ok(count)
    }

    /// The state from which the log can be read to its end, where entries before `first` may be gone.
    fn beginning(&self, first: u64) -> Result<Option<State>> {
        let Start { config, hash, .. } = &self.start;
        match first {
            0 => Ok(Some(State::new(*hash, config))),
            n => checkpoint(&*self.store, config, None, Some(n)),
        }
    }
}
