//! One shard of all nodes, folded into one tree and a patch for each node.

mod below;
mod layer;
mod pace;
mod parts;
mod ranges;
mod sample;

use std::sync::PoisonError;
use std::thread;

use super::{Options, Target, seen};
use crate::engine::{
    Contents, EVERYTHING, Earlier, Engine, KeyRange, NodeParts, Part, Schema, Shard, Source, Taking, Without,
};
use crate::error::{Error, Result};
use crate::merge::{Across, Merge, Rule, Witness};
use crate::run::{PackClass, RecordBatch, Run};
use crate::snapshot;
use crate::tree::{NodePatch, Root, Shape, UnownedCount, stack};
use crate::watch::Watch;
use below::{Below, Found};
pub use parts::{Failed, Refused};
use parts::{condemns, guarded, node_run, split};
use sample::{Sampled, sample};

/// Every range opens every part: a range of more parts than this is larger. To open one takes as long as to read some 32 KiB.
const PARTS: u64 = 32;
/// A shard is read in so many ranges at most.
const RANGES_MAX: u64 = 4096;

/// What all attempts of a backup have in common.
#[derive(Clone, Copy)]
pub struct Common<'a> {
    pub engine: &'a dyn Engine,
    pub source: &'a dyn Source,
    pub target: &'a Target<'a>,
    pub options: &'a Options,
    /// The first capture, seconds since 1970.
    pub captured: u32,
    pub cut: u32,
    pub watch: &'a Watch,
}

/// One attempt to fold a shard.
pub struct Attempt<'a> {
    pub common: Common<'a>,
    pub schema: &'a dyn Schema,
    pub shard: &'a Shard,
    /// It is one of several that are made at the same time: it takes no threads of its own.
    pub alone: bool,
}

/// What an attempt came to: a folded shard, or the parts that must be left out to have one.
pub type Outcome = std::result::Result<Folded, Vec<Refused>>;

/// What became of a shard.
pub struct Folded {
    /// A base, and the layers above it.
    pub layers: Vec<Root>,
    /// They are not all tonight's.
    pub stands: bool,
    /// What is to be said of that.
    pub notes: Vec<String>,
    pub patches: Vec<NodePatch>,
    pub unowned: UnownedCount,
    pub rows: u64,
    pub expiring: u64,
    /// Of the merged run.
    pub digest: [u8; 32],
    pub leaf_records: u32,
    pub bytes_read: u64,
}

