//! What a night is written as: a base, or a layer of what it changes.

use std::sync::Arc;

use super::below::Below;
use crate::error::Result;
use crate::merge::{BeforeRun, Layering};
use crate::run::{ChunkSink, RecordBatch, Run};
use crate::tree::{Cuts, Ended, Root, Shape, TreeWriter, WideTreeWriter};

/// The tree that is being written.
pub enum Tree<'a> {
    Base(WideTreeWriter<'a>),
    Layer(Box<Layer<'a>>),
}

/// A layer that is being written, and where the leaves of the whole view end: patches speak of these.
pub struct Layer<'a> {
    layering: Layering<'a>,
    tree: TreeWriter<'a>,
    /// Records of it, and how many there may be.
    records: u64,
    most: u64,
    cuts: Cuts,
}

impl<'a> Tree<'a> {
    /// A layer on `below`, which `run` reads.
    pub fn layer(below: &Below<'_>, run: Box<dyn Run + 'a>, sink: &'a dyn ChunkSink, shape: &Shape) -> Tree<'a> {
        Tree::Layer(Box::new(Layer {
            layering: Layering::new(Box::new(BeforeRun::new(run))),
            tree: TreeWriter::new(sink, shape).of_layer(),
            records: 0,
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
                let Layer { layering, tree, records, most, .. } = &mut **layer;
                // A layer that has grown too large is not written on: a base takes its place.
                if *records > *most {
                    return Ok(());
                }
                layering.push(batch, &mut |record| {
                    *records += 1;
                    tree.push(record)
                })
            }
        }
    }

    /// Ends the tree; `None` where the layer would be too large.
    pub fn finish(self, ended: &mut Ended<'_>) -> Result<Option<Option<Root>>> {
        match self {
            Tree::Base(tree) => tree.finish(ended).map(Some),
            Tree::Layer(layer) => {
                let Layer { layering, mut tree, mut records, most, cuts } = *layer;
                cuts.finish(ended)?;
                if records <= most {
                    layering.finish(&mut |record| {
                        records += 1;
                        tree.push(record)
                    })?;
                }
                if records > most { Ok(None) } else { tree.finish().map(Some) }
            }
        }
    }
}
