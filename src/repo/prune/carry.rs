//! Carries out what a survey came to, in steps of which each is safe by itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use repo_format::id::SnapshotId;
use repo_format::index::{Index as IndexObject, IndexBuilder};
use repo_format::limits::LOG_LIST_MAX;
use repo_format::log::{Body, Entry};
use repo_format::log_state::State;
use repo_format::names::{COPIES, IndexName, Name, ObjectKind, PackName};
use repo_format::pack::PackFrame;

use super::survey::Survey;
use super::{MEANWHILE, Marked};
use crate::error::{Error, Kind, Result};
use crate::repo::session::{Adopts, Session};
use crate::repo::{Core, Repo, twice, world};

/// Index objects that are replaced by one entry: as many are held in memory.
const TOGETHER: usize = 32;
/// Entries of the log that are looked through for what was forgotten or replaced of late.
const ENTRIES_MAX: u64 = 100_000;

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
            for folder in [kind.word().to_owned(), format!("{COPIES}/{}", kind.word())] {
                core.store.list(&folder, &mut |text, size| {
                    if let Ok(name) = Name::parse(text).or_else(|_| Name::parse_copy(text)) {
                        visit(name, size);
                    }
                    Ok(())
                })?;
            }
        }
        // Of a session that may still commit, a snapshot says whose it is.
        let spared = |name: &Name| match name {
            Name::Snapshot(id) => core.is_of_open_session(id, &state),
            _ => Ok(false),
        };
        let mut kept = BTreeSet::new();
        for name in garbage.others.keys() {
            if spared(name)? {
                kept.insert(*name);
            }
        }
        garbage.others.retain(|name, _| !kept.contains(name));
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

    /// Replaces the index objects that name condemned packs by others which do not, and takes from the log what is deleted
    /// and named nowhere. Needs *write* and *read* for the first, *admin* for the second.
    pub fn tidy_up(&self, survey: &Survey, garbage: &Garbage, done: &mut Done) -> Result<()> {
        let core = &self.core;
        let state = core.log.state();
        let is_gone = |pack: &PackName| {
            state.condemned().contains_key(pack) && (garbage.packs.contains_key(pack) || survey.number(pack).is_none())
        };
        let own = core.ring.writer.as_ref().map(|key| key.id());
        // Of others, for whom nobody vouches, nobody has opened what they name.
        let may_replace = |name: &IndexName| {
            state.indexes().get(name).is_some_and(|index| index.vouched || Some(index.writer) == own)
        };
        let names = |packs: &Vec<PackName>| packs.iter().any(&is_gone);
        let is_stale = |(name, packs): &(&IndexName, &Vec<PackName>)| names(packs) && may_replace(name);
        let stale: Vec<(&IndexName, &Vec<PackName>)> = survey.named.iter().filter(is_stale).collect();
        let others = survey.named.iter().filter(|index| !is_stale(index));
        let mut covered: BTreeSet<PackName> = others.flat_map(|(_, packs)| packs.iter().copied()).collect();
        let mut carried = BTreeSet::new();
        for some in stale.chunks(TOGETHER) {
            let (mut builders, mut replaces) = (Vec::new(), Vec::new());
            for (name, packs) in some {
                let object = core.read_index(name, &state).map_err(|e| core.unless_replaced(name, e))?;
                let Some(mut contents) = contents(&object) else {
                    covered.extend(packs.iter().copied());
                    continue;
                };
                contents.retain(|(pack, ..)| !is_gone(pack) && carried.insert(*pack));
                take(contents, &mut builders)?;
                replaces.push(**name);
            }
            if !replaces.is_empty() {
                done.indexes_replaced += replaces.len() as u64;
                replace(core, builders, replaces)?;
            }
        }
        // What an index object names that cannot be read, nobody knows.
        match survey.sees_all {
            true => self.retire(&|pack| is_gone(pack) && !covered.contains(pack), done),
            false => Ok(()),
        }
    }

    fn retire(&self, may: &dyn Fn(&PackName) -> bool, done: &mut Done) -> Result<()> {
        let ready = |state: &State| -> Vec<PackName> {
            let oldest = state.open_sessions().keys().next().map_or(u64::MAX, |session| session.opened());
            let condemned = state.condemned().iter();
            condemned.filter(|(pack, n)| **n < oldest && may(pack)).map(|(pack, _)| *pack).take(LOG_LIST_MAX).collect()
        };
        loop {
            let some = ready(&self.state());
            if some.is_empty() {
                return Ok(());
            }
            let mut count = 0;
            self.administer(&mut |state| {
                let packs = ready(state);
                count = packs.len() as u64;
                Ok(Body::Retire { packs })
            })?;
            done.packs_retired += count;
        }
    }
}

/// Puts what an index object says of packs into others.
fn take(packs: Vec<(PackName, u32, Vec<PackFrame>)>, builders: &mut Vec<IndexBuilder>) -> Result<()> {
    for (pack, size, frames) in packs {
        let chunks = frames.iter().map(|f| f.chunks.len()).sum();
        if builders.last().is_none_or(|builder| !builder.fits(chunks)) {
            builders.push(IndexBuilder::new());
        }
        if let Some(builder) = builders.last_mut() {
            builder.add(pack, size, &frames)?;
        }
    }
    Ok(())
}

