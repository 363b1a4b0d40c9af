//! Packs of which little is needed are emptied: what is needed moves into packs of one's own, frame by frame, sealed as it is.

use std::collections::BTreeSet;

use repo_format::names::{PackClass, PackName};
use repo_format::pack::{PackFrame, open_pack};

use super::carry::Done;
use super::survey::{Held, Survey, split};
use crate::error::{Error, Result};
use crate::repo::mover::{Frames, Mover};
use crate::repo::packer::target;
use crate::repo::session::Adopts;
use crate::repo::{Core, Repo};
use crate::watch::Watch;

/// A pack is small below this part of what a pack of its class has.
const SMALL_PART: u64 = 8;
/// So many small ones are moved together, and not fewer.
const SMALL_ONES: usize = 16;

/// How much is moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Of what is needed, the part that may lie beside it unneeded in the same packs: 0.05 is 5 %.
    pub unused: f64,
    /// Bytes that are moved at most.
    pub moved: u64,
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
        for class in PackClass::ALL {
            self.choose_small(class, limits.moved.saturating_sub(moved), &mut chosen);
        }
        chosen
    }

    /// Adds the packs that are small, where there are many of them.
    fn choose_small(&self, class: PackClass, mut left: u64, chosen: &mut Vec<PackName>) {
        let small = u64::from(target(self.pack_target, class)) / SMALL_PART;
        let before: BTreeSet<PackName> = chosen.iter().copied().collect();
        let is_small = |(pack, size): &(PackName, u64), held: &Held| {
            pack.class == class
                && *size <= small
                && held.needed > 0
                && !self.state.condemned().contains_key(pack)
                && !self.state.spared(&pack.session)
                && !before.contains(pack)
        };
        let all: Vec<_> = self.packs.iter().zip(&self.held).filter(|(pack, held)| is_small(pack, held)).collect();
        if all.len() < SMALL_ONES {
            return;
        }
        for ((pack, _), held) in all {
            if held.needed > left {
                return;
            }
            left -= held.needed;
            chosen.push(*pack);
        }
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
        let core = &*self.core;
        let (mut mover, mut opened) = (Mover::start(core, Adopts::None)?, Frames::new(core)?);
        for pack in packs {
            watch.check()?;
            let bytes = core.store.read(&pack.to_string());
            let needed = survey.frames_of(pack)?;
            let whole = bytes.and_then(|bytes| Ok((verified(core, &mut opened, pack, &bytes, &needed)?, bytes)));
            match whole {
                Ok((frames, bytes)) => {
                    for frame in frames {
                        done.bytes_moved += u64::from(frame.length);
                        let sealed = bytes.get(frame.offset as usize..(frame.offset + frame.length) as usize);
                        let cut = || Error::damaged("frame", "lies beyond the end of its pack");
                        mover.push(sealed.ok_or_else(cut)?, frame.kind, &frame.chunks)?;
                    }
                    done.packs_emptied += 1;
                }
                Err(e) if e.is_of_bytes() => watch.problem(true, e.subject(), e.message()),
                Err(e) => return Err(e),
            }
        }
        mover.commit(&mut |_| Vec::new())
    }
}

/// Those frames of a pack, each opened: nobody carries over what it has not seen.
pub(super) fn verified(
    core: &Core,
    opened: &mut Frames<'_>,
    pack: &PackName,
    bytes: &[u8],
    needed: &[(u32, u32)],
) -> Result<Vec<PackFrame>> {
    let listed = open_pack(pack, bytes, &core.ring.repo.index).map_err(|e| Error::from(e).within(pack))?;
    let mut frames = Vec::new();
    for (offset, length) in needed {
        let here = |message: &str| Error::damaged(pack, format!("frame at {offset}: {message}"));
        let frame = listed.iter().find(|frame| (frame.offset, frame.length) == (*offset, *length));
        let frame = frame.ok_or_else(|| here("is not what an index object says"))?;
        let sealed = bytes.get(*offset as usize..(offset + length) as usize).ok_or_else(|| here("is cut"))?;
        let (kind, chunks) = match opened.open(sealed) {
            Err(e) if e.is_of_bytes() => return Err(here(e.message())),
            other => other?,
        };
        if (kind, &chunks) != (frame.kind, &frame.chunks) {
            return Err(here("does not hold what its pack says"));
        }
        frames.push(frame.clone());
    }
    Ok(frames)
}
