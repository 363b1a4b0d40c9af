//! What a night's shard stands on: the view before, as an earlier snapshot stored it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;

use super::Attempt;
use crate::backup::previous::{Earlier, Previous};
use crate::backup::seen::{self, Keys};
use crate::engine::{KeyRange, NodeParts, Part, Shard, Without};
use crate::error::{Error, Kind, Result};
use crate::merge::{Before, BeforeRun, Known, Owned, Rule, ahead};
use crate::run::{ChunkSource, Reached, RecordBatch, Run};
use crate::tree::{Root, TreeRun, reach, stack};

/// So many layers lie above a base, at most.
pub const LAYERS_MAX: usize = 6;

/// What lies below tonight's layer.
pub struct Below<'a> {
    /// All that the view before lies in: a base, and the layers above it.
    pub all: Vec<Root>,
    /// What they are read from; who only writes does without.
    chunks: Option<&'a dyn ChunkSource>,
    /// What this machine remembers of them.
    seen: Option<Keys>,
    rule: &'a dyn Rule,
    cut: u32,
    /// An owner was not read: what only it holds stands in the view before, which takes part in the merge.
    pub stands_in: bool,
    /// It could not be read.
    failed: AtomicBool,
}

impl<'a> Below<'a> {
    /// What the shard stands on tonight, if it may stand on anything; with it, what there is to say of that.
    ///
    /// It is a snapshot of this writer or one that is vouched for: the newest that has the shard, unless a complete one has another base
    /// and no owner is unread tonight. All its chunks must be there to be relied on. What was there before is known from
    /// what this machine remembers, if that is `wanted`; otherwise the view before is read.
    pub fn find(attempt: &'a Attempt<'_>, without: &Without, wanted: bool) -> Result<Found<'a>> {
        let (common, shard) = (attempt.common, attempt.shard);
        let nothing = || Ok(Found { below: None, note: None });
        let Some(before) = common.target.before.filter(|_| !common.options.whole) else { return nothing() };
        let is_whole =
            shard.unread.is_empty() && shard.ring_known && without.is_empty() && common.source.problems().is_empty();
        let Some(earlier) = earlier(before, shard, is_whole) else { return nothing() };
        let anew = |why: &str| Ok(Found { below: None, note: Some(attempt.anew(why)) });
        let roots = earlier.shard.roots()?;
        let Some((base, layers)) = roots.split_first() else { return nothing() };
        if earlier.of.cut > common.cut {
            return anew("its cut is before that of the snapshot that it would stand on");
        }
        if !attempt.schema.continues(&earlier.shard.description) {
            return anew("its columns or types mean something else than before");
        }
        if is_whole && records(layers) >= most(base) {
            return nothing();
        }
        let mut note = None;
        let mut seen = None;
        if let Some(remembered) = common.target.seen.filter(|_| wanted) {
            let of = seen::Of::shard(&earlier.shard);
            seen = remembered.keys(&common.options.cluster, &shard.id, &of).unwrap_or_else(|e| {
                note = Some(format!("what this machine remembers of table {} is passed over: {e}", shard.name));
                None
            });
        }
        let chunks: Option<&dyn ChunkSource> = if before.can_read() { Some(before.chunks()?) } else { None };
        // Who only writes: what is known without reading must do.
        if chunks.is_none() {
            match (&seen, note) {
                (None, Some(note)) => return Ok(Found { below: None, note: Some(note) }),
                (None, None) => return anew("this machine does not remember it, and may not read it"),
                _ if !is_whole => return anew("an owner was not read, and what stands in for it may not be read"),
                (_, given) => note = given,
            }
        }
        // Where nothing is lost at all, nobody need look at every chunk.
        let relied_on = common.target.sink.stands_on(&earlier.of.id)?
            || chunks.map_or(Ok(false), |chunks| are_relied_on(attempt, &roots, chunks))?;
        if !relied_on {
            return anew("not all that it would stand on can be relied on");
        }
        let below = Below {
            all: roots,
            chunks,
            seen,
            rule: attempt.rule(),
            cut: common.cut,
            stands_in: !is_whole,
            failed: AtomicBool::new(false),
        };
        Ok(Found { below: Some(below), note })
    }

    /// Records that tonight's layer may have: with more, a base that holds all costs less in the long run. Where an owner was not
    /// read there is no other choice.
    pub fn most(&self) -> u64 {
        match self.kept().split_first() {
            _ if self.is_full() => 0,
            Some((base, layers)) if !self.stands_in => most(base).saturating_sub(records(layers)),
            _ => u64::MAX,
        }
    }

    /// What stays below tonight's layer, and the layers that it takes in. Who may not read them cannot join them.
    fn parted(&self) -> (&[Root], &[Root]) {
        let layers = self.all.get(1..).unwrap_or_default();
        let taken = if self.chunks.is_some() { layers.len() - stays(layers) } else { 0 };
        self.all.split_at(self.all.len() - taken)
    }

    /// What stays below tonight's layer.
    pub fn kept(&self) -> &[Root] {
        self.parted().0
    }

    /// Whether no layer can be added, so that the shard can stand on this only where nothing changed.
    fn is_full(&self) -> bool {
        self.chunks.is_none() && self.all.len() > LAYERS_MAX
    }

    /// What there is to say where a base takes the place of a layer that would be too large.
    pub fn why_anew(&self) -> Option<&'static str> {
        self.is_full().then_some("it has as many layers as may be, and this machine may not read them to join them")
    }

    /// Whether what was before is known from what this machine remembers.
    pub fn is_remembered(&self) -> bool {
        self.seen.is_some()
    }

    /// What was there before, at tonight's cut; read by a thread of `scope`, if there is one.
    pub fn before<'s>(&'s self, scope: Option<&'s Scope<'s, '_>>) -> Result<Box<dyn Before + 's>> {
        if let Some(seen) = &self.seen {
            let keys = seen.read(self.cut).inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?;
            return Ok(Box::new(NotingKeys { keys, failed: &self.failed }));
        }
        let run = self.read((Vec::new(), None));
        let run = match scope {
            Some(scope) => ahead(scope, "before", 1, run)?,
            None => run,
        };
        Ok(Box::new(BeforeRun::new(run)))
    }

    /// The layers that tonight's takes in: their runs, those on top last.
    pub fn taken(&self) -> Vec<Box<dyn Run + '_>> {
        let Some(chunks) = self.chunks else { return Vec::new() };
        let run = |root: &Root| -> Box<dyn Run + '_> {
            let run = Box::new(TreeRun::new(Some(*root), chunks).of_layer());
            Box::new(Noting { run, failed: &self.failed })
        };
        self.parted().1.iter().map(run).collect()
    }

    /// The view before as one more node, which answers for everything.
    pub fn stand_in(&self, node: usize) -> NodeParts<'_> {
        let open = move |(from, to): &KeyRange| -> Result<Box<dyn Run + '_>> {
            Ok(self.read((from.clone(), Some(to.clone()).filter(|to| !to.is_empty()))))
        };
        let part = Part {
            name: "the snapshot before".to_owned(),
            files: Vec::new(),
            bytes: 0,
            rank: 0,
            from: Ok(Vec::new()),
            open: Box::new(open),
        };
        NodeParts { node, owned: Owned::All, parts: vec![part] }
    }

    fn read(&self, range: (Vec<u8>, Option<Vec<u8>>)) -> Box<dyn Run + '_> {
        let run: Box<dyn Run + '_> = match self.chunks {
            Some(chunks) => stack(&self.all, chunks, self.rule, Some(self.cut), range),
            None => Box::new(Unreadable),
        };
        Box::new(Noting { run, failed: &self.failed })
    }

    /// Whether something of it could not be read.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Records of layers that may lie above a base: two thirds of its own.
