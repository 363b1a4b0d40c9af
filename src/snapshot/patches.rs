//! How each node differs in each shard (SPEC "Patches of a snapshot"): a tree of its own, for there may be a hundred nodes to each of
//! a thousand shards.

use std::collections::HashMap;

use repo_format::record::{BodyWriter, Class, Entries, EntryKind, Traits};
use repo_format::reference::{Reference, references};
use repo_format::wire::Put;

use super::{Shard, Snapshot, entry};
use crate::engine::Node;
use crate::error::{Error, Kind, Result};
use crate::run::{ChunkSink, ChunkSource, Record, RecordBatch, Run};
use crate::tree::{Drift, NodePatch, Root, Shape, TreeRun, TreeWriter, Under};

/// Columns of the counts, in the order of [`counts`], and of the two trees.
const COUNTS: [u32; 5] = [1, 2, 3, 4, 5];
const BITS: u32 = 6;
const HELD: u32 = 7;

/// Bytes of a patch on average, for the size of leaves.
pub const PATCH_BYTES: usize = 128;

/// The columns that hold numbers.
pub const NUMBERS: [u32; 5] = COUNTS;

fn counts(d: &mut Drift) -> [&mut u64; 5] {
    [&mut d.missing, &mut d.stale, &mut d.extra, &mut d.deletions, &mut d.purged]
}

/// How one node differs in one shard.
#[derive(Debug, Clone)]
pub struct Patch {
    /// The shard, by its id.
    pub shard: String,
    /// The node, by its place in [`Snapshot::nodes`].
    pub node: usize,
    /// How it differs.
    pub patch: NodePatch,
}

/// The beginning of the keys of a shard's patches: its id, 00 as 00 FF, and 00 00.
fn prefix(shard: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(shard.len() + 6);
    key.put_escaped(shard.as_bytes());
    key
}

/// By the node's name, not its place: so the tree is the same in whatever order the nodes are given.
fn key(of: &Patch, nodes: &[Node]) -> Result<Vec<u8>> {
    let node = nodes.get(of.node).ok_or_else(|| Error::damaged("patch of a node", "is of no node"))?;
    Ok([prefix(&of.shard), node.name.as_bytes().to_vec()].concat())
}

fn put(patch: &NodePatch, out: &mut Vec<u8>) -> Traits {
    let mut drift = patch.drift;
    let (numbers, mut reference) = (counts(&mut drift).map(|n| n.to_be_bytes()), Vec::new());
    let mut writer = BodyWriter::new(out);
    for (column, bytes) in COUNTS.into_iter().zip(&numbers) {
        if *bytes != [0; 8] {
            writer.push(&entry(column, EntryKind::Cell, bytes));
        }
    }
    for (column, root) in [(BITS, patch.bits), (HELD, patch.held)] {
        let Some(root) = root else { continue };
        reference.clear();
        Reference::Tree(root.into()).put(&mut reference);
        writer.push(&entry(column, EntryKind::Raw, &reference));
    }
    writer.traits()
}

fn read(body: &[u8]) -> Result<NodePatch> {
    let mut patch = NodePatch::default();
    for entry in Entries::new(body) {
        let entry = entry?;
        let unknown = || Error::new(Kind::Unsupported, "patch of a node", format!("column {}", entry.column));
        match (entry.kind, entry.column) {
            (EntryKind::Cell, column) => {
                let at = COUNTS.iter().position(|c| *c == column).ok_or_else(unknown)?;
                let number = entry.value.and_then(|v| v.try_into().ok()).map(u64::from_be_bytes);
                *counts(&mut patch.drift)[at] =
                    number.ok_or_else(|| Error::damaged("patch of a node", "a count that is no number"))?;
            }
            (EntryKind::Raw, BITS | HELD) => {}
            _ => return Err(unknown()),
        }
    }
    for found in references(body) {
        let (column, reference) = found?;
        let Reference::Tree(root) = reference else {
            return Err(Error::damaged("patch of a node", "refers to a blob, where a tree is meant"));
        };
        *(if column == BITS { &mut patch.bits } else { &mut patch.held }) = Some(root.into());
    }
    Ok(patch)
}

/// Writes the patches of all shards. One that says nothing is left out.
pub fn write(patches: &[Patch], nodes: &[Node], sink: &dyn ChunkSink, shape: &Shape) -> Result<Option<Root>> {
    let said = patches.iter().filter(|of| of.patch != NodePatch::default());
    let mut sorted = said.map(|of| Ok((key(of, nodes)?, &of.patch))).collect::<Result<Vec<_>>>()?;
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut tree = TreeWriter::new(sink, shape);
    let mut body = Vec::new();
    for (key, patch) in sorted {
        body.clear();
        let traits = put(patch, &mut body);
        tree.push(&Record { key: &key, group_len: 0, class: Class::Row, traits, body: &body })?;
    }
    tree.finish()
}

/// What is accepted is written to be read as the same.
pub(super) fn fuzz(body: &[u8]) {
    let Ok(patch) = read(body) else { return };
    let mut again = Vec::new();
    put(&patch, &mut again);
    assert!(read(&again).is_ok_and(|again| again == patch));
}

/// What people call the patches of a snapshot.
pub(super) struct PatchNames<'a> {
    nodes: &'a [Node],
    /// Names of shards by the beginnings of their keys.
    shards: HashMap<Vec<u8>, &'a str>,
}

impl<'a> PatchNames<'a> {
    pub fn new(s: &'a Snapshot) -> PatchNames<'a> {
        let shards = s.shards.iter().map(|shard| (prefix(&shard.id), shard.name.as_str()));
        PatchNames { nodes: &s.nodes, shards: shards.collect() }
    }

    /// The name of the patch that a record is.
    pub fn name(&self, under: &Under) -> Result<String> {
        let split = under.key.windows(2).position(|bytes| bytes == [0, 0]).unwrap_or_default() + 2;
        let (shard, node) = under.key.split_at_checked(split).unwrap_or_default();
        let node = self.nodes.iter().find(|n| n.name.as_bytes() == node);
        let (Some(shard), Some(node)) = (self.shards.get(shard), node) else {
            return Err(Error::damaged("patch of a node", "is of no table and node"));
        };
        let name = format!("{shard}: patch of node {}", node.name);
        read(&under.body).map_err(|e| e.within(&name)).map(|_| name)
    }
}

impl Snapshot {
    /// How each node differs in a shard, one for every node.
    ///
    /// Errors: what reading gives; `Damaged` where a patch is of no node.
    pub fn patches(&self, shard: &Shard, chunks: &dyn ChunkSource) -> Result<Vec<NodePatch>> {
        let mut patches = vec![NodePatch::default(); self.nodes.len()];
        let Some(tree) = &self.patches else { return Ok(patches) };
        let prefix = prefix(&shard.id);
        let mut to = prefix.clone();
        if let Some(last) = to.last_mut() {
            *last = 1;
        }
        let mut run = TreeRun::range(Some(tree.own_root()?), chunks, prefix.clone(), Some(to));
        let mut batch = RecordBatch::new();
        while run.next_batch(&mut batch)? {
            for record in batch.iter() {
                let node = self.nodes.iter().position(|n| n.name.as_bytes() == &record.key[prefix.len()..]);
                let patch = node.and_then(|node| patches.get_mut(node));
                let of = || format!("patch of a node of {}", shard.name);
                *patch.ok_or_else(|| Error::damaged(of(), "is of no node"))? =
                    read(record.body).map_err(|e| e.within(of()))?;
            }
        }
        Ok(patches)
    }
}
