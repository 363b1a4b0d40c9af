//! A stored tree, read as a run: whole, or from one key to another.

use repo_format::leaf::LeafReader;
use repo_format::tree::{Child, read_branch};

use super::Root;
use super::context::Context;
use crate::blob;
use crate::error::{Error, Result};
use crate::run::{ChunkId, ChunkKind, ChunkSource, Record, RecordBatch, Run};

/// Leaves that are asked for ahead of the reader.
const PREFETCH: usize = 8;

/// Walks the leaves of a tree that hold keys of `[from, to)`. A batch is a leaf.
pub struct TreeRun<'a> {
    chunks: &'a dyn ChunkSource,
    /// Per level, from the root down: the children not yet visited, last first.
    path: Vec<(u8, Vec<Child>)>,
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    /// Nothing of the range was shown so far.
    first: bool,
    /// What is in force where the range begins, as far as it is known.
    context: Context,
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
        TreeRun { chunks, path: top.into_iter().collect(), from, to, first: true, context: Context::default() }
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
            self.descend(level, &child.id)?;
        }
        Ok(None)
    }

    fn descend(&mut self, level: u8, id: &ChunkId) -> Result<()> {
        let bytes = self.chunks.get(ChunkKind::Branch, id)?;
        let mut children = read_branch(&bytes, level).map_err(|e| Error::from(e).within(format!("branch {id}")))?;
        // A child reaches to the next one's first key, so all but the last that begins at or before `from` end before it.
        let skipped = children.partition_point(|c| c.first_key <= self.from).saturating_sub(1);
        children.drain(..skipped);
        if level == 1 {
            let ahead: Vec<ChunkId> = children.iter().take(PREFETCH).map(|c| c.id).collect();
            self.chunks.prefetch(&ahead);
        }
        children.reverse();
        self.path.push((level - 1, children));
        Ok(())
    }

    /// Adds the records of a leaf that lie in the range. How many of the leaf have blobs, if it was read to its end.
    fn fill(&mut self, id: &ChunkId, out: &mut RecordBatch) -> Result<Option<u64>> {
        let mut blobs = 0;
        let bytes = self.chunks.get(ChunkKind::Leaf, id)?;
        let mut leaf = LeafReader::new(&bytes)?;
        let (mut key, mut body) = (Vec::new(), Vec::new());
        let mut begins = true;
        while let Some(class) = leaf.next_key()? {
            let group_len = leaf.group_len();
            key.clear();
            key.extend_from_slice(leaf.key());
            // What the leaf before said of the group that the range begins in stands.
            if std::mem::take(&mut begins) && self.first && !self.context.reaches(&self.from) {
                self.context.begin(&key[..group_len], leaf.context());
            }
            if self.to.as_ref().is_some_and(|to| key >= *to) {
                self.path.clear();
                return Ok(None);
            }
            if self.first && key < self.from {
                body.clear();
                let (traits, external) = leaf.body(&mut body)?;
                blobs += u64::from(external);
                self.context.follow(&Record { key: &key, group_len, class, traits, body: &body })?;
                continue;
            }
            if std::mem::take(&mut self.first) && self.context.reaches(&self.from) {
                self.context.say(&self.from, Some((&key, class)), out)?;
            }
            out.push_with(&key, group_len, class, |buffer| {
                let start = buffer.len();
                match leaf.body(buffer)? {
                    (traits, false) => Ok(traits),
                    (_, true) => {
                        blobs += 1;
                        blob::internal_body(self.chunks, buffer, start)
                    }
                }
            })?;
        }
        Ok(Some(blobs))
    }
}

impl Run for TreeRun<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        while out.is_empty() {
            let Some(Child { id, blobs, .. }) = self.next_child()? else {
                if std::mem::take(&mut self.first) && self.context.reaches(&self.from) {
                    self.context.say(&self.from, None, out)?;
                }
                return Ok(!out.is_empty());
            };
            let within = |e: Error| e.within(format!("leaf {id}"));
            let found = self.fill(&id, out).map_err(within)?;
            // What a branch does not count would be neither marked nor checked.
            if let Some(found) = found.filter(|found| *found != blobs) {
                return Err(within(Error::damaged("tree", format!("has {found} blobs in place of {blobs}"))));
            }
        }
        Ok(true)
    }
}

/// Adds all records of a leaf.
pub(super) fn fill_leaf(chunks: &dyn ChunkSource, id: &ChunkId, out: &mut RecordBatch) -> Result<()> {
    let mut run = TreeRun::new(None, chunks);
    run.fill(id, out).map(drop).map_err(|e| e.within(format!("leaf {id}")))
}
