//! Two trees compared. Subtrees that are equal have equal ids and are not read.

use std::cmp::Ordering;
use std::collections::{HashSet, VecDeque};

use repo_format::tree::{Child, read_branch};

use super::Root;
use super::read::fill_leaf;
use crate::error::{Error, Result};
use crate::run::{ChunkId, ChunkKind, ChunkSource, PackClass, Record, RecordBatch};

/// Chunks of a side that are asked for ahead, at most.
const ASKED_MOST: usize = 16;

/// One key at which two trees differ. At least one side is there.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// In the first tree.
    pub before: Option<Record<'a>>,
    /// In the second tree.
    pub after: Option<Record<'a>>,
}

/// One side: what is left to visit, and the records of leaves that the other side has not.
struct Side<'a> {
    chunks: &'a dyn ChunkSource,
    class: PackClass,
    path: Vec<(u8, Vec<Child>)>,
    leaves: VecDeque<ChunkId>,
    batch: RecordBatch,
    at: usize,
    /// Keys of the batch from here on are beyond the range.
    end: usize,
    from: Vec<u8>,
    /// Where it is empty there is no end.
    to: Vec<u8>,
    /// Chunks that the other side lacks beside where it stands, in order: they will be read, and were not asked for.
    ahead: VecDeque<ChunkId>,
    /// How many were asked for and not read.
    asked: usize,
}

impl<'a> Side<'a> {
    fn new(root: Option<Root>, chunks: &'a dyn ChunkSource, (from, to): (&[u8], &[u8])) -> Side<'a> {
        let top = root.map(|r| (r.level, vec![r.child()]));
        let path = top.into_iter().collect();
        let class = root.map_or(PackClass::Content, |root| root.class);
        let (from, to) = (from.to_vec(), to.to_vec());
        let (leaves, ahead) = (VecDeque::new(), VecDeque::new());
        Side { chunks, class, path, leaves, batch: RecordBatch::new(), at: 0, end: 0, from, to, ahead, asked: 0 }
    }

    /// The next subtree: its level, first key and id.
    fn peek(&mut self) -> Option<(u8, &Child)> {
        while self.path.last().is_some_and(|(_, children)| children.is_empty()) {
            self.path.pop();
        }
        self.path.last().and_then(|(level, children)| Some((*level, children.last()?)))
    }

    fn skip(&mut self) -> Option<(u8, Child)> {
        self.path.last_mut().and_then(|(level, children)| Some((*level, children.pop()?)))
    }

    /// Opens the next subtree; a leaf is put aside to be read.
    fn open(&mut self) -> Result<()> {
        let Some((level, child)) = self.skip() else { return Ok(()) };
        if level == 0 {
            self.leaves.push_back(child.id);
            return Ok(());
        }
        let bytes = self.chunks.get(ChunkKind::Branch, &child.id)?;
        let branch =
            read_branch(&bytes, level, self.class).map_err(|e| Error::from(e).within(format!("branch {}", child.id)));
        let mut children = branch?;
        // A child reaches to the next one's first key, so all but the last that begins at or before `from` end before it.
        let skipped = children.partition_point(|c| c.first_key <= self.from).saturating_sub(1);
        children.drain(..skipped);
        if !self.to.is_empty() {
            children.truncate(children.partition_point(|c| c.first_key < self.to));
        }
        children.reverse();
        self.path.push((level - 1, children));
        Ok(())
    }

    /// Asks for chunks that come, some at a time.
    fn ask(&mut self) {
        let room = ASKED_MOST.saturating_sub(self.asked).min(self.ahead.len());
        let ids: Vec<ChunkId> = self.ahead.drain(..room).collect();
        if !ids.is_empty() {
            self.asked += ids.len();
            self.chunks.prefetch(&ids);
        }
    }

    /// Reads a leaf, and stands before the first of its records that lies in the range.
    fn read(&mut self, id: &ChunkId) -> Result<()> {
        self.asked = self.asked.saturating_sub(1);
        self.ask();
        self.batch.clear();
        fill_leaf(self.chunks, self.class, id, &mut self.batch)?;
        let before = |key: &[u8]| self.batch.iter().take_while(|record| record.key < key).count();
        self.end = if self.to.is_empty() { self.batch.len() } else { before(&self.to) };
        self.at = if self.from.is_empty() { 0 } else { before(&self.from) };
        Ok(())
    }

    fn record(&self) -> Option<Record<'_>> {
        (self.at < self.end).then(|| self.batch.get(self.at))
    }
}

