//! Index objects: those that name deleted packs are replaced, and small ones are merged.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use repo_format::index::{Index as IndexObject, IndexBuilder};
use repo_format::limits::LOG_LIST_MAX;
use repo_format::log::Body;
use repo_format::log_state::State;
use repo_format::names::{IndexName, Name, ObjectKind, PackName};
use repo_format::pack::PackFrame;

use super::carry::{Done, Garbage};
use super::moved::verified;
use super::survey::Survey;
use crate::error::Result;
use crate::repo::mover::Frames;
use crate::repo::session::{Adopts, Session};
use crate::repo::{Core, Repo};
use crate::watch::Watch;

/// Index objects that are replaced by one entry: as many are held in memory.
const TOGETHER: usize = 32;
/// An index object up to this length is small, bytes: some 12,000 chunks.
const SMALL: u64 = 512 << 10;
/// So many small ones are merged, and not fewer.
const SMALL_ONES: usize = 16;

/// What an index object says of a pack: its length, and its frames.
type Contents = (PackName, u32, Vec<PackFrame>);

impl Repo {
    /// Replaces the index objects that name deleted packs by others which do not, merges small ones, and takes from the log what is
    /// deleted and named nowhere. Needs *write* and *read* for the first, *admin* for the last.
    ///
    /// For what index objects of others say, for whom nobody vouches, it has every chunk opened; where one cannot be, that index object
    /// stays, and is told.
    pub fn tidy_up(&self, survey: &Survey, garbage: &Garbage, watch: &Watch, done: &mut Done) -> Result<()> {
        let core = &self.core;
        let state = core.log.state();
        let is_gone = |pack: &PackName| {
            state.condemned().contains_key(pack) && (garbage.packs.contains_key(pack) || survey.number(pack).is_none())
        };
        let small: BTreeSet<IndexName> = core.small_indexes(&state)?.into_iter().collect();
        let is_chosen = |(name, packs): &(&IndexName, &Vec<PackName>)| {
            small.contains(*name) || (packs.iter().any(&is_gone) && core.may_replace(name, &state) != May::Not)
        };
        let others = survey.named.iter().filter(|index| !is_chosen(index));
        let mut covered: BTreeSet<PackName> = others.flat_map(|(_, packs)| packs.iter().copied()).collect();
        let chosen: Vec<IndexName> = survey.named.iter().filter(is_chosen).map(|(name, _)| *name).collect();
        let keeps = |pack: &PackName| !is_gone(pack);
        let mut replacing = Replacing::new(core, &state, &keeps)?;
        replacing.all(&chosen, watch, done)?;
        covered.append(&mut replacing.left);
        // What an index object names that cannot be read, nobody knows.
        match survey.sees_all {
            true => self.retire(&|pack| is_gone(pack) && !covered.contains(pack), done),
            false => Ok(()),
        }
    }

    /// Merges small index objects, as far as this credential may. Needs *write*, and neither *read* nor *admin*. Returns how many were
    /// replaced, or would be.
    pub fn merge_indexes(&self, watch: &Watch, is_dry: bool) -> Result<u64> {
        let state = self.refresh()?;
        let small = self.core.small_indexes(&state)?;
        let mut done = Done { indexes_replaced: small.len() as u64, ..Done::default() };
        if !is_dry {
            done.indexes_replaced = 0;
            Replacing::new(&self.core, &state, &|_| true)?.all(&small, watch, &mut done)?;
        }
        Ok(done.indexes_replaced)
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

/// Whether an index object may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    /// Not by us.
    Not,
    /// By what it says.
    AsItIs,
    /// By what of it was opened: it is another's, and nobody vouches for it.
    Opened,
}

impl Core {
    fn may_replace(&self, name: &IndexName, state: &State) -> May {
        let Some(key) = self.ring.writer.as_ref() else { return May::Not };
        let own = key.id();
        let vouches = self.vouches(state) && !self.ring.read.is_empty();
        match state.indexes().get(name) {
            None => May::Not,
            Some(index) if index.writer == own || (vouches && index.vouched) => May::AsItIs,
            Some(_) if vouches => May::Opened,
            Some(_) => May::Not,
        }
    }

