//! A node's own view: the reconciled view under the node's patch.

use std::cmp::Ordering;

use repo_format::patch::LeafPatch;
use repo_format::record::Entries;

use super::{NodePatch, Root, TreeRun};
use crate::error::{Error, Result};
use crate::merge::Owned;
use crate::run::{ChunkSource, Record, RecordBatch, Run};

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
pub(super) struct Peek<'a> {
    run: TreeRun<'a>,
    batch: RecordBatch,
    at: usize,
}

impl<'a> Peek<'a> {
    pub(super) fn new(root: Option<Root>, chunks: &'a dyn ChunkSource) -> Peek<'a> {
        Peek { run: TreeRun::new(root, chunks), batch: RecordBatch::new(), at: 0 }
    }

    /// Makes a next record visible, if there is one.
    pub(super) fn load(&mut self) -> Result<bool> {
        if self.at < self.batch.len() {
            return Ok(true);
        }
        self.at = 0;
        self.run.next_batch(&mut self.batch)
    }

    /// The next record, once loaded.
    pub(super) fn record(&self) -> Record<'_> {
        self.batch.get(self.at)
    }

    /// The next record, if it stands at `key`.
    pub(super) fn at_key(&mut self, key: &[u8]) -> Result<Option<Record<'_>>> {
        Ok(if self.load()? { Some(self.record()).filter(|r| r.key == key) } else { None })
    }

    /// Steps over the next record.
    pub(super) fn step(&mut self) {
        self.at += 1;
    }

    /// Of a tree of patches: that of the leaf that begins with `first`.
    pub(super) fn leaf_patch(&mut self, first: &[u8]) -> Result<LeafPatch> {
        if !self.load()? {
            return Ok(LeafPatch::default());
        }
        let record = self.record();
        match record.key.cmp(first) {
            Ordering::Greater => return Ok(LeafPatch::default()),
            Ordering::Less => return Err(Error::damaged("patch", "belongs to no leaf")),
            Ordering::Equal => {}
        }
        let entry = Entries::new(record.body).next_entry()?;
        let value = entry.and_then(|e| e.value).ok_or_else(|| Error::damaged("patch", "a patch without bits"))?;
        let patch = LeafPatch::read(value)?;
        self.step();
        Ok(patch)
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

    /// Adds what the node holds before `key` (all of it, for `None`), and at `key` in place of the view's record.
    fn add_held(&mut self, key: Option<&[u8]>, out: &mut RecordBatch) -> Result<()> {
        while self.held.load()? {
            let record = self.held.record();
            if key.is_some_and(|key| record.key > key) {
                break;
            }
            out.push(&record);
            self.held.step();
        }
        Ok(())
    }

    /// Adds one leaf as the node has it.
    fn add_leaf(&mut self, leaf: &RecordBatch, out: &mut RecordBatch) -> Result<()> {
        let patch = self.bits.leaf_patch(leaf.get(0).key)?;
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
