//! The part of a check that is about packs and index objects: which are whole, and which copies of chunks can be relied on.
//!
//! One thread goes through the index objects and keeps account; others look at the packs.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use repo_format::index::{Index as IndexObject, IndexEntry};
use repo_format::names::{IndexName, Name, PackName};

use super::super::claim::Claim;
use super::super::index::Index;
use super::super::locate::Purpose;
use super::super::unsound::Unsound;
use super::look::{Depth, Eye, Job, Looked, Wrong};
use super::share::Chosen;
use super::{Check, CheckStats, Listing, Reads};
use crate::error::{Error, Kind, Result};

/// Packs that are looked at at once, and lie in memory.
const PACKS: usize = 4;
/// After so many packs it is written down what was read: what an interrupted check reads again, at most.
const WRITTEN_DOWN: u64 = 256;

/// What a check of all packs found.
#[derive(Default)]
pub(super) struct Packs {
    /// What readers cannot rely on.
    pub unsound: Unsound,
    /// Packs that are not what their name says, and the index object that names each.
    pub wrong: BTreeMap<PackName, (IndexName, Error)>,
    /// Packs that were read and opened, whole, though they were declared lost.
    pub found: Vec<PackName>,
    /// Packs that the index objects name.
    pub named: HashMap<PackName, Claim>,
}

/// What the threads that look at packs are given, and what comes of it.
struct Seen<'a> {
    listing: &'a Listing,
    chosen: &'a Chosen,
    jobs: &'a Sender<Job>,
    told: &'a Receiver<Looked>,
    packs: &'a mut Packs,
    stats: &'a mut CheckStats,
}

