//! What the last snapshot has, where the machine remembers nothing: what cannot be read tonight stands as it was. Nothing counts as unchanged
//! by it, for what the system said is not in a snapshot.

use super::memory::{Known, Local, Remembers};
use crate::run::{RecordBatch, Run};

/// See the module.
pub struct EarlierFiles<'a> {
    run: Box<dyn Run + 'a>,
    batch: RecordBatch,
    at: usize,
    next: Option<Known>,
    ended: bool,
    is_sure: bool,
}

impl<'a> EarlierFiles<'a> {
    /// Of a run of a file tree; `is_sure`: all contents are stored that its records refer to.
    pub fn new(run: Box<dyn Run + 'a>, is_sure: bool) -> EarlierFiles<'a> {
        EarlierFiles { run, batch: RecordBatch::new(), at: 0, next: None, ended: false, is_sure }
    }

    /// What cannot be read of it is not known: whoever asks for it then says that it is missing.
    fn advance(&mut self) -> Option<Known> {
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

impl Remembers for EarlierFiles<'_> {
    fn peek(&mut self) -> Option<&Known> {
        if self.next.is_none() && !self.ended {
            self.next = self.advance();
            self.ended = self.next.is_none();
        }
        self.next.as_ref()
    }

    fn take(&mut self) -> Option<Known> {
        self.next.take()
    }

    fn is_sure(&self) -> bool {
        self.is_sure
    }
}
