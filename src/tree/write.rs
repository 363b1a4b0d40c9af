//! A run into leaves, and these into a tree.

use std::borrow::Cow;
use std::sync::Arc;

use repo_format::leaf::{BODY_INLINE_MAX, InForce, LeafBuilder};
use repo_format::reference::references;
use repo_format::tree::{Breaks, Child};

use super::branches::Branches;
use super::context::Context;
use super::{Root, Shape, beside};
use crate::blob;
use crate::error::{Error, Kind, Result};
use crate::run::{ChunkSink, PackClass, Record, RecordBatch, Run};

/// Finds where leaves begin and end: what of writing a tree must see all records one after the other.
pub(super) struct Cutter {
    breaks: Breaks,
    context: Context,
}

impl Cutter {
    pub(super) fn new(shape: &Shape) -> Cutter {
        Cutter::of(shape.secret, shape.leaf_records)
    }

    /// By the secret of the breaks, and the mean number of records of a leaf.
    pub(super) fn of(secret: [u8; 16], leaf_records: u32) -> Cutter {
        Cutter { breaks: Breaks::new(secret, 0, leaf_records), context: Context::default() }
    }

    /// The same of a layer.
    fn of_layer(self) -> Cutter {
        Cutter { context: Context::new(true), ..self }
    }

    /// What is in force where a leaf begins with `r`: the deletion of its group, and the one that is open.
    pub(super) fn context(&self, r: &Record<'_>) -> (InForce, InForce) {
        self.context.within(r.group())
    }

    /// Steps over a record; whether its leaf ends with it.
    #[inline]
    pub(super) fn ends(&mut self, r: &Record<'_>) -> Result<bool> {
        self.context.follow(r)?;
        Ok(self.breaks.ends(r.key, r.key.len() + r.body.len().min(BODY_INLINE_MAX)))
    }
}

/// Makes leaves, one after the other.
pub(super) struct LeafMaker<'a> {
    sink: &'a dyn ChunkSink,
    class: PackClass,
    blobs: Arc<blob::Chunker>,
    leaf: LeafBuilder,
    first_key: Vec<u8>,
    buffer: Vec<u8>,
    /// Records of the leaf under which something hangs.
    external: u64,
}

impl<'a> LeafMaker<'a> {
    pub(super) fn new(sink: &'a dyn ChunkSink, shape: &Shape) -> LeafMaker<'a> {
        let (leaf, blobs) = (LeafBuilder::new(shape.layout.clone()), Arc::clone(&shape.blobs));
        LeafMaker { sink, class: shape.class, blobs, leaf, first_key: Vec::new(), buffer: Vec::new(), external: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.leaf.count() == 0
    }

    /// Begins a leaf at `key`, with the deletions in force there.
    pub(super) fn begin(&mut self, key: &[u8], (group_deletion, open): (InForce, InForce)) {
        self.leaf.context(group_deletion, open);
        self.first_key.clear();
        self.first_key.extend_from_slice(key);
    }

    /// Adds a record, and stores what of it is too large for a leaf.
    pub(super) fn push(&mut self, r: &Record<'_>) -> Result<()> {
        let body = beside::put(r.body, &self.blobs, self.sink)?;
        self.leaf.push_to_layer(r.key, r.group_len, r.class, r.traits.marks(), &body)?;
        let has_blobs = matches!(body, Cow::Owned(_));
        if has_blobs && references(r.body).next().is_some() {
            // What hangs under a record is found in its leaf.
            return Err(Error::new(Kind::TooLarge, "record", "refers to others and does not fit into a leaf"));
        }
        self.external += u64::from(has_blobs || self.leaf.refers());
        Ok(())
    }

    /// Stores the leaf, and forgets it.
    pub(super) fn end(&mut self) -> Result<Child> {
        let records = self.leaf.count() as u64;
        self.buffer.clear();
        self.leaf.finish(&mut self.buffer);
        let id = self.sink.put(self.class.leaf(), &self.buffer)?;
        let blobs = std::mem::take(&mut self.external);
        Ok(Child { first_key: std::mem::take(&mut self.first_key), id, records, blobs })
    }
}

/// Writes a tree from records that come in ascending order of keys.
pub struct TreeWriter<'a> {
    cutter: Cutter,
    leaf: LeafMaker<'a>,
    branches: Branches<'a>,
}

impl<'a> TreeWriter<'a> {
    /// An empty tree.
    pub fn new(sink: &'a dyn ChunkSink, shape: &Shape) -> TreeWriter<'a> {
        let (leaf, branches) = (LeafMaker::new(sink, shape), Branches::new(sink, shape));
        TreeWriter { cutter: Cutter::new(shape), leaf, branches }
    }

    /// The same of a layer, whose records have marks.
    #[must_use]
    pub fn of_layer(self) -> TreeWriter<'a> {
        TreeWriter { cutter: self.cutter.of_layer(), ..self }
    }

    /// Adds a record.
    pub fn push(&mut self, r: &Record<'_>) -> Result<()> {
        if self.leaf.is_empty() {
            self.leaf.begin(r.key, self.cutter.context(r));
        }
        self.leaf.push(r)?;
        if self.cutter.ends(r)? { self.branches.leaf(self.leaf.end()?) } else { Ok(()) }
    }

    /// Ends the tree. `None` if it has no record.
    pub fn finish(mut self) -> Result<Option<Root>> {
        if !self.leaf.is_empty() {
            self.branches.leaf(self.leaf.end()?)?;
        }
        self.branches.finish()
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
