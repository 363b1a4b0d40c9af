//! A base under its layers, read as one run.

use repo_format::record::Traits;

use super::{Root, TreeRun};
use crate::error::Result;
use crate::merge::{Overlay, Rule, Settled};
use crate::run::{ChunkSource, Record, RecordBatch, Run};

/// The records of `trees`, a base and its layers, with keys from `from` on and before `to`; preceded, where `from` lies inside a
/// group, by records that say which deletions are in force there. With a cut, each cell is as it stands then: what was stored
/// for an earlier one needs that.
pub fn stack<'a>(
    trees: &[Root],
    chunks: &'a dyn ChunkSource,
    rule: &'a dyn Rule,
    cut: Option<u32>,
    (from, to): (Vec<u8>, Option<Vec<u8>>),
) -> Box<dyn Run + 'a> {
    let range = |root: &Root| TreeRun::range(Some(*root), chunks, from.clone(), to.clone());
    let run: Box<dyn Run + 'a> = match trees {
        [] => Box::new(TreeRun::new(None, chunks)),
        [base] => Box::new(range(base)),
        [base, layers @ ..] => {
            let mut runs: Vec<Box<dyn Run + 'a>> = vec![Box::new(range(base))];
            runs.extend(layers.iter().map(|layer| Box::new(range(layer).of_layer()) as Box<dyn Run + 'a>));
            Box::new(Overlay::new(runs, from))
        }
    };
    match cut {
        Some(cut) => Box::new(Settled::new(run, rule, cut)),
        None => run,
    }
}

/// The record that stands at `key`, as a run of one or none, as it is stored. What is in force there is not said.
pub fn stack_at<'a>(trees: &[Root], chunks: &dyn ChunkSource, key: &[u8]) -> Result<Box<dyn Run + 'a>> {
    let behind = [key, &[0]].concat();
    let (mut found, mut batch) = (RecordBatch::new(), RecordBatch::new());
    for (level, tree) in trees.iter().enumerate().rev() {
        let run = TreeRun::range(Some(*tree), chunks, key.to_vec(), Some(behind.clone())).silent();
        let mut run = if level > 0 { run.of_layer() } else { run };
        if run.next_batch(&mut batch)? {
            let top = batch.get(0);
            if !top.traits.has(Traits::GONE) {
                found.push(&Record { traits: top.traits.without(Traits::MARKS), ..top });
            }
            break;
        }
    }
    Ok(Box::new(Found(found)))
}

/// One record, or none.
struct Found(RecordBatch);

impl Run for Found {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        out.swap(&mut self.0);
        self.0.clear();
        Ok(!out.is_empty())
    }
}
