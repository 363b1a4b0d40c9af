//! A node's own view: the reconciled view under the node's patch.

use std::cmp::Ordering;

use repo_format::patch::LeafPatch;
use repo_format::record::Entries;

use super::{NodePatch, Root, TreeRun};
use crate::error::{Error, Result};
use crate::merge::Owned;
use crate::run::{ChunkSource, RecordBatch, Run};

/// Reads what one node held, expired cells as tombstones. Exact for everything if the backup kept the views of nodes;
/// otherwise stale rows are left out.
pub struct NodeView<'a> {
    view: TreeRun<'a>,
    leaf: RecordBatch,
    bits: Peek<'a>,
    held: Peek<'a>,
    owned: Owned,
    ended: bool,
}

/// A run with its next record in sight.
struct Peek<'a> {
    run: TreeRun<'a>,
    batch: RecordBatch,
    at: usize,
}

impl<'a> Peek<'a> {
    fn new(root: Option<Root>, chunks: &'a dyn ChunkSource) -> Peek<'a> {
        Peek { run: TreeRun::new(root, chunks), batch: RecordBatch::new(), at: 0 }
    }

    /// Makes a next record visible, if there is one.
    fn load(&mut self) -> Result<bool> {
        if self.at < self.batch.len() {
            return Ok(true);
        }
        self.at = 0;
        self.run.next_batch(&mut self.batch)
    }
}

impl<'a> NodeView<'a> {
    /// `owned` are the keys that the node answers for.
    pub fn new(view: Option<Root>, patch: &NodePatch, owned: Owned, chunks: &'a dyn ChunkSource) -> NodeView<'a> {
        NodeView {
            view: TreeRun::new(view, chunks),
            leaf: RecordBatch::new(),
            bits: Peek::new(patch.bits, chunks),
            held: Peek::new(patch.held, chunks),
            owned,
            ended: false,
        }
    }

    /// The patch of the leaf that begins with `first`.
    fn leaf_patch(&mut self, first: &[u8]) -> Result<LeafPatch> {
        if !self.bits.load()? {
            return Ok(LeafPatch::default());
        }
        let record = self.bits.batch.get(self.bits.at);
        match record.key.cmp(first) {
            Ordering::Greater => return Ok(LeafPatch::default()),
            Ordering::Less => return Err(Error::damaged("patch", "belongs to no leaf")),
            Ordering::Equal => {}
        }
        let entry = Entries::new(record.body).next_entry()?;
        let value = entry.and_then(|e| e.value).ok_or_else(|| Error::damaged("patch", "a patch without bits"))?;
        let patch = LeafPatch::read(value)?;
        self.bits.at += 1;
        Ok(patch)
    }

    /// Adds what the node holds before `key` (all of it, for `None`), and at `key` in place of the view's record.
    fn add_held(&mut self, key: Option<&[u8]>, out: &mut RecordBatch) -> Result<()> {
        while self.held.load()? {
            let record = self.held.batch.get(self.held.at);
            if key.is_some_and(|key| record.key > key) {
                break;
            }
            out.push(&record);
            self.held.at += 1;
        }
        Ok(())
    }

    /// Adds one leaf as the node has it.
    fn add_leaf(&mut self, leaf: &RecordBatch, out: &mut RecordBatch) -> Result<()> {
        let patch = self.leaf_patch(leaf.get(0).key)?;
        for (ordinal, record) in (0u32..).zip(leaf.iter()) {
            self.add_held(Some(record.key), out)?;
            let stale = patch.stale.binary_search_by_key(&ordinal, |d| d.ordinal).is_ok();
            let missing = patch.missing.binary_search(&ordinal).is_ok();
            let extra = patch.extra.binary_search(&ordinal).is_ok();
            if (extra || self.owned.holds(record.group())) && !stale && !missing {
                out.push(&record);
            }
        }
        Ok(())
    }
}

impl Run for NodeView<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        let mut leaf = std::mem::take(&mut self.leaf);
        while out.is_empty() && !self.ended {
            if self.view.next_batch(&mut leaf)? {
                self.add_leaf(&leaf, out)?;
            } else {
                self.ended = true;
                self.add_held(None, out)?;
            }
        }
        self.leaf = leaf;
        Ok(!out.is_empty())
    }
}
