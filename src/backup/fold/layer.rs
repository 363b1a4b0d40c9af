//! What a night is written as: a base, or a layer of what it changes.

use std::sync::Arc;

use super::below::Below;
use crate::error::Result;
use crate::merge::{Before, Layering, Stacking};
use crate::run::{ChunkSink, Record, RecordBatch};
use crate::tree::{Cuts, Ended, Root, Shape, TreeWriter, WideTreeWriter};

/// The tree that is being written.
pub enum Tree<'a> {
    Base(Box<WideTreeWriter<'a>>),
    Layer(Box<Layer<'a>>),
}

/// A layer that is being written, and where the leaves of the whole view end: patches speak of these.
pub struct Layer<'a> {
    layering: Layering<'a>,
    /// Onto the layers that it takes in, the topmost first.
    taken: Vec<Stacking<'a>>,
    tree: Counted<'a>,
    /// How many records there may be.
    most: u64,
    cuts: Cuts,
    below: &'a Below<'a>,
    /// Whether tonight changed anything.
    changes: bool,
}

/// A tree, and how many records it has.
struct Counted<'a> {
    tree: TreeWriter<'a>,
    records: u64,
}

impl Counted<'_> {
    fn push(&mut self, record: &Record<'_>) -> Result<()> {
        self.records += 1;
        self.tree.push(record)
    }
}

/// Puts a record above layers, and what comes of that into the tree.
fn put(taken: &mut [Stacking<'_>], tree: &mut Counted<'_>, record: &Record<'_>) -> Result<()> {
    match taken.split_first_mut() {
        Some((topmost, others)) => topmost.push(record, &mut |record| put(others, tree, record)),
        None => tree.push(record),
    }
}

impl<'a> Tree<'a> {
    /// A layer on `below`, of what differs from `before`, and of what the layers changed that it takes in.
    pub fn layer(
        below: &'a Below<'a>,
        before: Box<dyn Before + 'a>,
        sink: &'a dyn ChunkSink,
        shape: &Shape,
    ) -> Tree<'a> {
        Tree::Layer(Box::new(Layer {
            layering: Layering::new(before),
            taken: below.taken().into_iter().rev().map(Stacking::new).collect(),
            tree: Counted { tree: TreeWriter::new(sink, shape).of_layer(), records: 0 },
            most: below.most(),
            cuts: Cuts::new(shape),
            below,
            changes: false,
        }))
    }

    /// Records of the leaf that is open.
    pub fn open_records(&self) -> usize {
        match self {
            Tree::Base(tree) => tree.open_records(),
            Tree::Layer(layer) => layer.cuts.open_records(),
        }
    }

    /// Adds the records of a batch; tells `ended` of each leaf that ends with one of them.
    pub fn push(&mut self, batch: &Arc<RecordBatch>, ended: &mut Ended<'_>) -> Result<()> {
        match self {
            Tree::Base(tree) => tree.push(batch, ended),
            Tree::Layer(layer) => {
                layer.cuts.push(batch, ended)?;
                let Layer { layering, taken, tree, most, changes, .. } = &mut **layer;
                // A layer that has grown too large is not written on: a base takes its place.
                if tree.records > *most {
                    return Ok(());
                }
                layering.push(batch, &mut |record| {
                    *changes = true;
                    put(taken, tree, record)
                })
            }
        }
    }

    /// Ends the tree: a base, and the layers above it. `None` where the layer would be too large.
    pub fn finish(self, ended: &mut Ended<'_>) -> Result<Option<Vec<Root>>> {
        match self {
            Tree::Base(tree) => Ok(Some(Vec::from_iter(tree.finish(ended)?))),
            Tree::Layer(layer) => layer.finish(ended),
        }
    }
}

impl Layer<'_> {
    fn finish(self, ended: &mut Ended<'_>) -> Result<Option<Vec<Root>>> {
        let Layer { layering, mut taken, mut tree, most, cuts, below, mut changes } = self;
        cuts.finish(ended)?;
        if tree.records <= most {
            layering.finish(&mut |record| {
                changes = true;
                put(&mut taken, &mut tree, record)
            })?;
            // Where nothing changed, nothing is taken in: that would only write again what is there.
            if !changes {
                return Ok(Some(below.all.clone()));
            }
            while !taken.is_empty() {
                let topmost = taken.remove(0);
                topmost.finish(&mut |record| put(&mut taken, &mut tree, record))?;
            }
        }
        if tree.records > most {
            return Ok(None);
        }
        Ok(Some(below.kept().iter().copied().chain(tree.tree.finish()?).collect()))
    }
}
