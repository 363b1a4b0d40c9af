//! Packs of which little is needed are emptied: what is needed moves into packs of one's own, frame by frame, sealed as it is.

use repo_format::frame::{FrameHeader, Opener};
use repo_format::index::IndexBuilder;
use repo_format::log::Body;
use repo_format::names::{IndexName, Name, PackClass, PackName};
use repo_format::pack::{PackBuilder, PackFrame, open_pack};

use super::carry::Done;
use super::survey::{Held, Survey, split};
use crate::error::{Error, Result};
use crate::repo::packer::{INDEX_PACKS, room};
use crate::repo::session::{Adopts, Session};
use crate::repo::{Core, Repo, world};
use crate::watch::Watch;

/// How much is moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Of what is needed, the part that may lie beside it unneeded in the same packs: 0.05 is 5 %.
    pub unused: f64,
    /// Bytes that are moved at most.
    pub moved: u64,
}

/// What a session that moves frames has in hand.
struct Mover<'a> {
    core: &'a Core,
    session: Session,
    opener: Opener,
    open: [PackBuilder; 2],
    index: IndexBuilder,
    written: Vec<IndexName>,
}

impl Survey {
    /// Packs that are worth emptying, those with the most of what nobody needs first.
    pub fn worth_emptying(&self, limits: Limits) -> Vec<PackName> {
        let may = |pack: &PackName, held: &Held| {
            held.needed > 0
                && held.named > held.needed
                && !self.state.condemned().contains_key(pack)
                && !self.state.spared(&pack.session)
        };
        let all = self.packs.iter().zip(&self.held).filter(|((pack, _), held)| may(pack, held));
        let mut all: Vec<(&PackName, &Held)> = all.map(|((pack, _), held)| (pack, held)).collect();
        let part = |held: &Held| (held.named - held.needed) as f64 / held.named as f64;
        all.sort_by(|a, b| part(b.1).total_cmp(&part(a.1)).then(a.0.cmp(b.0)));
        let mut unused: u64 = all.iter().map(|(_, held)| held.named - held.needed).sum();
        let allowed = (limits.unused * self.needed_bytes() as f64) as u64;
        let mut moved = 0;
        let mut chosen = Vec::new();
        for (pack, held) in all {
            if unused <= allowed || moved + held.needed > limits.moved {
                break;
            }
            unused -= held.named - held.needed;
            moved += held.needed;
            chosen.push(*pack);
        }
        chosen
    }

    /// Bytes of frames that nobody needs in packs of which others are needed, and bytes that emptying `packs` would move.
    pub fn partly(&self, packs: &[PackName]) -> (u64, u64) {
        let unused = self.held.iter().filter(|held| held.needed > 0).map(|held| held.named.saturating_sub(held.needed));
        let moved = packs.iter().filter_map(|pack| Some(self.held[self.number(pack)?].needed));
        (unused.sum(), moved.sum())
    }

    /// The frames of a pack that are needed: offset and length.
    fn frames_of(&self, pack: &PackName) -> Result<Vec<(u32, u32)>> {
        let Some(number) = self.number(pack).and_then(|at| u32::try_from(at).ok()) else { return Ok(Vec::new()) };
        let mut frames = Vec::new();
        self.frames.finder().find(&number.to_be_bytes(), &mut |frame| {
            let (_, offset, length) = split(frame);
            frames.push((offset, length));
            Ok(())
        })?;
        Ok(frames)
    }
}

