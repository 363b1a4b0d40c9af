//! One shard of all nodes, folded into one tree and a patch for each node.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;

use repo_format::key::FingerprintKey;
use repo_format::run_digest::RunDigest;

use super::Target;
use crate::engine::{EVERYTHING, NodeParts, Part, Shard, Source, Without};
use crate::error::{Error, Kind, Result};
use crate::merge::{Across, Merge, Rule, Waiting, Witness, ahead};
use crate::run::{PackClass, RECORD_LARGE, RecordBatch, Run};
use crate::tree::{NodePatch, PatchWriter, Root, Shape, TreeWriter, UnownedCount, leaf_records};
use crate::volume::Place;
use crate::watch::Watch;

/// Records of each node that are looked at to find the mean size of a record.
const SAMPLE_RECORDS: usize = 4096;
/// Bytes of each node after which no more are looked at.
const SAMPLE_BYTES: usize = 4 << 20;

/// What one attempt needs to know.
pub struct Attempt<'a> {
    pub source: &'a dyn Source,
    /// How versions of the shard merge.
    pub rule: &'a dyn Rule,
    pub target: &'a Target<'a>,
    pub shard: &'a Shard,
    pub node_views: bool,
    /// The first capture, seconds since 1970.
    pub captured: u32,
    pub cut: u32,
    pub watch: &'a Watch,
}

/// What became of a shard.
pub struct Folded {
    pub root: Option<Root>,
    pub patches: Vec<NodePatch>,
    pub unowned: UnownedCount,
    pub rows: u64,
    /// Of the merged run.
    pub digest: [u8; 32],
    pub leaf_records: u32,
    pub bytes_read: u64,
}

/// A part that cannot be decoded, and why.
pub struct Refused {
    pub node: usize,
    pub name: String,
    pub files: Vec<Place>,
    pub error: Error,
}

/// The parts that failed.
pub type Failed = Mutex<Vec<Refused>>;

/// Which part a run is of, and where its failure is noted.
struct Guard<'a> {
    node: usize,
    name: String,
    files: Vec<Place>,
    failed: &'a Failed,
}

impl Guard<'_> {
    /// Notes the part as refused if that is what the error says of it, and passes the error on.
    fn note(&mut self, error: Error) -> Error {
        if !condemns(error.kind()) {
            return error;
        }
        let passed_on = Error::new(error.kind(), error.subject(), error.message());
        let (name, files) = (std::mem::take(&mut self.name), std::mem::take(&mut self.files));
        let refused = Refused { node: self.node, name, files, error };
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(refused);
        passed_on
    }
}

struct Guarded<'a> {
    run: Box<dyn Run + 'a>,
    guard: Guard<'a>,
}

impl Run for Guarded<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        self.run.next_batch(out).map_err(|error| self.guard.note(error))
    }
}

/// Whether an error while reading a part says that it cannot be decoded, so that it is kept byte for byte. What the system
/// refuses (a file that is gone, a bad disk, too many open files) says nothing of the rows: it ends the backup.
fn condemns(kind: Kind) -> bool {
    matches!(kind, Kind::Damaged | Kind::Unsupported | Kind::TooLarge)
}

