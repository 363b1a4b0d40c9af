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
    changed: Changed<'a>,
    /// How many records there may be.
    most: u64,
    cuts: Cuts,
    below: &'a Below<'a>,
}

/// Where what changed goes.
struct Changed<'a> {
    /// Onto the layers that are taken in, the topmost first.
    taken: Vec<Stacking<'a>>,
    tree: Counted<'a>,
    /// Whether anything changed.
    any: bool,
}

impl Changed<'_> {
    fn push(&mut self, record: &Record<'_>) -> Result<()> {
        self.any = true;
        put(&mut self.taken, &mut self.tree, record)
    }

    /// Adds what is left of the layers that are taken in.
    fn finish_taken(&mut self) -> Result<()> {
        while !self.taken.is_empty() {
            let topmost = self.taken.remove(0);
            topmost.finish(&mut |record| put(&mut self.taken, &mut self.tree, record))?;
        }
        Ok(())
    }
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
            changed: Changed {
                taken: below.taken().into_iter().rev().map(Stacking::new).collect(),
                tree: Counted { tree: TreeWriter::new(sink, shape).of_layer(), records: 0 },
                any: false,
            },
            most: below.most(),
            cuts: Cuts::new(shape),
            below,
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
                let Layer { layering, changed, most, .. } = &mut **layer;
                // A layer that has grown too large is not written on: a base takes its place.
                if changed.tree.records > *most {
                    return Ok(());
                }
                layering.push(batch, &mut |record| changed.push(record))
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
        let Layer { layering, mut changed, most, cuts, below } = self;
        cuts.finish(ended)?;
        if changed.tree.records <= most {
            layering.finish(&mut |record| changed.push(record))?;
            // Where nothing changed, nothing is taken in: that would only write again what is there.
            if !changed.any {
                return Ok(Some(below.all.clone()));
            }
            changed.finish_taken()?;
        }
        if changed.tree.records > most {
            return Ok(None);
        }
        Ok(Some(below.kept().iter().copied().chain(changed.tree.tree.finish()?).collect()))
    }
}
