//! A shard of a snapshot, read: the one way to do so. What is read as a whole is what was backed up, or it is an error.

mod by_layers;
mod chain;
mod differences;
mod proved;
mod watched;

use std::sync::Arc;

use crate::engine::target::unwritable;
use crate::engine::{Engine, KeyRange, KeyRanges, RowSink, Schema, Selection, Show, Wanted};
use crate::error::{Error, Kind, Result};
use crate::merge::Merge;
use crate::run::{ChunkSource, RecordBatch, Run};
use crate::snapshot::{Shard, Snapshot};
use crate::tree::{LeafByLeaf, Leafwise, Leaves, NodeView, Root, TreeRun, Within, stack};
use crate::watch::Watch;
use chain::Chain;
use watched::Watched;

pub use differences::{Each, differences};
pub use proved::DIFFERS;

/// Whose records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Side {
    /// The reconciled ones.
    #[default]
    Reconciled,
    /// These, and what only nodes held that do not own it, merged by the database's rule.
    WithUnowned,
    /// What one node held, by its place in the snapshot.
    Node(usize),
}

/// A shard of a snapshot, ready to be read.
#[derive(Clone)]
pub struct View<'a> {
    snapshot: &'a Snapshot,
    shard: &'a Shard,
    schema: Arc<dyn Schema>,
    chunks: &'a dyn ChunkSource,
    layers: Vec<Root>,
    side: Side,
    watch: Option<&'a Watch>,
}

/// All keys.
const ALL: KeyRange = (Vec::new(), Vec::new());

