//! Makes good what the store itself still has (SPEC "Repairing"): packs that no index object names are named again, and frames of
//! damaged packs that still open are carried into new packs, sealed as they are. What is lost is declared lost. Nothing is
//! deleted.
//!
//! Each pack is judged by its own bytes, and nothing is carried or named that was not opened. Several repairs at once carry some
//! frames twice; one that dies leaves an open session, as a backup does, which the next takes over.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use repo_format::credential::Sets;
use repo_format::frame::{FrameHeader, Listed};
use repo_format::id::{ChunkId, ChunkKind};
use repo_format::log_state::State;
use repo_format::names::{IndexName, Name, ObjectKind, PackName};
use repo_format::pack::{open_pack, salvage};

use super::check::Examined;
use super::claim::Claim;
use super::index::Index;
use super::index_memory::MemoryIndex;
use super::locate::Purpose;
use super::mover::{Frames, Mover};
use super::session::Adopts;
use super::{Core, Repo};
use crate::error::{Kind, Result};
use crate::watch::Watch;

/// What was done; of a dry run what would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Mended {
    /// Whole packs that no index object named any more, and one does now.
    pub packs_named: u64,
    /// Damaged packs out of which something was saved.
    pub packs_saved: u64,
    /// Frames that were saved, because something in them lay nowhere else.
    pub frames_saved: u64,
    /// Their bytes.
    pub bytes_saved: u64,
    /// Index objects that could not be read, and were replaced.
    pub indexes_replaced: u64,
    /// Packs that are missing or damaged: declared lost, unless that was said before.
    pub packs_lost: u64,
}

/// A frame that opens: its bytes, and what it holds.
type Saved<'b> = (&'b [u8], ChunkKind, Vec<Listed>);

struct Work<'a> {
    core: &'a Core,
    state: Arc<State>,
    examined: &'a Examined,
    dry_run: bool,
    index: Arc<dyn Index>,
    /// What a repair that died has named.
    adopted: MemoryIndex,
    frames: Frames<'a>,
    /// From when there is something to do.
    mover: Option<Mover<'a>>,
    /// Chunks that were carried or named.
    done: HashSet<ChunkId>,
    mended: Mended,
    /// Packs of which nobody should say that they are lost: they cannot be read now, or not by this credential.
    unread: BTreeSet<PackName>,
}

impl Repo {
    /// Saves what can be saved of what `examined` found wrong, and declares lost what is. Needs *read*, and *write* but for a dry
    /// run. Memory: a pack, what [`super::mover`] states, 32 bytes for each chunk that is carried or named.
    ///
    /// Errors: the log cannot be read to its end; an entry could not be written. What was carried by then is used by the next run.
    pub fn mend(&self, examined: &Examined, dry_run: bool, watch: &Watch) -> Result<Mended> {
        self.needs(Sets::READ)?;
        let state = self.refresh()?;
        if !dry_run {
            self.needs(Sets::WRITE)?;
            if let Some(stopped) = self.stopped() {
                return Err(stopped.within("nothing can be repaired before the log is whole"));
            }
        }
        let core = &*self.core;
        let mut work = Work {
            core,
            state,
            examined,
            dry_run,
            index: core.index(Purpose::Read)?,
            adopted: MemoryIndex::new(),
            frames: Frames::new(core)?,
            mover: None,
            done: HashSet::new(),
            mended: Mended::default(),
            unread: BTreeSet::new(),
        };
        for pack in work.candidates()? {
            watch.check()?;
            work.pack(&pack, watch)?;
        }
        let (mut mended, unread) = work.end()?;
        let lost: BTreeSet<PackName> = examined.wrong.difference(&unread).copied().collect();
        mended.packs_lost = lost.len() as u64;
        if !dry_run {
            core.declare_lost(&examined.sightings, &lost, examined.named.len(), true)?;
        }
        Ok(mended)
    }
}

