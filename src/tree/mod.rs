//! Records ↔ chunks: content-defined ordered trees, and the patches of nodes beside them.
//!
//! Where a tree breaks is a keyed function of the keys alone, so equal ranges are equal chunks whatever surrounds them.

mod ahead;
mod beside;
mod branches;
mod context;
mod diff;
mod differing;
mod leafwise;
mod leaves;
mod patch;
mod reach;
mod read;
mod stack;
mod told;
mod view;
mod within;
mod write;

pub use diff::{Change, Diff};
pub use differing::{Difference, NodeSide, differences};
pub use leafwise::{Cuts, LeafByLeaf, Leafwise, Leaves};
pub use leaves::{Ended, WideTreeWriter};
pub use patch::{Drift, NodePatch, PatchWriter, UnownedCount};
pub use reach::{Spot, Under, reach, reach_by_place};
pub use read::TreeRun;
pub use stack::{stack, stack_at};
pub use told::{Scribe, Told};
pub use view::NodeView;
pub use within::Within;
pub use write::{TreeWriter, write};

use std::sync::Arc;

use crate::blob;
use crate::run::{ChunkId, ChunkKind, PackClass};
use repo_format::leaf::Layout;
use repo_format::reference::TreeRef;
use repo_format::tree::Child;

/// Where a tree begins. An empty tree has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// The topmost chunk.
    pub id: ChunkId,
    /// 0: that chunk is a leaf.
    pub level: u8,
    /// Records in all.
    pub records: u64,
    /// Of these, the ones under which something hangs: bodies or values of theirs lie beside their leaves, as blobs, or they
    /// hold references.
    pub blobs: u64,
    /// What its leaves are: content where something was backed up, metadata where a snapshot says something itself.
    pub class: PackClass,
}

/// Trees that records refer to are of content (SPEC "References").
impl From<TreeRef> for Root {
    fn from(TreeRef { id, level, records, blobs }: TreeRef) -> Root {
        Root { id, level, records, blobs, class: PackClass::Content }
    }
}

impl From<Root> for TreeRef {
    fn from(Root { id, level, records, blobs, class }: Root) -> TreeRef {
        debug_assert!(class == PackClass::Content);
        TreeRef { id, level, records, blobs }
    }
}

impl Root {
    /// The topmost chunk, with its kind.
    pub fn chunk(&self) -> (ChunkKind, ChunkId) {
        (if self.level == 0 { self.class.leaf() } else { ChunkKind::Branch }, self.id)
    }

    /// The root as a child is described in a branch. No branch is above it, so its first key is not known.
    fn child(&self) -> Child {
        Child { first_key: Vec::new(), id: self.id, records: self.records, blobs: self.blobs }
    }
}

/// What shapes a tree. Fixed for a table once it is stored: another value would share no leaf with what is there.
#[derive(Clone)]
pub struct Shape {
    /// Secret key of the breaks, the repository's.
    pub secret: [u8; 16],
    /// Records of a leaf on average.
    pub leaf_records: u32,
    /// Children of a branch on average, the repository's.
    pub branch_children: u32,
    /// What its leaves are, see [`Root::class`].
    pub class: PackClass,
    /// What helps the compressor.
    pub layout: Layout,
    /// Cuts what is too large for a leaf.
    pub blobs: Arc<blob::Chunker>,
}

/// Records of a leaf, so that it holds about `target` bytes of records of this mean size: a power of two, so that small
/// changes of the mean do not matter.
pub fn leaf_records(mean_bytes: usize, target: u32) -> u32 {
    let wanted = (target as usize / mean_bytes.max(1)).clamp(16, 8192) as u32;
    let below = 1 << wanted.ilog2();
    if wanted - below < below / 2 { below } else { below * 2 }
}
