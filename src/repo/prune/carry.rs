//! Carries out what a survey came to, in steps of which each is safe by itself.

use std::collections::BTreeMap;

use repo_format::id::SnapshotId;
use repo_format::limits::LOG_LIST_MAX;
use repo_format::log::Body;
use repo_format::log_state::State;
use repo_format::names::{Name, ObjectKind, PackName};

use super::recent::Recent;
use super::survey::Survey;
use super::{MEANWHILE, Marked};
use crate::error::{Error, Kind, Result};
use crate::repo::{Core, Repo, SNAPSHOTS, twice};
use crate::store::{fetched, gone};

/// What is to be deleted, and what waits. Bytes are lengths of objects.
#[derive(Debug, Default)]
pub struct Garbage {
    /// Packs that were condemned so long ago that nobody reads them any more.
    pub packs: BTreeMap<PackName, u64>,
    /// Packs that are condemned, but not for long enough.
    pub waiting: BTreeMap<PackName, u64>,
    /// Snapshots and index objects that nobody names any more.
    pub others: BTreeMap<Name, u64>,
}

impl Garbage {
    /// What is to be deleted besides what was.
    pub fn besides(&self, deleted: &Garbage) -> Garbage {
        let packs = self.packs.iter().filter(|(pack, _)| !deleted.packs.contains_key(pack));
        let others = self.others.iter().filter(|(name, _)| !deleted.others.contains_key(name));
        let (packs, others) = (packs.map(|(pack, size)| (*pack, *size)), others.map(|(name, size)| (*name, *size)));
        Garbage { packs: packs.collect(), others: others.collect(), waiting: BTreeMap::new() }
    }
}

/// What was done. Bytes are lengths of objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Done {
    /// Packs that were condemned: they are deleted after the grace.
    pub packs_condemned: u64,
    /// Their bytes.
    pub bytes_condemned: u64,
    /// Packs that were deleted.
    pub packs_deleted: u64,
    /// Snapshots and index objects that were deleted.
    pub others_deleted: u64,
    /// Bytes of all objects that were deleted.
    pub bytes_deleted: u64,
    /// Packs that were partly used, and were written anew without what nobody needs.
    pub packs_emptied: u64,
    /// Bytes that were written for it.
    pub bytes_moved: u64,
    /// Index objects that were replaced.
    pub indexes_replaced: u64,
    /// Deleted packs that the log need not remember any more.
    pub packs_retired: u64,
    /// Sessions that were silent for long, and were ended.
    pub sessions_ended: u64,
}

impl Repo {
    /// Condemns the packs that nobody needs. Needs *admin*.
    ///
    /// Errors: `Busy` where a backup ended after the survey: then nothing more is condemned.
    pub fn condemn(&self, survey: &Survey, marked: &Marked, done: &mut Done) -> Result<()> {
        let all: Vec<(PackName, u64)> = survey.unneeded().collect();
        let mut computed = survey.state.n();
        for some in all.chunks(LOG_LIST_MAX) {
            let packs: Vec<PackName> = some.iter().map(|(pack, _)| *pack).collect();
            let state = self.administer(&mut |state| {
                // What an entry of one's own condemned changes nothing in the choice of the others.
                match state.basis() <= computed && marked.covers(state) {
                    true => Ok(Body::Condemn { computed, packs: packs.clone() }),
                    false => Err(Error::new(Kind::Busy, self.core.store.place(), MEANWHILE)),
                }
            })?;
            computed = state.n();
            done.packs_condemned += some.len() as u64;
            done.bytes_condemned += some.iter().map(|(_, size)| size).sum::<u64>();
        }
        Ok(())
    }

    /// What may be deleted, where readers are given `grace_ms` milliseconds to end.
    pub fn garbage(&self, survey: &Survey, grace_ms: u64) -> Result<Garbage> {
        let (core, state) = (&self.core, self.core.log.state());
        let mut late = Recent::read(core, &state, grace_ms)?;
        let mut garbage = Garbage::default();
        for ((pack, size), held) in survey.packs.iter().zip(&survey.held) {
            match state.condemned().get(pack) {
                Some(n) if held.needed == 0 && !late.condemned(core, *n)? => drop(garbage.packs.insert(*pack, *size)),
                Some(_) => drop(garbage.waiting.insert(*pack, *size)),
                None => {}
            }
        }
        let mut visit = |name: Name, size: u64| {
            let is_garbage = match &name {
                Name::Snapshot(id) => {
                    !state.snapshots().contains_key(id) && !state.held().contains(id) && !late.snapshots.contains(id)
                }
                Name::Index(index) => {
                    let ended = !state.indexes().contains_key(index) && !state.spared(&index.session);
                    ended && !late.indexes.contains(index)
                }
                _ => false,
            };
            if is_garbage {
                *garbage.others.entry(name).or_default() += size;
            }
        };
        for kind in [ObjectKind::Snapshot, ObjectKind::Index] {
            twice::listed(&*core.store, kind, &mut |name, _, size| visit(name, size))?;
        }
        core.spare_open_sessions(&state, &mut garbage.others)?;
        Ok(garbage)
    }

    /// Deletes it.
    pub fn delete(&self, garbage: &Garbage, watch: &crate::watch::Watch, done: &mut Done) -> Result<()> {
        let store = &*self.core.store;
        for (pack, size) in &garbage.packs {
            watch.check()?;
            gone(store.delete(&pack.to_string()))?;
            done.packs_deleted += 1;
            done.bytes_deleted += size;
        }
        for (name, size) in &garbage.others {
            watch.check()?;
            gone(store.delete(&name.to_string()))?;
            if let Name::Snapshot(_) = name {
                gone(store.delete(&name.copy()))?;
            }
            done.others_deleted += 1;
            done.bytes_deleted += size;
        }
        Ok(())
    }
}

impl Core {
    /// Leaves out snapshots that may still be committed: of each session that is open, a snapshot says that it is its.
    fn spare_open_sessions(&self, state: &State, others: &mut BTreeMap<Name, u64>) -> Result<()> {
        let unnamed = others.keys().filter_map(|name| match name {
            Name::Snapshot(id) => Some(*id),
            _ => None,
        });
        let unnamed: Vec<SnapshotId> = unnamed.collect();
        let first = |id: &SnapshotId| Name::Snapshot(*id).to_string();
        fetched::each(&*self.store, SNAPSHOTS, &unnamed, first, |id, read| {
            let name = Name::Snapshot(*id);
            let mut first = Some(read);
            let mut read = |name: &str| first.take().unwrap_or_else(|| self.store.read(name));
            let of = |bytes: &[u8]| repo_format::snapshot::Snapshot::sealed_by(id, bytes).map(|(session, _)| session);
            match twice::read_by(&mut read, &name, of) {
                Ok(Some(found)) if state.spared(&found.value) => drop(others.remove(&name)),
                Ok(_) => {}
                // Nobody will ever commit what is no snapshot.
                Err(e) if e.is_of_bytes() => {}
                Err(e) => return Err(e),
            }
            Ok(())
        })
    }
}
