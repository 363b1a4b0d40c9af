//! A shard that is read as a whole: what comes out is what went in, or it is an error.

use repo_format::run_digest::RunDigest;

use crate::error::{Error, Result};
use crate::run::{ChunkSource, RecordBatch, Run};
use crate::snapshot::{self, Shard};
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

/// What [`proved`] says where the records are others.
pub const DIFFERS: &str = "what is read of it is not what was backed up: their digests differ";

/// Reads a run: the digest of what comes out. `None` where `chunks` have no key for digests.
pub(super) fn digest(run: &mut dyn Run, chunks: &dyn ChunkSource, watch: &Watch) -> Result<Option<String>> {
    let Some(key) = chunks.digest_key() else { return Ok(None) };
    let (mut batch, mut digest) = (RecordBatch::new(), RunDigest::new(&key));
    while run.next_batch(&mut batch)? {
        watch.check()?;
        batch.digest(&mut digest);
    }
    Ok(Some(snapshot::hex(&digest.finish())))
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
        Err(Error::damaged(&self.name, DIFFERS).hint("restore it from another snapshot, and report this"))
    }
}