impl Attempt<'_> {
    /// How versions of the shard merge.
    pub fn rule(&self) -> &dyn Rule {
        self.schema.rule()
    }

    /// Folds the shard without some parts. Gives all others that cannot be decoded, if there are any: each was read once
    /// by then, so that the shard need be folded only once more.
    ///
    /// It becomes a layer on what was stored before, where it may stand on that; a base otherwise, and where the layer would be
    /// too large.
    pub fn run(&self, without: &Without) -> Result<Outcome> {
        let mut notes = Vec::new();
        for remembered in [true, false] {
            let Found { below, note } = Below::find(self, without, remembered)?;
            notes.extend(note);
            let Some(below) = below else { break };
            match self.attempt(without, Some(&below)) {
                _ if below.has_failed() && below.is_remembered() => {
                    let what = "what this machine remembers of it cannot be read, so that the view before was read";
                    notes.push(format!("table {}: {what}", self.shard.name));
                }
                _ if below.has_failed() => {
                    notes.push(self.anew("what it would stand on cannot be read"));
                    break;
                }
                Ok(Ok(None)) => {
                    notes.extend(below.why_anew().map(|why| self.anew(why)));
                    break;
                }
                Ok(Ok(Some(folded))) => return Ok(Ok(Folded { notes, ..folded })),
                Ok(Err(refused)) => return Ok(Err(refused)),
                Err(e) => return Err(e),
            }
        }
        let Some(folded) = (match self.attempt(without, None)? {
            Ok(folded) => folded,
            Err(refused) => return Ok(Err(refused)),
        }) else {
            return Err(Error::damaged(&self.shard.name, "a base grew beyond what a layer may have"));
        };
        Ok(Ok(Folded { notes, ..folded }))
    }

    /// What is said where the shard stands on nothing for this reason.
    fn anew(&self, why: &str) -> String {
        format!("table {} is stored anew: {why}", self.shard.name)
    }

    /// The same, as a layer on `below`, or as a base. `None`: the layer would be too large.
    fn attempt(
        &self,
        without: &Without,
        below: Option<&Below<'_>>,
    ) -> Result<std::result::Result<Option<Folded>, Vec<Refused>>> {
        let nodes = self.common.source.parts(self.shard, without, self.taking())?;
        let (mut nodes, refused) = split(nodes)?;
        if !refused.is_empty() {
            return Ok(Err(refused));
        }
        if let Some(below) = below.filter(|below| below.stands_in) {
            nodes.push(below.stand_in(nodes.len()));
        }
        let ranges = self.ranges(&nodes, without)?;
        if ranges.len() > 1
            && let Some(folded) = self.fold_in_ranges(&nodes, &ranges, below)?
        {
            return Ok(Ok(folded));
        }
        let failed = Failed::default();
        let outcome = self.fold(&nodes, std::slice::from_ref(&EVERYTHING), &failed, below);
        let refused = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        if refused.is_empty() || below.is_some_and(Below::has_failed) {
            return outcome.map(Ok);
        }
        let known = refused.iter().map(|r| (r.node, r.name.clone()));
        let others = self.survey(&known.chain(without.iter().cloned()).collect())?;
        Ok(Err(refused.into_iter().chain(others).collect()))
    }

    /// The ranges that the shard is read in: one of all keys where it is small, cannot be cut, or need not be, because a thread
    /// for each node keeps the processors busy. A range more is a look-up more in each part.
    fn ranges(&self, nodes: &[NodeParts<'_>], without: &Without) -> Result<Vec<KeyRange>> {
        if self.alone || self.has_enough_threads() {
            return Ok(vec![EVERYTHING.clone()]);
        }
        let parts = || nodes.iter().flat_map(|n| &n.parts);
        let (bytes, count) = (parts().map(|part| part.bytes).sum::<u64>(), parts().count() as u64);
        let range = self.common.target.range_bytes.max(1);
        let pieces = (bytes / range.max(range * count / PARTS)).min(RANGES_MAX) as usize;
        let bounds = if pieces > 1 { self.common.source.bounds(self.shard, without, pieces)? } else { Vec::new() };
        if bounds.first().is_some_and(Vec::is_empty) || !bounds.is_sorted_by(|a, b| a < b) {
            return Err(Error::damaged(&self.shard.name, "is cut at keys that do not ascend"));
        }
        let from = std::iter::once(Vec::new()).chain(bounds.iter().cloned());
        let to = bounds.iter().cloned().chain(std::iter::once(Vec::new()));
        Ok(from.zip(to).collect())
    }

    /// Whether a thread for each node, one that merges and one that seals are as many as there are processors.
    fn has_enough_threads(&self) -> bool {
        self.common.source.nodes().len() + 2 >= self.common.target.cores
    }

    /// `None` where it must be read whole: what keeps a range from being read may be no fault of the records.
    fn fold_in_ranges(
        &self,
        nodes: &[NodeParts<'_>],
        ranges: &[KeyRange],
        below: Option<&Below<'_>>,
    ) -> Result<Option<Option<Folded>>> {
        let failed = Failed::default();
        let outcome = self.fold(nodes, ranges, &failed, below);
        let failed = !failed.into_inner().unwrap_or_else(PoisonError::into_inner).is_empty();
        match outcome {
            Ok(folded) if !failed => Ok(Some(folded)),
            Err(e) if !failed && !condemns(e.kind()) => Err(e),
            _ => Ok(None),
        }
    }

    /// Decodes every part but those in `without`, each node in a thread of its own, and gives those that cannot be.
    fn survey(&self, without: &Without) -> Result<Vec<Refused>> {
        let progress = Watch::new();
        let (nodes, mut refused) =
            split(self.common.source.parts(self.shard, without, Taking { watch: &progress, ..self.taking() })?)?;
        let failed = Failed::default();
        thread::scope(|scope| -> Result<()> {
            let failed = &failed;
            let each =
                |node: &NodeParts<'_>| node.parts.iter().try_for_each(|part| self.decode(node.node, part, failed));
            let threads: Vec<_> = nodes.iter().map(|node| scope.spawn(move || each(node))).collect();
            for thread in threads {
                thread.join().map_err(|_| Error::damaged("survey", "a thread panicked"))??;
            }
            Ok(())
        })?;
        refused.extend(failed.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(refused)
    }

    /// Decodes a part and forgets what it holds. That it cannot be decoded is noted and no error.
    fn decode(&self, node: usize, part: &Part<'_>, failed: &Failed) -> Result<()> {
        let decoded = || -> Result<()> {
            let mut run = guarded(node, part, &EVERYTHING, failed)?;
            let mut batch = RecordBatch::new();
            while run.next_batch(&mut batch)? {
                self.common.watch.check()?;
            }
            Ok(())
        };
        decoded().or_else(|e| if condemns(e.kind()) { Ok(()) } else { Err(e) })
    }

    /// Folds what the nodes hold in `ranges`, which follow one another and leave no key out. `None`: see [`Attempt::attempt`].
    fn fold(
        &self,
        nodes: &[NodeParts<'_>],
        ranges: &[KeyRange],
        failed: &Failed,
        below: Option<&Below<'_>>,
    ) -> Result<Option<Folded>> {
        let bytes_read = nodes.iter().flat_map(|n| &n.parts).map(|part| part.bytes).sum();
        let mut runs = Vec::new();
        for node in nodes {
            runs.push(Sampled::new(node_run(node, &EVERYTHING, self.rule(), failed)));
        }
        let leaf_records = match self.known_leaf_records() {
            Some(n) => n,
            None => sample(&mut runs, self.common.target.leaf_target)?,
        };
        let target = self.common.target;
        let (layout, blobs) = (self.shard.layout.clone(), target.blobs.clone());
        let (secret, branch_children) = (target.secret, target.branch_children);
        let shape = Shape { secret, leaf_records, branch_children, class: PackClass::Content, layout, blobs };
        let fold = ranges::Fold { attempt: self, nodes, shape: &shape, failed, below };
        let written = if ranges.len() > 1 {
            drop(runs);
            fold.ranges(ranges)?
        } else {
            fold.whole(runs)?
        };
        let ranges::Written { layers, mut patches, unowned, rows, expiring, digest, seen } = written;
        let Some(layers) = layers else { return Ok(None) };
        // What stood in is no node.
        patches.truncate(self.common.source.nodes().len());
        let stands = below.is_some();
        let mut notes = Vec::new();
        if let Some(seen) = seen {
            let trees = layers.iter().map(|root| root.id.to_string()).collect();
            if let Err(e) = seen.finish(seen::Of { digest: snapshot::hex(&digest), trees }) {
                notes.push(format!(
                    "what changes of table {} is not remembered for the next time: {e}",
                    self.shard.name
                ));
            }
        }
        Ok(Some(Folded { layers, stands, notes, patches, unowned, rows, expiring, digest, leaf_records, bytes_read }))
    }

    /// The merge of `runs`, one for each of `nodes`, that `witness` is told of.
    fn across<'m>(
        &'m self,
        nodes: &[NodeParts<'_>],
        runs: Vec<Box<dyn Run + 'm>>,
        witness: &'m mut dyn Witness,
    ) -> Merge<'m> {
        let owned = nodes.iter().map(|n| n.owned.clone()).collect();
        Merge::across(runs, self.rule(), self.common.cut, Across::new(owned, self.common.captured, witness))
    }

    /// Gives the merged run once more, without some parts, to `look`.
    pub fn merged<T>(
        &self,
        without: &Without,
        witness: &mut dyn Witness,
        look: impl FnOnce(Merge<'_>) -> Result<T>,
    ) -> Result<T> {
        let failed = Failed::default();
        let nodes = self.common.source.parts(self.shard, without, self.taking())?;
        let mut runs: Vec<Box<dyn Run + '_>> = Vec::new();
        for node in &nodes {
            runs.push(Box::new(node_run(node, &EVERYTHING, self.rule(), &failed)));
        }
        look(self.across(&nodes, runs, witness))
    }

    /// What parts are read with.
    fn taking(&self) -> Taking<'_> {
        let Target { sink, blobs, memory, remembers, .. } = self.common.target;
        let memory = memory.as_deref();
        let contents = Contents { sink: *sink, chunker: blobs, memory, remembers: *remembers, earlier: self };
        Taking { watch: self.common.watch, contents: Some(contents) }
    }

    fn known_leaf_records(&self) -> Option<u32> {
        let before = self.common.target.before?.shard(&self.shard.id)?;
        (before.shard.name == self.shard.name).then_some(before.shard.leaf_records)
    }
}

impl Earlier for Attempt<'_> {
    fn records(&self) -> Result<Option<(String, Box<dyn Run + '_>)>> {
        let Some(before) = self.common.target.before.filter(|before| before.can_read()) else { return Ok(None) };
        let Some(earlier) = before.newest_shard(&self.shard.id) else { return Ok(None) };
        let everything = (Vec::new(), None);
        let run = stack(&earlier.shard.roots()?, before.chunks()?, self.rule(), Some(self.common.cut), everything);
        Ok(Some((earlier.of.id.clone(), run)))
    }
}
