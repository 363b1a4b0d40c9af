//! What the merge says of each node, kept: bits per leaf, and the records that only the node holds.

use repo_format::leaf::BODY_INLINE_MAX;
use repo_format::patch::{Differing, LeafPatch, Other};
use repo_format::record::{BodyWriter, Class, Entries, Entry, EntryKind};
use repo_format::tree::Breaks;

use super::{Root, Shape, TreeWriter};
use crate::error::Result;
use crate::merge::{Held, State, Unowned, Witness};
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
    leaf: LeafPatch,
    bits: TreeWriter<'a>,
    held: TreeWriter<'a>,
    drift: Drift,
}

/// A witness that writes the patches of all nodes. It breaks where the tree of the merged run breaks.
pub struct PatchWriter<'a> {
    nodes: Vec<Node<'a>>,
    breaks: Breaks,
    fingerprint: [u8; 32],
    keep_views: bool,
    unowned: UnownedCount,
    ordinal: u32,
    first_key: Vec<u8>,
    buffer: Vec<u8>,
}

/// Leaves of a tree of patches hold this many.
const PATCHES_A_LEAF: u32 = 256;

impl<'a> PatchWriter<'a> {
    /// For `nodes` nodes, beside a tree of this shape. `keep_views`: store what stale rows hold, too.
    pub fn new(
        nodes: usize,
        sink: &'a dyn ChunkSink,
        shape: &Shape,
        fingerprint: [u8; 32],
        keep_views: bool,
    ) -> PatchWriter<'a> {
        let bits = Shape { leaf_records: PATCHES_A_LEAF, layout: Default::default(), ..shape.clone() };
        let node = || Node {
            leaf: LeafPatch::default(),
            bits: TreeWriter::new(sink, &bits),
            held: TreeWriter::new(sink, shape),
            drift: Drift::default(),
        };
        PatchWriter {
            nodes: (0..nodes).map(|_| node()).collect(),
            breaks: Breaks::new(shape.secret, 0, shape.leaf_records),
            fingerprint,
            keep_views,
            unowned: UnownedCount::default(),
            ordinal: 0,
            first_key: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// What only non-owners held so far.
    pub fn unowned(&self) -> UnownedCount {
        self.unowned
    }

    /// Ends the patches, one per node.
    pub fn finish(mut self) -> Result<Vec<NodePatch>> {
        self.end_leaf()?;
        self.nodes
            .into_iter()
            .map(|n| Ok(NodePatch { bits: n.bits.finish()?, held: n.held.finish()?, drift: n.drift }))
            .collect()
    }

    fn begin(&mut self, merged: &Record<'_>) {
        if self.ordinal == 0 {
            self.first_key.clear();
            self.first_key.extend_from_slice(merged.key);
        }
    }

    fn end(&mut self, merged: &Record<'_>) -> Result<()> {
        self.ordinal += 1;
        let bytes = merged.key.len() + merged.body.len().min(BODY_INLINE_MAX);
        if self.breaks.ends(merged.key, bytes) { self.end_leaf() } else { Ok(()) }
    }

    fn end_leaf(&mut self) -> Result<()> {
        self.ordinal = 0;
        for node in self.nodes.iter_mut().filter(|n| !n.leaf.is_empty()) {
            self.buffer.clear();
            node.leaf.put(&mut self.buffer);
            node.leaf = LeafPatch::default();
            let mut body = Vec::with_capacity(self.buffer.len() + 16);
            let mut writer = BodyWriter::new(&mut body);
            let value = Some(self.buffer.as_slice());
            writer.push(&Entry { column: 1, kind: EntryKind::Cell, element: None, time: 0, ldt: 0, ttl: 0, value });
            let traits = writer.traits();
            let key = &self.first_key;
            node.bits.push(&Record { key, group_len: 0, class: Class::Row, traits, body: &body })?;
        }
        Ok(())
    }
}

impl Witness for PatchWriter<'_> {
    fn same(&mut self, merged: &Record<'_>) -> Result<()> {
        self.begin(merged);
        self.end(merged)
    }

    fn differs(&mut self, merged: &Record<'_>, nodes: &[Held<'_>]) -> Result<()> {
        self.begin(merged);
        let ordinal = self.ordinal;
        for (node, held) in self.nodes.iter_mut().zip(nodes) {
            let row = matches!(merged.class, Class::Row | Class::Static);
            let counter = match held.state {
                State::Same | State::Elsewhere => continue,
                _ if held.purgeable => &mut node.drift.purged,
                _ if !row => &mut node.drift.deletions,
                State::Missing => &mut node.drift.missing,
                State::Stale => &mut node.drift.stale,
                State::Extra => &mut node.drift.extra,
            };
            *counter += 1;
            match (held.state, held.record) {
                (State::Missing, _) => node.leaf.missing.push(ordinal),
                (State::Extra, _) => node.leaf.extra.push(ordinal),
                (_, Some(r)) => {
                    let others = others(r.body, merged.body, &self.fingerprint)?;
                    node.leaf.stale.push(Differing { ordinal, others });
                    if self.keep_views {
                        node.held.push(&r)?;
                    }
                }
                _ => {}
            }
        }
        self.end(merged)
    }

    fn unowned(&mut self, what: Unowned) -> Result<()> {
        match what {
            Unowned::Row => self.unowned.rows += 1,
            Unowned::Deletion => self.unowned.deletions += 1,
        }
        Ok(())
    }

    fn alone(&mut self, node: usize, record: &Record<'_>, owned: bool) -> Result<()> {
        let node = &mut self.nodes[node];
        let row = matches!(record.class, Class::Row | Class::Static);
        let counter = match (row, owned) {
            (false, _) => &mut node.drift.deletions,
            (true, true) => &mut node.drift.stale,
            (true, false) => &mut node.drift.extra,
        };
        *counter += 1;
        if self.keep_views || !owned {
            node.held.push(record)?;
        }
        Ok(())
    }
}

/// What `body` holds that `merged` has not, by write time, with a keyed hash each.
fn others(body: &[u8], merged: &[u8], fingerprint: &[u8; 32]) -> Result<Vec<Other>> {
    let there: Vec<Entry<'_>> = Entries::new(merged).collect::<repo_format::Result<_>>()?;
    let mut times: Vec<(i64, Vec<Entry<'_>>)> = Vec::new();
    let mut at = 0;
    for entry in Entries::new(body) {
        let entry = entry?;
        while there.get(at).is_some_and(|t| t.order(&entry).is_lt()) {
            at += 1;
        }
        if there.get(at) == Some(&entry) || entry.kind == EntryKind::Raw {
            continue;
        }
        match times.iter_mut().find(|(time, _)| *time == entry.time) {
            Some((_, entries)) => entries.push(entry),
            None => times.push((entry.time, vec![entry])),
        }
    }
    let hash = |entries: &[Entry<'_>]| {
        let mut bytes = Vec::new();
        let mut writer = BodyWriter::new(&mut bytes);
        entries.iter().for_each(|e| writer.push(e));
        let [a, b, c, d, e, f, g, h, ..] = *blake3::keyed_hash(fingerprint, &bytes).as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    };
    Ok(times.iter().map(|(time, entries)| Other { time: *time, hash: hash(entries) }).collect())
}