/// A delete whose object is gone is done: an earlier try may have been carried out.
fn gone(deleted: Result<()>) -> Result<()> {
    match deleted {
        Err(e) if e.kind() == Kind::NotFound => Ok(()),
        other => other,
    }
}

/// Commits a session that puts new index objects in place of others.
fn replace(core: &Core, builders: Vec<IndexBuilder>, mut replaces: Vec<IndexName>) -> Result<()> {
    let session = Session::open(core, Some(Vec::new()), Adopts::None)?;
    let key = core.sign_key()?;
    let mut indexes = Vec::new();
    for builder in builders {
        indexes.push(core.write_index(&session.id(), builder, None)?);
    }
    indexes.sort_unstable();
    replaces.sort_unstable();
    let id = session.id();
    core.append(key, &mut |_| {
        Ok(Body::Commit { session: id, snapshot: None, indexes: indexes.clone(), replaces: replaces.clone() })
    })?;
    session.forget(core);
    Ok(())
}

/// What an index object says, pack by pack, as the list of a pack says it; `None` where it names a frame in part.
fn contents(object: &IndexObject) -> Option<Vec<(PackName, u32, Vec<PackFrame>)>> {
    let mut frames: HashMap<PackName, BTreeMap<u32, PackFrame>> = HashMap::new();
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_unstable_by_key(|e| (e.pack, e.frame_offset, e.position));
    for e in entries {
        let frame = frames.entry(e.pack).or_default().entry(e.frame_offset).or_insert_with(|| PackFrame {
            offset: e.frame_offset,
            length: e.frame_length,
            kind: e.kind,
            chunks: Vec::new(),
        });
        if usize::from(e.position) != frame.chunks.len() {
            return None;
        }
        frame.chunks.push(repo_format::frame::Listed { id: e.id, length: e.length });
    }
    let of = |(pack, size): &(PackName, u32)| {
        (*pack, *size, frames.remove(pack).unwrap_or_default().into_values().collect())
    };
    Some(object.head().packs.iter().map(of).collect())
}

/// What was taken away so lately that somebody may still read it.
struct Recent {
    now_ms: u64,
    grace_ms: u64,
    snapshots: BTreeSet<SnapshotId>,
    indexes: BTreeSet<IndexName>,
    /// Of entries that condemn: whether they are so young that their packs must wait.
    waiting: BTreeMap<u64, bool>,
}

impl Recent {
    /// Looks through the log from its end to an entry of the administrator's or of one's own that is older than the grace: others'
    /// clocks are not believed.
    fn read(core: &Core, state: &State, grace_ms: u64) -> Result<Recent> {
        let (snapshots, indexes, waiting) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        let mut recent = Recent { now_ms: world::now_ms(), grace_ms, snapshots, indexes, waiting };
        let own = core.ring.writer.as_ref().map(|key| key.id());
        let first = state.n().saturating_sub(ENTRIES_MAX);
        for n in (first + 1..=state.n()).rev() {
            // What is trimmed is old.
            let Some(entry) = entry(core, n)? else { break };
            let is_known = entry.writer == state.admin() || Some(entry.writer) == own;
            if is_known && recent.is_over(entry.time_ms) {
                break;
            }
            match entry.body {
                Body::Forget { snapshots } => recent.snapshots.extend(snapshots),
                Body::Commit { replaces, .. } => recent.indexes.extend(replaces),
                _ => {}
            }
        }
        Ok(recent)
    }

    fn is_over(&self, time_ms: u64) -> bool {
        time_ms.saturating_add(self.grace_ms) <= self.now_ms
    }

    /// Whether the packs that entry `n` condemned must wait.
    fn condemned(&mut self, core: &Core, n: u64) -> Result<bool> {
        if let Some(waits) = self.waiting.get(&n) {
            return Ok(*waits);
        }
        let waits = entry(core, n)?.is_some_and(|entry| !self.is_over(entry.time_ms));
        self.waiting.insert(n, waits);
        Ok(waits)
    }
}

/// An entry of the log; `None` where it was trimmed.
fn entry(core: &Core, n: u64) -> Result<Option<Entry>> {
    let parse = |bytes: &[u8]| Entry::parse(bytes, &core.ring.repo_id).map(|(_, entry)| entry);
    Ok(twice::read(&*core.store, &Name::Log(n), parse)?.map(|found| found.value).filter(|entry| entry.n == n))
}

impl Core {
    /// Whether a snapshot that the log does not name may still be committed.
    fn is_of_open_session(&self, id: &SnapshotId, state: &State) -> Result<bool> {
        let of = |bytes: &[u8]| repo_format::snapshot::Snapshot::sealed_by(id, bytes).map(|(session, _)| session);
        match twice::read(&*self.store, &Name::Snapshot(*id), of) {
            Ok(found) => Ok(found.is_some_and(|found| state.spared(&found.value))),
            // Nobody will ever commit what is no snapshot.
            Err(e) if e.is_of_bytes() => Ok(false),
            Err(e) => Err(e),
        }
    }
}
