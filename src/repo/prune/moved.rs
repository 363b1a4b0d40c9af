//! Packs of which little is needed are emptied: what is needed moves into packs of one's own. A frame moves sealed as it is where all of
//! it is needed; of others the chunks that are needed are sealed anew, together.

use std::collections::BTreeSet;

use repo_format::names::{PackClass, PackName};
use repo_format::pack::{PackFrame, open_pack};

use super::MEANWHILE;
use super::carry::Done;
use super::survey::{Held, Need, Survey};
use crate::error::{Error, Kind, Result};
use crate::repo::mover::{Frames, Mover};
use crate::repo::packer::target;
use crate::repo::session::Adopts;
use crate::repo::{Core, Repo};
use crate::watch::Watch;

/// A pack is small below this part of what a pack of its class has.
const SMALL_PART: u64 = 8;
/// So many small ones are moved together, and not fewer.
const SMALL_ONES: usize = 16;

/// What is moved is committed after so many bytes.
const STEP: u64 = 512 << 20;

/// How much is moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Of what is needed, the part that may lie beside it unneeded in the same packs: 0.05 is 5 %.
    pub unused: f64,
    /// Bytes that are moved at most.
    pub moved: u64,
}

impl Default for Limits {
    /// With what pads packs and what may lie beside, 4 % more is stored than is needed.
    fn default() -> Limits {
        Limits { unused: 0.03, moved: u64::MAX }
    }
}

/// A frame, and which of its chunks are needed, ascending.
struct Wanted {
    offset: u32,
    length: u32,
    positions: Vec<u16>,
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

    /// The frames of a pack of which something is needed.
    fn frames_of(&self, pack: &PackName) -> Result<Vec<Wanted>> {
        let Some(number) = self.number(pack).and_then(|at| u32::try_from(at).ok()) else { return Ok(Vec::new()) };
        let mut frames: Vec<Wanted> = Vec::new();
        self.needs.finder().find(&number.to_be_bytes(), &mut |need| {
            let Need { offset, length, position, .. } = Need::of(need);
            match frames.last_mut().filter(|last| (last.offset, last.length) == (offset, length)) {
                // Index objects may differ in what else they name of the frame.
                Some(last) if last.positions.last() == Some(&position) => {}
                Some(last) => last.positions.push(position),
                None => frames.push(Wanted { offset, length, positions: vec![position] }),
            }
            Ok(())
        })?;
        Ok(frames)
    }
}

impl Repo {
    /// Moves what is needed out of these packs, and commits that, step by step: what was moved before the work is ended counts. They
    /// are not condemned yet: a new survey says which can be. A pack that is damaged is left alone, and told to `watch`. Needs *write* and
    /// *read*.
    ///
    /// Memory: one pack that is read, and what [`Mover`] states.
    pub fn empty(&self, survey: &Survey, packs: &[PackName], watch: &Watch, done: &mut Done) -> Result<()> {
        let (core, mut left, mut went) = (&*self.core, packs.iter().peekable(), Ok(()));
        let mut opened = Frames::new(core)?;
        while went.is_ok() && left.peek().is_some() {
            let (mut mover, until) = (Mover::start(core, Adopts::None)?, done.bytes_moved + STEP);
            while done.bytes_moved < until
                && went.is_ok()
                && let Some(pack) = left.next()
            {
                let mut emptied = || empty_one(survey, pack, &mut mover, &mut opened, watch, done);
                went = watch.check().and_then(|()| emptied());
            }
            // A store that is full or away takes no commit either.
            went = match went {
                Err(e) if matches!(e.kind(), Kind::Full | Kind::Io) => Err(e),
                other => other.and(mover.commit(&mut |_| Vec::new())),
            };
        }
        went
    }
}

/// Moves what is needed out of a pack.
fn empty_one(
    survey: &Survey,
    pack: &PackName,
    mover: &mut Mover<'_>,
    opened: &mut Frames<'_>,
    watch: &Watch,
    done: &mut Done,
) -> Result<()> {
    let core = mover.core;
    let wanted = survey.frames_of(pack)?;
    let places: Vec<(u32, u32)> = wanted.iter().map(|frame| (frame.offset, frame.length)).collect();
    let bytes = core.store.read(&pack.to_string());
    match bytes.and_then(|bytes| Ok((verified(core, opened, pack, &bytes, Some(&places))?, bytes))) {
        Ok((frames, bytes)) => {
            for (frame, Wanted { positions, .. }) in frames.iter().zip(&wanted) {
                done.bytes_moved += take(mover, opened, &bytes, frame, positions)?;
            }
            done.packs_emptied += 1;
        }
        Err(e) if e.is_of_bytes() => watch.problem(true, e.subject(), e.message()),
        // It was there a moment ago.
        Err(e) if e.kind() == Kind::NotFound => return Err(Error::new(Kind::Busy, core.store.place(), MEANWHILE)),
        Err(e) => return Err(e),
    }
    Ok(())
}

/// Carries a frame of a pack, or these chunks of it. The bytes that it comes to, roughly.
fn take(
    mover: &mut Mover<'_>,
    opened: &mut Frames<'_>,
    pack: &[u8],
    frame: &PackFrame,
    positions: &[u16],
) -> Result<u64> {
    let sealed = pack.get(frame.offset as usize..(frame.offset + frame.length) as usize);
    let sealed = sealed.ok_or_else(|| Error::damaged("frame", "lies beyond the end of its pack"))?;
    if positions.len() == frame.chunks.len() {
        mover.push(sealed, frame.kind, &frame.chunks)?;
        return Ok(u64::from(frame.length));
    }
    let mut plain = 0;
    opened.open_each(sealed, &mut |at, id, chunk| {
        let is_needed = u16::try_from(at).is_ok_and(|at| positions.binary_search(&at).is_ok());
        if is_needed {
            plain += chunk.len() as u64;
            mover.chunk(frame.kind, id, chunk)?;
        }
        Ok(())
    })?;
    let all: u64 = frame.chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
    Ok(u64::from(frame.length) * plain / all.max(1))
}

/// These frames of a pack, or all of them, each opened: nobody carries over what it has not seen.
pub(super) fn verified(
    core: &Core,
    opened: &mut Frames<'_>,
    pack: &PackName,
    bytes: &[u8],
    needed: Option<&[(u32, u32)]>,
) -> Result<Vec<PackFrame>> {
    let listed = open_pack(pack, bytes, &core.ring.repo.index).map_err(|e| Error::from(e).within(pack))?;
    let here = |offset: u32, message: &str| Error::damaged(pack, format!("frame at {offset}: {message}"));
    let find = |(offset, length): &(u32, u32)| {
        let frame = listed.iter().find(|frame| (frame.offset, frame.length) == (*offset, *length));
        frame.cloned().ok_or_else(|| here(*offset, "is not what an index object says"))
    };
    let frames = match needed {
        Some(needed) => needed.iter().map(find).collect::<Result<Vec<_>>>()?,
        None => listed,
    };
    for frame in &frames {
        let here = |message: &str| here(frame.offset, message);
        let range = frame.offset as usize..(frame.offset + frame.length) as usize;
        let sealed = bytes.get(range).ok_or_else(|| here("is cut"))?;
        let (kind, chunks) = match opened.open(sealed) {
            Err(e) if e.is_of_bytes() => return Err(here(e.message())),
            other => other?,
        };
        if (kind, &chunks) != (frame.kind, &frame.chunks) {
            return Err(here("does not hold what its pack says"));
        }
    }
    Ok(frames)
}
