//! Looks at one pack: whether it is there, whole, and holds what an index object says of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use repo_format::frame::{FrameHeader, Listed, Opener};
use repo_format::index::IndexEntry;
use repo_format::names::{IndexName, PackName};
use repo_format::pack::{PackFrame, open_pack};

use super::super::opened::Opened;
use crate::error::{Error, Kind, Result};
use crate::repo::Core;
use crate::watch::Watch;

/// A pack that an index object names.
pub(super) struct Job {
    pub index: IndexName,
    pub pack: PackName,
    /// Its bytes.
    pub size: u32,
    /// Its bytes as the store lists it.
    pub found: Option<u64>,
    /// Whether it is read.
    pub reads: bool,
    /// What the index object says of it.
    pub entries: Vec<IndexEntry>,
}

/// What came of looking at it.
pub(super) struct Looked {
    pub index: IndexName,
    pub pack: PackName,
    pub size: u32,
    pub there: std::result::Result<Depth, Wrong>,
    /// Chunks that were opened.
    pub chunks: u64,
}

/// How closely a pack was looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// It is listed, with its length.
    Listed,
    /// It was read, and is what its name says.
    Read,
    /// Its frames were opened, too.
    Opened,
}

/// What is wrong with a pack.
pub(super) struct Wrong {
    pub error: Error,
    /// The frames that cannot be opened; `None`: all.
    pub frames: Option<BTreeSet<u32>>,
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Wrong {
        Wrong { error, frames: None }
    }
}

/// Looks at packs; shared by threads.
pub(super) struct Eye<'a> {
    pub core: &'a Core,
    pub opened: &'a Opened,
    pub watch: &'a Watch,
}

impl Eye<'_> {
    pub fn look(&self, job: &Job) -> Looked {
        let Job { index, pack, size, found, reads, entries } = job;
        let mut chunks = 0;
        let there = match found {
            // It may have been deleted since we listed, or be hidden from listings; reading it would not help.
            None => Err(Wrong::from(Error::damaged(pack, "is missing"))),
            // Of what is cut the first frames may be whole.
            Some(found) if *found != u64::from(*size) => {
                let error = Error::damaged(pack, format!("has {found} bytes instead of {size}"));
                match self.contents(pack, entries, &mut chunks) {
                    Err(Wrong { frames, .. }) => Err(Wrong { error, frames }),
                    Ok(_) => Err(error.into()),
                }
            }
            Some(_) if *reads => self.contents(pack, entries, &mut chunks),
            Some(_) => Ok(Depth::Listed),
        };
        Looked { index: *index, pack: *pack, size: *size, there, chunks }
    }

    /// Reads a pack, compares it with its name and with the index, and opens its frames where the key can. Of a pack that
    /// is what its name says those are spared that were opened already.
    fn contents(
        &self,
        pack: &PackName,
        entries: &[IndexEntry],
        chunks_opened: &mut u64,
    ) -> std::result::Result<Depth, Wrong> {
        let bytes = self.core.store.read(&pack.to_string()).map_err(gone)?;
        let opens = !self.core.ring.read.is_empty();
        let listed = open_pack(pack, &bytes, &self.core.ring.repo.index).map_err(Error::from);
        let listed = listed.and_then(|frames| agree(&frames, entries).map_err(|m| Error::damaged(pack, m)));
        if let (Err(error), false) = (&listed, opens) {
            return Err(error.again().into());
        }
        if !opens {
            return Ok(Depth::Read);
        }
        let mut opener = Opener::new().map_err(Error::from)?;
        let mut first = None;
        let mut bad = BTreeSet::new();
        for (at, chunks) in by_frame(entries) {
            if listed.is_ok() && self.was_opened(pack, &chunks) {
                *chunks_opened += chunks.len() as u64;
                continue;
            }
            match self.frame(&mut opener, &bytes, &chunks) {
                Ok(()) => *chunks_opened += chunks.len() as u64,
                Err(e) if !e.is_of_bytes() => return Err(e.into()),
                Err(e) => {
                    bad.insert(at);
                    first.get_or_insert(e.within(format!("frame at {at}")).within(pack));
                }
            }
        }
        self.watch.advance(bytes.len() as u64);
        // Of a pack whose bytes are not those of its name, that a frame is closed to this credential says nothing.
        let first = first.filter(|e: &Error| e.kind() != Kind::Denied || listed.is_ok());
        match first.or(listed.err()) {
            Some(error) => Err(Wrong { error, frames: Some(bad) }),
            None => Ok(Depth::Opened),
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
}

fn gone(e: Error) -> Error {
    match e.kind() {
        Kind::NotFound => Error::damaged(e.subject(), "is missing"),
        _ => e,
    }
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
