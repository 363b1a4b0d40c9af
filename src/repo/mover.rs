//! A session that carries sealed frames, as they are, into packs of its own, and names packs in index objects of its own: what a prune
//! moves out of packs of which little is needed, and what a repair saves.
//!
//! Memory: two packs that are written, and an index object.

use repo_format::frame::{FrameHeader, Listed, Opener};
use repo_format::id::ChunkKind;
use repo_format::index::IndexBuilder;
use repo_format::log::Body;
use repo_format::log_state::State;
use repo_format::names::{IndexName, Name, PackClass, PackName};
use repo_format::pack::{PackBuilder, PackFrame};

use super::index::Index;
use super::packer::{INDEX_PACKS, room};
use super::session::{Adopts, Session};
use super::{Core, world};
use crate::error::{Error, Result};

/// Places in [`Mover::indexes`].
const WRITTEN: usize = 0;
const OTHERS: usize = 1;

/// Opens frames: nobody carries over what it has not seen. Needs *read*.
pub(super) struct Frames<'a> {
    core: &'a Core,
    opener: Opener,
}

impl<'a> Frames<'a> {
    pub fn new(core: &'a Core) -> Result<Frames<'a>> {
        Ok(Frames { core, opener: Opener::new()? })
    }

    /// What a frame holds: each chunk was compared with its id.
    pub fn open(&mut self, sealed: &[u8]) -> Result<(ChunkKind, Vec<Listed>)> {
        let head = FrameHeader::parse(sealed)?;
        let key = self.core.content_key(&head.session, &head.wrapped)?;
        let open = self.opener.open(&key, &self.core.ring.repo.chunk_id, sealed)?;
        Ok((open.kind(), open.list().to_vec()))
    }
}

/// What the session has in hand.
pub(super) struct Mover<'a> {
    core: &'a Core,
    session: Session,
    open: [PackBuilder; 2],
    /// Of packs that were written, and of packs of other sessions: who takes over a session that died takes over the first alone.
    indexes: [IndexBuilder; 2],
    written: Vec<IndexName>,
}

impl<'a> Mover<'a> {
    /// Opens a session. Needs *write*.
    pub fn start(core: &'a Core, adopts: Adopts) -> Result<Mover<'a>> {
        let session = Session::open(core, Some(Vec::new()), adopts)?;
        let open = [PackClass::Content, PackClass::Metadata].map(|class| PackBuilder::new(session.id(), class));
        let indexes = [IndexBuilder::new(), IndexBuilder::new()];
        Ok(Mover { core, session, open, indexes, written: Vec::new() })
    }

    /// Takes over what a session that died has named, and shows it to `index`.
    pub fn adopt(&mut self, index: &dyn Index) -> Result<()> {
        self.written.extend(self.session.adopt(self.core, index)?);
        Ok(())
    }

    /// Carries a frame.
    pub fn push(&mut self, sealed: &[u8], kind: ChunkKind, chunks: &[Listed]) -> Result<()> {
        let at = usize::from(PackClass::of(kind) == PackClass::Metadata);
        let pack = &self.open[at];
        if !pack.fits(sealed.len(), chunks.len(), room(pack, chunks.len(), self.core.config.pack_target)) {
            self.upload(at)?;
        }
        self.open[at].push(sealed, kind, chunks)?;
        Ok(())
    }

    fn upload(&mut self, at: usize) -> Result<()> {
        let empty = PackBuilder::new(self.session.id(), self.open[at].class());
        let pack = std::mem::replace(&mut self.open[at], empty);
        if pack.is_empty() {
            return Ok(());
        }
        let built = pack.finish(&self.core.ring.repo.index, &world::random()?)?;
        self.core.store.create(&Name::Pack(built.name).to_string(), &built.bytes)?;
        self.add(WRITTEN, &built.name, built.bytes.len(), &built.frames)
    }

    /// Names a pack of another session that the store has, of so many bytes.
    pub fn name(&mut self, pack: &PackName, bytes: usize, frames: &[PackFrame]) -> Result<()> {
        self.add(OTHERS, pack, bytes, frames)
    }

    fn add(&mut self, at: usize, pack: &PackName, bytes: usize, frames: &[PackFrame]) -> Result<()> {
        let chunks = frames.iter().map(|frame| frame.chunks.len()).sum();
        if !self.indexes[at].fits(chunks) || self.indexes[at].packs() >= INDEX_PACKS {
            self.write_index(at)?;
        }
        let size = u32::try_from(bytes).map_err(|_| Error::damaged(pack, "is too long"))?;
        Ok(self.indexes[at].add(*pack, size, frames)?)
    }

    fn write_index(&mut self, at: usize) -> Result<()> {
        let builder = std::mem::take(&mut self.indexes[at]);
        if !builder.is_empty() {
            self.written.push(self.core.write_index(&self.session.id(), builder, None)?);
        }
        Ok(())
    }

    /// Ends the session: from now on what it carried and named counts, in place of those index objects that `replaces` gives.
    pub fn commit(mut self, replaces: &mut dyn FnMut(&State) -> Vec<IndexName>) -> Result<()> {
        self.upload(0)?;
        self.upload(1)?;
        self.write_index(WRITTEN)?;
        self.write_index(OTHERS)?;
        self.written.sort_unstable();
        self.written.dedup();
        let (session, indexes) = (self.session.id(), self.written);
        self.core.append(self.core.sign_key()?, &mut |state| {
            Ok(Body::Commit { session, snapshot: None, indexes: indexes.clone(), replaces: replaces(state) })
        })?;
        self.session.forget(self.core);
        Ok(())
    }
}
