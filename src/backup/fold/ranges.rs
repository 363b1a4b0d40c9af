//! Ranges of keys, read and merged by several threads at once, written by one in their order.
//!
//! ```text
//! workers   decode and merge one range each ─┐ batches, and what the merge tells of the nodes
//! this      ranges in order: where leaves end, digest, patches ─┐ leaves to be made
//! leaves    ─ chunks ─> sink
//! ```
//! Memory: of the ranges that are read at once, [`AHEAD`] bytes of merged records wait in all, and one batch of each; large
//! records are read in the range whose turn it is, and nowhere else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};
use repo_format::key::FingerprintKey;
use repo_format::record::Traits;
use repo_format::run_digest::RunDigest;

use super::Attempt;
use super::below::Below;
use super::layer::Tree;
use super::pace::Pace;
use super::parts::{Failed, node_run};
use super::sample::Sampled;
use crate::backup::seen;
use crate::engine::{KeyRange, NodeParts};
use crate::error::{Error, Result};
use crate::merge::{Merge, Rule, ahead};
use crate::run::{RecordBatch, Run};
use crate::store::lock;
use crate::tree::{NodePatch, PatchWriter, Root, Scribe, Shape, Told, UnownedCount, WideTreeWriter};

/// Bytes of merged records that wait for ranges before them to be written.
const AHEAD: usize = 64 << 20;
/// Ranges that are read at the same time, at most.
const WORKERS_MAX: usize = 16;

/// What a worker hands over of a range: merged records with what was told of them; nothing at its end.
type Message = Result<Option<(RecordBatch, Told)>>;
/// A range to be read, by its number, and where it goes.
type Job = (usize, Sender<Message>);

/// One shard that is being folded.
pub struct Fold<'a, 'p> {
    pub attempt: &'a Attempt<'a>,
    pub nodes: &'a [NodeParts<'p>],
    pub shape: &'a Shape,
    pub failed: &'a Failed,
    pub below: Option<&'a Below<'a>>,
}

/// What became of it.
pub struct Written {
    /// A base, and the layers above it; `None` where tonight's layer would have been too large.
    pub layers: Option<Vec<Root>>,
    pub patches: Vec<NodePatch>,
    pub unowned: UnownedCount,
    pub rows: u64,
    pub expiring: u64,
    pub digest: [u8; 32],
    /// What this machine is to remember, to be ended.
    pub seen: Option<seen::Writing>,
}

/// Batches to be used again: memory that was touched before.
#[derive(Default)]
struct Spare(Mutex<Vec<RecordBatch>>);

/// So many are kept.
const SPARE_MAX: usize = 64;

impl Spare {
    fn take(&self) -> RecordBatch {
        lock(&self.0).pop().unwrap_or_default()
    }

    /// Keeps a batch, if nobody else holds it: the last who does gives it back.
    fn give(&self, batch: Arc<RecordBatch>) {
        let Some(mut batch) = Arc::into_inner(batch) else { return };
        batch.clear();
        let mut all = lock(&self.0);
        if all.len() < SPARE_MAX {
            all.push(batch);
        }
    }
}

/// Writes what was merged.
struct Writing<'a> {
    tree: Tree<'a>,
    patches: PatchWriter<'a>,
    digest: RunDigest,
    rows: u64,
    expiring: u64,
    /// What this machine is to remember.
    seen: Option<seen::Writing>,
    rule: &'a dyn Rule,
    cut: u32,
    spare: &'a Spare,
}

impl Writing<'_> {
    fn push(&mut self, batch: RecordBatch, told: Told) -> Result<()> {
        if told.records() != batch.len() {
            return Err(Error::damaged("merge", "tells of other records than it gives"));
        }
        batch.digest(&mut self.digest);
        self.remember(&batch);
        self.rows += batch.iter().filter(|record| record.is_row()).count() as u64;
        self.expiring += batch.iter().filter(|record| record.traits.has(Traits::EXPIRING)).count() as u64;
        let patches = &mut self.patches;
        patches.add(told, self.tree.open_records())?;
        let batch = Arc::new(batch);
        self.tree.push(&batch, &mut |first_key, records| patches.end_leaf(first_key, records))?;
        self.spare.give(batch);
        Ok(())
    }

    /// What cannot be remembered is read the next time.
    fn remember(&mut self, batch: &RecordBatch) {
        if let Some(mut seen) = self.seen.take() {
            match seen.push(batch, self.rule, self.cut) {
                Ok(()) => self.seen = Some(seen),
                Err(_) => seen.give_up(),
            }
        }
    }

    fn finish(self) -> Result<Written> {
        let Writing { tree, mut patches, digest, rows, expiring, seen, .. } = self;
        let layers = tree.finish(&mut |first_key, records| patches.end_leaf(first_key, records))?;
        let (patches, unowned) = patches.finish()?;
        Ok(Written { layers, patches, unowned, rows, expiring, digest: digest.finish(), seen })
    }
}

