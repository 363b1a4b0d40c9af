//! A stored tree, read as a run: whole, or from one key to another.

use std::collections::VecDeque;

use repo_format::leaf::LeafReader;
use repo_format::limits::LEAF_TARGET;
use repo_format::record::Traits;
use repo_format::tree::{Child, read_branch};

use super::ahead::Ahead;
use super::context::Context;
use super::{Root, beside};
use crate::error::{Error, Result};
use crate::run::{ChunkId, ChunkKind, ChunkSource, PackClass, Record, RecordBatch, Run};

/// Leaves that are asked for ahead of the reader, at first; twice as many after each leaf, until they come to [`ASKED_BYTES`]
/// or [`ASKED_MOST`]: who reads a leaf or two asks for few in vain.
const ASKED_FIRST: usize = 4;
/// Leaves that are asked for ahead, at most.
const ASKED_MOST: usize = 64;
/// Bytes of leaves that are asked for ahead, at most: a quarter of what a source keeps opened.
const ASKED_BYTES: usize = 8 << 20;
/// Branches that are asked for ahead of those that are read.
const BRANCHES: usize = 2;

/// Leaves are read ahead, for what lies beside them, until they have this many bytes: leaves of large values are short.
const LEAVES_AHEAD: usize = 256 << 10;

/// Bytes of records after which none with values beside its leaf is added to a batch any more.
const BATCH_LARGE: usize = 1 << 20;

/// Walks the leaves of a tree that hold keys of `[from, to)`. A batch is a leaf, or some records of one with large values.
pub struct TreeRun<'a> {
    chunks: &'a dyn ChunkSource,
    /// What its leaves are.
    class: PackClass,
    /// Per level, from the root down: the children not yet visited, last first.
    path: Vec<(u8, Vec<Child>)>,
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    /// Nothing of the range was shown so far.
    first: bool,
    /// What is in force where the range begins is not said.
    silent: bool,
    /// What is in force where the range begins, as far as it is known.
    context: Context,
    /// Leaves that were asked for, in order; after an error there is none.
    asked: VecDeque<Result<Child>>,
    /// How many may be asked for now.
    window: usize,
    /// Leaves read so far, and their bytes.
    read: (usize, usize),
    /// The leaf of which some records were shown.
    leaf: Option<Leaf>,
    /// Leaves that come next and were read already; after an error there is none.
    coming: VecDeque<Result<Leaf>>,
    /// What lies beside the leaves that were read and was not shown.
    ahead: Ahead,
    /// Place in its leaf of the first record that the last batch may show.
    ordinal: u32,
}

/// A leaf, read up to a record.
struct Leaf {
    id: ChunkId,
    bytes: Vec<u8>,
    /// The record that comes next.
    next: u32,
    /// Under how many of its records something hangs, as its branch says.
    blobs: u64,
    /// The same, of those read so far.
    found: u64,
}

impl Leaf {
    fn read(chunks: &dyn ChunkSource, class: PackClass, id: ChunkId, blobs: u64) -> Result<Leaf> {
        Ok(Leaf { id, bytes: chunks.get(class.leaf(), &id)?, next: 0, blobs, found: 0 })
    }
}

impl<'a> TreeRun<'a> {
    /// Every record.
    pub fn new(root: Option<Root>, chunks: &'a dyn ChunkSource) -> TreeRun<'a> {
        TreeRun::range(root, chunks, Vec::new(), None)
    }

    /// The records with keys from `from` on and before `to`, preceded, where `from` lies inside a group, by records that
    /// say which deletions are in force there, even where no record follows.
    pub fn range(root: Option<Root>, chunks: &'a dyn ChunkSource, from: Vec<u8>, to: Option<Vec<u8>>) -> TreeRun<'a> {
        let root = root.filter(|_| to.as_ref().is_none_or(|to| from < *to));
        let top = root.map(|r| (r.level, vec![r.child()]));
        TreeRun {
            chunks,
            class: root.map_or(PackClass::Content, |root| root.class),
            path: top.into_iter().collect(),
            from,
            to,
            first: true,
            silent: false,
            context: Context::default(),
            asked: VecDeque::new(),
            window: ASKED_FIRST,
            read: (0, 0),
            leaf: None,
            coming: VecDeque::new(),
            ahead: Ahead::default(),
            ordinal: 0,
        }
    }

    /// The same of a layer: records have their marks, and what it does not say of deletions is as below it.
    #[must_use]
    pub fn of_layer(self) -> TreeRun<'a> {
        TreeRun { context: Context::new(true), ..self }
    }

    /// The records alone, without what is in force where the range begins.
    #[must_use]
    pub fn silent(self) -> TreeRun<'a> {
        TreeRun { silent: true, ..self }
    }

