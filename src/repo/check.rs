//! Verifies every object of a repository against its name, its signature and what other objects say of it. Whether
//! every chunk under a snapshot's roots is there is for those to ask who can read trees.

mod look;
mod packs;
mod recover;
mod share;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use repo_format::FormatError;
use repo_format::config::Config;
use repo_format::credential::Credential;
use repo_format::id::SnapshotId;
use repo_format::limits::CHECKPOINT_EVERY;
use repo_format::log_state::State;
use repo_format::names::{COPIES, Name, ObjectKind, PackName};
use repo_format::trim;

use super::claim::Claim;
use super::locate::Purpose;
use super::opened::Opened;
use super::sightings::Sightings;
use super::unsound::Unsound;
use super::verified::{Verification, Verified};
use super::{Core, Repo, twice, world};
use crate::error::{Error, Kind, Result};
use crate::run::ChunkId;
use crate::store::fetched::Fetched;
use crate::watch::Watch;

pub use recover::Unlisted;
pub use share::{Reads, Share, bytes};

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
    /// Packs that were read whole.
    pub packs_read: u64,
    /// Bytes in these.
    pub bytes_read: u64,
    /// Chunks in packs that were opened.
    pub chunks: u64,
    /// Objects that nothing names (of open or interrupted sessions).
    pub unnamed: u64,
}

/// What a check of all objects came to.
#[derive(Debug, Clone, Default)]
pub struct Examined {
    /// What was looked at.
    pub stats: CheckStats,
    /// What readers cannot rely on.
    pub unsound: Unsound,
    /// What this machine has seen missing or damaged, now and before.
    pub sightings: Sightings,
    /// Packs that index objects name and that are missing or damaged.
    pub wrong: BTreeSet<PackName>,
    /// Packs that were declared lost, and are whole: read and opened.
    pub found: Vec<PackName>,
    /// Packs that the index objects name, and what that is worth to this credential.
    pub named: HashMap<PackName, Claim>,
}

/// Every object of the store, with its size in bytes.
type Listing = BTreeMap<Name, u64>;

const STRAY: &str = "is not the name of an object: a file of some other program";

/// Checks what a name says of its object and can be checked without a key: the hash.
fn named(name: Name) -> impl Fn(&[u8]) -> std::result::Result<(), FormatError> {
    move |bytes| name.verify(bytes)
}

impl Repo {
    /// Verifies all objects; each problem goes into `watch`, named by its object. Packs are looked for, and those that `reads`
    /// chooses are read and opened (opening needs *read*); this machine remembers when. Memory: four packs, eight index
    /// objects, one's contents for each pack it names, the list of objects, and 80 bytes for each pack.
    ///
    /// An error is returned only where checking itself failed: the store cannot be read, the user stopped it.
    pub fn check(&self, reads: Reads, watch: &Watch) -> Result<Examined> {
        self.check_but(reads, &Opened::default(), watch)
    }

    /// Like [`Repo::check`], but does not open anew the frames that were `opened` a moment ago, where their pack is what
    /// its name says.
    pub fn check_but(&self, reads: Reads, opened: &Opened, watch: &Watch) -> Result<Examined> {
        self.refresh()?;
        let (now_ms, core, state) = (world::now_ms(), &self.core, self.state());
        let (sightings, verified) = (core.sightings(), core.verified(now_ms));
        let mut check = Check { core, state, watch, opened, sightings, verified, now_ms };
        let mut stats = CheckStats::default();
        let listing = check.list()?;
        // What others wrote while it was listed is no entry beyond a hole.
        let last = self.refresh()?.n();
        check.configuration()?;
        check.credentials(&listing)?;
        stats.log_entries = self.core.log.verify(&mut |e| check.problem(&e))?;
        check.checkpoints(&listing)?;
        check.log_ends(&listing, last)?;
        check.marks(&listing)?;
        check.snapshots(&listing, &mut stats)?;
        let packs = check.data(&listing, &reads, &mut stats)?;
        self.core.remember_sightings(&check.sightings);
        let (unsound, found, named) = (packs.unsound, packs.found, packs.named);
        let wrong = packs.wrong.into_keys().collect();
        Ok(Examined { stats, unsound, sightings: check.sightings, wrong, found, named })
    }

    /// When this machine last found the packs of the store whole, each given with its length in bytes.
    pub fn verification(&self, packs: impl Iterator<Item = (PackName, u64)>) -> Verification {
        let verified = self.core.verified(world::now_ms());
        verified.of(packs.map(|(pack, size)| (pack.hash, size)))
    }

    /// Why a chunk cannot be read: the object that is to blame, if one is known. `None`: it can be read, as far as
    /// `unsound` knows.
    pub fn blame(&self, unsound: &Unsound, id: &ChunkId) -> Result<Option<String>> {
        let state = self.state();
        let mut blame = None;
        let stands = self.core.index(Purpose::Read)?.find(id, &mut |place| {
            if self.core.claim(&state, &place.source, &place.pack) == Claim::OfOther {
                return false;
            }
            if unsound.harms(&place) {
                blame.get_or_insert_with(|| place.pack.to_string());
            } else if unsound.indexes.contains(&place.source) {
                blame.get_or_insert_with(|| place.source.to_string());
            }
            unsound.stands(&place, &state)
        })?;
        let unknown = || "an index object that cannot be read, or is not there".to_string();
        Ok(if stands { None } else { Some(blame.unwrap_or_else(unknown)) })
    }
}

