//! One shard of all nodes, folded into one tree and a patch for each node.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;

use repo_format::key::FingerprintKey;
use repo_format::record::Class;
use repo_format::run_digest::RunDigest;

use super::Target;
use crate::engine::{FileRun, NodeRuns, Shard, Source};
use crate::error::{Error, Kind, Result};
use crate::merge::{Across, Merge, Rule, ahead};
use crate::run::{RecordBatch, Run};
use crate::tree::{NodePatch, PatchWriter, Root, Shape, TreeWriter, leaf_records};
use crate::watch::Watch;

/// Records of each node that are looked at to find the mean size of a record.
const SAMPLE_RECORDS: usize = 4096;
/// Bytes of each node after which no more are looked at.
const SAMPLE_BYTES: usize = 4 << 20;

/// What one attempt needs to know.
pub struct Attempt<'a> {
    pub source: &'a dyn Source,
    pub target: &'a Target<'a>,
    pub shard: &'a Shard,
    pub node_views: bool,
    pub purge_before: u32,
    pub cut: u32,
    pub watch: &'a Watch,
}

/// What became of a shard.
pub struct Folded {
    pub root: Option<Root>,
    pub patches: Vec<NodePatch>,
    pub rows: u64,
    /// Of the merged run.
    pub digest: [u8; 32],
    pub leaf_records: u32,
    pub bytes_read: u64,
}

/// A run that could not be read, and why.
pub struct Refused {
    pub node: usize,
    pub files: Vec<PathBuf>,
    pub error: Error,
}

/// The first run that failed.
type Failed = Mutex<Option<Refused>>;

/// Remembers which file failed.
struct Guarded<'a> {
    node: usize,
    files: Vec<PathBuf>,
    run: Box<dyn Run + 'a>,
    failed: &'a Failed,
}

impl Run for Guarded<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        self.run.next_batch(out).map_err(|error| {
            let passed_on = Error::new(error.kind(), error.subject(), error.message());
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            if failed.is_none() && concerns_the_file(error.kind()) {
                *failed = Some(Refused { node: self.node, files: self.files.clone(), error });
            }
            passed_on
        })
    }
}

/// Whether an error while reading a file says that this file cannot be decoded, so that it is kept byte for byte.
fn concerns_the_file(kind: Kind) -> bool {
    matches!(kind, Kind::Damaged | Kind::Unsupported | Kind::TooLarge | Kind::NotFound | Kind::Io)
}

impl Attempt<'_> {
    /// Folds the shard without some files. Gives the first file that cannot be read, if there is one.
    pub fn run(&self, without: &BTreeSet<PathBuf>) -> Result<std::result::Result<Folded, Refused>> {
        let failed = Failed::default();
        let outcome = self.fold(without, &failed);
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(refused) => Ok(Err(refused)),
            None => outcome.map(Ok),
        }
    }

    fn fold(&self, without: &BTreeSet<PathBuf>, failed: &Failed) -> Result<Folded> {
        let rule = self.source.rule(self.shard);
        let nodes = self.source.runs(self.shard, without, self.watch)?;
        let bytes_read = nodes.iter().flat_map(|n| &n.files).map(|f| f.bytes).sum();
        let owned = nodes.iter().map(|n| n.owned.clone()).collect();
        let mut runs = Vec::new();
        for node in nodes {
            runs.push(Sampled::new(format!("node {}", node.node), node_run(node, &*rule, failed)?));
        }
        let leaf_records = match self.known_leaf_records() {
            Some(n) => n,
            None => sample(&mut runs, self.target.leaf_target)?,
        };
        let target = self.target;
        let (layout, blobs) = (self.shard.layout.clone(), target.blobs.clone());
        let (secret, branch_children) = (target.secret, target.branch_children);
        let shape = Shape { secret, leaf_records, branch_children, layout, blobs };
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
            let across = Across::new(owned, self.purge_before, &mut patches);
            let mut merge = Merge::across(read_ahead, &*rule, self.cut, across);
            let mut batch = RecordBatch::new();
            while merge.next_batch(&mut batch)? {
                self.watch.check()?;
                batch.digest(&mut digest);
                for record in batch.iter() {
                    rows += u64::from(matches!(record.class, Class::Row | Class::Static));
                    tree.push(&record)?;
                }
            }
            Ok(())
        })?;
        let (root, patches, digest) = (tree.finish()?, patches.finish()?, digest.finish());
        Ok(Folded { root, patches, rows, digest, leaf_records, bytes_read })
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
            self.seen.push_back(batch);
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

/// One node's files, merged.
fn node_run<'a>(node: NodeRuns<'a>, rule: &'a dyn Rule, failed: &'a Failed) -> Result<Merge<'a>> {
    let mut runs: Vec<Box<dyn Run + 'a>> = Vec::new();
    for FileRun { files, run, .. } in node.files {
        match run {
            Ok(run) => runs.push(Box::new(Guarded { node: node.node, files, run, failed })),
            Err(error) => {
                let passed_on = Error::new(error.kind(), error.subject(), error.message());
                if concerns_the_file(error.kind()) {
                    let refused = Refused { node: node.node, files, error };
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(refused);
                }
                return Err(passed_on);
            }
        }
    }
    Ok(Merge::of(runs, rule))
}
