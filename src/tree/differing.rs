//! How nodes differ from the view, record by record: patches and what nodes hold, beside the leaves that they speak of.

use std::cmp::Ordering;
use std::collections::VecDeque;

use repo_format::patch::{LeafPatch, Other};
use repo_format::record::Traits;
use repo_format::tree::Child;

use super::read::{TreeRun, fill_leaf};
use super::view::Peek;
use super::{LeafByLeaf, Leafwise, Leaves, NodePatch};
use crate::error::{Error, Result};
use crate::merge::{Owned, Purge, State, held};
use crate::run::{ChunkId, ChunkSource, PackClass, Record, RecordBatch, Run};

/// Leaves that are asked for ahead, at most.
const ASKED_MOST: usize = 16;

/// One record in which one node differs from the view.
#[derive(Debug, Clone, Copy)]
pub struct Difference<'a> {
    /// The node, by its place among the patches.
    pub node: usize,
    /// `Stale`, `Missing` or `Extra`. What the node holds alone is `Stale` if it owns the key (others know it to be
    /// deleted), `Extra` if not.
    pub state: State,
    /// In the view.
    pub view: Option<Record<'a>>,
    /// On the node, where that is kept; where it is `Extra` and the same as in the view, it is not repeated.
    pub held: Option<Record<'a>>,
    /// Only what a node may purge: no drift. `None` where what the node holds is not kept, and it is not certain.
    pub purged: Option<bool>,
    /// Where the record is `Stale`: what the node holds that the view has not, by write time.
    pub others: &'a [Other],
}

/// One node's patch and the keys that it answers for.
pub struct NodeSide<'a> {
    bits: Peek<'a>,
    held: Peek<'a>,
    owned: Owned,
}

