//! How large the records of a table are that is seen for the first time.

use std::collections::VecDeque;

use crate::error::Result;
use crate::merge::Merge;
use crate::run::{RECORD_LARGE, RecordBatch, Run};
use crate::tree::leaf_records;

/// Records of each node that are looked at to find the mean size of a record.
const SAMPLE_RECORDS: usize = 4096;
/// Bytes of each node after which no more are looked at.
const SAMPLE_BYTES: usize = 4 << 20;

/// Records of a leaf for a table seen for the first time, from the size of the first records of each node.
pub fn sample(runs: &mut [Sampled<'_>], leaf_target: u32) -> Result<u32> {
    let (mut records, mut bytes) = (0, 0);
    for run in runs {
        let (r, b) = run.sample()?;
        records += r;
        bytes += b;
    }
    Ok(leaf_records(bytes / records.max(1), leaf_target))
}

/// A node's run of which the first batches may have been looked at before.
pub struct Sampled<'a> {
    run: Merge<'a>,
    seen: VecDeque<RecordBatch>,
}

impl<'a> Sampled<'a> {
    pub fn new(run: Merge<'a>) -> Sampled<'a> {
        Sampled { run, seen: VecDeque::new() }
    }

    /// Number and bytes of the first records, which are kept.
    fn sample(&mut self) -> Result<(usize, usize)> {
        let (mut records, mut bytes) = (0, 0);
        while records < SAMPLE_RECORDS && bytes < SAMPLE_BYTES {
            let mut batch = RecordBatch::new();
            if !self.run.next_batch(&mut batch)? {
                break;
            }
            for record in batch.iter().take(SAMPLE_RECORDS - records) {
                bytes += record.key.len() + record.body.len();
                records += 1;
            }
            let large = batch.coming().is_some();
            self.seen.push_back(batch);
            if large {
                // It is not read before all others are ready to merge it; it has so many bytes at least.
                return Ok((records + 1, bytes + RECORD_LARGE));
            }
        }
        Ok((records, bytes))
    }
}

impl Run for Sampled<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        match self.seen.pop_front() {
            Some(batch) => {
                *out = batch;
                Ok(true)
            }
            None => self.run.next_batch(out),
        }
    }
}
