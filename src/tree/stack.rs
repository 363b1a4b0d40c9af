//! A base under its layers, read as one run.

use repo_format::record::Traits;

use super::{Root, TreeRun};
use crate::error::Result;
use crate::merge::{Overlay, Rule, Settled, at_cut};
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

/// Adds the record that stands at `key`, if there is one; with a cut, as [`stack`] gives it. What is in force there is not said.
pub fn stack_at(
    trees: &[Root],
    chunks: &dyn ChunkSource,
    rule: &dyn Rule,
    cut: Option<u32>,
    key: &[u8],
    out: &mut RecordBatch,
) -> Result<()> {
    let behind = [key, &[0]].concat();
    let mut batch = RecordBatch::new();
    for (level, tree) in trees.iter().enumerate().rev() {
        let run = TreeRun::range(Some(*tree), chunks, key.to_vec(), Some(behind.clone())).silent();
        let mut run = if level > 0 { run.of_layer() } else { run };
        if !run.next_batch(&mut batch)? {
            continue;
        }
        let top = batch.get(0);
        return match cut {
            _ if top.traits.has(Traits::GONE) => Ok(()),
            Some(cut) if top.traits.has(Traits::EXPIRING) => {
                out.push_with(top.key, top.group_len, top.class, |body| at_cut(rule, top.body, cut, body))
            }
            _ => {
                out.push(&Record { traits: top.traits.without(Traits::MARKS), ..top });
                Ok(())
            }
        };
    }
    Ok(())
}
