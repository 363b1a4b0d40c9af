//! Where the leaves of a run lie that is stored in several trees, or in none: patches speak of records by their places in leaves.

use super::write::Cutter;
use super::{Root, Shape, TreeRun, leaves::Ended};
use crate::error::Result;
use crate::run::{ChunkSource, RecordBatch, Run};

/// A run whose batches each lie in one leaf.
pub trait Leafwise: Run {
    /// Place in its leaf of the first record of the last batch.
    fn ordinal(&self) -> u32;
}

impl Leafwise for TreeRun<'_> {
    fn ordinal(&self) -> u32 {
        TreeRun::ordinal(self)
    }
}

/// A run in the leaves that a tree of it would have.
pub struct LeafByLeaf<'a> {
    run: Box<dyn Run + 'a>,
    cutter: Cutter,
    batch: RecordBatch,
    at: usize,
    /// Places in their leaves: of the first record that the last batch shows, and of the one behind it.
    ordinal: u32,
    next: u32,
}

impl<'a> LeafByLeaf<'a> {
    /// `secret` is that of the breaks, `leaf_records` how many records a leaf has on average.
    pub fn new(run: Box<dyn Run + 'a>, secret: [u8; 16], leaf_records: u32) -> LeafByLeaf<'a> {
        let cutter = Cutter::of(secret, leaf_records);
        LeafByLeaf { run, cutter, batch: RecordBatch::new(), at: 0, ordinal: 0, next: 0 }
    }
}

impl Run for LeafByLeaf<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        while self.at >= self.batch.len() {
            self.at = 0;
            if !self.run.next_batch(&mut self.batch)? {
                return Ok(false);
            }
        }
        self.ordinal = self.next;
        while self.at < self.batch.len() {
            let record = self.batch.get(self.at);
            out.push(&record);
            self.at += 1;
            self.next += 1;
            if self.cutter.ends(&record)? {
                self.next = 0;
                break;
            }
        }
        Ok(true)
    }
}

impl Leafwise for LeafByLeaf<'_> {
    fn ordinal(&self) -> u32 {
        self.ordinal
    }
}

/// What the leaves of a view are read from: a tree, of which those are read that are asked for, or a run, which is read whole.
pub enum Leaves<'a> {
    /// A tree; an empty one has no root.
    Tree(Option<Root>, &'a dyn ChunkSource),
    /// A run, leaf by leaf.
    Run(LeafByLeaf<'a>),
}

/// Finds the leaves that a tree of a run would have, and makes none.
pub struct Cuts {
    cutter: Cutter,
    records: usize,
    first_key: Vec<u8>,
}

impl Cuts {
    /// Before the first record.
    pub fn new(shape: &Shape) -> Cuts {
        Cuts { cutter: Cutter::new(shape), records: 0, first_key: Vec::new() }
    }

    /// Records of the leaf that is open.
    pub fn open_records(&self) -> usize {
        self.records
    }

    /// Takes the next records; tells `ended` of each leaf that ends with one of them.
    pub fn push(&mut self, batch: &RecordBatch, ended: &mut Ended<'_>) -> Result<()> {
        for record in batch.iter() {
            if self.records == 0 {
                self.first_key.clear();
                self.first_key.extend_from_slice(record.key);
            }
            self.records += 1;
            if self.cutter.ends(&record)? {
                ended(&self.first_key, std::mem::take(&mut self.records))?;
            }
        }
        Ok(())
    }

    /// Ends the last leaf.
    pub fn finish(self, ended: &mut Ended<'_>) -> Result<()> {
        if self.records > 0 { ended(&self.first_key, self.records) } else { Ok(()) }
    }
}
