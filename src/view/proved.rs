//! A shard that is read as a whole: what comes out is what went in, or it is an error.

use repo_format::run_digest::RunDigest;

use crate::error::{Error, Kind, Result};
use crate::run::{ChunkSource, RecordBatch, Run};
use crate::snapshot::{self, Shard};
use crate::tree::TreeRun;
use crate::watch::Watch;

/// `run`, which gives all records of the reconciled view of `shard`. At its end it fails where these are not the ones that
/// the backup merged; so nothing made of it is finished before that is known. Where `chunks` have no key for digests,
/// nothing is compared.
pub(super) fn proved<'a>(run: Box<dyn Run + 'a>, shard: &Shard, chunks: &dyn ChunkSource) -> Box<dyn Run + 'a> {
    match chunks.digest_key() {
        Some(key) => {
            let (name, expected) = (shard.name.clone(), shard.digest.clone());
            Box::new(Proved { run, digest: RunDigest::new(&key), name, expected })
        }
        None => run,
    }
}

/// Reads all of a shard and compares.
///
/// Errors: `Damaged` where other records come out than the backup merged; what reading gives.
pub fn prove(shard: &Shard, chunks: &dyn ChunkSource, watch: &Watch) -> Result<()> {
    let root = match shard.layers.as_slice() {
        [] => None,
        [base] => Some(base.root()?),
        _ => return Err(Error::new(Kind::Unsupported, &shard.name, "has layers")),
    };
    let mut run = proved(Box::new(TreeRun::new(root, chunks)), shard, chunks);
    let mut batch = RecordBatch::new();
    while run.next_batch(&mut batch)? {
        watch.check()?;
    }
    Ok(())
}

struct Proved<'a> {
    run: Box<dyn Run + 'a>,
    digest: RunDigest,
    name: String,
    expected: String,
}

impl Run for Proved<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        if self.run.next_batch(out)? {
            out.digest(&mut self.digest);
            return Ok(true);
        }
        if snapshot::hex(&self.digest.finish()) == self.expected {
            return Ok(false);
        }
        let message = "what is read of it is not what was backed up: their digests differ";
        Err(Error::damaged(&self.name, message).hint("restore it from another snapshot, and report this"))
    }
}
