//! Taking away what no snapshot needs (SPEC "Taking away"). Who can read trees says what is needed ([`Marks`]); here it is
//! compared with the index objects and the packs of the store ([`Survey`]), and what is not needed is condemned, and deleted
//! after a grace. Nothing is locked: the rules of the log make what a backup did meanwhile void the work, not the backup.
//!
//! Every index object is read from the store and verified; this machine's cache of them is not asked, for whoever believes a wrong
//! place deletes the right one.

mod carry;
mod indexes;
mod moved;
mod recent;
mod silent;
mod survey;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use repo_format::credential::Sets;
use repo_format::id::{SnapshotId, WriterId};
use repo_format::log_state::State;
use repo_format::names::IndexName;

use super::sort::{Sorted, Sorter};
use super::{Core, Repo};
use crate::error::{Error, Kind, Result};
use crate::run::ChunkId;
use crate::store::fetched::Fetched;

pub use carry::{Done, Garbage};
pub use moved::Limits;
pub use survey::Survey;

/// A chunk and the number of a writer who trusts in it: 32 bytes, two bytes.
const MARK: usize = 34;

/// Chunks that snapshots need, by the writer of the snapshot: whom a writer does not trust, on their places its snapshots do not
/// rely.
///
/// Memory: what [`super::sort`] states.
pub struct Marks {
    dir: PathBuf,
    sorter: Sorter<MARK>,
    writers: Vec<WriterId>,
    snapshots: BTreeSet<SnapshotId>,
}

/// The same, all together.
pub struct Marked {
    dir: PathBuf,
    sorted: Sorted<MARK>,
    writers: Vec<WriterId>,
    snapshots: BTreeSet<SnapshotId>,
}

impl Marks {
    /// None yet. What does not fit into memory lies in `dir` meanwhile.
    pub fn new(dir: &Path) -> Marks {
        Marks { dir: dir.to_owned(), sorter: Sorter::new(dir), writers: Vec::new(), snapshots: BTreeSet::new() }
    }

    /// Nothing of this snapshot counts as needed.
    pub fn pass_over(&mut self, id: SnapshotId) {
        self.snapshots.insert(id);
    }

    /// All chunks of this snapshot, which that writer committed, follow. The number stands for the writer.
    pub fn snapshot(&mut self, id: SnapshotId, writer: WriterId) -> Result<u16> {
        self.snapshots.insert(id);
        let at = self.writers.iter().position(|known| *known == writer).unwrap_or_else(|| {
            self.writers.push(writer);
            self.writers.len() - 1
        });
        u16::try_from(at).map_err(|_| Error::new(Kind::TooLarge, "repository", "has more than 65,536 writers"))
    }

    /// A chunk that a snapshot of this writer needs.
    pub fn add(&mut self, writer: u16, id: &ChunkId) -> Result<()> {
        let mut mark = [0; MARK];
        mark[..32].copy_from_slice(&id.0);
        mark[32..].copy_from_slice(&writer.to_be_bytes());
        self.sorter.add(mark)
    }

    /// All snapshots have been walked.
    pub fn finish(self) -> Result<Marked> {
        let Marks { dir, sorter, writers, snapshots } = self;
        Ok(Marked { dir, sorted: sorter.finish()?, writers, snapshots })
    }
}

impl Marked {
    /// How many chunks are needed; one that snapshots of several writers need counts for each.
    pub fn chunks(&self) -> u64 {
        self.sorted.count()
    }

    /// Whether they are of all snapshots that must stay.
    fn covers(&self, state: &State) -> bool {
        state.snapshots().keys().chain(state.held()).all(|id| self.snapshots.contains(id))
    }
}

const MEANWHILE: &str = "a backup or another prune ended while this was worked out: run it again";

impl Repo {
    /// Snapshots that must be marked: those that are listed, and those that are forgotten while an open session builds on
    /// them.
    pub fn needed_snapshots(&self) -> Result<Vec<SnapshotId>> {
        self.needs(Sets::READ)?;
        let state = self.refresh()?;
        if let Some(stopped) = self.stopped() {
            return Err(stopped.within("nothing can be taken away where the log cannot be read to its end"));
        }
        Ok(state.snapshots().keys().chain(state.held()).copied().collect())
    }

    /// A snapshot that must be marked, listed or held; and who committed it.
    pub fn needed_snapshot(&self, id: &SnapshotId) -> Result<(WriterId, repo_format::snapshot::Snapshot)> {
        let snapshot = match self.state().snapshots().contains_key(id) {
            true => self.core.snapshot(id, &mut Fetched::default()),
            // The log no longer says who made it; its signature does.
            false => self.core.any_snapshot(id, &mut Fetched::default()).map(|(_, snapshot)| snapshot),
        };
        let snapshot = snapshot.map_err(|e| match e.kind() {
            Kind::NotFound => Error::new(Kind::Busy, self.core.store.place(), MEANWHILE),
            _ => e,
        })?;
        Ok((snapshot.writer, snapshot))
    }

    /// Whether something may be there to be taken away: the log has gone on since the last time, as far as this machine remembers, or
    /// packs wait for their grace to end, or a session may be silent for long.
    pub fn is_prune_due(&self) -> bool {
        let state = self.state();
        let last = self.core.cache.as_ref().and_then(|cache| cache.pruned());
        last != Some(state.n()) || !state.condemned().is_empty() || silent::may_be(&state)
    }

    /// What nobody needs was taken away. Where that cannot be remembered, it is looked for once more than needed.
    pub fn remember_prune(&self) {
        if let Some(cache) = &self.core.cache {
            let _ = cache.set_pruned(self.state().n());
        }
    }

    /// Where sorted runs can lie.
    pub fn scratch_dir(&self) -> PathBuf {
        self.core.scratch_dir()
    }

    /// Compares what is needed with what there is.
    ///
    /// Errors: `Busy` where `marked` lacks a snapshot that was made meanwhile.
    pub fn survey(&self, marked: &Marked) -> Result<Survey> {
        Survey::of(&self.core, marked)
    }

    /// Takes snapshots off the list. Needs *admin*.
    pub fn forget(&self, snapshots: &BTreeSet<SnapshotId>) -> Result<()> {
        use repo_format::limits::LOG_LIST_MAX;
        use repo_format::log::Body;
        let all: Vec<SnapshotId> = snapshots.iter().copied().collect();
        for some in all.chunks(LOG_LIST_MAX) {
            self.administer(&mut |state| {
                let listed = some.iter().filter(|id| state.snapshots().contains_key(*id));
                Ok(Body::Forget { snapshots: listed.copied().collect() })
            })?;
        }
        Ok(())
    }
}

impl Core {
    /// Why an index object cannot be read: it may have been replaced since, by another prune.
    pub(super) fn unless_replaced(&self, name: &IndexName, e: Error) -> Error {
        match self.log.catch_up() {
            Ok(state) => self.still_stands(name, &state).err().unwrap_or(e),
            Err(other) if other.kind() == Kind::Io => other,
            Err(_) => e,
        }
    }

    /// Errors: `Busy` where the index object has been replaced.
    pub(super) fn still_stands(&self, name: &IndexName, now: &State) -> Result<()> {
        match now.indexes().contains_key(name) {
            true => Ok(()),
            false => Err(Error::new(Kind::Busy, self.store.place(), MEANWHILE)),
        }
    }

    fn scratch_dir(&self) -> PathBuf {
        self.cache.as_ref().map_or_else(std::env::temp_dir, |cache| cache.dir().to_owned())
    }
}
