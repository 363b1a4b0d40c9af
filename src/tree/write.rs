//! A run into leaves, leaves into branches, up to one root.

use std::borrow::Cow;
use std::sync::Arc;

use repo_format::leaf::{BODY_INLINE_MAX, LeafBuilder};
use repo_format::reference::references;
use repo_format::tree::{Breaks, Child, LEVEL_MAX, put_branch};

use super::context::Context;
use super::{Root, Shape, beside};
use crate::blob;
use crate::error::{Error, Kind, Result};
use crate::run::{ChunkKind, ChunkSink, PackClass, Record, RecordBatch, Run};

struct Level {
    children: Vec<Child>,
    breaks: Breaks,
    /// Whether a branch of this level was finished already.
    grown: bool,
}

/// Writes a tree from records that come in ascending order of keys.
pub struct TreeWriter<'a> {
    sink: &'a dyn ChunkSink,
    secret: [u8; 16],
    branch_children: u32,
    class: PackClass,
    blobs: Arc<blob::Chunker>,
    leaf: LeafBuilder,
    breaks: Breaks,
    first_key: Vec<u8>,
    levels: Vec<Level>,
    context: Context,
    buffer: Vec<u8>,
    records: u64,
    /// Records of the open leaf under which something hangs.
    external: u64,
}

impl<'a> TreeWriter<'a> {
    /// An empty tree.
    pub fn new(sink: &'a dyn ChunkSink, shape: &Shape) -> TreeWriter<'a> {
        TreeWriter {
            sink,
            secret: shape.secret,
            branch_children: shape.branch_children,
            class: shape.class,
            blobs: Arc::clone(&shape.blobs),
            leaf: LeafBuilder::new(shape.layout.clone()),
            breaks: Breaks::new(shape.secret, 0, shape.leaf_records),
            first_key: Vec::new(),
            levels: Vec::new(),
            context: Context::default(),
            buffer: Vec::new(),
            records: 0,
            external: 0,
        }
    }

    /// Adds a record.
    pub fn push(&mut self, r: &Record<'_>) -> Result<()> {
        if self.leaf.count() == 0 {
            let (group_deletion, open) = self.context.within(r.group());
            self.leaf.context(group_deletion, open);
            self.first_key.clear();
            self.first_key.extend_from_slice(r.key);
        }
        self.context.follow(r)?;
        let body = beside::put(r.body, &self.blobs, self.sink)?;
        self.leaf.push(r.key, r.group_len, r.class, &body)?;
        let has_blobs = matches!(body, Cow::Owned(_));
        if has_blobs && references(r.body).next().is_some() {
            // What hangs under a record is found in its leaf.
            return Err(Error::new(Kind::TooLarge, "record", "refers to others and does not fit into a leaf"));
        }
        self.external += u64::from(has_blobs || self.leaf.refers());
        self.records += 1;
        if self.breaks.ends(r.key, r.key.len() + r.body.len().min(BODY_INLINE_MAX)) {
            self.end_leaf()?;
        }
        Ok(())
    }

    fn end_leaf(&mut self) -> Result<()> {
        let records = self.leaf.count() as u64;
        self.buffer.clear();
        self.leaf.finish(&mut self.buffer);
        let id = self.sink.put(self.class.leaf(), &self.buffer)?;
        let blobs = std::mem::take(&mut self.external);
        let child = Child { first_key: std::mem::take(&mut self.first_key), id, records, blobs };
        self.add(1, child)
    }

    fn add(&mut self, level: u8, child: Child) -> Result<()> {
        if level > LEVEL_MAX {
            return Err(Error::new(Kind::TooLarge, "tree", "too many levels"));
        }
        let at = usize::from(level) - 1;
        if at == self.levels.len() {
            let breaks = Breaks::new(self.secret, level, self.branch_children);
            self.levels.push(Level { children: Vec::new(), breaks, grown: false });
        }
        let here = &mut self.levels[at];
        let ends = here.breaks.ends(&child.first_key, child.first_key.len());
        here.children.push(child);
        if ends { self.end_branch(level) } else { Ok(()) }
    }

    fn end_branch(&mut self, level: u8) -> Result<()> {
        let here = &mut self.levels[usize::from(level) - 1];
        let children = std::mem::take(&mut here.children);
        here.grown = true;
        let Some(first) = children.first() else { return Ok(()) };
        let records = children.iter().map(|c| c.records).sum();
        let blobs = children.iter().map(|c| c.blobs).sum();
        let first_key = first.first_key.clone();
        self.buffer.clear();
        put_branch(&mut self.buffer, level, self.class, &children);
        let id = self.sink.put(ChunkKind::Branch, &self.buffer)?;
        self.add(level + 1, Child { first_key, id, records, blobs })
    }

    /// Ends the tree. `None` if it has no record.
    pub fn finish(mut self) -> Result<Option<Root>> {
        if self.leaf.count() > 0 {
            self.end_leaf()?;
        }
        let mut level = 1;
        while usize::from(level) <= self.levels.len() {
            let here = &self.levels[usize::from(level) - 1];
            let top = usize::from(level) == self.levels.len() && !here.grown;
            if let ([only], true) = (here.children.as_slice(), top) {
                let Child { id, blobs, .. } = *only;
                return Ok(Some(Root { id, level: level - 1, records: self.records, blobs, class: self.class }));
            }
            self.end_branch(level)?;
            level += 1;
        }
        Ok(None)
    }
}

/// Writes a whole run.
pub fn write(run: &mut dyn Run, sink: &dyn ChunkSink, shape: &Shape) -> Result<Option<Root>> {
    let mut writer = TreeWriter::new(sink, shape);
    let mut batch = RecordBatch::new();
    while run.next_batch(&mut batch)? {
        for record in batch.iter() {
            writer.push(&record)?;
        }
    }
    writer.finish()
}
