//! What a session does not rely on: packs and index objects that the log stands behind and the store has not, or not
//! whole. What they held counts as not stored, so it is stored anew from the source. No entry of the log is needed for
//! that: a doubt that was wrong costs an upload.
//!
//! A session lists the packs with their lengths and so sees what is missing, empty or cut: all of them up to
//! [`WHOLE`], beyond that a seventh, another one each time. What a listing leaves out is asked for, since listings of some stores
//! are behind. Flipped bits are for `check --read-data` to find; what this
//! machine has seen damaged is looked at again.
//!
//! Packs of one's own ended sessions that no index object names any more which one trusts (it is lost, or the pack was and came back)
//! are named anew: by their sealed lists, each read whole and compared with its name. Index objects that are lost are replaced by that,
//! unless they may have named what is not named anew: packs of others, by a credential that reads; those are left to a repair.
//!
//! Memory: 80 bytes for each pack looked at, and one pack while it is named anew.

use std::collections::{BTreeSet, HashMap, HashSet};

use repo_format::id::{SessionId, WriterId};
use repo_format::index::IndexBuilder;
use repo_format::log_state::State;
use repo_format::names::{IndexName, Name, ObjectKind, PackName};
use repo_format::pack::open_pack;

use super::index::Index;
use super::sightings::Sightings;
use super::unsound::Unsound;
use super::{Core, world};
use crate::error::{Error, Kind, Result};

/// Up to this number of packs, a session looks at all of them.
const WHOLE: usize = 10_000;
/// Where there are more packs, a session looks at one in so many.
const PARTS: u64 = 7;
/// Packs seen damaged that a session reads again; further ones it distrusts unread.
const AGAIN_MAX: usize = 64;
/// Packs that are asked for where a listing is empty.
const ASKED: usize = 3;
/// Of fewer packs nobody says that a disk is not mounted.
const EMPTY_MIN: usize = 3;
/// Packs that one session names anew; the next goes on.
const ANEW_MAX: usize = 16_384;

/// See the module.
#[derive(Default)]
pub(super) struct Doubts {
    /// What is not whole.
    pub unsound: Unsound,
    /// Packs of this writer's ended sessions that no index object names.
    unnamed: Vec<PackName>,
    /// Index objects that name such packs anew.
    pub written: Vec<IndexName>,
    /// Packs that no index object named any more, and one of this session does.
    pub named_anew: Vec<PackName>,
    /// Whether there are packs that are not named anew, and which an index object of one's own may have named.
    leaves_unnamed: bool,
    wrong: Wrong,
}

/// Packs that were seen missing or damaged.
#[derive(Default)]
struct Wrong {
    /// When, now and before.
    sightings: Sightings,
    packs: BTreeSet<PackName>,
    /// How many packs there are.
    of: usize,
}

/// Compares what the standing index objects name with what the store has.
pub(super) fn look(core: &Core, index: &dyn Index, state: &State) -> Result<Doubts> {
    let (mut sightings, now_ms) = (core.sightings(), world::now_ms());
    let mut doubts = Doubts::default();
    doubts.unsound.indexes = dead_indexes(core, index, state, &sightings)?;
    let (own, reads) = (core.sign_key()?.id(), !core.ring.read.is_empty());
    let part = doubts.part(core, index, state)?;
    let mut expected: HashMap<PackName, u32> = HashMap::new();
    // What others say for whom nobody vouches is not relied on.
    index.packs(&mut |source, pack, size| {
        if doubts.is_readable(source, state) && state.trusts(&own, source) && is_in(part, pack) {
            expected.insert(*pack, size);
        }
    })?;
    let mut any = false;
    core.store.list(ObjectKind::Pack.word(), &mut |text, found| {
        let Ok(Name::Pack(pack)) = Name::parse(text) else { return Ok(()) };
        any = true;
        if !is_in(part, &pack) {
            return Ok(());
        }
        match expected.get(&pack) {
            Some(size) if u64::from(*size) == found => {
                expected.remove(&pack);
            }
            // Cut.
            Some(_) => {}
            None => {
                let ended = !state.spared(&pack.session) && !state.condemned().contains_key(&pack);
                let ours = pack.session.is_of(&own);
                if ended && ours && doubts.unnamed.len() < ANEW_MAX {
                    doubts.unnamed.push(pack);
                } else if ended && (ours || reads) {
                    doubts.leaves_unnamed = true;
                }
            }
        }
        Ok(())
    })?;
    if !any {
        are_all_away(core, &expected, state)?;
    }
    // What is condemned may have been deleted since.
    let missed = expected.into_iter().filter(|(pack, _)| !state.condemned().contains_key(pack));
    let mut wrong: BTreeSet<PackName> = BTreeSet::new();
    for (pack, size) in missed {
        if wrong.len() >= AGAIN_MAX || !is_there(core, &pack, size)? {
            wrong.insert(pack);
        }
    }
    for pack in &wrong {
        doubts.unsound.lose(*pack);
        sightings.saw(&Name::Pack(*pack), now_ms);
    }
    let again = doubts.look_again(core, &mut sightings, now_ms)?;
    let mut count = 0;
    index.packs(&mut |source, pack, _| {
        if doubts.is_readable(source, state) {
            count += 1;
            wrong.extend(again.contains(pack).then_some(*pack));
        }
    })?;
    core.remember_sightings(&sightings);
    doubts.wrong = Wrong { sightings, packs: wrong, of: count };
    Ok(doubts)
}