impl Attempt<'_> {
    /// Folds the shard without some parts. Gives all others that cannot be decoded, if there are any: each was read once
    /// by then, so that the shard need be folded only once more.
    pub fn run(&self, without: &Without) -> Result<std::result::Result<Folded, Vec<Refused>>> {
        let nodes = self.source.parts(self.shard, without, self.watch)?;
        let (nodes, refused) = split(nodes)?;
        if !refused.is_empty() {
            return Ok(Err(refused));
        }
        let failed = Failed::default();
        let outcome = self.fold(nodes, &failed);
        let refused = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        if refused.is_empty() {
            return outcome.map(Ok);
        }
        let known = refused.iter().map(|r| (r.node, r.name.clone()));
        let others = self.survey(&known.chain(without.iter().cloned()).collect())?;
        Ok(Err(refused.into_iter().chain(others).collect()))
    }

    /// Decodes every part but those in `without`, each node in a thread of its own, and gives those that cannot be.
    fn survey(&self, without: &Without) -> Result<Vec<Refused>> {
        let progress = Watch::new();
        let (nodes, mut refused) = split(self.source.parts(self.shard, without, &progress)?)?;
        let failed = Failed::default();
        thread::scope(|scope| -> Result<()> {
            let failed = &failed;
            let each = |node: NodeParts<'_>| {
                let at = node.node;
                node.parts.into_iter().try_for_each(|part| self.decode(at, part, failed))
            };
            let threads: Vec<_> = nodes.into_iter().map(|node| scope.spawn(move || each(node))).collect();
            for thread in threads {
                thread.join().map_err(|_| Error::damaged("survey", "a thread panicked"))??;
            }
            Ok(())
        })?;
        refused.extend(failed.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(refused)
    }

    /// Decodes a part and forgets what it holds. That it cannot be decoded is noted and no error.
    fn decode(&self, node: usize, part: Part<'_>, failed: &Failed) -> Result<()> {
        let decoded = || -> Result<()> {
            let mut run = guarded(node, part, failed)?;
            let mut batch = RecordBatch::new();
            while run.next_batch(&mut batch)? {
                self.watch.check()?;
            }
            Ok(())
        };
        decoded().or_else(|e| if condemns(e.kind()) { Ok(()) } else { Err(e) })
    }

    fn fold(&self, nodes: Vec<NodeParts<'_>>, failed: &Failed) -> Result<Folded> {
        let bytes_read = nodes.iter().flat_map(|n| &n.parts).map(|part| part.bytes).sum();
        let owned = nodes.iter().map(|n| n.owned.clone()).collect();
        let mut runs = Vec::new();
        for node in nodes {
            runs.push(Sampled::new(format!("node {}", node.node), node_run(node, self.rule, failed)));
        }
        let leaf_records = match self.known_leaf_records() {
            Some(n) => n,
            None => sample(&mut runs, self.target.leaf_target)?,
        };
        let target = self.target;
        let (layout, blobs) = (self.shard.layout.clone(), target.blobs.clone());
        let (secret, branch_children) = (target.secret, target.branch_children);
        let shape = Shape { secret, leaf_records, branch_children, class: PackClass::Content, layout, blobs };
        let mut patches = PatchWriter::new(runs.len(), target.sink, &shape, target.fingerprint, self.node_views);
        let mut tree = TreeWriter::new(target.sink, &shape);
        let digest_key = FingerprintKey::from_bytes(target.fingerprint).run_digest();
        let (mut rows, mut digest) = (0, RunDigest::new(&digest_key));
        thread::scope(|scope| -> Result<()> {
            let mut read_ahead = Vec::new();
            for run in runs {
                let name = run.name.clone();
                read_ahead.push(ahead(scope, &name, run)?);
            }
            let across = Across::new(owned, self.captured, &mut patches);
            let mut merge = Merge::across(read_ahead, self.rule, self.cut, across);
            let mut batch = RecordBatch::new();
            while merge.next_batch(&mut batch)? {
                self.watch.check()?;
                batch.digest(&mut digest);
                for record in batch.iter() {
                    rows += u64::from(record.is_row());
                    tree.push(&record)?;
                }
            }
            Ok(())
        })?;
        let unowned = patches.unowned();
        let (root, patches, digest) = (tree.finish()?, patches.finish()?, digest.finish());
        Ok(Folded { root, patches, unowned, rows, digest, leaf_records, bytes_read })
    }

    /// The merged run once more, without some parts, for whoever wants to look at it.
    pub fn merged<'m>(
        &'m self,
        without: &Without,
        failed: &'m Failed,
        witness: &'m mut dyn Witness,
    ) -> Result<Merge<'m>> {
        let nodes = self.source.parts(self.shard, without, self.watch)?;
        let owned = nodes.iter().map(|n| n.owned.clone()).collect();
        let mut runs: Vec<Box<dyn Run + 'm>> = Vec::new();
        for node in nodes {
            runs.push(Box::new(node_run(node, self.rule, failed)));
        }
        Ok(Merge::across(runs, self.rule, self.cut, Across::new(owned, self.captured, witness)))
    }

    fn known_leaf_records(&self) -> Option<u32> {
        let before = self.target.before?.shard(&self.shard.id)?;
        (before.shard.name == self.shard.name).then_some(before.shard.leaf_records)
    }
}

