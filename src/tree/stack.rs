//! A base under its layers, read as one run.

use super::{Root, TreeRun};
use crate::merge::{Overlay, Rule, Settled};
use crate::run::{ChunkSource, Run};

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
