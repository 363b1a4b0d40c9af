//! A node's own view: the reconciled view under the node's patch.

use std::cmp::Ordering;

use repo_format::patch::LeafPatch;
use repo_format::record::Entries;

use super::{Leafwise, NodePatch, Root, TreeRun};
use crate::error::{Error, Result};
use crate::merge::Owned;
use crate::run::{ChunkSource, Record, RecordBatch, Run};

/// Reads what one node held, expired cells as tombstones. Exact for everything if the backup kept the views of nodes;
/// otherwise stale rows are left out.
pub struct NodeView<'a> {
    view: Box<dyn Leafwise + 'a>,
    /// Some records of the view, all of one leaf, and the one that comes next.
    batch: RecordBatch,
    at: usize,
    /// How the node differs in that leaf.
    patch: LeafPatch,
    bits: Peek<'a>,
    held: Peek<'a>,
    owned: Owned,
    side: Side,
}

/// Which of a node's records are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// All.
    All,
    /// Those outside its ranges.
    Outside,
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

    /// Reads on in a tree of patches: gives the patch of the leaf that begins with `first`.
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
    pub fn new(
        view: Box<dyn Leafwise + 'a>,
        patch: &NodePatch,
        owned: Owned,
        chunks: &'a dyn ChunkSource,
    ) -> NodeView<'a> {
        NodeView {
            view,
            batch: RecordBatch::new(),
            at: 0,
            patch: LeafPatch::default(),
            bits: Peek::new(patch.bits, chunks),
            held: Peek::new(patch.held, chunks),
            owned,
            side: Side::All,
        }
    }

    /// Only what the node held outside its ranges; exact in every backup.
    #[must_use]
    pub fn outside(self) -> NodeView<'a> {
        NodeView { side: Side::Outside, ..self }
    }

    /// Makes the view's next record visible, and with a leaf's first one what the node's patch says of the leaf.
    fn load(&mut self) -> Result<bool> {
        if self.at < self.batch.len() {
            return Ok(true);
        }
        self.at = 0;
        if !self.view.next_batch(&mut self.batch)? {
            return Ok(false);
        }
        if self.view.ordinal() == 0 {
            self.patch = self.bits.leaf_patch(self.batch.get(0).key)?;
        }
        Ok(true)
    }

    /// Adds the next record of the view or of what the node holds, unless the node has not that of the view; `false` at the
    /// end.
    fn step(&mut self, out: &mut RecordBatch) -> Result<bool> {
        let more = self.load()?;
        if self.held.load()? {
            let held = self.held.record();
            if !more || held.key <= self.batch.get(self.at).key {
                if self.side == Side::All || !self.owned.holds(held.whose()) {
                    out.push(&held);
                }
                self.held.step();
                return Ok(true);
            }
        }
        if !more {
            return Ok(false);
        }
        let (record, ordinal) = (self.batch.get(self.at), self.view.ordinal() + self.at as u32);
        let stale = self.patch.stale.binary_search_by_key(&ordinal, |d| d.ordinal).is_ok();
        let missing = self.patch.missing.binary_search(&ordinal).is_ok();
        let extra = self.patch.extra.binary_search(&ordinal).is_ok();
        let inside = self.side == Side::All && self.owned.holds(record.whose());
        if (extra || inside) && !stale && !missing {
            out.push(&record);
        }
        self.at += 1;
        Ok(true)
    }
}

impl Run for NodeView<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        while !out.is_full() && self.step(out)? {}
        Ok(!out.is_empty())
    }
}