impl<'a> Work<'a> {
    /// Packs in the store that are damaged, or that nothing names though their sessions have ended.
    fn candidates(&self) -> Result<Vec<PackName>> {
        let mut found = Vec::new();
        let (state, examined) = (&self.state, self.examined);
        self.core.store.list(ObjectKind::Pack.word(), &mut |text, _| {
            if let Ok(Name::Pack(pack)) = Name::parse(text) {
                let damaged = examined.wrong.contains(&pack);
                let nameless = !self.is_named(&pack) && !state.spared(&pack.session);
                if (damaged || nameless) && !state.condemned().contains_key(&pack) {
                    found.push(pack);
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Whether somebody who is to be believed names the pack. Where an index object is lost, nobody knows who relied on it, and for
    /// which packs: then each must be named by one that is trusted.
    fn is_named(&self, pack: &PackName) -> bool {
        let least = if self.examined.unsound.indexes.is_empty() { Claim::OfOwner } else { Claim::Trusted };
        self.examined.named.get(pack).is_some_and(|claim| *claim >= least)
    }

    fn pack(&mut self, pack: &PackName, watch: &Watch) -> Result<()> {
        let bytes = match self.core.store.read(&pack.to_string()) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == Kind::NotFound => return Ok(()),
            Err(e) if e.is_of_bytes() || e.kind() == Kind::Io => {
                watch.problem(true, pack, format!("cannot be read now, and is left as it is: {}", e.message()));
                self.unread.insert(*pack);
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        watch.advance(bytes.len() as u64);
        if !self.is_named(pack) && self.name(pack, &bytes)? {
            return Ok(());
        }
        let mut found = Vec::new();
        let mut closed = None;
        let (frames, state) = (&mut self.frames, &self.state);
        salvage(&bytes, &mut |_, sealed| match frames.open(sealed) {
            Ok((kind, chunks)) => {
                found.push((sealed, kind, chunks));
                true
            }
            Err(e) => {
                let epoch = FrameHeader::parse(sealed).map(|head| head.wrapped.epoch);
                if e.kind() == Kind::Denied && epoch.is_ok_and(|epoch| state.content_of(epoch).is_some()) {
                    closed = Some(e);
                }
                false
            }
        });
        if let Some(e) = closed {
            watch.problem(true, pack, format!("is left as it is: {}", e.message()));
            self.unread.insert(*pack);
        }
        self.save(found)
    }

    /// Names a pack that is whole, if it is.
    fn name(&mut self, pack: &PackName, bytes: &[u8]) -> Result<bool> {
        let Ok(listed) = open_pack(pack, bytes, &self.core.ring.repo.index) else { return Ok(false) };
        for frame in &listed {
            let sealed = &bytes[frame.offset as usize..(frame.offset + frame.length) as usize];
            match self.frames.open(sealed) {
                Ok((kind, chunks)) if kind == frame.kind && chunks == frame.chunks => {}
                Err(e) if !e.is_of_bytes() => return Err(e),
                _ => return Ok(false),
            }
        }
        let is_first = self.mover.is_none();
        self.begin()?;
        // Who condemned it takes it away, or has done so since it was read, and nobody must name it then.
        if self.state.condemned().contains_key(pack) || is_first && self.is_gone(pack)? {
            return Ok(true);
        }
        let mut is_named = false;
        self.adopted.packs(&mut |_, adopted, _| is_named |= adopted == pack)?;
        if let (Some(mover), false) = (&mut self.mover, is_named) {
            mover.name(pack, bytes.len(), &listed)?;
        }
        self.done.extend(listed.iter().flat_map(|frame| &frame.chunks).map(|chunk| chunk.id));
        self.mended.packs_named += 1;
        Ok(true)
    }

    fn is_gone(&self, pack: &PackName) -> Result<bool> {
        match self.core.store.read_range(&pack.to_string(), 0..1) {
            Err(e) if e.kind() == Kind::NotFound => Ok(true),
            Err(e) => Err(e),
            Ok(_) => Ok(false),
        }
    }

    /// Carries the frames in which anything lies that lies nowhere else.
    fn save(&mut self, found: Vec<Saved<'_>>) -> Result<()> {
        let before = self.mended.frames_saved;
        for (sealed, kind, chunks) in found {
            if self.all_stand(&chunks)? {
                continue;
            }
            self.begin()?;
            // What a repair that died has carried is known from now on.
            if self.all_stand(&chunks)? {
                continue;
            }
            if let Some(mover) = &mut self.mover {
                mover.push(sealed, kind, &chunks)?;
            }
            self.done.extend(chunks.iter().map(|chunk| chunk.id));
            self.mended.frames_saved += 1;
            self.mended.bytes_saved += sealed.len() as u64;
        }
        self.mended.packs_saved += u64::from(self.mended.frames_saved > before);
        Ok(())
    }

    /// Whether each of the chunks lies where readers and writers can rely on it.
    fn all_stand(&self, chunks: &[Listed]) -> Result<bool> {
        for Listed { id, .. } in chunks {
            let stands = self.done.contains(id)
                || self.adopted.find(id, &mut |_| true)?
                || self.index.find(id, &mut |place| {
                    self.core.trusts(&self.state, &place.source)
                        && !self.examined.wrong.contains(&place.pack)
                        && self.examined.unsound.stands(&place, &self.state)
                        && self.state.usable(&place.pack, place.offset)
                })?;
            if !stands {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Opens the session when it is first needed; of a dry run none.
    fn begin(&mut self) -> Result<()> {
        if self.mover.is_none() && !self.dry_run {
            let mut mover = Mover::start(self.core, Adopts::Dead)?;
            mover.adopt(&self.adopted)?;
            self.mover = Some(mover);
            // What is condemned from now on stays on the log's list as long as this session is open.
            self.state = self.core.log.state();
        }
        Ok(())
    }

    /// Commits what was carried and named, in place of index objects that cannot be read.
    fn end(mut self) -> Result<(Mended, BTreeSet<PackName>)> {
        let core = self.core;
        let own = core.own();
        let dead = self.examined.unsound.indexes.clone();
        let replaced = move |state: &State| -> Vec<IndexName> {
            let vouches = core.vouches(state);
            let standing = state.indexes().iter().filter(|(name, _)| dead.contains(*name));
            standing.filter(|(_, index)| vouches || Some(index.writer) == own).map(|(name, _)| *name).collect()
        };
        self.mended.indexes_replaced = replaced(&self.state).len() as u64;
        if self.mended.indexes_replaced > 0 {
            self.begin()?;
        }
        if let Some(mover) = self.mover.take() {
            mover.commit(&mut |state| replaced(state))?;
            self.core.remember(&self.core.log.state());
        }
        Ok((self.mended, self.unread))
    }
}