/// Walks the keys at which two trees differ, in order.
pub struct Diff<'a> {
    before: Side<'a>,
    after: Side<'a>,
    /// Which sides stood at the last change, to be stepped on.
    shown: (bool, bool),
}

impl<'a> Diff<'a> {
    /// Compares two trees of the same shape; trees of other shapes are compared as rightly but read whole.
    pub fn new(before: Option<Root>, after: Option<Root>, chunks: &'a dyn ChunkSource) -> Diff<'a> {
        Diff::range(before, after, chunks, (&[], &[]))
    }

    /// The same of keys from the first on and before the second; an empty second is the end.
    pub fn range(
        before: Option<Root>,
        after: Option<Root>,
        chunks: &'a dyn ChunkSource,
        range: (&[u8], &[u8]),
    ) -> Diff<'a> {
        let side = |root| Side::new(root, chunks, range);
        Diff { before: side(before), after: side(after), shown: (false, false) }
    }

    /// The next change, or `None` at the end.
    pub fn next_change(&mut self) -> Result<Option<Change<'_>>> {
        self.before.at += usize::from(self.shown.0);
        self.after.at += usize::from(self.shown.1);
        loop {
            self.load()?;
            let order = match (self.before.record(), self.after.record()) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(b), Some(a)) => b.key.cmp(a.key),
            };
            if order == Ordering::Equal && self.before.record() == self.after.record() {
                self.before.at += 1;
                self.after.at += 1;
                continue;
            }
            self.shown = (order != Ordering::Greater, order != Ordering::Less);
            let before = if self.shown.0 { self.before.record() } else { None };
            let after = if self.shown.1 { self.after.record() } else { None };
            return Ok(Some(Change { before, after }));
        }
    }

    /// Makes sure that each side shows its next record, if it has any left.
    fn load(&mut self) -> Result<()> {
        while self.before.record().is_none() && self.next_leaf(true)? {}
        while self.after.record().is_none() && self.next_leaf(false)? {}
        Ok(())
    }

    /// Reads the next differing leaf of one side; `false` when there is none.
    fn next_leaf(&mut self, before: bool) -> Result<bool> {
        loop {
            let side = if before { &mut self.before } else { &mut self.after };
            if let Some(id) = side.leaves.pop_front() {
                side.read(&id)?;
                return Ok(true);
            }
            if !self.advance()? {
                return Ok(false);
            }
        }
    }

    /// Steps over one subtree that both sides share, or opens the one that comes first (of two at one key, the taller).
    fn advance(&mut self) -> Result<bool> {
        match (self.before.peek(), self.after.peek()) {
            (None, None) => Ok(false),
            (Some(_), None) => self.before.open().map(|()| true),
            (None, Some(_)) => self.after.open().map(|()| true),
            (Some((level_b, b)), Some((level_a, a))) => {
                if b.id == a.id && level_b == level_a {
                    self.before.skip();
                    self.after.skip();
                    return Ok(true);
                }
                let order = b.first_key.cmp(&a.first_key).then(level_a.cmp(&level_b));
                let (side, level) =
                    if order != Ordering::Greater { (&mut self.before, level_b) } else { (&mut self.after, level_a) };
                side.open()?;
                if level > 0 {
                    self.look_ahead();
                }
                Ok(true)
            }
        }
    }

    /// Where both sides stand among children of one level, those that only one has will be read.
    fn look_ahead(&mut self) {
        let (Some((level, before)), Some((other, after))) = (self.before.path.last(), self.after.path.last()) else {
            return;
        };
        if level != other {
            return;
        }
        let ids = |children: &[Child]| children.iter().map(|child| child.id).collect::<HashSet<ChunkId>>();
        let (of_before, of_after) = (ids(before), ids(after));
        let alone = |children: &[Child], other: &HashSet<ChunkId>| -> VecDeque<ChunkId> {
            children.iter().rev().map(|child| child.id).filter(|id| !other.contains(id)).collect()
        };
        let (one, two) = (alone(before, &of_after), alone(after, &of_before));
        for (side, ahead) in [(&mut self.before, one), (&mut self.after, two)] {
            (side.ahead, side.asked) = (ahead, 0);
            side.ask();
        }
    }
}
