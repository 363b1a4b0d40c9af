//! Which packs hold what is needed.

use std::collections::{BTreeMap, HashMap};

use repo_format::index::Index as IndexObject;
use repo_format::log_state::State;
use repo_format::names::{IndexName, Name, ObjectKind, PackName};

use super::{MARK, MEANWHILE, Marked};
use crate::error::{Error, Kind, Result};
use crate::repo::Core;
use crate::repo::index::Parts;
use crate::repo::sightings::Sightings;
use crate::repo::sort::{Sorted, Sorter};

/// Mark 34 │ 0 where it can be relied on, or else 1 │ pack, the youngest first, u32 │ the rest of a [`NEED`].
const PLACE: usize = MARK + 1 + NEED;
/// Pack u32 │ frame: offset u32, length u32 │ which of its chunks u16 │ that chunk's part of the frame's bytes u32.
pub(super) const NEED: usize = 18;

/// What of the store is needed, after a certain entry of the log.
///
/// Memory: 150 bytes for each pack, an index object, and what [`crate::repo::sort`] states three times.
pub struct Survey {
    /// The state of the log that it is true of.
    pub(super) state: std::sync::Arc<State>,
    /// Packs of the store, ascending, and their lengths in bytes.
    pub(super) packs: Vec<(PackName, u64)>,
    /// Of each pack: bytes of the frames that index objects name, and what of them is needed; whether one names it that is trusted.
    pub(super) held: Vec<Held>,
    /// What this machine has seen missing or damaged: nobody relies on it.
    sightings: Sightings,
    /// Chunks that are needed, by pack and frame.
    pub(super) needs: Sorted<NEED>,
    /// Index objects that could be read, and the packs that each names.
    pub(super) named: BTreeMap<IndexName, Vec<PackName>>,
    /// Needed chunks that no pack of the store is known to hold.
    pub lost: u64,
    /// Bytes at which a pack of content is closed.
    pub pack_target: u32,
    /// What is wrong: index objects that cannot be read, packs that are condemned and needed.
    pub problems: Vec<Error>,
    /// Whether all that is stored is known. If not, what nobody names who is to be believed is left alone: it may be what is missed.
    pub(super) sees_all: bool,
}

/// What is known of a pack. Bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    pub named: u64,
    pub needed: u64,
    pub is_known: bool,
}

impl Survey {
    pub(super) fn of(core: &Core, marked: &Marked) -> Result<Survey> {
        let state = core.log.catch_up()?;
        if !marked.covers(&state) {
            return Err(Error::new(Kind::Busy, core.store.place(), MEANWHILE));
        }
        let packs = packs(core)?;
        let needs = Sorter::new(&marked.dir).finish()?;
        let mut places = Sorter::new(&marked.dir);
        let sightings = core.sightings();
        let mut survey = Survey {
            state,
            held: vec![Held::default(); packs.len()],
            packs,
            sightings,
            needs,
            named: BTreeMap::new(),
            lost: 0,
            pack_target: core.config.pack_target,
            problems: Vec::new(),
            sees_all: true,
        };
        let names: Vec<IndexName> = survey.state.indexes().keys().copied().collect();
        let state = survey.state.clone();
        core.each_index(&names, &state, |name, read| match read {
            Ok(object) => {
                survey.take_in(name, &object, core.trusts(&state, name));
                survey.places(marked, name, &object, &mut places)
            }
            Err(e) => match core.unless_replaced(name, e) {
                e if e.is_of_bytes() => {
                    survey.sees_all = false;
                    survey.problems.push(e);
                    Ok(())
                }
                e => Err(e),
            },
        })?;
        survey.choose(marked, &places.finish()?)?;
        Ok(survey)
    }

    /// The number of a pack that the store has.
    pub(super) fn number(&self, pack: &PackName) -> Option<usize> {
        self.packs.binary_search_by_key(pack, |(name, _)| *name).ok()
    }

    /// Takes note of what an index object says of packs.
    fn take_in(&mut self, name: &IndexName, object: &IndexObject, is_trusted: bool) {
        let mut named: HashMap<(PackName, u32), u32> = HashMap::new();
        for entry in object.iter() {
            named.insert((entry.pack, entry.frame_offset), entry.frame_length);
        }
        let mut sums: HashMap<PackName, u64> = HashMap::new();
        for ((pack, _), length) in named {
            *sums.entry(pack).or_default() += u64::from(length);
        }
        for (pack, _) in &object.head().packs {
            if let Some(at) = self.number(pack) {
                let held = &mut self.held[at];
                held.is_known |= is_trusted;
                held.named = held.named.max(sums.get(pack).copied().unwrap_or(0));
            }
        }
        self.named.insert(*name, object.head().packs.iter().map(|(pack, _)| *pack).collect());
    }

