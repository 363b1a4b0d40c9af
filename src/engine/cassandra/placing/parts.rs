//! Token ranges by the nodes that hold them, and how a table's records are gathered into files by that. Who holds what is
//! worked out once for a replication and shared by every table that is replicated so.

use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::cassandra::ring::{Held, TokenRange};

/// Who holds what under one replication. Memory: a few bytes for every token, and every set of nodes once.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// Nodes that hold the same: their places, ascending, and the last token that they hold. Each set once.
    sets: Vec<(Vec<usize>, i64)>,
    /// Neighbouring ranges that the same set holds are one stretch: its last token, and its set. Ascending, without gaps.
    stretches: Vec<(i64, usize)>,
    /// By node.
    lots: Vec<Lot>,
}

/// What one node holds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Lot {
    /// Which part of all tokens, 0 to 1.
    pub share: f64,
    /// How many sets of nodes it is in.
    pub sets: usize,
    /// In how many stretches.
    pub stretches: usize,
}

impl Placed {
    /// `held` has every token once, ascending ([`super::TargetRing::place`]).
    pub fn of(held: Vec<Held>) -> Placed {
        let mut known: HashMap<Vec<usize>, usize> = HashMap::new();
        let (mut lasts, mut stretches) = (Vec::new(), Vec::<(i64, usize)>::new());
        let mut lots = Vec::new();
        for (range, mut nodes) in held {
            nodes.sort_unstable();
            lots.resize(lots.len().max(nodes.last().map_or(0, |last| last + 1)), Lot::default());
            nodes.iter().for_each(|node| lots[*node].share += share(&range));
            let set = match known.get(&nodes) {
                Some(set) => *set,
                None => {
                    nodes.iter().for_each(|node| lots[*node].sets += 1);
                    lasts.push(i64::MIN);
                    known.insert(nodes.clone(), lasts.len() - 1);
                    lasts.len() - 1
                }
            };
            lasts[set] = range.end;
            match stretches.last_mut() {
                Some((last, same)) if *same == set => *last = range.end,
                _ => {
                    nodes.iter().for_each(|node| lots[*node].stretches += 1);
                    stretches.push((range.end, set));
                }
            }
        }
        let mut sets: Vec<(Vec<usize>, i64)> = lasts.into_iter().map(|last| (Vec::new(), last)).collect();
        for (nodes, set) in known {
            sets[set].0 = nodes;
        }
        Placed { sets, stretches, lots }
    }

    /// What each node holds.
    pub fn lots(&self) -> &[Lot] {
        &self.lots
    }
}

/// What makes a part: records that go into the same files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// What the same nodes hold is written once, and linked into the folder of each.
    Sets,
    /// The same, apart for every stretch of the ring: parts do not overlap, so one is written after the other.
    Stretches,
    /// All that a node holds, for it alone: the fewest files, but every replica is written anew.
    Nodes,
}

/// The parts of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    placed: Arc<Placed>,
    by: By,
}

impl Parts {
    /// In parts of one kind.
    pub fn new(placed: &Arc<Placed>, by: By) -> Parts {
        Parts { placed: Arc::clone(placed), by }
    }

    /// One part that holds everything.
    pub fn whole() -> Parts {
        Parts::new(&Arc::new(Placed::of(vec![(TokenRange::ALL, vec![0])])), By::Sets)
    }

    /// Of which kind they are.
    pub fn by(&self) -> By {
        self.by
    }

    /// Who holds what.
    pub fn placed(&self) -> &Arc<Placed> {
        &self.placed
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        match self.by {
            By::Sets => self.placed.sets.len(),
            By::Stretches => self.placed.stretches.len(),
            By::Nodes => self.placed.lots.len(),
        }
    }

    /// How many times a record is written.
    pub fn copies(&self) -> f64 {
        match self.by {
            By::Nodes => self.placed.lots.iter().map(|lot| lot.share).sum(),
            _ => 1.0,
        }
    }

    /// How many parts a node has a share of.
    pub fn of_lot(&self, lot: &Lot) -> usize {
        match self.by {
            By::Sets => lot.sets,
            By::Stretches => lot.stretches,
            By::Nodes => 1,
        }
    }

    /// Puts the parts that a token belongs to in place of what `parts` holds.
    pub fn of(&self, token: i64, parts: &mut Vec<usize>) {
        parts.clear();
        let at = self.placed.stretches.partition_point(|(last, _)| *last < token);
        let Some((_, set)) = self.placed.stretches.get(at) else { return };
        match self.by {
            By::Sets => parts.push(*set),
            By::Stretches => parts.push(at),
            By::Nodes => parts.extend_from_slice(&self.placed.sets[*set].0),
        }
    }

    /// The nodes that get a part: their places, ascending.
    pub fn nodes(&self, part: usize) -> Vec<usize> {
        let of_set = |set: usize| self.placed.sets.get(set).map(|(nodes, _)| nodes.clone()).unwrap_or_default();
        match self.by {
            By::Sets => of_set(part),
            By::Stretches => self.placed.stretches.get(part).map(|(_, set)| of_set(*set)).unwrap_or_default(),
            By::Nodes => vec![part],
        }
    }

    /// The last token of a part.
    pub fn last(&self, part: usize) -> i64 {
        let last = match self.by {
            By::Sets => self.placed.sets.get(part).map(|(_, last)| *last),
            By::Stretches => self.placed.stretches.get(part).map(|(last, _)| *last),
            By::Nodes => None,
        };
        last.unwrap_or(i64::MAX)
    }
}

/// The token that a record's key begins with.
pub fn token(key: &[u8]) -> Option<i64> {
    let (token, _) = key.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*token) ^ (1 << 63)) as i64)
}

fn share(range: &TokenRange) -> f64 {
    (range.end as f64 - range.start as f64) / 2f64.powi(64)
}
