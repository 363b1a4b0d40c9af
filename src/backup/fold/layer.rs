//! What a night is written as: a base, or a layer of what it changes.

use std::sync::Arc;

use super::below::Below;
use crate::error::Result;
use crate::merge::{Before, Layering, Stacking};
use crate::run::{ChunkSink, Record, RecordBatch, Run};
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
    /// A layer on `below`, of what differs from `before`, and of what the layers changed that are `taken` in: those on top come last.
    pub fn layer(
        below: &Below<'_>,
        before: Box<dyn Before + 'a>,
        taken: Vec<Box<dyn Run + 'a>>,
        sink: &'a dyn ChunkSink,
        shape: &Shape,
    ) -> Tree<'a> {
        Tree::Layer(Box::new(Layer {
            layering: Layering::new(before),
            taken: taken.into_iter().rev().map(Stacking::new).collect(),
            tree: Counted { tree: TreeWriter::new(sink, shape).of_layer(), records: 0 },
            most: below.most(),
            cuts: Cuts::new(shape),
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
                let Layer { layering, taken, tree, most, .. } = &mut **layer;
                // A layer that has grown too large is not written on: a base takes its place.
                if tree.records > *most {
                    return Ok(());
                }
                layering.push(batch, &mut |record| put(taken, tree, record))
            }
        }
    }

    /// Ends the tree; `None` where the layer would be too large.
    pub fn finish(self, ended: &mut Ended<'_>) -> Result<Option<Option<Root>>> {
        match self {
            Tree::Base(tree) => tree.finish(ended).map(Some),
            Tree::Layer(layer) => {
                let Layer { layering, mut taken, mut tree, most, cuts } = *layer;
                cuts.finish(ended)?;
                if tree.records <= most {
                    layering.finish(&mut |record| put(&mut taken, &mut tree, record))?;
                    while !taken.is_empty() {
                        let topmost = taken.remove(0);
                        topmost.finish(&mut |record| put(&mut taken, &mut tree, record))?;
                    }
                }
                if tree.records > most { Ok(None) } else { tree.tree.finish().map(Some) }
            }
        }
    }
}