    /// The next leaf whose keys may lie in the range, as its branch names it; the first key of a lone leaf is not known.
    pub(super) fn next_child(&mut self) -> Result<Option<Child>> {
        while let Some((level, children)) = self.path.last_mut() {
            let level = *level;
            let Some(child) = children.pop() else {
                self.path.pop();
                continue;
            };
            if self.to.as_deref().is_some_and(|to| child.first_key.as_slice() >= to) {
                children.clear();
                continue;
            }
            if level == 0 {
                return Ok(Some(child));
            }
            // The next one stands last; those before it were asked for.
            if let Some(ahead) = children.len().checked_sub(BRANCHES) {
                self.chunks.prefetch(&[children[ahead].id]);
            }
            self.descend(level, &child.id)?;
        }
        Ok(None)
    }

    fn descend(&mut self, level: u8, id: &ChunkId) -> Result<()> {
        let bytes = self.chunks.get(ChunkKind::Branch, id)?;
        let mut children =
            read_branch(&bytes, level, self.class).map_err(|e| Error::from(e).within(format!("branch {id}")))?;
        // A child reaches to the next one's first key, so all but the last that begins at or before `from` end before it.
        let skipped = children.partition_point(|c| c.first_key <= self.from).saturating_sub(1);
        children.drain(..skipped);
        if let Some(to) = &self.to {
            children.truncate(children.partition_point(|c| c.first_key < *to));
        }
        if level > 1 {
            let ahead: Vec<ChunkId> = children.iter().skip(1).take(BRANCHES - 1).map(|c| c.id).collect();
            self.chunks.prefetch(&ahead);
        }
        children.reverse();
        self.path.push((level - 1, children));
        Ok(())
    }

    /// The next leaf. Where something lies beside it, it is asked for, and so is what lies beside the leaves that follow.
    fn next_leaf(&mut self) -> Result<Option<Leaf>> {
        let Some(leaf) = self.coming.pop_front().map_or_else(|| self.read_leaf(), |leaf| leaf.map(Some))? else {
            return Ok(None);
        };
        let mut more = leaf.blobs > 0 && self.ahead.ask(self.chunks);
        while more && self.coming.iter().flatten().map(|leaf| leaf.bytes.len()).sum::<usize>() < LEAVES_AHEAD {
            let Some(next) = self.read_leaf().transpose() else { break };
            more = next.as_ref().is_ok_and(|next| next.blobs > 0) && self.ahead.ask(self.chunks);
            self.coming.push_back(next);
        }
        Ok(Some(leaf))
    }

    /// Asks for the leaves that come next, across branches.
    fn ask(&mut self) {
        let (count, bytes) = self.read;
        let mean = bytes.checked_div(count).unwrap_or(LEAF_TARGET as usize).max(1);
        let most = self.window.min(ASKED_BYTES / mean).clamp(1, ASKED_MOST);
        let before = self.asked.len();
        while self.asked.len() < most && self.asked.back().is_none_or(Result::is_ok) {
            match self.next_child().transpose() {
                Some(child) => self.asked.push_back(child),
                None => break,
            }
        }
        let ids: Vec<ChunkId> = self.asked.iter().skip(before).flatten().map(|child| child.id).collect();
        if !ids.is_empty() {
            self.chunks.prefetch(&ids);
        }
        self.window = (2 * self.window).min(ASKED_MOST);
    }

