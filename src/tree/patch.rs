//! What the merge says of each node, kept: bits per leaf, and the records that only the node holds.

use repo_format::patch::{Differing, LeafPatch};
use repo_format::record::{BodyWriter, Class, Entry, EntryKind};

use super::told::Told;
use super::{Root, Shape, TreeWriter};
use crate::error::Result;
use crate::run::{ChunkSink, Record};

/// How one node differed, in rows. Deletions are not rows and are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Drift {
    /// Rows it should hold and does not.
    pub missing: u64,
    /// Rows it holds in an older or poorer state, or that others know to be deleted.
    pub stale: u64,
    /// Rows it holds outside its ranges.
    pub extra: u64,
    /// Deletions (of groups and intervals) in which it differs.
    pub deletions: u64,
    /// Differences that are only purged tombstones: no drift.
    pub purged: u64,
}

impl Drift {
    /// Adds another shard's counts.
    pub fn add(&mut self, other: &Drift) {
        self.missing += other.missing;
        self.stale += other.stale;
        self.extra += other.extra;
        self.deletions += other.deletions;
        self.purged += other.purged;
    }
}

/// What only nodes hold that do not own it: no owner has it, and the view has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct UnownedCount {
    /// Rows with values that are not in the view, or newer than there.
    pub rows: u64,
    /// Deletions (of groups, intervals and rows) that are not in the view.
    pub deletions: u64,
}

/// What is stored of a node: both trees are absent where there is nothing to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodePatch {
    /// Per leaf of the reconciled tree (under its first key): a [`LeafPatch`].
    pub bits: Option<Root>,
    /// Records as the node holds them.
    pub held: Option<Root>,
    /// The counts.
    pub drift: Drift,
}

struct Node<'a> {
    /// Of the leaf that is open, and of those that begin before the records told so far end.
    told: LeafPatch,
    bits: TreeWriter<'a>,
    held: TreeWriter<'a>,
    drift: Drift,
}

/// Writes the patches of all nodes, beside a tree.
pub struct PatchWriter<'a> {
    nodes: Vec<Node<'a>>,
    unowned: UnownedCount,
    buffer: Vec<u8>,
}

/// Leaves of a tree of patches hold this many.
const PATCHES_A_LEAF: u32 = 256;

impl<'a> PatchWriter<'a> {
    /// For `nodes` nodes, beside a tree of this shape.
    pub fn new(nodes: usize, sink: &'a dyn ChunkSink, shape: &Shape) -> PatchWriter<'a> {
        let bits = Shape { leaf_records: PATCHES_A_LEAF, layout: Default::default(), ..shape.clone() };
        let node = || Node {
            told: LeafPatch::default(),
            bits: TreeWriter::new(sink, &bits),
            held: TreeWriter::new(sink, shape),
            drift: Drift::default(),
        };
        PatchWriter {
            nodes: (0..nodes).map(|_| node()).collect(),
            unowned: UnownedCount::default(),
            buffer: Vec::new(),
        }
    }

    /// Takes in how the nodes differ in the next records of the run, of which the first is number `first` of its leaf.
    pub fn add(&mut self, told: Told, first: usize) -> Result<()> {
        self.unowned.rows += told.unowned.rows;
        self.unowned.deletions += told.unowned.deletions;
        let first = first as u32;
        for (node, told) in self.nodes.iter_mut().zip(told.nodes) {
            node.drift.add(&told.drift);
            node.told.missing.extend(told.differs.missing.iter().map(|at| first + at));
            node.told.extra.extend(told.differs.extra.iter().map(|at| first + at));
            let stale = told.differs.stale.into_iter();
            node.told.stale.extend(stale.map(|d| Differing { ordinal: first + d.ordinal, ..d }));
            for record in told.held.iter() {
                node.held.push(&record)?;
            }
        }
        Ok(())
    }

    /// Ends the leaf that is open, which begins with `first_key` and has so many records.
    pub fn end_leaf(&mut self, first_key: &[u8], records: usize) -> Result<()> {
        let records = records as u32;
        for node in &mut self.nodes {
            let leaf = take_leaf(&mut node.told, records);
            if leaf.is_empty() {
                continue;
            }
            self.buffer.clear();
            leaf.put(&mut self.buffer);
            let mut body = Vec::with_capacity(self.buffer.len() + 16);
            let mut writer = BodyWriter::new(&mut body);
            let value = Some(self.buffer.as_slice());
            writer.push(&Entry { column: 1, kind: EntryKind::Cell, element: None, time: 0, ldt: 0, ttl: 0, value });
            let traits = writer.traits();
            node.bits.push(&Record { key: first_key, group_len: 0, class: Class::Row, traits, body: &body })?;
        }
        Ok(())
    }

    /// Ends the patches, one per node. Gives with them what only non-owners hold.
    pub fn finish(self) -> Result<(Vec<NodePatch>, UnownedCount)> {
        let patch = |n: Node<'_>| Ok(NodePatch { bits: n.bits.finish()?, held: n.held.finish()?, drift: n.drift });
        Ok((self.nodes.into_iter().map(patch).collect::<Result<_>>()?, self.unowned))
    }
}

/// Takes away what is told of the first `records` records. What is left counts from behind them.
fn take_leaf(told: &mut LeafPatch, records: u32) -> LeafPatch {
    if told.is_empty() {
        return LeafPatch::default();
    }
    let take = |ordinals: &mut Vec<u32>| {
        let later = ordinals.split_off(ordinals.partition_point(|at| *at < records));
        std::mem::replace(ordinals, later.into_iter().map(|at| at - records).collect())
    };
    let (missing, extra) = (take(&mut told.missing), take(&mut told.extra));
    let later = told.stale.split_off(told.stale.partition_point(|d| d.ordinal < records)).into_iter();
    let later = later.map(|d| Differing { ordinal: d.ordinal - records, ..d }).collect();
    LeafPatch { missing, extra, stale: std::mem::replace(&mut told.stale, later) }
}
