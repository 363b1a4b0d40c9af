//! Range after range, as one run.

use crate::engine::{KeyRange, KeyRanges};
use crate::error::Result;
use crate::run::{RecordBatch, Run};

/// One look-up after the other.
pub(super) struct Chain<'a, F> {
    ranges: KeyRanges,
    open: F,
    current: Option<Box<dyn Run + 'a>>,
}

impl<'a, F: Fn(KeyRange) -> Box<dyn Run + 'a>> Chain<'a, F> {
    /// A chain of the runs that `open` gives for the ranges.
    pub(super) fn new(ranges: KeyRanges, open: F) -> Chain<'a, F> {
        Chain { ranges, open, current: None }
    }
}

impl<'a, F: Fn(KeyRange) -> Box<dyn Run + 'a> + Send> Run for Chain<'a, F> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        loop {
            if let Some(run) = &mut self.current
                && run.next_batch(out)?
            {
                return Ok(true);
            }
            let Some(range) = self.ranges.next() else { return Ok(false) };
            self.current = Some((self.open)(range));
        }
    }
}
