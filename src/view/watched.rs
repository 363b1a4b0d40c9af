//! Progress of a run.

use crate::error::Result;
use crate::run::{RecordBatch, Run};
use crate::watch::Watch;

/// Tells how far a run is, and ends when asked to.
pub(super) struct Watched<'a> {
    run: Box<dyn Run + 'a>,
    watch: &'a Watch,
    /// In all.
    records: u64,
    bytes: u64,
    /// So far.
    read: u64,
    told: u64,
}

impl<'a> Watched<'a> {
    /// `records` and `bytes` are those of the whole shard, whatever is read of it.
    pub(super) fn new(run: Box<dyn Run + 'a>, watch: &'a Watch, records: u64, bytes: u64) -> Watched<'a> {
        Watched { run, watch, records, bytes, read: 0, told: 0 }
    }
}

impl Run for Watched<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        self.watch.check()?;
        let more = self.run.next_batch(out)?;
        self.read += out.len() as u64;
        let part = self.read.min(self.records) as f64 / self.records.max(1) as f64;
        let now = if more { (self.bytes as f64 * part) as u64 } else { self.bytes };
        self.watch.advance(now.saturating_sub(self.told));
        self.told = self.told.max(now);
        Ok(more)
    }
}
