//! Verifies every object of a repository against its name, its signature and what other objects say of it. Whether
//! every chunk under a snapshot's roots is there is for those to ask who can read trees.

use std::collections::{BTreeMap, HashMap};

use repo_format::FormatError;
use repo_format::config::Config;
use repo_format::credential::Credential;
use repo_format::frame::Opener;
use repo_format::index::{Index as IndexObject, IndexEntry};
use repo_format::limits::CHECKPOINT_EVERY;
use repo_format::log_state::State;
use repo_format::names::{COPIES, Name, ObjectKind, PackName};
use repo_format::pack::{PackFrame, open_pack};

use super::{Core, Repo, twice};
use crate::error::{Error, Kind, Result};
use crate::watch::Watch;

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct CheckStats {
    /// Log entries.
    pub log_entries: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Index objects that count.
    pub index_objects: u64,
    /// Packs that they name.
    pub packs: u64,
    /// Bytes in these packs.
    pub pack_bytes: u64,
    /// Chunks in packs that were opened.
    pub chunks: u64,
    /// Objects that nothing names (of open or interrupted sessions).
    pub unnamed: u64,
}

/// Every object of the store, with its size in bytes.
type Listing = BTreeMap<Name, u64>;

/// Of a name all that is known without a key: its object's hash.
fn named(name: Name) -> impl Fn(&[u8]) -> std::result::Result<(), FormatError> {
    move |bytes| name.verify(bytes)
}

impl Repo {
    /// Verifies all objects; each problem goes into `watch`, named by its object. `read_data` also reads and opens
    /// every pack (opening needs *read*). Memory: one pack, one index object's contents for each pack it names, and
    /// the list of objects.
    ///
    /// An error is returned only where checking itself failed: the store cannot be read, the user stopped it.
    pub fn check(&self, read_data: bool, watch: &Watch) -> Result<CheckStats> {
        self.refresh()?;
        let check = Check { core: &self.core, state: self.state(), watch };
        let mut stats = CheckStats::default();
        let listing = check.list()?;
        check.configuration()?;
        check.credentials(&listing)?;
        stats.log_entries = self.core.log.verify(&mut |e| check.problem(&e))?;
        check.checkpoints(&listing)?;
        check.snapshots(&listing, &mut stats)?;
        check.data(&listing, read_data, &mut stats)?;
        Ok(stats)
    }
}

struct Check<'a> {
    core: &'a Core,
    state: std::sync::Arc<State>,
    watch: &'a Watch,
}