/// A listing of packs was empty. Errors: it should not be, some that are asked for are not there either, and no prune took them away meanwhile.
fn are_all_away(core: &Core, expected: &HashMap<PackName, u32>, state: &State) -> Result<()> {
    let counts = |pack: &PackName| !state.condemned().contains_key(pack) && !state.lost().contains_key(pack);
    let stood: Vec<_> = expected.iter().filter(|(pack, _)| counts(pack)).collect();
    for (pack, size) in stood.iter().take(ASKED) {
        if is_there(core, pack, **size)? {
            return Ok(());
        }
    }
    match stood.len() {
        // So few may be lost, and are stored anew.
        n if n < EMPTY_MIN => Ok(()),
        _ if core.log.catch_up()?.withdrawn() > state.n() => Ok(()),
        n => {
            let message = format!("is empty, though the log tells of {n} packs: nothing is stored anew for that");
            Err(Error::damaged(format_args!("{}/", ObjectKind::Pack.word()), message).hint(EMPTY))
        }
    }
}

const EMPTY: &str = "is a disk not mounted there, or a folder mistyped? If all packs are lost for good, `onefold check --declare-lost` says so to \
     all, and then a backup stores everything anew";

impl Doubts {
    /// Declares lost what was seen missing or damaged for long enough.
    pub fn declare(&self, core: &Core) -> Result<()> {
        let Wrong { sightings, packs, of } = &self.wrong;
        if let Some(said) = core.declare_lost(sightings, packs, *of, false)? {
            core.log.note(Error::damaged(ObjectKind::Pack.word(), said));
        }
        Ok(())
    }

    /// Reads what was seen missing or damaged before. Returns the packs that still are.
    fn look_again(&mut self, core: &Core, sightings: &mut Sightings, now_ms: u64) -> Result<HashSet<PackName>> {
        let mut wrong = HashSet::new();
        let names: Vec<Name> = sightings.names().collect();
        for name in names {
            let Name::Pack(pack) = name else { continue };
            if self.unsound.packs.contains_key(&pack) {
                continue;
            }
            let whole = wrong.len() < AGAIN_MAX && is_whole(core, &name)?;
            if whole {
                sightings.strike(&name);
                continue;
            }
            self.unsound.lose(pack);
            wrong.insert(pack);
            sightings.saw(&name, now_ms);
        }
        Ok(wrong)
    }

    /// Whether an index object counts and can be read.
    fn is_readable(&self, source: &IndexName, state: &State) -> bool {
        state.indexes().contains_key(source) && !self.unsound.indexes.contains(source)
    }

    /// Which part of the packs is looked at; `None`: all. Where an index object is dead, which packs it named shows
    /// only in comparison with all others.
    fn part(&self, core: &Core, index: &dyn Index, state: &State) -> Result<Option<u64>> {
        let mut count = 0;
        index.packs(&mut |source, _, _| count += usize::from(self.is_readable(source, state)))?;
        if count <= WHOLE || !self.unsound.indexes.is_empty() {
            return Ok(None);
        }
        // Without a cache the log counts the turns: a backup adds two entries, and two and seven have no common factor.
        Ok(Some(core.cache.as_ref().map_or(state.n(), |cache| cache.turn()) % PARTS))
    }

