//! Old entries are taken away (SPEC "Trimming"), and who has read the log before that goes on after it.

use repo_format::key::SignKey;
use repo_format::limits::{CHECKPOINT_EVERY, TRIM_EVERY};
use repo_format::log_state::State;
use repo_format::names::{Name, ObjectKind};
use repo_format::trim;

use super::checkpoints::checkpoint;
use super::{Log, STOPPED};
use crate::error::{Error, Result};
use crate::repo::twice;
use crate::store::fetched::Fetched;

/// Objects that are deleted by one request, at most.
const TOGETHER: usize = 1000;

/// What a trimming came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Trimmed {
    /// The entry after which a checkpoint was written, if one was due.
    pub log_checkpoint: Option<u64>,
    /// Entries before this one are gone; 0: none is.
    pub log_trimmed_to: u64,
    /// Objects that were deleted: entries and old checkpoints, each under two names.
    pub log_objects_deleted: u64,
}

impl Log {
    /// Whether entry `n`, which is not there, was trimmed. `ahead` may hold the mark.
    pub fn is_trimmed(&self, n: u64, ahead: &mut Fetched) -> Result<bool> {
        let mark = trim::mark_of(n);
        // Most often there is none: its second object is looked for where something hangs on it.
        match ahead.read(&*self.store, &mark.to_string()) {
            Err(e) if e.kind() == crate::Kind::NotFound => Ok(false),
            Err(e) => Err(e),
            Ok(bytes) => {
                let mut first = Some(bytes);
                self.is_marked(&mark, &mut |name| first.take().map_or_else(|| self.store.read(name), Ok))
            }
        }
    }

    /// Whether a mark stands, under either name. What others put there is none.
    pub(super) fn is_marked(&self, mark: &Name, read: &mut dyn FnMut(&str) -> Result<Vec<u8>>) -> Result<bool> {
        let Name::Trim(n) = mark else { return Ok(false) };
        match twice::read_by(read, mark, |bytes| trim::verify(*n, bytes, &self.start.config)) {
            Ok(found) => Ok(found.is_some()),
            Err(e) if e.is_of_bytes() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The newest state that a checkpoint holds, if it is one after entry `n`, which was trimmed.
    pub(super) fn beyond(&self, n: u64) -> Result<Option<State>> {
        let newest = checkpoint(&*self.store, &self.start.config, self.start.own.as_ref(), None)?;
        Ok(newest.filter(|state| state.n() >= n))
    }

    /// Entries before this one may be gone: the greatest mark.
    pub(super) fn trimmed_to(&self) -> Result<u64> {
        let mut marks = Vec::new();
        twice::listed(&*self.store, ObjectKind::Trim, &mut |name, _, _| {
            marks.extend(match name {
                Name::Trim(n) => Some(n),
                _ => None,
            })
        })?;
        marks.sort_unstable();
        for n in marks.into_iter().rev() {
            if self.is_marked(&Name::Trim(n), &mut |name| self.store.read(name))? {
                return Ok(n);
            }
        }
        Ok(0)
    }

    /// Writes a checkpoint where one is due, and takes entries away: those before `below`, as far as the log is trimmed to multiples of
    /// [`TRIM_EVERY`]. With `is_dry` says what it would do.
    ///
    /// `key` is the administrator's. It may be interrupted anywhere: the next call ends the work.
    pub fn trim(&self, key: &SignKey, below: u64, is_dry: bool) -> Result<Trimmed> {
        let state = self.catch_up()?;
        if let Some(stopped) = self.stopped() {
            return Err(stopped.within("the log cannot be trimmed where it cannot be read to its end"));
        }
        let before = self.trimmed_to()?;
        let to = (below.min(state.n()) / TRIM_EVERY * TRIM_EVERY).max(before);
        let mut trimmed = Trimmed { log_trimmed_to: to, ..Trimmed::default() };
        let newest = checkpoint(&*self.store, &self.start.config, None, None)?;
        let is_due = newest.as_ref().map_or(0, State::n) + CHECKPOINT_EVERY <= state.n();
        // What all reading will begin with is written now, whatever there is.
        if is_due || to > before {
            trimmed.log_checkpoint = Some(state.n());
            if !is_dry {
                self.prove_checkpoint(&state, key)?;
            }
        } else if let Some(newest) = newest.filter(|_| !is_dry) {
            // Whoever wrote it may have died between its two objects.
            let (name, bytes) = newest.to_checkpoint(&self.start.config.repo, key)?;
            twice::create(&*self.store, &name, bytes).unwrap_or_else(|e| self.note(e));
        }
        let old = self.before(to)?;
        trimmed.log_objects_deleted = old.len() as u64;
        if is_dry {
            return Ok(trimmed);
        }
        // From the last one on: whoever wrote that may have died between its two objects.
        for n in ((before / TRIM_EVERY).max(1)..=to / TRIM_EVERY).map(|n| n * TRIM_EVERY) {
            let (name, bytes) = trim::encode(n, &self.start.config.repo, key)?;
            twice::create(&*self.store, &name, bytes)?;
        }
        old.chunks(TOGETHER).try_for_each(|some| self.store.delete_all(some))?;
        Ok(trimmed)
    }

    /// Writes a checkpoint and reads both its objects back.
    fn prove_checkpoint(&self, state: &State, key: &SignKey) -> Result<()> {
        let config = &self.start.config;
        let (name, bytes) = state.to_checkpoint(&config.repo, key)?;
        twice::create(&*self.store, &name, bytes)?;
        for text in [name.to_string(), name.copy()] {
            let read = State::from_checkpoint(&name, &self.store.read(&text)?, config, None);
            if read.map_err(|e| Error::from(e).within(&text))? != *state {
                return Err(Error::damaged(text, "is not the state that was written").hint(STOPPED));
            }
        }
        Ok(())
    }

    /// Names of entries and checkpoints before entry `n`.
    fn before(&self, n: u64) -> Result<Vec<String>> {
        let mut old = Vec::new();
        if n == 0 {
            return Ok(old);
        }
        for kind in [ObjectKind::Log, ObjectKind::Checkpoint] {
            twice::listed(&*self.store, kind, &mut |name, text, _| match name {
                Name::Log(of) | Name::Checkpoint(of, _) if of < n => old.push(text.to_owned()),
                _ => {}
            })?;
        }
        Ok(old)
    }
}