/// Records of a leaf for a table seen for the first time, from the size of the first records of each node.
fn sample(runs: &mut [Sampled<'_>], leaf_target: u32) -> Result<u32> {
    let (mut records, mut bytes) = (0, 0);
    for run in runs {
        let (r, b) = run.sample()?;
        records += r;
        bytes += b;
    }
    Ok(leaf_records(bytes / records.max(1), leaf_target))
}

/// A node's run of which the first batches may have been looked at before.
struct Sampled<'a> {
    name: String,
    run: Merge<'a>,
    seen: VecDeque<RecordBatch>,
}

impl<'a> Sampled<'a> {
    fn new(name: String, run: Merge<'a>) -> Sampled<'a> {
        Sampled { name, run, seen: VecDeque::new() }
    }

    /// Number and bytes of the first records, which are kept.
    fn sample(&mut self) -> Result<(usize, usize)> {
        let (mut records, mut bytes) = (0, 0);
        while records < SAMPLE_RECORDS && bytes < SAMPLE_BYTES {
            let mut batch = RecordBatch::new();
            if !self.run.next_batch(&mut batch)? {
                break;
            }
            for record in batch.iter().take(SAMPLE_RECORDS - records) {
                bytes += record.key.len() + record.body.len();
                records += 1;
            }
            let large = batch.coming().is_some();
            self.seen.push_back(batch);
            if large {
                // It is not read before all others are ready to merge it; it has so many bytes at least.
                return Ok((records + 1, bytes + RECORD_LARGE));
            }
        }
        Ok((records, bytes))
    }
}

impl Run for Sampled<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        match self.seen.pop_front() {
            Some(batch) => {
                *out = batch;
                Ok(true)
            }
            None => self.run.next_batch(out),
        }
    }
}

/// One node's parts, merged.
fn node_run<'a: 'b, 'b>(node: NodeParts<'a>, rule: &'b dyn Rule, failed: &'b Failed) -> Merge<'b> {
    let at = node.node;
    let wait = |mut part: Part<'a>| -> Waiting<'b> {
        let from = std::mem::replace(&mut part.from, Ok(Vec::new())).unwrap_or_default();
        let rank = part.rank;
        Waiting::new(from, Box::new(move || guarded(at, part, failed))).ranked(rank)
    };
    Merge::of_waiting(node.parts.into_iter().map(wait).collect(), rule)
}

/// Opens a part. What fails then and later is noted.
fn guarded<'a: 'b, 'b>(node: usize, part: Part<'a>, failed: &'b Failed) -> Result<Box<dyn Run + 'b>> {
    let mut guard = Guard { node, name: part.name, files: part.files, failed };
    match (part.open)(&EVERYTHING) {
        Ok(run) => Ok(Box::new(Guarded { run, guard })),
        Err(error) => Err(guard.note(error)),
    }
}

/// Parts that may be decoded, and those of which it is known already that they cannot be.
fn split(nodes: Vec<NodeParts<'_>>) -> Result<(Vec<NodeParts<'_>>, Vec<Refused>)> {
    let (mut sound, mut refused) = (Vec::new(), Vec::new());
    for node in nodes {
        let mut parts = Vec::new();
        for part in node.parts {
            match part.from {
                Ok(_) => parts.push(part),
                Err(error) if condemns(error.kind()) => {
                    refused.push(Refused { node: node.node, name: part.name, files: part.files, error });
                }
                Err(error) => return Err(error),
            }
        }
        sound.push(NodeParts { parts, ..node });
    }
    Ok((sound, refused))
}