    fn read_leaf(&mut self) -> Result<Option<Leaf>> {
        self.ask();
        let Some(Child { id, blobs, .. }) = self.asked.pop_front().transpose()? else { return Ok(None) };
        let leaf = Leaf::read(self.chunks, self.class, id, blobs).and_then(|leaf| {
            self.read = (self.read.0 + 1, self.read.1 + leaf.bytes.len());
            if blobs > 0 {
                self.ahead.add(&leaf.bytes, &self.from, self.to.as_deref())?;
            }
            Ok(leaf)
        });
        leaf.map(Some).map_err(|e| e.within(format!("leaf {id}")))
    }

    /// Place in its leaf of the first record of the last batch, where all records are read.
    pub(super) fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// Adds the next records of a leaf that lie in the range: until `most` bytes are passed by what lies beside it.
    /// Whether the leaf was read to its end.
    fn fill(&mut self, of: &mut Leaf, most: usize, out: &mut RecordBatch) -> Result<bool> {
        let mut leaf = LeafReader::new(&of.bytes)?;
        let (mut key, mut body) = (Vec::new(), Vec::new());
        for ordinal in 0.. {
            let Some(class) = leaf.next_key()? else { break };
            if leaf.marks() != Traits::default() && !self.context.is_layer() {
                return Err(Error::damaged("tree", "has records of a layer, and is none"));
            }
            if ordinal < of.next {
                body.clear();
                leaf.body(&mut body)?;
                continue;
            }
            of.next = ordinal + 1;
            let group_len = leaf.group_len();
            key.clear();
            key.extend_from_slice(leaf.key());
            // What the leaf before said of the group that the range begins in stands.
            if ordinal == 0 && self.first && !self.context.reaches(&self.from) {
                self.context.begin(&key[..group_len], leaf.context());
            }
            if self.to.as_ref().is_some_and(|to| key >= *to) {
                self.path.clear();
                self.asked.clear();
                of.found = of.blobs;
                return Ok(true);
            }
            if self.first && key < self.from {
                body.clear();
                let (traits, external) = leaf.body(&mut body)?;
                of.found += u64::from(external || leaf.refers());
                self.context.follow(&Record { key: &key, group_len, class, traits, body: &body })?;
                continue;
            }
            if std::mem::take(&mut self.first) && !self.silent && self.context.reaches(&self.from) {
                self.context.say(&self.from, Some((&key, class)), out)?;
            }
            let mut large = false;
            out.push_with(&key, group_len, class, |buffer| {
                let start = buffer.len();
                match leaf.body(buffer)? {
                    (traits, false) => {
                        of.found += u64::from(leaf.refers());
                        Ok(traits)
                    }
                    (traits, true) => {
                        of.found += 1;
                        large = true;
                        let begin = |count| self.ahead.step(count, self.chunks);
                        beside::get(self.chunks, begin, buffer, start, traits).map(|whole| whole.with(traits.marks()))
                    }
                }
            })?;
            if large && out.bytes() > most {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Run for TreeRun<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        while out.is_empty() {
            let mut leaf = match self.leaf.take() {
                Some(leaf) => leaf,
                None => {
                    let Some(leaf) = self.next_leaf()? else {
                        if std::mem::take(&mut self.first) && !self.silent && self.context.reaches(&self.from) {
                            self.context.say(&self.from, None, out)?;
                        }
                        return Ok(!out.is_empty());
                    };
                    leaf
                }
            };
            self.ordinal = leaf.next;
            let id = leaf.id;
            if !self.fill(&mut leaf, BATCH_LARGE, out).map_err(|e| e.within(format!("leaf {id}")))? {
                self.leaf = Some(leaf);
            } else if leaf.found != leaf.blobs {
                // What a branch does not count would be neither marked nor checked.
                let message = format!("has {} records with blobs or references in place of {}", leaf.found, leaf.blobs);
                return Err(Error::damaged("tree", message).within(format!("leaf {id}")));
            }
        }
        Ok(true)
    }
}

/// Adds all records of a leaf.
pub(super) fn fill_leaf(chunks: &dyn ChunkSource, class: PackClass, id: &ChunkId, out: &mut RecordBatch) -> Result<()> {
    let all = Leaf::read(chunks, class, *id, 0);
    let filled = all.and_then(|mut leaf| TreeRun::new(None, chunks).fill(&mut leaf, usize::MAX, out));
    filled.map(drop).map_err(|e| e.within(format!("leaf {id}")))
}
