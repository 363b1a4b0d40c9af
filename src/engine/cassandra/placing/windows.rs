//! The windows that a table's times fall into, made coarser until there are few enough: the files of a window that is a
//! multiple of the table's are still dropped as a whole, and TWCS counts each to the window of its newest time.

use std::collections::BTreeSet;

use super::Cut;
use super::cut::newest;
use crate::error::Result;
use crate::run::Record;

/// So many windows get files of their own.
pub const WINDOWS_MAX: usize = 128;

/// What windows there are. Memory: at most [`WINDOWS_MAX`] of them, whatever the times.
#[derive(Debug, Clone)]
pub struct Windows {
    cut: Cut,
    /// The first second of each.
    seen: BTreeSet<i64>,
}

impl Windows {
    /// None yet. A cut without windows has one.
    pub fn new(cut: Cut) -> Windows {
        Windows { cut, seen: BTreeSet::new() }
    }

    /// Takes a record of the table, in any order.
    pub fn push(&mut self, record: &Record<'_>) -> Result<()> {
        self.seen.insert(self.cut.window(newest(record.body)?.unwrap_or_default()));
        while self.seen.len() > WINDOWS_MAX {
            self.coarsen();
        }
        Ok(())
    }

    /// Makes every window twice as long.
    pub fn coarsen(&mut self) {
        if let Cut::Windows { seconds, .. } = &mut self.cut {
            *seconds = seconds.saturating_mul(2);
            let length = *seconds;
            // The windows of before lie within the longer ones: both begin with multiples of their length.
            self.seen = self.seen.iter().map(|at| at - at % length).collect();
        }
    }

    /// The table's cut with windows of the length that was come to.
    pub fn cut(&self) -> Cut {
        self.cut
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.seen.len().max(1)
    }
}