impl Check<'_> {
    /// Every index object that counts, every pack that one names, and (without being damage) what nothing names.
    pub(super) fn data(&mut self, listing: &Listing, reads: &Reads, stats: &mut CheckStats) -> Result<Packs> {
        let mut packs = Packs::default();
        let state = self.state.clone();
        let stored = listing.iter().filter_map(|(name, size)| match name {
            Name::Pack(pack) => Some((*pack, *size)),
            _ => None,
        });
        self.verified.keep(&stored.clone().map(|(pack, _)| pack.hash).collect());
        // What is condemned is about to be deleted, what an open session holds is about to be written.
        let counts = |(pack, _): &(PackName, u64)| {
            !state.condemned().contains_key(pack) && !state.open_sessions().contains_key(&pack.session)
        };
        let chosen = reads.choose(stored.clone().filter(counts), &self.verified);
        let total = stored.filter(|(pack, _)| chosen.has(pack)).map(|(_, size)| size).sum();
        self.watch.bytes_total.store(total, std::sync::atomic::Ordering::Relaxed);
        let looked = self
            .named_packs(listing, &chosen, &mut packs, stats)
            .and_then(|()| self.leave_out_what_went(&mut packs))
            .and_then(|()| self.tell_wrong(&packs))
            .and_then(|()| self.unnamed(listing, &chosen, &packs, stats));
        // Whatever ended it: what was read was read.
        self.core.remember_verified(&self.verified);
        looked.map(|()| packs)
    }

    /// The packs that index objects name: looked at by threads, while this one goes on through the index objects.
    fn named_packs(
        &mut self,
        listing: &Listing,
        chosen: &Chosen,
        packs: &mut Packs,
        stats: &mut CheckStats,
    ) -> Result<()> {
        let eye = Eye { core: self.core, opened: self.opened, watch: self.watch };
        thread::scope(|scope| {
            let (jobs, waiting) = bounded::<Job>(PACKS);
            let (tell, told) = unbounded::<Looked>();
            for number in 0..PACKS {
                let (waiting, tell, eye) = (waiting.clone(), tell.clone(), &eye);
                let look = move || {
                    // Nobody listens any more once the check has failed.
                    let _ = waiting.iter().all(|job| tell.send(eye.look(&job)).is_ok());
                };
                let thread = thread::Builder::new().name(format!("check {number}"));
                thread.spawn_scoped(scope, look).map_err(|e| Error::io("checking thread", e))?;
            }
            drop((waiting, tell));
            // A pack is compared with what those say of it who are to be believed, where there are any.
            let mut indexes: Vec<IndexName> = self.state.indexes().keys().copied().collect();
            indexes.sort_by_key(|index| !self.core.trusts(&self.state, index));
            stats.index_objects += indexes.len() as u64;
            let mut seen = Seen { listing, chosen, jobs: &jobs, told: &told, packs, stats };
            let left = self.indexes(&indexes, Claim::OfOwner, &mut seen)?;
            self.indexes(&left, Claim::OfOther, &mut seen)?;
            drop(jobs);
            told.iter().try_for_each(|looked| self.note(looked, packs, stats))
        })
    }

    /// Gives the packs that these index objects name to the threads, unless another came first. Returns the index objects that say
    /// something of packs which is worth less than `least`: that is left for later.
    fn indexes(&mut self, indexes: &[IndexName], least: Claim, seen: &mut Seen<'_>) -> Result<Vec<IndexName>> {
        let (core, state) = (self.core, self.state.clone());
        let mut left = Vec::new();
        core.each_index(indexes, &state, |index, read| {
            let name = Name::Index(*index);
            let read = read.map_err(|e| core.unless_replaced(index, e));
            let Some(object) = self.tell(&name, read)? else {
                self.sightings.saw(&name, self.now_ms);
                seen.packs.unsound.indexes.insert(*index);
                return Ok(());
            };
            self.sightings.strike(&name);
            let mut entries = by_pack(&object);
            for (pack, size) in &object.head().packs {
                let claim = core.claim(&state, index, pack);
                if claim < least {
                    left.push(*index);
                    continue;
                }
                let Entry::Vacant(unseen) = seen.packs.named.entry(*pack) else { continue };
                unseen.insert(claim);
                self.watch.check()?;
                let found = seen.listing.get(&Name::Pack(*pack)).copied();
                // What was condemned may be deleted: nobody may need it then, and if somebody does, that is told of the snapshot.
                if found.is_none() && state.condemned().contains_key(pack) {
                    seen.packs.unsound.lose(*pack);
                    continue;
                }
                // What was seen damaged before is looked at again.
                let reads = seen.chosen.has(pack) || self.sightings.has(&Name::Pack(*pack));
                let entries = entries.remove(pack).unwrap_or_default();
                let job = Job { index: *index, pack: *pack, size: *size, found, reads, entries };
                let ended = |_| Error::damaged("checking thread", "has ended before its work");
                seen.jobs.send(job).map_err(ended)?;
                seen.told.try_iter().try_for_each(|looked| self.note(looked, seen.packs, seen.stats))?;
            }
            Ok(())
        })?;
        left.dedup();
        Ok(left)
    }

    /// Packs that were condemned while this check was at work may have been deleted. Errors: `Busy` where an index object was replaced.
    fn leave_out_what_went(&mut self, packs: &mut Packs) -> Result<()> {
        if packs.wrong.is_empty() {
            return Ok(());
        }
        let now = self.core.log.catch_up()?;
        packs.wrong.retain(|pack, _| !now.condemned().contains_key(pack));
        packs.wrong.values().try_for_each(|(index, _)| self.core.still_stands(index, &now))?;
        self.state = now;
        Ok(())
    }

    /// Takes note of what came of looking at a pack.
    fn note(&mut self, looked: Looked, packs: &mut Packs, stats: &mut CheckStats) -> Result<()> {
        let Looked { index, pack, size, there, chunks } = looked;
        let name = Name::Pack(pack);
        stats.packs += 1;
        stats.pack_bytes += u64::from(size);
        stats.chunks += chunks;
        match there {
            Ok(Depth::Listed) => {}
            Ok(depth) => {
                self.sightings.strike(&name);
                self.was_read(&pack, u64::from(size), stats);
                if depth == Depth::Opened && self.state.lost().contains_key(&pack) {
                    packs.found.push(pack);
                }
            }
            Err(Wrong { error, .. }) if !error.is_of_bytes() && error.kind() != Kind::Io => return Err(error),
            // Its bytes are those of its name: other credentials open it.
            Err(Wrong { error, frames }) if error.kind() == Kind::Denied => {
                packs.unsound.packs.insert(pack, frames.unwrap_or_default());
                self.tell::<()>(&name, Err(error))?;
            }
            Err(Wrong { error, frames }) => {
                self.sightings.saw(&name, self.now_ms);
                self.verified.strike(&pack.hash);
                packs.wrong.insert(pack, (index, error));
                match frames {
                    None => packs.unsound.lose(pack),
                    Some(frames) if frames.is_empty() => {}
                    Some(frames) => drop(packs.unsound.packs.insert(pack, frames)),
                }
            }
        }
        Ok(())
    }

    fn was_read(&mut self, pack: &PackName, size: u64, stats: &mut CheckStats) {
        self.verified.saw(pack.hash, self.now_ms);
        stats.packs_read += 1;
        stats.bytes_read += size;
        if stats.packs_read.is_multiple_of(WRITTEN_DOWN) {
            self.core.remember_verified(&self.verified);
        }
    }

    /// Tells of each pack that is not whole: damage, unless all that it held lies elsewhere, too.
    fn tell_wrong(&self, packs: &Packs) -> Result<()> {
        if packs.wrong.is_empty() {
            return Ok(());
        }
        let index = self.core.index(Purpose::Read)?;
        let mut by_index: BTreeMap<IndexName, Vec<PackName>> = BTreeMap::new();
        for (pack, (index, _)) in &packs.wrong {
            by_index.entry(*index).or_default().push(*pack);
        }
        for (source, wrong) in by_index {
            let object = self.core.read_index(&source, &self.state)?;
            let mut needed: HashSet<PackName> = HashSet::new();
            for entry in object.iter() {
                if wrong.binary_search(&entry.pack).is_ok() && !needed.contains(&entry.pack) {
                    let elsewhere = self.lies_elsewhere(&*index, &entry, packs)?;
                    needed.extend((!elsewhere).then_some(entry.pack));
                }
            }
            for pack in &wrong {
                let Some((_, e)) = packs.wrong.get(pack) else { continue };
                if needed.contains(pack) {
                    self.tell::<()>(&Name::Pack(*pack), Err(e.again()))?;
                } else {
                    let message = format!("{}, but all that it held is stored elsewhere, too", e.message());
                    self.watch.problem(false, pack, message);
                }
            }
        }
        Ok(())
    }

    /// Whether another pack, which is whole as far as we know, holds the chunk.
    fn lies_elsewhere(&self, index: &dyn Index, entry: &IndexEntry, packs: &Packs) -> Result<bool> {
        index.find(&entry.id, &mut |place| {
            self.core.claim(&self.state, &place.source, &place.pack) > Claim::OfOther
                && !packs.wrong.contains_key(&place.pack)
                && packs.unsound.stands(&place, &self.state)
        })
    }

    /// Packs and index objects that nothing names, of open or interrupted sessions, or replaced: nobody relies on them.
    fn unnamed(&mut self, listing: &Listing, chosen: &Chosen, packs: &Packs, stats: &mut CheckStats) -> Result<()> {
        for (name, size) in listing {
            let reads = match name {
                Name::Pack(pack) if !packs.named.contains_key(pack) => chosen.has(pack) || self.sightings.has(name),
                Name::Index(index) if !self.state.indexes().contains_key(index) => true,
                _ => continue,
            };
            stats.unnamed += 1;
            match if reads { self.read(name).map(drop) } else { continue } {
                Ok(()) => {
                    self.sightings.strike(name);
                    if let Name::Pack(pack) = name {
                        self.was_read(pack, *size, stats);
                    }
                }
                Err(e) if e.is_of_bytes() => {
                    self.sightings.saw(name, self.now_ms);
                    self.watch.problem(false, name, format!("{}; no snapshot relies on it", e.message()));
                }
                Err(e) if e.kind() == Kind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

fn by_pack(object: &IndexObject) -> HashMap<PackName, Vec<IndexEntry>> {
    let mut packs: HashMap<PackName, Vec<IndexEntry>> = HashMap::new();
    for entry in object.iter() {
        packs.entry(entry.pack).or_default().push(entry);
    }
    packs
}
