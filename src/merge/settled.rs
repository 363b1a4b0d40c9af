//! A view, brought to a point in time: what has expired by then is as expired.

use repo_format::record::Traits;

use super::Rule;
use super::body::BodyMerge;
use crate::error::Result;
use crate::run::{RecordBatch, Run};

/// A run whose cells are as they stand at a cut.
pub struct Settled<'a> {
    run: Box<dyn Run + 'a>,
    bodies: BodyMerge<'a>,
    batch: RecordBatch,
}

impl<'a> Settled<'a> {
    /// `cut` in seconds since 1970.
    pub fn new(run: Box<dyn Run + 'a>, rule: &'a dyn Rule, cut: u32) -> Settled<'a> {
        Settled { run, bodies: BodyMerge::new(rule, Some(cut)), batch: RecordBatch::new() }
    }
}

impl Run for Settled<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        if !self.run.next_batch(out)? {
            return Ok(false);
        }
        if !out.iter().any(|r| r.traits.has(Traits::EXPIRING)) {
            return Ok(true);
        }
        self.batch.swap(out);
        out.clear();
        for record in self.batch.iter() {
            if self.bodies.keeps(record.traits) {
                out.push(&record);
            } else {
                self.bodies.normal(&record, out)?;
            }
        }
        Ok(true)
    }
}
