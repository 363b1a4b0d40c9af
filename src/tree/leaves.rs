//! A tree whose leaves are made on several threads, or on the calling one. One thread finds where they end, and puts branches above them in order:
//! the tree is byte for byte what [`TreeWriter`](super::TreeWriter) makes of the same records.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::thread::{self, Scope};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use repo_format::leaf::InForce;
use repo_format::tree::Child;

use super::branches::Branches;
use super::write::{Cutter, LeafMaker};
use super::{Root, Shape};
use crate::error::{Error, Result};
use crate::run::{ChunkSink, RECORD_LARGE, RecordBatch};

/// Leaves that wait for each thread. Each holds on to its batches.
const WAITING: usize = 2;

/// Some records of a batch, of which others may be in other leaves.
type Piece = (Arc<RecordBatch>, Range<usize>);
/// The deletion of the group, and the open one.
type AtStart = (InForce, InForce);

/// One leaf to be made.
struct Task {
    number: usize,
    in_force: AtStart,
    pieces: Vec<Piece>,
}

/// Is told of each leaf when it ends: its first key, and how many records it has.
pub type Ended<'e> = dyn FnMut(&[u8], usize) -> Result<()> + 'e;

/// Writes a tree from batches whose records come in ascending order of keys.
///
/// Memory: the batches of the leaf that is open, of [`WAITING`] leaves and one more for each thread. A large record is let go of
/// before the next batch is taken: the leaf that it is in is made on the calling thread.
pub struct WideTreeWriter<'a> {
    cutter: Cutter,
    branches: Branches<'a>,
    /// The records so far of the leaf that is open, unless it is made here.
    open: Vec<Piece>,
    /// At its first record.
    in_force: AtStart,
    /// Records of it.
    records: usize,
    first_key: Vec<u8>,
    own: LeafMaker<'a>,
    /// Whether there are no other threads.
    alone: bool,
    tasks: Sender<Task>,
    done: Receiver<(usize, Result<Child>)>,
    /// Leaves that have ended, and those that stand under branches.
    ended: usize,
    placed: usize,
    /// Leaves that are made, while one before them is not.
    early: BTreeMap<usize, Child>,
}

impl<'a> WideTreeWriter<'a> {
    /// An empty tree, whose leaves `threads` threads of `scope` make; the calling thread where there are none.
    pub fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        sink: &'a dyn ChunkSink,
        shape: &Shape,
        threads: usize,
    ) -> Result<WideTreeWriter<'a>>
    where
        'a: 'scope,
    {
        let (tasks, to_do) = bounded::<Task>(WAITING * threads.max(1));
        let (made, done) = unbounded();
        for number in 0..threads {
            let (to_do, made, mut maker) = (to_do.clone(), made.clone(), LeafMaker::new(sink, shape));
            let work = move || {
                for task in to_do {
                    // A closed channel means that the writer is gone: it has an error of its own to report.
                    if made.send((task.number, make(&mut maker, task.in_force, &task.pieces))).is_err() {
                        return;
                    }
                }
            };
            let builder = thread::Builder::new().name(format!("leaf {number}"));
            builder.spawn_scoped(scope, work).map_err(|e| Error::io("starting a thread", e))?;
        }
        Ok(WideTreeWriter {
            cutter: Cutter::new(shape),
            branches: Branches::new(sink, shape),
            open: Vec::new(),
            in_force: AtStart::default(),
            records: 0,
            first_key: Vec::new(),
            own: LeafMaker::new(sink, shape),
            alone: threads == 0,
            tasks,
            done,
            ended: 0,
            placed: 0,
            early: BTreeMap::new(),
        })
    }

    /// Records of the leaf that is open.
    pub fn open_records(&self) -> usize {
        self.records
    }

    /// Adds the records of a batch; tells `ended` of each leaf that ends with one of them.
    pub fn push(&mut self, batch: &Arc<RecordBatch>, ended: &mut Ended<'_>) -> Result<()> {
        let here = self.alone || batch.bytes() > RECORD_LARGE;
        if here && self.own.is_empty() && !self.open.is_empty() {
            self.own.begin(&self.first_key, self.in_force);
            for (batch, records) in self.open.drain(..) {
                records.into_iter().try_for_each(|i| self.own.push(&batch.get(i)))?;
            }
        }
        let mut from = 0;
        for (i, record) in batch.iter().enumerate() {
            if self.records == 0 {
                self.in_force = self.cutter.context(&record);
                self.first_key.clear();
                self.first_key.extend_from_slice(record.key);
                if here {
                    self.own.begin(&self.first_key, self.in_force);
                }
            }
            self.records += 1;
            let here = here || !self.own.is_empty();
            if here {
                self.own.push(&record)?;
                from = i + 1;
            }
            if self.cutter.ends(&record)? {
                if !here {
                    self.open.push((Arc::clone(batch), from..i + 1));
                    from = i + 1;
                }
                self.end_leaf(ended)?;
            }
        }
        if from < batch.len() {
            self.open.push((Arc::clone(batch), from..batch.len()));
        }
        Ok(())
    }

    fn end_leaf(&mut self, ended: &mut Ended<'_>) -> Result<()> {
        let number = self.ended;
        self.ended += 1;
        ended(&self.first_key, std::mem::take(&mut self.records))?;
        if !self.own.is_empty() {
            let leaf = self.own.end()?;
            self.early.insert(number, leaf);
        } else {
            let pieces = std::mem::take(&mut self.open);
            let gone = |_| Error::damaged("leaf threads", "have ended");
            self.tasks.send(Task { number, in_force: self.in_force, pieces }).map_err(gone)?;
        }
        while let Ok((number, leaf)) = self.done.try_recv() {
            self.early.insert(number, leaf?);
        }
        self.place()
    }

    /// Puts branches above the leaves that are made, as far as none before them is missing.
    fn place(&mut self) -> Result<()> {
        while let Some(leaf) = self.early.remove(&self.placed) {
            self.placed += 1;
            self.branches.leaf(leaf)?;
        }
        Ok(())
    }

    /// Ends the tree, and the threads. `None` if it has no record.
    pub fn finish(mut self, ended: &mut Ended<'_>) -> Result<Option<Root>> {
        if self.records > 0 {
            self.end_leaf(ended)?;
        }
        self.tasks = bounded(0).0; // closes the queue
        while let Ok((number, leaf)) = self.done.recv() {
            self.early.insert(number, leaf?);
            self.place()?;
        }
        if self.placed < self.ended {
            return Err(Error::damaged("leaf threads", "have ended before their work"));
        }
        self.branches.finish()
    }
}

fn make(maker: &mut LeafMaker<'_>, in_force: AtStart, pieces: &[Piece]) -> Result<Child> {
    let mut records = pieces.iter().flat_map(|(batch, records)| records.clone().map(|i| batch.get(i))).peekable();
    if let Some(first) = records.peek() {
        maker.begin(first.key, in_force);
    }
    records.try_for_each(|record| maker.push(&record))?;
    maker.end()
}