    /// Writes index objects of `session` for the packs that none names. A pack that is damaged is left alone.
    pub fn name_anew(&mut self, core: &Core, index: &dyn Index, session: &SessionId) -> Result<()> {
        let mut builder = IndexBuilder::new();
        for pack in std::mem::take(&mut self.unnamed) {
            let bytes = match core.store.read(&pack.to_string()) {
                Ok(bytes) => bytes,
                Err(e) if matches!(e.kind(), Kind::NotFound | Kind::Damaged) => continue,
                Err(e) => return Err(e),
            };
            let Ok(frames) = open_pack(&pack, &bytes, &core.ring.repo.index) else { continue };
            if !builder.fits(frames.iter().map(|f| f.chunks.len()).sum()) {
                let full = std::mem::take(&mut builder);
                self.written.push(core.write_index(session, full, Some(index))?);
            }
            let size = u32::try_from(bytes.len()).map_err(|_| Error::new(Kind::TooLarge, pack, "is too large"))?;
            builder.add(pack, size, &frames)?;
            self.named_anew.push(pack);
        }
        if !builder.is_empty() {
            self.written.push(core.write_index(session, builder, Some(index))?);
        }
        Ok(())
    }

    /// The dead index objects of this writer, ascending, if every pack of theirs that the store has is named anew; one
    /// that comes back later will be.
    pub fn replaced(&self, state: &State, own: &WriterId) -> Vec<IndexName> {
        if self.leaves_unnamed {
            return Vec::new();
        }
        let mine = |i: &&IndexName| state.indexes().get(*i).is_some_and(|i| i.writer == *own);
        let mut dead: Vec<IndexName> = self.unsound.indexes.iter().filter(mine).copied().collect();
        dead.sort_unstable();
        dead
    }
}

/// Index objects that count, but are missing, of another length than they were, or could not be read.
fn dead_indexes(core: &Core, index: &dyn Index, state: &State, sightings: &Sightings) -> Result<HashSet<IndexName>> {
    let mut listed: HashMap<IndexName, u64> = HashMap::new();
    core.store.list(ObjectKind::Index.word(), &mut |text, size| {
        if let Ok(Name::Index(name)) = Name::parse(text) {
            listed.insert(name, size);
        }
        Ok(())
    })?;
    let known = index.names()?;
    let mut dead = HashSet::new();
    for name in state.indexes().keys() {
        let length = known.get(name);
        // A listing may be behind.
        let again = listed.get(name) != length || sightings.has(&Name::Index(*name));
        if length.is_none() || again && !is_whole(core, &Name::Index(*name))? {
            dead.insert(*name);
        }
    }
    Ok(dead)
}

/// Whether an object is there and what its name says.
fn is_whole(core: &Core, name: &Name) -> Result<bool> {
    match core.store.read(&name.to_string()) {
        Ok(bytes) => Ok(name.verify(&bytes).is_ok()),
        Err(e) if e.kind() == Kind::NotFound || e.kind() == Kind::Io || e.is_of_bytes() => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether a pack that a listing leaves out, or shows shorter, is there to its last byte: listings may be behind.
fn is_there(core: &Core, pack: &PackName, size: u32) -> Result<bool> {
    match core.store.read_range(&pack.to_string(), u64::from(size.saturating_sub(1))..u64::from(size)) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == Kind::NotFound || e.kind() == Kind::Io || e.is_of_bytes() => Ok(false),
        Err(e) => Err(e),
    }
}

fn is_in(part: Option<u64>, pack: &PackName) -> bool {
    let [a, b, ..] = pack.hash.0;
    part.is_none_or(|part| u64::from(u16::from_le_bytes([a, b])) % PARTS == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_format::id::ObjectHash;
    use repo_format::names::PackClass;

    #[test]
    fn seven_turns_look_at_every_pack_once() {
        for n in 0..5_000u32 {
            let hash = ObjectHash(*blake3::hash(&n.to_le_bytes()).as_bytes());
            let pack = PackName { class: PackClass::Content, session: SessionId([0; 16]), hash };
            assert!(is_in(None, &pack));
            assert_eq!((0..PARTS).filter(|part| is_in(Some(*part), &pack)).count(), 1);
            // Two entries of the log a backup, from any number on.
            assert_eq!((0..PARTS).filter(|k| is_in(Some((u64::from(n) + 2 * k) % PARTS), &pack)).count(), 1);
        }
    }
}