impl Fold<'_, '_> {
    fn writing<'scope, 'env>(
        &'env self,
        scope: &'scope thread::Scope<'scope, 'env>,
        spare: &'env Spare,
    ) -> Result<Writing<'scope>> {
        let target = self.attempt.common.target;
        let makers = if self.attempt.alone || self.attempt.has_enough_threads() {
            0
        } else {
            target.cores.min(WORKERS_MAX).div_ceil(2)
        };
        let tree = match self.below {
            Some(below) => {
                let before = below.before(Some(scope).filter(|_| !self.attempt.alone))?;
                Tree::layer(below, before, target.sink, self.shape)
            }
            None => Tree::Base(Box::new(WideTreeWriter::start(scope, target.sink, self.shape, makers)?)),
        };
        let patches = PatchWriter::new(self.nodes.len(), target.sink, self.shape);
        let key = FingerprintKey::from_bytes(target.fingerprint).run_digest();
        let (common, digest) = (self.attempt.common, RunDigest::new(&key));
        let seen = target.seen.filter(|_| target.remembers);
        let seen = seen.and_then(|seen| seen.write(&common.options.cluster, &self.attempt.shard.id).ok());
        Ok(Writing {
            tree,
            patches,
            digest,
            rows: 0,
            expiring: 0,
            seen,
            rule: self.attempt.rule(),
            cut: common.cut,
            spare,
        })
    }

    fn scribe(&self) -> Scribe {
        Scribe::new(self.nodes.len(), self.attempt.common.target.fingerprint, self.attempt.common.options.node_views)
    }

    /// All keys in one range: each node is read by a thread of its own, unless threads are not to be had.
    pub fn whole(&self, runs: Vec<Sampled<'_>>) -> Result<Written> {
        let spare = Spare::default();
        thread::scope(|scope| {
            let mut writing = self.writing(scope, &spare)?;
            let mut read_ahead: Vec<Box<dyn Run + '_>> = Vec::new();
            let nodes = runs.len();
            for (run, node) in runs.into_iter().zip(self.nodes) {
                let name = format!("node {}", node.node);
                read_ahead.push(if self.attempt.alone { Box::new(run) } else { ahead(scope, &name, nodes, run)? });
            }
            self.merge(read_ahead, &spare, |batch, told| writing.push(batch, told))?;
            writing.finish()
        })
    }

    /// Merges one run of each node, and hands over what comes of it.
    fn merge(
        &self,
        runs: Vec<Box<dyn Run + '_>>,
        spare: &Spare,
        mut hand_over: impl FnMut(RecordBatch, Told) -> Result<()>,
    ) -> Result<()> {
        let scribe = self.scribe();
        let mut witness = &scribe;
        let mut merge: Merge<'_> = self.attempt.across(self.nodes, runs, &mut witness);
        loop {
            self.attempt.common.watch.check()?;
            let mut batch = spare.take();
            let more = merge.next_batch(&mut batch)?;
            hand_over(batch, scribe.take())?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Several ranges at once.
    pub fn ranges(&self, ranges: &[KeyRange]) -> Result<Written> {
        let workers = self.attempt.common.target.cores.clamp(1, WORKERS_MAX);
        let (pace, spare) = (Pace::new(AHEAD / (workers + 1)), Spare::default());
        thread::scope(|scope| {
            // Whatever ends this thread's work ends that of the others.
            let _end = GiveUp(&pace);
            let mut writing = self.writing(scope, &spare)?;
            let (jobs, to_do) = unbounded::<Job>();
            for number in 0..workers {
                let (to_do, pace, spare) = (to_do.clone(), &pace, &spare);
                let builder = thread::Builder::new().name(format!("range {number}"));
                let work = move || self.work(&to_do, ranges, pace, spare);
                builder.spawn_scoped(scope, work).map_err(|e| Error::io("starting a thread", e))?;
            }
            let mut begun: VecDeque<Receiver<Message>> = VecDeque::new();
            let mut numbers = 0..ranges.len();
            for range in 0..ranges.len() {
                while begun.len() <= workers
                    && let Some(number) = numbers.next()
                {
                    let (to, from) = unbounded();
                    jobs.send((number, to)).map_err(|_| gone())?;
                    begun.push_back(from);
                }
                let from = begun.pop_front().ok_or_else(gone)?;
                while let Some((batch, told)) = from.recv().map_err(|_| gone())?? {
                    self.attempt.common.watch.check()?;
                    let bytes = batch.bytes();
                    writing.push(batch, told)?;
                    pace.written(range, bytes);
                }
                pace.ended(range);
            }
            drop(jobs);
            writing.finish()
        })
    }

    /// Reads ranges, one after the other.
    fn work(&self, to_do: &Receiver<Job>, ranges: &[KeyRange], pace: &Pace, spare: &Spare) {
        for (number, to) in to_do {
            // A closed channel means that nobody wants it any more: whoever closed it has an error of its own to report.
            let _ = match self.range(&ranges[number], Place { number, pace, spare }, &to) {
                Ok(()) => to.send(Ok(None)),
                Err(e) => to.send(Err(e)),
            };
        }
    }

    fn range(&self, range: &KeyRange, at: Place<'_>, to: &Sender<Message>) -> Result<()> {
        let Place { number, pace, spare } = at;
        let mut runs: Vec<Box<dyn Run + '_>> = Vec::new();
        for node in self.nodes {
            let run = node_run(node, range, self.attempt.rule(), self.failed);
            runs.push(Box::new(Patient { run, pace, range: number, is_before_large: false }));
        }
        self.merge(runs, spare, |batch, told| {
            pace.wait_for_room(number, batch.bytes());
            to.send(Ok(Some((batch, told)))).map_err(|_| gone())
        })
    }
}

/// Which range a worker reads, and what it shares with the others.
#[derive(Clone, Copy)]
struct Place<'a> {
    number: usize,
    pace: &'a Pace,
    spare: &'a Spare,
}

fn gone() -> Error {
    Error::damaged("threads of a backup", "have ended before their work")
}

struct GiveUp<'a>(&'a Pace);

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// A run that reads its large records when the turn of its range has come.
struct Patient<'a> {
    run: Merge<'a>,
    pace: &'a Pace,
    range: usize,
    is_before_large: bool,
}

impl Run for Patient<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        if self.is_before_large {
            self.pace.wait_for_turn(self.range);
        }
        let more = self.run.next_batch(out)?;
        self.is_before_large = out.coming().is_some();
        Ok(more)
    }
}