impl Repo {
    /// Moves what is needed out of these packs, and commits that. They are not condemned yet: a new survey says which can be.
    /// A pack that is damaged is left alone, and told to `watch`. Needs *write* and *read*.
    ///
    /// Memory: one pack that is read, two that are written.
    pub fn empty(&self, survey: &Survey, packs: &[PackName], watch: &Watch, done: &mut Done) -> Result<()> {
        if packs.is_empty() {
            return Ok(());
        }
        let core = &self.core;
        let session = Session::open(core, Some(Vec::new()), Adopts::None)?;
        let open = [PackClass::Content, PackClass::Metadata].map(|class| PackBuilder::new(session.id(), class));
        let (opener, index) = (Opener::new()?, IndexBuilder::new());
        let mut mover = Mover { core, session, opener, open, index, written: Vec::new() };
        for pack in packs {
            watch.check()?;
            let bytes = core.store.read(&pack.to_string());
            let whole = bytes.and_then(|bytes| Ok((mover.verified(pack, &bytes, &survey.frames_of(pack)?)?, bytes)));
            match whole {
                Ok((frames, bytes)) => {
                    for frame in frames {
                        done.bytes_moved += u64::from(frame.length);
                        mover.push(&bytes, &frame)?;
                    }
                    done.packs_emptied += 1;
                }
                Err(e) if e.is_of_bytes() => watch.problem(true, e.subject(), e.message()),
                Err(e) => return Err(e),
            }
        }
        mover.commit()
    }
}

impl Mover<'_> {
    /// The frames of a pack that are needed, each opened: nobody carries over what it has not seen.
    fn verified(&mut self, pack: &PackName, bytes: &[u8], needed: &[(u32, u32)]) -> Result<Vec<PackFrame>> {
        let ring = &self.core.ring;
        let listed = open_pack(pack, bytes, &ring.repo.index).map_err(|e| Error::from(e).within(pack))?;
        let mut frames = Vec::new();
        for (offset, length) in needed {
            let here = |message: &str| Error::damaged(pack, format!("frame at {offset}: {message}"));
            let frame = listed.iter().find(|frame| (frame.offset, frame.length) == (*offset, *length));
            let frame = frame.ok_or_else(|| here("is not what an index object says"))?;
            let sealed = bytes.get(*offset as usize..(offset + length) as usize).ok_or_else(|| here("is cut"))?;
            let head = FrameHeader::parse(sealed).map_err(|e| here(&e.to_string()))?;
            let key = self.core.content_key(&head.session, &head.wrapped)?;
            let open = self.opener.open(&key, &ring.repo.chunk_id, sealed).map_err(|e| here(&e.to_string()))?;
            if open.kind() != frame.kind || open.list() != frame.chunks {
                return Err(here("does not hold what its pack says"));
            }
            frames.push(frame.clone());
        }
        Ok(frames)
    }

    fn push(&mut self, bytes: &[u8], frame: &PackFrame) -> Result<()> {
        let at = usize::from(PackClass::of(frame.kind) == PackClass::Metadata);
        let (length, chunks) = (frame.length as usize, frame.chunks.len());
        let pack = &self.open[at];
        if !pack.fits(length, chunks, room(pack, chunks, self.core.config.pack_target)) {
            self.upload(at)?;
        }
        let sealed = bytes.get(frame.offset as usize..frame.offset as usize + length);
        let sealed = sealed.ok_or_else(|| Error::damaged("frame", "lies beyond the end of its pack"))?;
        self.open[at].push(sealed, frame.kind, &frame.chunks)?;
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
        let chunks = built.frames.iter().map(|frame| frame.chunks.len()).sum();
        if !self.index.fits(chunks) || self.index.packs() >= INDEX_PACKS {
            self.write_index()?;
        }
        let size = u32::try_from(built.bytes.len()).map_err(|_| Error::damaged(built.name, "is too long"))?;
        Ok(self.index.add(built.name, size, &built.frames)?)
    }

    fn write_index(&mut self) -> Result<()> {
        let builder = std::mem::take(&mut self.index);
        if !builder.is_empty() {
            self.written.push(self.core.write_index(&self.session.id(), builder, None)?);
        }
        Ok(())
    }

    fn commit(mut self) -> Result<()> {
        self.upload(0)?;
        self.upload(1)?;
        self.write_index()?;
        self.written.sort_unstable();
        let (session, indexes) = (self.session.id(), self.written);
        self.core.append(self.core.sign_key()?, &mut |_| {
            Ok(Body::Commit { session, snapshot: None, indexes: indexes.clone(), replaces: Vec::new() })
        })?;
        self.session.forget(self.core);
        Ok(())
    }
}