    /// Adds every place of a needed chunk that an index object names and the store has.
    fn places(
        &self,
        marked: &Marked,
        name: &IndexName,
        object: &IndexObject,
        places: &mut Sorter<PLACE>,
    ) -> Result<()> {
        let mut numbers: HashMap<PackName, (u32, bool)> = HashMap::new();
        let seen_wrong = |pack: &PackName| self.sightings.has(&Name::Pack(*pack));
        for (pack, size) in &object.head().packs {
            if let Some(at) = self.number(pack) {
                let number =
                    u32::try_from(at).map_err(|_| Error::new(Kind::TooLarge, "store", "has too many packs"))?;
                numbers.insert(*pack, (number, self.packs[at].1 == u64::from(*size) && !seen_wrong(pack)));
            }
        }
        let parts = Parts::of(object);
        let trusts: Vec<bool> = marked.writers.iter().map(|writer| self.state.trusts(writer, name)).collect();
        let mut finder = marked.sorted.finder();
        for entry in object.iter() {
            let Some((number, is_whole)) = numbers.get(&entry.pack) else { continue };
            let stands = *is_whole && self.state.usable(&entry.pack, entry.frame_offset);
            finder.find(&entry.id.0, &mut |mark| {
                let trusted = trusts.get(usize::from(u16::from_be_bytes([mark[32], mark[33]]))) == Some(&true);
                let mut place = [0; PLACE];
                place[..MARK].copy_from_slice(mark);
                place[MARK] = u8::from(!(stands && trusted));
                // What was copied from a pack that is to be emptied lies in a younger one.
                let need = Need {
                    pack: u32::MAX - number,
                    offset: entry.frame_offset,
                    length: entry.frame_length,
                    position: entry.position,
                    part: parts.part(&entry),
                };
                place[MARK + 1..].copy_from_slice(&need.to_bytes());
                places.add(place)
            })?;
        }
        Ok(())
    }

    /// Chooses of each needed chunk one place to rely on; where there is none, keeps every place.
    fn choose(&mut self, marked: &Marked, places: &Sorted<PLACE>) -> Result<()> {
        let mut needs: Sorter<NEED> = Sorter::new(&marked.dir);
        let (mut last, mut is_relied_on, mut found) = (None, false, 0);
        places.each(&mut |place| {
            let Some((mark, [not, rest @ ..])) = place.split_first_chunk::<MARK>() else { return Ok(()) };
            if last != Some(*mark) {
                last = Some(*mark);
                is_relied_on = *not == 0;
                found += 1;
            } else if is_relied_on {
                return Ok(());
            }
            let mut need = [0; NEED];
            need.copy_from_slice(rest);
            let need = Need::of(&need);
            needs.add(Need { pack: u32::MAX - need.pack, ..need }.to_bytes())
        })?;
        self.lost = marked.sorted.count() - found;
        self.sees_all &= self.lost == 0;
        self.needs = needs.finish()?;
        let held = &mut self.held;
        self.needs.each(&mut |need| {
            let need = Need::of(&need);
            if let Some(held) = held.get_mut(need.pack as usize) {
                held.needed += u64::from(need.part);
            }
            Ok(())
        })?;
        for (at, (pack, _)) in self.packs.iter().enumerate() {
            if self.held[at].needed > 0 && self.state.condemned().contains_key(pack) {
                let e =
                    Error::damaged(pack, "is condemned, and holds the only copy of what a snapshot needs: it stays");
                self.problems.push(e);
            }
        }
        Ok(())
    }

    /// Packs with nothing that is needed, which nobody works on, and which are not condemned yet.
    pub(super) fn unneeded(&self) -> impl Iterator<Item = (PackName, u64)> {
        self.packs
            .iter()
            .zip(&self.held)
            .filter(|((pack, _), held)| {
                held.needed == 0
                    && (held.is_known || self.sees_all)
                    && !self.state.condemned().contains_key(pack)
                    && !self.state.spared(&pack.session)
            })
            .map(|((pack, size), _)| (*pack, *size))
    }

    /// Packs that can be condemned, once what is needed of `emptied` has moved elsewhere: their number and bytes.
    pub fn condemnable(&self, emptied: &[PackName]) -> (u64, u64) {
        let emptied = emptied.iter().filter_map(|pack| self.number(pack)).map(|at| self.packs[at]);
        self.unneeded().chain(emptied).fold((0, 0), |(packs, bytes), (_, size)| (packs + 1, bytes + size))
    }

    /// Bytes of all packs.
    pub fn bytes(&self) -> u64 {
        self.packs.iter().map(|(_, size)| size).sum()
    }

    /// Bytes that are needed: of a frame as much as of its plaintext.
    pub fn needed_bytes(&self) -> u64 {
        self.held.iter().map(|held| held.needed).sum()
    }
}

/// A chunk that is needed, and where it lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    /// Number of the pack.
    pub pack: u32,
    /// Where the frame starts in it, and its length, bytes.
    pub offset: u32,
    pub length: u32,
    /// Which chunk of the frame.
    pub position: u16,
    /// Its part of the frame's bytes.
    pub part: u32,
}

impl Need {
    fn to_bytes(self) -> [u8; NEED] {
        let mut bytes = [0; NEED];
        bytes[..4].copy_from_slice(&self.pack.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_be_bytes());
        bytes[12..14].copy_from_slice(&self.position.to_be_bytes());
        bytes[14..].copy_from_slice(&self.part.to_be_bytes());
        bytes
    }

    pub fn of(bytes: &[u8; NEED]) -> Need {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r] = *bytes;
        let number = |four| u32::from_be_bytes(four);
        Need {
            pack: number([a, b, c, d]),
            offset: number([e, f, g, h]),
            length: number([i, j, k, l]),
            position: u16::from_be_bytes([m, n]),
            part: number([o, p, q, r]),
        }
    }
}

/// Packs of the store, ascending, and their lengths.
fn packs(core: &Core) -> Result<Vec<(PackName, u64)>> {
    let mut packs = Vec::new();
    core.store.list(ObjectKind::Pack.word(), &mut |text, size| {
        if let Ok(Name::Pack(pack)) = Name::parse(text) {
            packs.push((pack, size));
        }
        Ok(())
    })?;
    packs.sort_unstable();
    packs.dedup_by_key(|(name, _)| *name);
    Ok(packs)
}
