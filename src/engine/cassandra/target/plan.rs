//! Which parts and which cut suit a table of some size.

use super::files::OPEN_MAX;
use super::{Cut, Parts};
use crate::engine::cassandra::ring::Held;

/// Parts by sets of nodes up to which they are written side by side. Above, stretches are written one after the other:
/// more files, but never more open at once.
const SETS_MAX: usize = OPEN_MAX;
/// The same where every part has files for many windows: each pass over the records fills so many.
const SETS_MAX_WINDOWS: usize = 20;
/// More sets take more passes over the records. So many are worth it where stretches would make [`CRUMBS`] times as many files:
/// nine nodes of 256 tokens make 84 sets and 2,300 stretches.
const PASSES_MAX: usize = 4;
const CRUMBS: usize = 4;

/// How one table is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Who gets what.
    pub parts: Parts,
    /// In which files.
    pub cut: Cut,
    /// Level of leveled compaction that the files belong to.
    pub level: u32,
}

impl Plan {
    /// Each row once, for `sstableloader`, which finds its nodes by itself.
    pub fn once(cut: Cut) -> Plan {
        Plan { parts: Parts::whole(), cut, level: 0 }
    }

    /// For the nodes of `placed` ([`super::TargetRing::place`]); `bytes` is one copy of the table, as far as known.
    pub fn for_nodes(placed: &[Held], cut: Cut, bytes: u64) -> Plan {
        let stretches = Parts::by_stretches(placed);
        let nodes = placed.iter().flat_map(|(_, nodes)| nodes).max().map_or(0, |last| last + 1);
        let level_of = |node: usize| {
            let count = stretches.all().iter().filter(|p| p.nodes.contains(&node)).count();
            cut.level((bytes as f64 * stretches.share_of(node)) as u64, count)
        };
        // Files are shared, so they have one level; a level too high for a node costs it nothing.
        let level = (0..nodes).map(level_of).max().unwrap_or(0);
        let sets = Parts::by_nodes(placed);
        let (few, many) = (sets.all().len(), stretches.all().len());
        let suit = match cut {
            Cut::Windows { .. } => few <= SETS_MAX_WINDOWS,
            _ => few <= SETS_MAX || (few <= SETS_MAX * PASSES_MAX && many >= few * CRUMBS),
        };
        let parts = if level > 0 || !suit { stretches } else { sets };
        Plan { parts, cut, level }
    }
}