    /// Small index objects that are worth merging.
    fn small_indexes(&self, state: &State) -> Result<Vec<IndexName>> {
        let vouches = self.vouches(state);
        let mut small = Vec::new();
        self.store.list(ObjectKind::Index.word(), &mut |text, size| {
            let Ok(Name::Index(name)) = Name::parse(text) else { return Ok(()) };
            // Who may not vouch would take away what others vouched for.
            let keeps_trust = vouches || state.indexes().get(&name).is_some_and(|index| !index.vouched);
            if size <= SMALL && keeps_trust && self.may_replace(&name, state) == May::AsItIs {
                small.push(name);
            }
            Ok(())
        })?;
        small.sort_unstable();
        small.dedup();
        Ok(if small.len() < SMALL_ONES { Vec::new() } else { small })
    }
}

/// Index objects on their way into others.
struct Replacing<'a> {
    core: &'a Core,
    state: &'a State,
    /// Packs that are still to be named.
    keeps: &'a dyn Fn(&PackName) -> bool,
    /// Packs that the new ones name.
    carried: BTreeSet<PackName>,
    /// Packs of index objects that could not be replaced.
    left: BTreeSet<PackName>,
    opened: Frames<'a>,
}

impl<'a> Replacing<'a> {
    fn new(core: &'a Core, state: &'a State, keeps: &'a dyn Fn(&PackName) -> bool) -> Result<Replacing<'a>> {
        let (carried, left) = (BTreeSet::new(), BTreeSet::new());
        Ok(Replacing { core, state, keeps, carried, left, opened: Frames::new(core)? })
    }

    fn all(&mut self, names: &[IndexName], watch: &Watch, done: &mut Done) -> Result<()> {
        for some in names.chunks(TOGETHER) {
            let (mut builders, mut replaces) = (Vec::new(), Vec::new());
            for name in some {
                watch.check()?;
                let object = self.core.read_index(name, self.state).map_err(|e| self.core.unless_replaced(name, e))?;
                match self.contents(name, &object, watch)? {
                    Some(packs) => {
                        self.carried.extend(packs.iter().map(|(pack, ..)| *pack));
                        take(packs, &mut builders)?;
                        replaces.push(*name);
                    }
                    None => self.left.extend(object.head().packs.iter().map(|(pack, _)| *pack)),
                }
            }
            if !replaces.is_empty() {
                done.indexes_replaced += replaces.len() as u64;
                replace(self.core, builders, replaces)?;
            }
        }
        Ok(())
    }

    /// What goes into others; `None`: it stays.
    fn contents(&mut self, name: &IndexName, object: &IndexObject, watch: &Watch) -> Result<Option<Vec<Contents>>> {
        let Some(mut packs) = contents(object) else { return Ok(None) };
        packs.retain(|(pack, ..)| (self.keeps)(pack) && !self.carried.contains(pack));
        if self.core.may_replace(name, self.state) == May::AsItIs {
            return Ok(Some(packs));
        }
        for (pack, _, frames) in &mut packs {
            watch.check()?;
            let bytes = self.core.store.read(&pack.to_string());
            // All of it: others of whom nothing is left may have named what this one does not.
            match bytes.and_then(|bytes| verified(self.core, &mut self.opened, pack, &bytes, None)) {
                Ok(seen) => *frames = seen,
                Err(e) if e.is_of_bytes() || e.kind() == crate::Kind::NotFound => {
                    watch.problem(true, name, format_args!("stays: {}: {}", e.subject(), e.message()));
                    return Ok(None);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(Some(packs))
    }
}

/// Puts what an index object says of packs into others.
fn take(packs: Vec<Contents>, builders: &mut Vec<IndexBuilder>) -> Result<()> {
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

/// Commits a session that puts new index objects in place of others.
fn replace(core: &Core, builders: Vec<IndexBuilder>, mut replaces: Vec<IndexName>) -> Result<()> {
    let session = Session::open(core, Some(Vec::new()), Adopts::None)?;
    let write = |builder| core.write_index(&session.id(), builder, None);
    let indexes = builders.into_iter().map(write).collect::<Result<Vec<_>>>()?;
    replaces.sort_unstable();
    session.end(core, indexes, &mut |_| Ok(replaces.clone()))
}

/// What an index object says, pack by pack, as the list of a pack says it; `None` where it names a frame in part.
fn contents(object: &IndexObject) -> Option<Vec<Contents>> {
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