impl<'a> View<'a> {
    /// The reconciled records of `shard`, which `engine`, that of the snapshot, explains.
    ///
    /// Errors: descriptions that are not the engine's; roots that are none.
    pub fn open(
        engine: &dyn Engine,
        snapshot: &'a Snapshot,
        shard: &'a Shard,
        chunks: &'a dyn ChunkSource,
    ) -> Result<View<'a>> {
        let schema = engine.schema(&shard.name, &shard.description)?;
        let layers = shard.roots()?;
        Ok(View { snapshot, shard, schema, chunks, layers, side: Side::Reconciled, watch: None })
    }

    /// The same of another side.
    pub fn of(self, side: Side) -> View<'a> {
        View { side, ..self }
    }

    /// `watch` is told how far reading is, in bytes of the files that were captured of the shard, and asked whether to go on.
    pub fn watched(self, watch: &'a Watch) -> View<'a> {
        View { watch: Some(watch), ..self }
    }

    /// What the engine says of the shard.
    pub fn schema(&self) -> &dyn Schema {
        &*self.schema
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    /// The shard.
    pub fn shard(&self) -> &'a Shard {
        self.shard
    }

    /// What is read from.
    pub fn chunks(&self) -> &'a dyn ChunkSource {
        self.chunks
    }

    /// The rows that fulfil `conditions`, in the language of the database.
    pub fn select(&self, conditions: &str) -> Result<Box<dyn Selection>> {
        self.schema.select(conditions, self.snapshot.cut.seconds)
    }

    /// All records, ascending: rows with their tombstones, static rows, deletions of groups and ranges. The run of the reconciled
    /// ones fails at its end unless it was what the backup merged.
    ///
    /// Errors: a node's own view that was not kept; what reading the tree gives.
    pub fn run(&self) -> Result<Box<dyn Run + '_>> {
        let run = match self.side {
            Side::Reconciled => proved::proved(self.reconciled(ALL), self.shard, self.chunks),
            _ => self.aside()?,
        };
        Ok(self.watching(run))
    }

    /// The records in ranges of keys, each range preceded, where it begins inside a group, by records that say which deletions
    /// are in force there. Of the reconciled ones little more than these is read, of other sides everything.
    pub fn ranges(&self, ranges: KeyRanges) -> Result<Box<dyn Run + '_>> {
        let run: Box<dyn Run + '_> = match self.side {
            Side::Reconciled => Box::new(Chain::new(ranges, |range| self.reconciled(range))),
            _ => Box::new(Within::new(self.aside()?, ranges)),
        };
        Ok(self.watching(run))
    }

    /// The records of a selection, to be written as they are; without one, all. Deletions are among them as far as they reach
    /// into what is selected.
    pub fn records(&self, selection: Option<&dyn Selection>) -> Result<Box<dyn Run + '_>> {
        self.selected(selection, Wanted::Records)
    }

    /// Gives the rows of a selection to `to`; without one, all.
    ///
    /// Errors: what reading gives; `Unsupported`, by key and column, where a value cannot be made what `to` takes; those of `to`.
    pub fn rows(&self, selection: Option<&dyn Selection>, show: Show, to: &mut dyn RowSink) -> Result<()> {
        to.begin(&self.schema.columns(show).map_err(unwritable)?)?;
        let mut rows = match selection {
            Some(selection) => selection.rows(show),
            None => self.schema.rows(self.snapshot.cut.seconds, show),
        }
        .map_err(unwritable)?;
        let mut run = self.selected(selection, Wanted::Rows)?;
        let mut batch = RecordBatch::new();
        while run.next_batch(&mut batch)? {
            batch.iter().try_for_each(|record| rows.push(&record, to)).map_err(unwritable)?;
            to.pass_on()?;
        }
        rows.finish(to).map_err(unwritable)?;
        to.pass_on()
    }

    fn selected(&self, selection: Option<&dyn Selection>, wanted: Wanted) -> Result<Box<dyn Run + '_>> {
        match selection {
            Some(selection) => Ok(selection.cut(self.ranges(selection.reads(wanted)?)?, wanted)),
            None => self.run(),
        }
    }

    /// The reconciled records in a range of keys: the base under its layers, as they stand at the cut.
    fn reconciled(&self, (from, to): KeyRange) -> Box<dyn Run + '_> {
        let to = Some(to).filter(|to| !to.is_empty());
        stack(&self.layers, self.chunks, self.schema.rule(), self.snapshot.settles_at(), (from, to))
    }

    /// The tree that all reconciled records lie in; `None` where they lie in several, or are not as they were stored.
    fn alone(&self) -> Option<Option<Root>> {
        match (self.layers.as_slice(), self.snapshot.settles_at()) {
            ([], _) => Some(None),
            ([base], None) => Some(Some(*base)),
            _ => None,
        }
    }

    fn leaf_by_leaf(&self) -> Result<LeafByLeaf<'_>> {
        let Some(secret) = self.chunks.tree_secret() else {
            let message = "has layers, and where its leaves would end is not known here";
            return Err(Error::new(Kind::Unsupported, &self.shard.name, message));
        };
        Ok(LeafByLeaf::new(self.reconciled(ALL), secret, self.shard.leaf_records))
    }

    /// The leaves that patches speak of.
    pub fn leaves(&self) -> Result<Leaves<'_>> {
        Ok(match self.alone() {
            Some(root) => Leaves::Tree(root, self.chunks),
            None => Leaves::Run(self.leaf_by_leaf()?),
        })
    }

    /// The same as a run.
    fn leafwise(&self) -> Result<Box<dyn Leafwise + '_>> {
        Ok(match self.alone() {
            Some(root) => Box::new(TreeRun::new(root, self.chunks)),
            None => Box::new(self.leaf_by_leaf()?),
        })
    }

    /// Reads all: the digest of what comes out, as a snapshot says it. `None` where there is no key for digests.
    ///
    /// Errors: what reading gives.
    pub fn digest(&self, watch: &Watch) -> Result<Option<String>> {
        proved::digest(&mut *self.reconciled(ALL), self.chunks, watch)
    }

    /// All records of another side than the reconciled one.
    fn aside(&self) -> Result<Box<dyn Run + '_>> {
        let s = self.snapshot;
        let patches = s.patches(self.shard, self.chunks)?;
        let mut sides = patches.iter().zip(self.schema.owned(&s.description, patches.len())?);
        if let Side::Node(wanted) = self.side {
            if !s.node_views {
                return Err(Error::new(Kind::Usage, "snapshot", "does not hold the nodes' own views")
                    .hint("back up with --keep-node-views"));
            }
            let missing = || Error::damaged("snapshot", format!("says nothing of node {wanted}"));
            let (patch, owned) = sides.nth(wanted).ok_or_else(missing)?;
            return Ok(Box::new(NodeView::new(self.leafwise()?, patch, owned, self.chunks)));
        }
        let mut others: Vec<Box<dyn Run + '_>> = Vec::new();
        for (patch, owned) in sides.filter(|(patch, _)| patch.held.is_some()) {
            others.push(Box::new(NodeView::new(self.leafwise()?, patch, owned, self.chunks).outside()));
        }
        Ok(Box::new(Merge::with_unowned(self.reconciled(ALL), others, self.schema.rule())))
    }

    fn watching<'v>(&'v self, run: Box<dyn Run + 'v>) -> Box<dyn Run + 'v> {
        match self.watch {
            Some(watch) => {
                let records = self.layers.iter().map(|root| root.records).sum();
                Box::new(Watched::new(run, watch, records, self.shard.bytes_read))
            }
            None => run,
        }
    }
}
