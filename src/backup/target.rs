//! Where a backup writes to, and what shapes its trees.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use repo_format::leaf::Layout;

use super::{Previous, Seen};
use crate::blob;
use crate::error::Result;
use crate::repo::Repo;
use crate::run::{ChunkSink, PackClass};
use crate::tree::{Shape, leaf_records};

/// Bytes of the parts of all nodes that a range of keys holds, where a shard is read in ranges.
const RANGE_BYTES: u64 = 16 << 20;

/// Where a backup writes to and what shapes its trees.
pub struct Target<'a> {
    /// Takes the chunks.
    pub sink: &'a dyn ChunkSink,
    /// Secret of the breaks of trees.
    pub secret: [u8; 16],
    /// Bytes of keys and bodies that a leaf aims at.
    pub leaf_target: u32,
    /// Children of a branch on average.
    pub branch_children: u32,
    /// Key of the hashes in patches; that of the digests of runs follows from it.
    pub fingerprint: [u8; 32],
    /// Bytes of the parts of all nodes that one thread reads at a time of a shard that can be cut.
    pub range_bytes: u64,
    /// Processors that there are.
    pub cores: usize,
    /// Cuts files and large records.
    pub blobs: Arc<blob::Chunker>,
    /// The snapshots before, where they can be read: tables keep the shape that they have.
    pub before: Option<&'a Previous<'a>>,
    /// What this machine remembers of them.
    pub seen: Option<&'a Seen>,
    /// Where the engine remembers what it read for this cluster.
    pub memory: Option<PathBuf>,
    /// Both are written anew, for the next backup.
    pub remembers: bool,
}

impl<'a> Target<'a> {
    /// With the keys and sizes of a repository.
    pub fn of(repo: &Repo, before: Option<&'a Previous<'a>>, sink: &'a dyn ChunkSink) -> Result<Target<'a>> {
        let keys = &repo.ring().repo;
        let secret = keys.cut.tree_secret();
        let blobs = Arc::new(blob::Chunker::new(&keys.cut, repo.config().cut_average)?);
        let (leaf_target, branch_children) = (repo.config().leaf_target, repo.config().branch_children);
        let fingerprint = *keys.fingerprint.expose();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Ok(Target {
            sink,
            secret,
            leaf_target,
            branch_children,
            fingerprint,
            range_bytes: RANGE_BYTES,
            cores,
            blobs,
            before,
            seen: None,
            memory: None,
            remembers: false,
        })
    }

    /// For a tree in which the snapshot says something itself: records of so many bytes on average, of which some columns hold
    /// numbers.
    pub(super) fn shape(&self, bytes: usize, numeric: &[u32]) -> Shape {
        Shape {
            secret: self.secret,
            leaf_records: leaf_records(bytes, self.leaf_target),
            branch_children: self.branch_children,
            class: PackClass::Metadata,
            layout: Layout { numeric: numeric.to_vec(), ..Layout::default() },
            blobs: Arc::clone(&self.blobs),
        }
    }
}
