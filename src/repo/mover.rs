//! A session that carries sealed frames, as they are, into packs of its own, or chunks of frames, sealed anew; and names packs in index
//! objects of its own: what a prune moves out of packs of which little is needed, and what a repair saves.
//!
//! Memory: two packs that are written, an open frame of each kind, and an index object.

use repo_format::frame::{FrameHeader, FramePlain, Listed, Opener, Sealer};
use repo_format::id::{ChunkId, ChunkKind};
use repo_format::index::IndexBuilder;
use repo_format::log_state::State;
use repo_format::names::{IndexName, Name, PackClass, PackName};
use repo_format::pack::{BuiltPack, PackBuilder, PackFrame};

use super::index::Index;
use super::packer::{INDEX_PACKS, room};
use super::session::{Adopts, Session};
use super::{Core, WriteOptions, world};
use crate::error::{Error, Kind, Result};

/// Places in [`Mover::indexes`].
const WRITTEN: usize = 0;
const OTHERS: usize = 1;

/// Takes a chunk: which it is of its frame, its id, its plaintext.
pub(super) type Show<'s> = dyn FnMut(usize, ChunkId, &[u8]) -> Result<()> + 's;

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
        self.open_each(sealed, &mut |_, _, _| Ok(()))
    }

    /// The same, and shows each chunk: which it is of the frame, its id and its plaintext.
    pub fn open_each(&mut self, sealed: &[u8], show: &mut Show<'_>) -> Result<(ChunkKind, Vec<Listed>)> {
        let head = FrameHeader::parse(sealed)?;
        let key = self.core.content_key(&head.session, &head.wrapped)?;
        let open = self.opener.open(&key, &self.core.ring.repo.chunk_id, sealed)?;
        open.chunks().enumerate().try_for_each(|(at, (id, plain))| show(at, id, plain))?;
        Ok((open.kind(), open.list().to_vec()))
    }
}

/// What the session has in hand.
pub(super) struct Mover<'a> {
    /// Where it carries.
    pub core: &'a Core,
    session: Session,
    sealer: Sealer,
    opener: Opener,
    /// Of each kind, chunks that are sealed anew.
    frames: [FramePlain; ChunkKind::ALL.len()],
    open: [PackBuilder; 2],
    /// Of packs that were written, and of packs of other sessions: who takes over a session that died takes over the first alone.
    indexes: [IndexBuilder; 2],
    written: Vec<IndexName>,
    /// Packs of other sessions that it names.
    named: Vec<PackName>,
}

impl<'a> Mover<'a> {
    /// Opens a session. Needs *write*.
    pub fn start(core: &'a Core, adopts: Adopts) -> Result<Mover<'a>> {
        let session = Session::open(core, Some(Vec::new()), adopts)?;
        let open = [PackClass::Content, PackClass::Metadata].map(|class| PackBuilder::new(session.id(), class));
        let indexes = [IndexBuilder::new(), IndexBuilder::new()];
        let frames = ChunkKind::ALL.map(FramePlain::new);
        let (sealer, opener) = (Sealer::new(WriteOptions::default().level)?, Opener::new()?);
        Ok(Mover { core, session, sealer, opener, frames, open, indexes, written: Vec::new(), named: Vec::new() })
    }

    /// Takes over what a session that died has named, and shows it to `index`.
    pub fn adopt(&mut self, index: &dyn Index) -> Result<()> {
        self.written.extend(self.session.adopt(self.core, index)?);
        Ok(())
    }

    /// Carries a chunk, which was opened and compared with its id, in a frame with others.
    pub fn chunk(&mut self, kind: ChunkKind, id: ChunkId, plain: &[u8]) -> Result<()> {
        let frame = &mut self.frames[kind as usize - 1];
        frame.push(id, plain)?;
        match frame.is_full(self.core.config.frame_target) {
            true => self.seal(kind),
            false => Ok(()),
        }
    }

    /// Seals the open frame of a kind, opens what was built and compares.
    fn seal(&mut self, kind: ChunkKind) -> Result<()> {
        let plain = std::mem::replace(&mut self.frames[kind as usize - 1], FramePlain::new(kind));
        if plain.is_empty() {
            return Ok(());
        }
        let (key, mut sealed) = (&self.session.key, Vec::new());
        self.sealer.seal(key, &world::random()?, &plain, &mut sealed)?;
        self.opener.verify(&key.content, &plain, &sealed)?;
        self.push(&sealed, kind, plain.list())
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
        let BuiltPack { name, bytes, frames } = pack.finish(&self.core.ring.repo.index, &world::random()?)?;
        let len = bytes.len();
        self.core.store.create(&Name::Pack(name).to_string(), bytes.into())?;
        self.add(WRITTEN, &name, len, &frames)
    }

    /// Names a pack of another session that the store has, of so many bytes.
    pub fn name(&mut self, pack: &PackName, bytes: usize, frames: &[PackFrame]) -> Result<()> {
        self.named.push(*pack);
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
    ///
    /// Errors: `Busy` where somebody condemned a pack that it names meanwhile, and so takes it away.
    pub fn commit(mut self, replaces: &mut dyn FnMut(&State) -> Vec<IndexName>) -> Result<()> {
        ChunkKind::ALL.into_iter().try_for_each(|kind| self.seal(kind))?;
        self.upload(0)?;
        self.upload(1)?;
        self.write_index(WRITTEN)?;
        self.write_index(OTHERS)?;
        let named = self.named;
        self.session.end(self.core, self.written, &mut |state| {
            // What is condemned stays on the list as long as this session is open.
            match named.iter().find(|pack| state.condemned().contains_key(*pack)) {
                None => Ok(replaces(state)),
                Some(pack) => Err(Error::new(Kind::Busy, pack, "was condemned while an index object was to name it")
                    .hint("run the command again: what was carried is used again")),
            }
        })
    }
}
