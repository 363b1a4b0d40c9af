//! What the last snapshot has, where the machine remembers nothing: what cannot be read tonight stands as it was. Nothing counts as unchanged
//! by it, for what the system said is not in a snapshot.

use super::memory::{Known, Local};
use crate::run::{RecordBatch, Run};

/// See the module.
pub struct EarlierFiles<'a> {
    run: Box<dyn Run + 'a>,
    batch: RecordBatch,
    at: usize,
}

impl<'a> EarlierFiles<'a> {
    /// Of a run of a file tree.
    pub fn new(run: Box<dyn Run + 'a>) -> EarlierFiles<'a> {
        EarlierFiles { run, batch: RecordBatch::new(), at: 0 }
    }
}

impl Iterator for EarlierFiles<'_> {
    type Item = Known;

    /// What cannot be read of it is not known: whoever asks for it then says that it is missing.
    fn next(&mut self) -> Option<Known> {
        while self.at == self.batch.len() {
            self.at = 0;
            if !self.run.next_batch(&mut self.batch).is_ok_and(|more| more) {
                return None;
            }
        }
        let record = self.batch.get(self.at);
        self.at += 1;
        Some(Known { key: record.key.to_vec(), local: Local::default(), young: true, body: record.body.to_vec() })
    }
}
