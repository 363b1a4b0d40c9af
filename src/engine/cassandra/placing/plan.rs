//! Which parts and which cut suit a table of some size: those that cost least.

use std::sync::Arc;

use super::files::OPEN_MAX;
use super::parts::{By, Placed};
use super::{Cut, Parts, Windows};

/// What an SSTable costs beside its records, in bytes written in the same time: ten files that are made, synced and linked.
const FILE_COST: f64 = (512 << 10) as f64;
/// Bytes of an SSTable beside its records: its statistics above all.
const FILE_BYTES: f64 = (10 << 10) as f64;
/// Reading a table once more, against writing it.
const PASS_COST: f64 = 0.25;
/// Stretches may make so many times as many files as sets of nodes where there are no windows, …
const CRUMBS: usize = 4;
/// … and more where each file is at least so large. A node would rather have few files.
const NO_CRUMB: u64 = 64 << 20;
/// Passes over a table of windows; where it takes more, the windows are made coarser.
const PASSES_MAX: u64 = 32;
/// Windows that a table is taken to have before it was looked at: as many as Cassandra's documentation advises.
const WINDOWS_USUAL: usize = 30;

/// How large one copy of a table is, about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Rows, static ones, deletions.
    pub records: u64,
    /// Bytes of SSTables.
    pub bytes: u64,
}

/// How one table is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Who gets what.
    pub parts: Parts,
    /// In which files.
    pub cut: Cut,
    /// Level of leveled compaction that the files belong to.
    pub level: u32,
    size: Size,
    windows: usize,
}

/// About what a node gets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeShare {
    /// Which part of the table, 0 to 1.
    pub share: f64,
    /// Bytes in its folder.
    pub bytes: u64,
    /// SSTables, in each window where there are windows.
    pub files: u64,
}

impl Plan {
    /// Each row once, for `sstableloader`, which finds its nodes by itself.
    pub fn once(cut: Cut, size: Size) -> Plan {
        Plan::with(Parts::whole(), cut, size, usual(cut))
    }

    /// For the nodes of a ring.
    pub fn for_nodes(placed: &Arc<Placed>, cut: Cut, size: Size) -> Plan {
        Plan::choose(placed, cut, size, usual(cut))
    }

    /// The same, now that the windows of the table's times are known: what is left to choose is chosen anew.
    pub fn settled(self, mut windows: Windows) -> Plan {
        loop {
            let plan = Plan::choose(self.parts.placed(), windows.cut(), self.size, windows.count());
            if plan.passes() <= PASSES_MAX || windows.count() < 2 {
                return plan;
            }
            windows.coarsen();
        }
    }

    fn choose(placed: &Arc<Placed>, cut: Cut, size: Size, windows: usize) -> Plan {
        let of = |by| Plan::with(Parts::new(placed, by), cut, size, windows);
        let stretches = of(By::Stretches);
        if stretches.level > 0 {
            return stretches;
        }
        let sets = of(By::Sets);
        let (few, many) = (sets.parts.count(), stretches.parts.count());
        let crumbs = size.bytes / ((many * windows).max(1) as u64) < NO_CRUMB && (windows > 1 || many > few * CRUMBS);
        let plans = [Some(sets), Some(stretches).filter(|_| !crumbs), Some(of(By::Nodes))];
        let cheaper = |a: Plan, b: Plan| if b.cost() < a.cost() { b } else { a };
        plans.into_iter().flatten().reduce(cheaper).unwrap_or_else(|| of(By::Nodes))
    }

    fn with(parts: Parts, cut: Cut, size: Size, windows: usize) -> Plan {
        let level_of = |share: f64, stretches| cut.level((size.bytes as f64 * share) as u64, stretches);
        // Files are shared, so they have one level; a level too high for a node costs it nothing.
        let lots = parts.placed().lots().iter().filter(|_| matches!(cut, Cut::Levels { .. }));
        let level = match parts.by() {
            By::Sets => None,
            By::Stretches => lots.map(|lot| level_of(lot.share, lot.stretches)).max(),
            By::Nodes => lots.map(|lot| level_of(lot.share, 1)).max(),
        };
        Plan { parts, cut, level: level.unwrap_or(0), size, windows }
    }

    /// About how many SSTables are written, each counted once.
    pub fn files(&self) -> u64 {
        let copies = self.parts.copies();
        self.files_of(self.parts.count() * self.windows, copies).round() as u64
    }

    /// About how many bytes are written.
    pub fn bytes(&self) -> u64 {
        (self.size.bytes as f64 * self.parts.copies() + self.files() as f64 * FILE_BYTES) as u64
    }

    /// About what each node gets.
    pub fn of_nodes(&self) -> impl Iterator<Item = NodeShare> {
        self.parts.placed().lots().iter().map(|lot| {
            let files = self.files_of(self.parts.of_lot(lot) * self.windows, lot.share).round();
            NodeShare {
                share: lot.share,
                bytes: (self.size.bytes as f64 * lot.share + files * FILE_BYTES) as u64,
                files: files as u64,
            }
        })
    }

    /// How many times the table is read: at most so many files are open at once.
    fn passes(&self) -> u64 {
        let at_once = match self.parts.by() {
            By::Stretches => self.windows as u64,
            By::Sets | By::Nodes => self.files(),
        };
        at_once.div_ceil(OPEN_MAX as u64).max(1)
    }

    /// In bytes written in the same time.
    fn cost(&self) -> f64 {
        let (bytes, files) = (self.size.bytes as f64, self.files() as f64);
        bytes * (self.parts.copies() + self.passes() as f64 * PASS_COST) + files * FILE_COST
    }

    /// Of `places` for files so many as get a record, where `share` of all records go there; and those that a large
    /// part is cut into.
    fn files_of(&self, places: usize, share: f64) -> f64 {
        let (places, records) = (places.max(1) as f64, self.size.records as f64 * share);
        places * (1.0 - (-records / places).exp()) + (self.size.bytes as f64 * share / self.cut.size() as f64).floor()
    }
}

fn usual(cut: Cut) -> usize {
    if matches!(cut, Cut::Windows { .. }) { WINDOWS_USUAL } else { 1 }
}
