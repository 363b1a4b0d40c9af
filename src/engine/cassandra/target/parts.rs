//! Token ranges by the nodes that hold them. What the same nodes hold is one part, which is written once, whatever the
//! number of nodes: three nodes that hold everything cost one encoding.

use std::collections::BTreeMap;

use crate::engine::cassandra::ring::{Held, TokenRange};

/// Ranges that the same nodes hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Places among the nodes, ascending.
    pub nodes: Vec<usize>,
    /// Its last token.
    pub last: i64,
    /// Which part of all tokens it holds, 0 to 1.
    pub share: f64,
}

/// All tokens, or those of some nodes, in parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    parts: Vec<Part>,
    /// Ascending and without gaps: the last token of a range, and its part.
    ranges: Vec<(i64, Option<usize>)>,
}

impl Parts {
    /// One part that holds everything.
    pub fn whole() -> Parts {
        let part = Part { nodes: vec![0], last: i64::MAX, share: 1.0 };
        Parts { parts: vec![part], ranges: vec![(i64::MAX, Some(0))] }
    }

    /// One part for each set of nodes. `placed` holds every token once, ascending ([`super::TargetRing::place`]).
    pub fn by_nodes(placed: &[Held]) -> Parts {
        let mut known: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        Parts::gather(placed, |parts, nodes| {
            *known.entry(nodes.to_vec()).or_insert_with(|| {
                parts.push(Part { nodes: nodes.to_vec(), last: i64::MIN, share: 0.0 });
                parts.len() - 1
            })
        })
    }

    /// One part for each stretch of neighbouring ranges that the same nodes hold: parts then do not overlap.
    pub fn by_stretches(placed: &[Held]) -> Parts {
        Parts::gather(placed, |parts, nodes| {
            if parts.last().is_none_or(|part| part.nodes != nodes) {
                parts.push(Part { nodes: nodes.to_vec(), last: i64::MIN, share: 0.0 });
            }
            parts.len() - 1
        })
    }

    fn gather(placed: &[Held], mut part_of: impl FnMut(&mut Vec<Part>, &[usize]) -> usize) -> Parts {
        let (mut parts, mut ranges) = (Vec::new(), Vec::new());
        for (range, nodes) in placed {
            let mut nodes = nodes.clone();
            nodes.sort_unstable();
            let place = part_of(&mut parts, &nodes);
            if let Some(part) = parts.get_mut(place) {
                part.last = range.end;
                part.share += share(range);
            }
            ranges.push((range.end, Some(place)));
        }
        Parts { parts, ranges }
    }

    /// The parts.
    pub fn all(&self) -> &[Part] {
        &self.parts
    }

    /// The part that a token belongs to.
    pub fn of(&self, token: i64) -> Option<usize> {
        let at = self.ranges.partition_point(|(end, _)| *end < token);
        self.ranges.get(at).and_then(|(_, part)| *part)
    }

    /// Which part of all tokens a node holds, 0 to 1.
    pub fn share_of(&self, node: usize) -> f64 {
        self.parts.iter().filter(|p| p.nodes.contains(&node)).map(|p| p.share).sum()
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
