//! The part of a check that is about packs and index objects: which are whole, and which copies of chunks can be relied on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use repo_format::frame::{FrameHeader, Listed, Opener};
use repo_format::index::{Index as IndexObject, IndexEntry};
use repo_format::names::{IndexName, Name, PackName};
use repo_format::pack::{PackFrame, open_pack};

use super::super::index::Index;
use super::super::locate::Purpose;
use super::super::unsound::Unsound;
use super::{Check, CheckStats, Listing};
use crate::error::{Error, Kind, Result};
use crate::store::fetched::Fetched;

/// Packs that are read at once, and lie in memory.
const PACKS: usize = 3;

/// A pack that an index object names.
struct What<'a> {
    pack: PackName,
    /// Its bytes.
    size: u32,
    /// Whether it is read.
    reads: bool,
    /// What the index object says of it.
    entries: &'a [IndexEntry],
}

/// What is wrong with a pack.
struct Wrong {
    error: Error,
    /// The frames that cannot be opened; `None`: all.
    frames: Option<BTreeSet<u32>>,
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Wrong {
        Wrong { error, frames: None }
    }
}

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
    pub named: HashSet<PackName>,
}

impl Check<'_> {
    /// Every index object that counts, every pack that one names, and (without being damage) what nothing names.
    pub(super) fn data(&mut self, listing: &Listing, read_data: bool, stats: &mut CheckStats) -> Result<Packs> {
        let mut packs = Packs::default();
        let (core, state) = (self.core, self.state.clone());
        let indexes: Vec<IndexName> = state.indexes().keys().copied().collect();
        core.each_index(&indexes, &state, |index, read| {
            let name = Name::Index(*index);
            stats.index_objects += 1;
            let Some(object) = self.tell(&name, read)? else {
                self.sightings.saw(&name, self.now_ms);
                packs.unsound.indexes.insert(*index);
                return Ok(());
            };
            self.sightings.strike(&name);
            let mut entries = by_pack(&object);
            let new: Vec<(PackName, u32)> =
                object.head().packs.iter().copied().filter(|(pack, _)| packs.named.insert(*pack)).collect();
            for some in new.chunks(PACKS) {
                let whole =
                    |(pack, size): &&(PackName, u32)| listing.get(&Name::Pack(*pack)) == Some(&u64::from(*size));
                let read = some.iter().filter(|_| read_data).filter(whole).map(|(pack, _)| pack.to_string());
                let mut fetched = Fetched::of(&*core.store, read);
                for (pack, size) in some {
                    self.watch.check()?;
                    // What was condemned may be deleted: nobody may need it then, and if somebody does, that is told of the snapshot.
                    if self.state.condemned().contains_key(pack) && !listing.contains_key(&Name::Pack(*pack)) {
                        packs.unsound.lose(*pack);
                        continue;
                    }
                    let what = What {
                        pack: *pack,
                        size: *size,
                        reads: read_data,
                        entries: &entries.remove(pack).unwrap_or_default(),
                    };
                    self.named_pack(index, &what, listing, &mut fetched, &mut packs, stats)?;
                }
            }
            Ok(())
        })?;
        self.tell_wrong(&packs)?;
        self.unnamed(listing, read_data, &packs, stats)?;
        Ok(packs)
    }

    fn named_pack(
        &mut self,
        index: &IndexName,
        &What { ref pack, size, reads, entries }: &What<'_>,
        listing: &Listing,
        fetched: &mut Fetched,
        packs: &mut Packs,
        stats: &mut CheckStats,
    ) -> Result<()> {
        let name = Name::Pack(*pack);
        stats.packs += 1;
        stats.pack_bytes += u64::from(size);
        let there = match listing.get(&name) {
            // It may have been deleted since we listed, or be hidden from listings; reading it would not help.
            None => Err(Wrong::from(Error::damaged(pack, "is missing"))),
            // Of what is cut the first frames may be whole.
            Some(found) if *found != u64::from(size) => {
                let error = Error::damaged(pack, format!("has {found} bytes instead of {size}"));
                match self.contents(pack, entries, fetched, stats) {
                    Err(Wrong { frames, .. }) => Err(Wrong { error, frames }),
                    Ok(_) => Err(error.into()),
                }
            }
            // What was seen damaged before is looked at again.
            Some(_) if reads || self.sightings.has(&name) => self.contents(pack, entries, fetched, stats),
            Some(_) => return Ok(()),
        };
        match there {
            Ok(opened) => {
                self.sightings.strike(&name);
                if opened && self.state.lost().contains_key(pack) {
                    packs.found.push(*pack);
                }
            }
            Err(Wrong { error, .. }) if !error.is_of_bytes() && error.kind() != Kind::Io => return Err(error),
            Err(Wrong { error, frames }) => {
                self.sightings.saw(&name, self.now_ms);
                packs.wrong.insert(*pack, (*index, error));
                match frames {
                    None => packs.unsound.lose(*pack),
                    Some(frames) if frames.is_empty() => {}
                    Some(frames) => drop(packs.unsound.packs.insert(*pack, frames)),
                }
            }
        }
        Ok(())
    }

    /// Reads a pack, compares it with its name and with the index, and opens its frames where the key can. Of a pack that
    /// is what its name says those are spared that were opened already.
    fn contents(
        &self,
        pack: &PackName,
        entries: &[IndexEntry],
        fetched: &mut Fetched,
        stats: &mut CheckStats,
    ) -> std::result::Result<bool, Wrong> {
        let bytes = fetched.read(&*self.core.store, &pack.to_string()).map_err(gone)?;
        let opens = !self.core.ring.read.is_empty();
        let listed = open_pack(pack, &bytes, &self.core.ring.repo.index).map_err(Error::from);
        let listed = listed.and_then(|frames| agree(&frames, entries).map_err(|m| Error::damaged(pack, m)));
        if let (Err(error), false) = (&listed, opens) {
            return Err(error.again().into());
        }
        if !opens {
            return Ok(false);
        }
        let mut opener = Opener::new().map_err(Error::from)?;
        let mut first = None;
        let mut bad = BTreeSet::new();
        for (at, chunks) in by_frame(entries) {
            if listed.is_ok() && self.was_opened(pack, &chunks) {
                stats.chunks += chunks.len() as u64;
                continue;
            }
            match self.frame(&mut opener, &bytes, &chunks) {
                Ok(()) => stats.chunks += chunks.len() as u64,
                Err(e) if !e.is_of_bytes() => return Err(e.into()),
                Err(e) => {
                    bad.insert(at);
                    first.get_or_insert(e.within(format!("frame at {at}")).within(pack));
                }
            }
        }
        self.watch.advance(bytes.len() as u64);
        match first.or(listed.err()) {
            Some(error) => Err(Wrong { error, frames: Some(bad) }),
            None => Ok(true),
        }
    }

    fn was_opened(&self, pack: &PackName, chunks: &[&IndexEntry]) -> bool {
        let Some(first) = chunks.first() else { return false };
        let mut sorted = chunks.to_vec();
        sorted.sort_unstable_by_key(|e| e.position);
        let list: Vec<Listed> = sorted.iter().map(|e| Listed { id: e.id, length: e.length }).collect();
        self.opened.holds(pack, (first.frame_offset, first.frame_length), first.kind, &list)
    }

    /// Opens one frame, which must hold `chunks`.
    fn frame(&self, opener: &mut Opener, bytes: &[u8], chunks: &[&IndexEntry]) -> Result<()> {
        let Some(first) = chunks.first() else { return Ok(()) };
        let start = first.frame_offset as usize;
        let cut = || Error::damaged("frame", "lies beyond the end of the pack");
        let sealed = bytes.get(start..start + first.frame_length as usize).ok_or_else(cut)?;
        let head = FrameHeader::parse(sealed)?;
        let key = self.core.content_key(&head.session, &head.wrapped)?;
        let open = opener.open(&key, &self.core.ring.repo.chunk_id, sealed)?;
        let holds = |e: &&IndexEntry| {
            open.list().get(usize::from(e.position)).is_some_and(|c| c.id == e.id && c.length == e.length)
        };
        match open.kind() == first.kind && open.list().len() == chunks.len() && chunks.iter().all(holds) {
            true => Ok(()),
            false => Err(Error::damaged("frame", "is not what the index says")),
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
            !packs.wrong.contains_key(&place.pack) && packs.unsound.stands(&place, &self.state)
        })
    }

    /// Packs and index objects that nothing names, of open or interrupted sessions, or replaced: nobody relies on them.
    fn unnamed(&mut self, listing: &Listing, read_data: bool, packs: &Packs, stats: &mut CheckStats) -> Result<()> {
        for name in listing.keys() {
            let reads = match name {
                Name::Pack(pack) if !packs.named.contains(pack) => read_data || self.sightings.has(name),
                Name::Index(index) if !self.state.indexes().contains_key(index) => true,
                _ => continue,
            };
            stats.unnamed += 1;
            match if reads { self.read(name).map(drop) } else { continue } {
                Ok(()) => self.sightings.strike(name),
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

fn gone(e: Error) -> Error {
    match e.kind() {
        Kind::NotFound => Error::damaged(e.subject(), "is missing"),
        _ => e,
    }
}

fn by_pack(object: &IndexObject) -> HashMap<PackName, Vec<IndexEntry>> {
    let mut packs: HashMap<PackName, Vec<IndexEntry>> = HashMap::new();
    for entry in object.iter() {
        packs.entry(entry.pack).or_default().push(entry);
    }
    packs
}

fn by_frame(entries: &[IndexEntry]) -> BTreeMap<u32, Vec<&IndexEntry>> {
    let mut frames: BTreeMap<u32, Vec<&IndexEntry>> = BTreeMap::new();
    for entry in entries {
        frames.entry(entry.frame_offset).or_default().push(entry);
    }
    frames
}

/// Whether the index names what the pack's own list names, no more and no less.
fn agree(frames: &[PackFrame], entries: &[IndexEntry]) -> std::result::Result<(), String> {
    let by_offset: HashMap<u32, &PackFrame> = frames.iter().map(|f| (f.offset, f)).collect();
    for entry in entries {
        let frame =
            by_offset.get(&entry.frame_offset).filter(|f| f.length == entry.frame_length && f.kind == entry.kind);
        let chunk = frame.and_then(|f| f.chunks.get(usize::from(entry.position)));
        if chunk.is_none_or(|c| c.id != entry.id || c.length != entry.length) {
            return Err(format!("does not hold chunk {} where the index says", entry.id));
        }
    }
    let held: usize = frames.iter().map(|f| f.chunks.len()).sum();
    if held != entries.len() {
        return Err(format!("holds {held} chunks, the index names {}", entries.len()));
    }
    Ok(())
}