fn most(base: &Root) -> u64 {
    base.records / 3 * 2
}

fn records(layers: &[Root]) -> u64 {
    layers.iter().map(|layer| layer.records).sum()
}

/// How many of `layers` stay below a new one. All do, as long as there is room for it. Otherwise it takes in those on top that are no
/// more than twice what lies above them: so a record is written about three times in sixty nights.
///
/// For example, nights of one size give 1 1 1 1 1 1, then 7, 7 1 1 1 1 1, 7 6, and after some more 7 6 5 4 3 2, then 28.
fn stays(layers: &[Root]) -> usize {
    if layers.len() < LAYERS_MAX {
        return layers.len();
    }
    let mut above = layers.iter().map(|layer| layer.records).min().unwrap_or(0);
    let mut stay = layers.len();
    while let Some(layer) = stay.checked_sub(1).and_then(|at| layers.get(at)) {
        if stay < layers.len() && layer.records > 2 * above {
            break;
        }
        above += layer.records;
        stay -= 1;
    }
    stay
}

/// Whether all chunks of the trees are there, where this writer may rely on them; they are relied on then.
fn are_relied_on(attempt: &Attempt<'_>, roots: &[Root], chunks: &dyn ChunkSource) -> Result<bool> {
    let mut all = true;
    for root in roots {
        reach(*root, chunks, &mut |reached| {
            attempt.common.watch.check()?;
            let more = match reached {
                Reached::Chunk { id, more, .. } => {
                    all = all && attempt.common.target.sink.relies_on(&id)?;
                    more
                }
                Reached::Broken(_) => {
                    all = false;
                    false
                }
            };
            Ok(all && more)
        })?;
        if !all {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The shard as the snapshot has it that tonight may stand on.
fn earlier(before: &Previous<'_>, shard: &Shard, is_whole: bool) -> Option<Earlier> {
    let complete = before.shard(&shard.id).filter(|_| is_whole);
    let other_base = |newest: &Earlier| {
        complete.as_ref().is_some_and(|complete| complete.shard.layers.first() != newest.shard.layers.first())
    };
    let newest = before.newest_shard(&shard.id).filter(|newest| !other_base(newest));
    newest.or_else(|| complete.clone()).filter(|e| e.shard.name == shard.name && e.shard.kind == shard.kind)
}

/// What [`Below::find`] came to.
pub struct Found<'a> {
    pub below: Option<Below<'a>>,
    /// What there is to say.
    pub note: Option<String>,
}

/// In the place of a run that this credential may not read.
struct Unreadable;

impl Run for Unreadable {
    fn next_batch(&mut self, _: &mut RecordBatch) -> Result<bool> {
        Err(Error::new(Kind::Denied, "the view before", "cannot be read without the read role"))
    }
}

/// Notes that what is remembered could not be read.
struct NotingKeys<'a> {
    keys: seen::Reading,
    failed: &'a AtomicBool,
}

impl Before for NotingKeys<'_> {
    fn known(&mut self) -> Result<Option<Known<'_>>> {
        self.keys.known().inspect_err(|_| self.failed.store(true, Ordering::Relaxed))
    }

    fn step(&mut self) {
        self.keys.step();
    }
}

/// Notes that a run could not be read.
struct Noting<'a> {
    run: Box<dyn Run + 'a>,
    failed: &'a AtomicBool,
}

impl Run for Noting<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        self.run.next_batch(out).inspect_err(|_| self.failed.store(true, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{ChunkId, PackClass};

    #[test]
    fn a_record_is_written_about_three_times_in_sixty_nights() {
        let layer = |records| Root { id: ChunkId([0; 32]), level: 0, records, blobs: 0, class: PackClass::Content };
        let (mut layers, mut written, mut deepest) = (Vec::new(), 0, 0);
        for _ in 0..60 {
            let stay = stays(&layers);
            let taken = records(&layers[stay..]);
            layers.truncate(stay);
            layers.push(layer(taken + 100));
            written += taken + 100;
            deepest = deepest.max(layers.len());
        }
        assert_eq!((deepest, records(&layers)), (LAYERS_MAX, 6000));
        assert!((15_000..20_000).contains(&written), "{written}");
    }
}