impl<'a> NodeSide<'a> {
    /// Begins before the first leaf.
    pub fn new(patch: &NodePatch, owned: Owned, chunks: &'a dyn ChunkSource) -> NodeSide<'a> {
        NodeSide { bits: Peek::new(patch.bits, chunks), held: Peek::new(patch.held, chunks), owned }
    }
}

/// Shows `each` every record in which a node differs, leaf by leaf in the order of keys and node by node within a leaf. Of a tree,
/// leaves that no patch speaks of are not read. What nodes may have dropped
/// (`purge`) may be missing without that being drift.
pub fn differences(
    view: Leaves<'_>,
    nodes: &mut [NodeSide<'_>],
    purge: Purge<'_>,
    each: &mut dyn FnMut(&Difference<'_>) -> Result<()>,
) -> Result<()> {
    let mut directory = Directory::of(view);
    let (mut coming, mut ended, mut first) = (VecDeque::new(), false, true);
    // How many leaves are asked for ahead, and how many of those that come were.
    let (mut ahead, mut asked) = (0, 0);
    while first || !coming.is_empty() {
        // The one behind says where this one ends.
        while !ended && coming.len() < ahead + 2 {
            match directory.next_leaf()? {
                Some(leaf) => coming.push_back(leaf),
                None => ended = true,
            }
        }
        let leaf = coming.pop_front();
        asked = usize::saturating_sub(asked, 1);
        let ahead_of_it: Vec<&Leaf<'_>> = coming.iter().take(ahead).skip(asked).collect();
        asked += ahead_of_it.len();
        directory.ask(&ahead_of_it);
        let mut records = leaf.unwrap_or_default();
        let end = coming.front().map(|leaf: &Leaf<'_>| leaf.first_key.as_slice());
        for (i, node) in nodes.iter_mut().enumerate() {
            node.leaf(i, &mut records, end, purge, each)?;
        }
        // Where nodes differ here they most likely differ in the leaves that follow.
        ahead = if records.was_asked { (2 * ahead).clamp(1, ASKED_MOST) } else { 0 };
        first = false;
    }
    Ok(())
}

/// The leaves of a view, one after the other.
enum Directory<'a> {
    Tree {
        run: TreeRun<'a>,
        class: PackClass,
        chunks: &'a dyn ChunkSource,
    },
    /// With the first records of the leaf that comes next.
    Run(LeafByLeaf<'a>, RecordBatch),
}

/// A leaf of the view; one of a tree is read when asked for. By default one that is not there.
#[derive(Default)]
struct Leaf<'a> {
    /// Empty where it is not known, or is so.
    first_key: Vec<u8>,
    /// Where it is read from.
    from: Option<(&'a dyn ChunkSource, PackClass, ChunkId)>,
    batch: Option<RecordBatch>,
    /// Whether its records were asked for.
    was_asked: bool,
    /// Whether there is one.
    exists: bool,
}

impl<'a> Directory<'a> {
    fn of(view: Leaves<'a>) -> Directory<'a> {
        match view {
            Leaves::Tree(root, chunks) => {
                let class = root.map_or(PackClass::Content, |root| root.class);
                Directory::Tree { run: TreeRun::new(root, chunks), class, chunks }
            }
            Leaves::Run(run) => Directory::Run(run, RecordBatch::new()),
        }
    }

    fn next_leaf(&mut self) -> Result<Option<Leaf<'a>>> {
        match self {
            Directory::Tree { run, class, chunks } => {
                let leaf = |Child { first_key, id, .. }| Leaf {
                    first_key,
                    from: Some((*chunks, *class, id)),
                    exists: true,
                    ..Leaf::default()
                };
                Ok(run.next_child()?.map(leaf))
            }
            Directory::Run(run, next) => {
                let mut all = std::mem::take(next);
                if all.is_empty() && !run.next_batch(&mut all)? {
                    return Ok(None);
                }
                while run.next_batch(next)? && run.ordinal() > 0 {
                    next.iter().for_each(|record| all.push(&record));
                }
                let first_key = all.get(0).key.to_vec();
                Ok(Some(Leaf { first_key, batch: Some(all), exists: true, ..Leaf::default() }))
            }
        }
    }

    fn ask(&self, leaves: &[&Leaf<'_>]) {
        let Directory::Tree { chunks, .. } = self else { return };
        let ids: Vec<ChunkId> = leaves.iter().filter_map(|leaf| leaf.from.map(|(_, _, id)| id)).collect();
        chunks.prefetch(&ids);
    }
}

impl Leaf<'_> {
    fn records(&mut self) -> Result<&RecordBatch> {
        self.was_asked = true;
        if self.batch.is_none() {
            let mut batch = RecordBatch::new();
            if let Some((chunks, class, id)) = self.from {
                fill_leaf(chunks, class, &id, &mut batch)?;
            }
            self.batch = Some(batch);
        }
        self.batch.as_ref().ok_or_else(|| Error::damaged("tree", "a leaf that was read is gone"))
    }
}

impl NodeSide<'_> {
    /// What the node says of one leaf and of the keys up to `end`.
    fn leaf(
        &mut self,
        node: usize,
        leaf: &mut Leaf<'_>,
        end: Option<&[u8]>,
        purge: Purge<'_>,
        each: &mut dyn FnMut(&Difference<'_>) -> Result<()>,
    ) -> Result<()> {
        let patch = match leaf.exists {
            // The branches above a leaf say where it begins; one that is all there is has none above.
            true if leaf.first_key.is_empty() => match leaf.records()? {
                records if records.is_empty() => LeafPatch::default(),
                records => self.bits.leaf_patch(records.get(0).key)?,
            },
            true => self.bits.leaf_patch(&leaf.first_key)?,
            false => LeafPatch::default(),
        };
        for (ordinal, state, others) in listed(&patch) {
            let records = leaf.records()?;
            if ordinal as usize >= records.len() {
                return Err(Error::damaged("patch", format!("speaks of record {ordinal} of {}", records.len())));
            }
            let merged = records.get(ordinal as usize);
            self.alone(node, Some(merged.key), records, each)?;
            let held_here = self.held.at_key(merged.key)?;
            let kept = if state == State::Stale { held_here } else { None };
            let purged = match (state, kept) {
                (State::Extra, _) => Some(false),
                (State::Stale, None) if others.is_empty() && merged.traits == Traits::default() => Some(false),
                (State::Stale, None) => None,
                (_, kept) => Some(held(&merged, true, kept, purge)?.purgeable),
            };
            each(&Difference { node, state, view: Some(merged), held: kept, purged, others })?;
            if kept.is_some() {
                self.held.step();
            }
        }
        while self.held.load()? && end.is_none_or(|end| self.held.record().key < end) {
            let records = leaf.records()?;
            self.alone(node, end, records, each)?;
        }
        Ok(())
    }

    /// What the node holds before `end` and the patch does not list: alone, or otherwise than the view outside its ranges.
    fn alone(
        &mut self,
        node: usize,
        end: Option<&[u8]>,
        view: &RecordBatch,
        each: &mut dyn FnMut(&Difference<'_>) -> Result<()>,
    ) -> Result<()> {
        while self.held.load()? {
            let record = self.held.record();
            if end.is_some_and(|end| record.key >= end) {
                break;
            }
            let state = if self.owned.holds(record.whose()) { State::Stale } else { State::Extra };
            let view = find(view, record.key);
            each(&Difference { node, state, view, held: Some(record), purged: Some(false), others: &[] })?;
            self.held.step();
        }
        Ok(())
    }
}

fn find<'r>(records: &'r RecordBatch, key: &[u8]) -> Option<Record<'r>> {
    let (mut low, mut high) = (0, records.len());
    while low < high {
        let middle = low + (high - low) / 2;
        match records.get(middle).key.cmp(key) {
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
            Ordering::Equal => return Some(records.get(middle)),
        }
    }
    None
}

/// Everything a patch lists, by ordinal.
fn listed(patch: &LeafPatch) -> Vec<(u32, State, &[Other])> {
    let missing = patch.missing.iter().map(|o| (*o, State::Missing, &[][..]));
    let extra = patch.extra.iter().map(|o| (*o, State::Extra, &[][..]));
    let stale = patch.stale.iter().map(|d| (d.ordinal, State::Stale, &d.others[..]));
    let mut all: Vec<_> = missing.chain(extra).chain(stale).collect();
    all.sort_unstable_by_key(|(ordinal, _, _)| *ordinal);
    all
}
