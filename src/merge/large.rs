//! Large records, of which a run tells the key before they are read: many runs may stand before one, and few at it.

use super::{Merge, insert};
use crate::error::Result;
use crate::run::RecordBatch;

impl Merge<'_> {
    /// Reads the large records that the first inputs stand before. Inside a node that is said first, in a batch that
    /// ends there, and done when the next batch is wanted.
    pub(super) fn read_large(&mut self, same: usize, out: &mut RecordBatch) -> Result<()> {
        if self.across.is_none() && !std::mem::replace(&mut self.announced, true) {
            out.set_coming(self.inputs[self.order[0]].key());
            return Ok(());
        }
        self.announced = false;
        self.standing.clear();
        self.standing.extend(self.order.drain(..same));
        for k in 0..same {
            let i = self.standing[k];
            if !self.inputs[i].is_before_large() || self.inputs[i].refill()? {
                insert(&mut self.order, &self.inputs, i);
            } else {
                self.end(i);
            }
        }
        if out.is_empty() { self.pass_whole(out) } else { Ok(()) }
    }
}