impl Check<'_> {
    fn problem(&self, e: &Error) {
        self.watch.problem(true, e.subject(), e.message());
    }

    /// `None` and a problem where the object is missing or the work on it says that it is damaged.
    fn tell<T>(&self, name: &Name, done: Result<T>) -> Result<Option<T>> {
        self.watch.check()?;
        match done {
            Ok(value) => Ok(Some(value)),
            Err(e) => match e.kind() {
                Kind::Damaged | Kind::Unsupported | Kind::TooLarge | Kind::NotFound | Kind::Denied => {
                    let subject = name.to_string();
                    let inner = e.subject().strip_prefix(&subject).unwrap_or(e.subject()).trim_matches([':', ' ']);
                    let message =
                        if inner.is_empty() { e.message().to_string() } else { format!("{inner}: {}", e.message()) };
                    self.watch.problem(true, subject, message);
                    Ok(None)
                }
                _ => Err(e),
            },
        }
    }

    fn read(&self, name: &Name) -> Result<Vec<u8>> {
        let bytes = self.core.store.read(&name.to_string())?;
        name.verify(&bytes)?;
        Ok(bytes)
    }

    /// Both objects of a name: what is wrong with one is told, and mended from the other.
    fn twice<T>(&self, name: &Name, fits: impl Fn(&[u8]) -> std::result::Result<T, FormatError>) -> Result<Option<T>> {
        self.watch.check()?;
        twice::check(&*self.core.store, name, self.core.mends(), fits, &mut |e| self.problem(&e))
    }

    /// Every object, and under its first name what has a second one; of that, what is there under its second name only
    /// has no size.
    fn list(&self) -> Result<Listing> {
        let mut listing = Listing::new();
        self.core.store.list(COPIES, &mut |text, _| {
            match Name::parse_copy(text) {
                // The log is walked by its numbers, and a checkpoint needs no second copy.
                Ok(Name::Log(_) | Name::Checkpoint(..)) => {}
                Ok(name) => {
                    listing.insert(name, 0);
                }
                Err(_) => self.watch.problem(true, text, "is not the name of an object; remove it"),
            }
            Ok(())
        })?;
        for kind in ObjectKind::ALL.iter().filter(|k| **k != ObjectKind::Config) {
            self.core.store.list(kind.word(), &mut |text, size| {
                match Name::parse(text) {
                    Ok(name) => {
                        listing.insert(name, size);
                    }
                    Err(_) => self.watch.problem(true, text, "is not the name of an object; remove it"),
                }
                Ok(())
            })?;
        }
        Ok(listing)
    }

    fn configuration(&self) -> Result<()> {
        let same = |bytes: &[u8]| match Config::parse(bytes)?.0 == self.core.config_hash {
            true => Ok(()),
            false => Err(FormatError::Mismatch("configuration that this repository was opened with")),
        };
        self.twice(&Name::Config, same).map(drop)
    }

    fn credentials(&self, listing: &Listing) -> Result<()> {
        for name in listing.keys() {
            let Name::Key(id) = name else { continue };
            self.twice(name, |bytes| Credential::parse(id, bytes).map(drop))?;
        }
        Ok(())
    }

    fn checkpoints(&self, listing: &Listing) -> Result<()> {
        for name in listing.keys().filter(|n| n.kind() == ObjectKind::Checkpoint) {
            // Whether we believe its signer or not, its bytes must be those that its name says.
            self.tell(name, self.read(name).map(drop))?;
        }
        let newest = self.state.n() - self.state.n() % CHECKPOINT_EVERY;
        let there = |n: u64| listing.keys().any(|name| matches!(name, Name::Checkpoint(m, _) if *m == n));
        if newest > 0 && !there(newest) {
            let message = format!("none after entry {newest}: opening without a cache takes longer");
            self.watch.problem(false, "checkpoint", message);
        }
        for name in listing.keys() {
            if matches!(name, Name::Log(n) if *n > self.state.n()) {
                self.tell::<()>(name, Err(Error::damaged(name, "lies beyond a missing entry of the log")))?;
            }
        }
        Ok(())
    }

    fn snapshots(&self, listing: &Listing, stats: &mut CheckStats) -> Result<()> {
        for id in self.state.snapshots().keys() {
            let name = Name::Snapshot(*id);
            stats.snapshots += 1;
            if self.twice(&name, named(name))?.is_some() && !self.core.ring.read.is_empty() {
                self.tell(&name, self.core.snapshot(id).map(drop))?;
            }
        }
        for name in listing.keys() {
            let Name::Snapshot(id) = name else { continue };
            if !self.state.snapshots().contains_key(id) {
                // Of a session that was interrupted before its commit: nobody relies on it, but damage is damage.
                stats.unnamed += 1;
                self.tell(name, twice::read(&*self.core.store, name, named(*name)).map(drop))?;
            }
        }
        Ok(())
    }

    fn data(&self, listing: &Listing, read_data: bool, stats: &mut CheckStats) -> Result<()> {
        let mut named = HashMap::new();
        for index in self.state.indexes().keys() {
            let name = Name::Index(*index);
            stats.index_objects += 1;
            let Some(object) = self.tell(&name, self.core.read_index(index, &self.state))? else { continue };
            let mut entries = by_pack(&object);
            for (pack, size) in &object.head().packs {
                named.insert(*pack, *size);
                let name = Name::Pack(*pack);
                let done = self.pack(pack, *size, listing, read_data, entries.remove(pack).unwrap_or_default(), stats);
                self.tell(&name, done)?;
            }
        }
        for name in listing.keys() {
            match name {
                Name::Pack(pack) if !named.contains_key(pack) => {
                    stats.unnamed += 1;
                    if read_data {
                        self.tell(name, self.read(name).map(drop))?;
                    }
                }
                Name::Index(index) if !self.state.indexes().contains_key(index) => {
                    stats.unnamed += 1;
                    self.tell(name, self.read(name).map(drop))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A pack that an index object names: there, of the size that it says, and (on demand) holding what it says.
    fn pack(
        &self,
        pack: &PackName,
        size: u32,
        listing: &Listing,
        read_data: bool,
        entries: Vec<IndexEntry>,
        stats: &mut CheckStats,
    ) -> Result<()> {
        stats.packs += 1;
        stats.pack_bytes += u64::from(size);
        match listing.get(&Name::Pack(*pack)) {
            // It may have been deleted since we listed, or be hidden from listings; reading it would not help.
            None => return Err(Error::damaged(pack, "is missing")),
            Some(found) if *found != u64::from(size) => {
                return Err(Error::damaged(pack, format!("has {found} bytes instead of {size}")));
            }
            Some(_) if !read_data => return Ok(()),
            Some(_) => {}
        }
        let bytes = self.core.store.read(&pack.to_string())?;
        let frames = open_pack(pack, &bytes, &self.core.ring.repo.index)?;
        agree(&frames, &entries).map_err(|message| Error::damaged(pack, message))?;
        if self.core.ring.read.is_empty() {
            return Ok(());
        }
        let mut opener = Opener::new()?;
        for frame in &frames {
            let start = frame.offset as usize;
            let sealed = &bytes[start..start + frame.length as usize];
            let session = repo_format::frame::FrameHeader::parse(sealed)?.session;
            let key = self.core.content_key(&session)?;
            let within = |e| Error::from(e).within(format!("frame at {}", frame.offset));
            let open = opener.open(&key, &self.core.ring.repo.chunk_id, sealed).map_err(within)?;
            if open.kind() != frame.kind || open.list() != frame.chunks.as_slice() {
                return Err(Error::damaged(pack, format!("frame at {} is not what the list says", frame.offset)));
            }
            stats.chunks += frame.chunks.len() as u64;
        }
        self.watch.advance(bytes.len() as u64);
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
