//! A stored tree, read as a run: whole, or from one key to another.

use repo_format::leaf::{LeafReader, OpenDeletion};
use repo_format::record::{BodyWriter, Class, Entry, EntryKind, Traits};
use repo_format::tree::{Child, read_branch};

use super::Root;
use crate::blob;
use crate::error::{Error, Result};
use crate::run::{ChunkId, ChunkKind, ChunkSource, RecordBatch, Run};

/// Leaves that are asked for ahead of the reader.
const PREFETCH: usize = 8;

/// Walks the leaves of a tree that hold keys of `[from, to)`. A batch is a leaf.
pub struct TreeRun<'a> {
    chunks: &'a dyn ChunkSource,
    /// Per level, from the root down: the children not yet visited, last first.
    path: Vec<(u8, Vec<Child>)>,
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    first: bool,
}

impl<'a> TreeRun<'a> {
    /// Every record.
    pub fn new(root: Option<Root>, chunks: &'a dyn ChunkSource) -> TreeRun<'a> {
        TreeRun::range(root, chunks, Vec::new(), None)
    }

    /// The records with keys from `from` on and before `to`, preceded, where `from` lies inside a group, by records that say which
    /// deletions are in force there.
    pub fn range(root: Option<Root>, chunks: &'a dyn ChunkSource, from: Vec<u8>, to: Option<Vec<u8>>) -> TreeRun<'a> {
        let top = root.map(|r| (r.level, vec![Child { first_key: Vec::new(), id: r.id, records: r.records }]));
        TreeRun { chunks, path: top.into_iter().collect(), from, to, first: true }
    }

    /// The next leaf whose keys may lie in the range.
    fn next_leaf(&mut self) -> Result<Option<ChunkId>> {
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
                return Ok(Some(child.id));
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

    fn fill(&mut self, id: &ChunkId, out: &mut RecordBatch) -> Result<()> {
        let bytes = self.chunks.get(ChunkKind::Leaf, id)?;
        let mut leaf = LeafReader::new(&bytes)?;
        let mut context = Context::default();
        (context.group_deletion, context.open) = leaf.context();
        let mut key = Vec::new();
        let mut body = Vec::new();
        while let Some(class) = leaf.next_key()? {
            let group_len = leaf.group_len();
            key.clear();
            key.extend_from_slice(leaf.key());
            if self.to.as_ref().is_some_and(|to| key >= *to) {
                self.path.clear();
                break;
            }
            if self.first && key < self.from {
                body.clear();
                leaf.body(&mut body)?;
                context.follow(&key[..group_len], class, &body)?;
                continue;
            }
            if std::mem::take(&mut self.first) && !self.from.is_empty() {
                context.say(&self.from, &key, group_len, out);
            }
            out.push_with(&key, group_len, class, |buffer| {
                let start = buffer.len();
                match leaf.body(buffer)? {
                    (traits, false) => Ok(traits),
                    (_, true) => blob::internal_body(self.chunks, buffer, start),
                }
            })?;
        }
        Ok(())
    }
}

impl Run for TreeRun<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        while out.is_empty() {
            let Some(id) = self.next_leaf()? else { return Ok(false) };
            self.fill(&id, out).map_err(|e| e.within(format!("leaf {id}")))?;
        }
        Ok(true)
    }
}

/// Adds all records of a leaf.
pub(super) fn fill_leaf(chunks: &dyn ChunkSource, id: &ChunkId, out: &mut RecordBatch) -> Result<()> {
    let mut run = TreeRun { chunks, path: Vec::new(), from: Vec::new(), to: None, first: true };
    run.fill(id, out).map_err(|e| e.within(format!("leaf {id}")))
}

/// The deletions in force before the first record of a range.
#[derive(Default)]
struct Context {
    group: Vec<u8>,
    group_deletion: OpenDeletion,
    open: OpenDeletion,
}

impl Context {
    fn follow(&mut self, group: &[u8], class: Class, body: &[u8]) -> Result<()> {
        if !self.group.is_empty() && self.group != group {
            (self.group_deletion, self.open) = (None, None);
        }
        self.group = group.to_vec();
        let deletion = repo_format::record::Entries::new(body).next_entry()?.map(|e| (e.time, e.ldt));
        match class {
            Class::Group => self.group_deletion = deletion,
            Class::Marker => self.open = deletion,
            Class::Row | Class::Static => {}
        }
        Ok(())
    }

    /// Adds the deletions as records at `from`, if the range begins inside the group of its first record.
    fn say(&self, from: &[u8], key: &[u8], group_len: usize, out: &mut RecordBatch) {
        let group = &key[..group_len];
        let inside = from.len() > group_len && from.starts_with(group);
        if !inside || !(self.group.is_empty() || self.group == group) {
            return;
        }
        let mut said = |class: Class, key: &[u8], deletion: OpenDeletion| {
            let Some((time, ldt)) = deletion else { return };
            let entry = Entry { column: 0, kind: EntryKind::Deletion, element: None, time, ldt, ttl: 0, value: None };
            let Ok(()) = out.push_with(key, group_len, class, |buffer| {
                let mut writer = BodyWriter::new(buffer);
                writer.push(&entry);
                Ok::<Traits, std::convert::Infallible>(writer.traits())
            });
        };
        said(Class::Group, group, self.group_deletion);
        if from < key {
            said(Class::Marker, from, self.open);
        }
    }
}