struct Check<'a> {
    core: &'a Core,
    state: std::sync::Arc<State>,
    watch: &'a Watch,
    opened: &'a Opened,
    sightings: Sightings,
    verified: Verified,
    now_ms: u64,
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
        self.both(name, fits, &mut |e| self.problem(&e))
    }

    /// The same; `wrong` is given what is wrong.
    fn both<T>(
        &self,
        name: &Name,
        fits: impl Fn(&[u8]) -> std::result::Result<T, FormatError>,
        wrong: &mut dyn FnMut(Error),
    ) -> Result<Option<T>> {
        self.watch.check()?;
        let store = &*self.core.store;
        let mut both = Fetched::of(store, [name.to_string(), name.copy()]);
        let mut read = |name: &str| both.read(store, name);
        twice::check(store, &mut read, name, self.core.mends(), fits, wrong)
    }

    /// Every object, and under its first name what has a second one; of that, what is there under its second name only
    /// has no size.
    fn list(&self) -> Result<Listing> {
        let mut listing = Listing::new();
        self.core.store.list(COPIES, &mut |text, _| {
            match Name::parse_copy(text) {
                // The log is walked by its numbers.
                Ok(Name::Log(_)) => {}
                Ok(name) => {
                    listing.insert(name, 0);
                }
                Err(_) => self.watch.problem(false, text, STRAY),
            }
            Ok(())
        })?;
        for kind in ObjectKind::ALL.iter().filter(|k| **k != ObjectKind::Config) {
            self.core.store.list(kind.word(), &mut |text, size| {
                match Name::parse(text) {
                    Ok(name) => {
                        listing.insert(name, size);
                    }
                    Err(_) => self.watch.problem(false, text, STRAY),
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
        let missing =
            self.state.credentials().keys().map(|id| Name::Key(*id)).filter(|name| !listing.contains_key(name));
        for name in missing {
            let message =
                "is on the list of credentials, and is under neither of its names: lost, or adding it was interrupted";
            self.watch.problem(false, name, message);
        }
        Ok(())
    }

    fn checkpoints(&self, listing: &Listing) -> Result<()> {
        for name in listing.keys().filter(|n| n.kind() == ObjectKind::Checkpoint) {
            // A trimmed log begins with one of the administrator, which is stored twice.
            let of_admin = |bytes: &[u8]| State::from_checkpoint(name, bytes, &self.core.config, None).map(drop);
            match self.read(name) {
                // Whether we believe its signer or not, its bytes are those that its name says; and it only saves time.
                Ok(bytes) if of_admin(&bytes).is_err() => {}
                _ => self.twice(name, of_admin).map(drop)?,
            }
        }
        let newest = self.state.n() - self.state.n() % CHECKPOINT_EVERY;
        let there = |n: u64| listing.keys().any(|name| matches!(name, Name::Checkpoint(m, _) if *m >= n));
        if newest > 0 && !there(newest) {
            let message = format!("none after entry {newest}: opening without a cache takes longer");
            self.watch.problem(false, "checkpoint", message);
        }
        Ok(())
    }

    /// No entry lies beyond the `last` that the log comes to.
    fn log_ends(&self, listing: &Listing, last: u64) -> Result<()> {
        for name in listing.keys() {
            if matches!(name, Name::Log(n) if *n > last) {
                self.tell::<()>(name, Err(Error::damaged(name, "lies beyond a missing entry of the log")))?;
            }
        }
        Ok(())
    }

    fn marks(&self, listing: &Listing) -> Result<()> {
        for name in listing.keys() {
            let Name::Trim(n) = name else { continue };
            self.twice(name, |bytes| trim::verify(*n, bytes, &self.core.config))?;
        }
        Ok(())
    }

    /// What is wrong with a snapshot is told, unless it was forgotten meanwhile.
    fn snapshot(&self, id: &SnapshotId) -> Result<()> {
        let (name, mut wrong) = (Name::Snapshot(*id), Vec::new());
        if self.both(&name, named(name), &mut |e| wrong.push(e))?.is_some() && !self.core.ring.read.is_empty() {
            wrong.extend(self.core.snapshot(id, &mut Fetched::default()).err());
        }
        if !wrong.is_empty() && self.core.log.catch_up()?.snapshots().contains_key(id) {
            wrong.into_iter().try_for_each(|e| self.tell::<()>(&name, Err(e)).map(drop))?;
        }
        Ok(())
    }

    fn snapshots(&self, listing: &Listing, stats: &mut CheckStats) -> Result<()> {
        for id in self.state.snapshots().keys() {
            stats.snapshots += 1;
            self.snapshot(id)?;
        }
        for name in listing.keys() {
            let Name::Snapshot(id) = name else { continue };
            if !self.state.snapshots().contains_key(id) {
                // Of a session that was interrupted before its commit: nobody relies on it.
                stats.unnamed += 1;
                match twice::read(&*self.core.store, name, named(*name)) {
                    Ok(_) => {}
                    Err(e) if e.is_of_bytes() => {
                        self.watch.problem(false, name, format!("{}; the log does not name it", e.message()));
                    }
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(())
    }
}
