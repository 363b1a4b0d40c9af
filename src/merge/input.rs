//! One of the runs that are merged, and the record that it stands at.

use std::cmp::Ordering;

use super::Deletion;
use crate::error::Result;
use crate::run::{Record, RecordBatch, Run};

/// A run, read up to a record.
pub struct Input<'a> {
    /// Dropped at its end: what it holds open and in memory is no longer needed.
    run: Option<Box<dyn Run + 'a>>,
    /// The rank of all its records; 0 where they have ranks of their own, or none.
    rank: u64,
    /// The batch that it stands in; empty at the end.
    pub batch: RecordBatch,
    /// The record in the batch.
    pub at: usize,
    /// First bytes of the key that it stands at, which settle most comparisons.
    head: u64,
    /// The deletion that its markers have in force.
    pub open: Option<Deletion>,
}

impl<'a> Input<'a> {
    /// Before its first record.
    pub fn new(run: Box<dyn Run + 'a>, rank: u64) -> Input<'a> {
        Input { run: Some(run), rank, batch: RecordBatch::new(), at: 0, head: 0, open: None }
    }

    /// The record it stands at, unless it is before a large one.
    #[inline]
    pub fn record(&self) -> Record<'_> {
        self.batch.get(self.at)
    }

    /// Its rank.
    #[inline]
    pub fn rank(&self) -> u64 {
        self.batch.rank(self.at)
    }

    /// The key it stands at.
    #[inline]
    pub fn key(&self) -> &[u8] {
        match self.batch.coming() {
            Some(coming) if self.at == self.batch.len() => coming,
            _ => self.batch.get(self.at).key,
        }
    }

    /// Whether it stands before a large record, of which only the key is known until it is [refilled](Input::refill).
    #[inline]
    pub fn is_before_large(&self) -> bool {
        self.at == self.batch.len() && self.batch.coming().is_some()
    }

    /// Whether all was read.
    pub fn is_at_end(&self) -> bool {
        self.batch.is_empty() && self.batch.coming().is_none()
    }

    /// Reads the next batch and stands at its start; `false` at the end of the run.
    pub fn refill(&mut self) -> Result<bool> {
        self.at = 0;
        let Some(run) = &mut self.run else { return Ok(false) };
        let more = run.next_batch(&mut self.batch)?;
        if self.rank > 0 {
            self.batch.set_rank(0, self.rank);
        }
        if more {
            self.head = head(self.key());
        } else {
            (self.run, self.batch) = (None, RecordBatch::new());
        }
        Ok(more)
    }

    /// Steps to the next record; `false` at the end of the run.
    #[inline]
    pub fn advance(&mut self) -> Result<bool> {
        self.advance_to(self.at + 1)
    }

    /// Steps to record `at` of the batch or, after the last one, to what is coming or the next batch; `false` at the end.
    #[inline]
    pub fn advance_to(&mut self, at: usize) -> Result<bool> {
        self.at = at;
        if at >= self.batch.len() && !self.is_before_large() {
            return self.refill();
        }
        self.head = head(self.key());
        Ok(true)
    }

    /// Order of the keys that two inputs stand at.
    #[inline]
    pub fn cmp(&self, other: &Input<'_>) -> Ordering {
        self.head.cmp(&other.head).then_with(|| self.key().cmp(other.key()))
    }

    /// Whether this input stands after `key`.
    #[inline]
    pub fn is_after(&self, key: &[u8]) -> bool {
        self.head.cmp(&head(key)).then_with(|| self.key().cmp(key)).is_gt()
    }
}

/// A run that is opened when the merge reaches it.
pub struct Waiting<'a> {
    /// No key of it is less.
    from: Vec<u8>,
    rank: u64,
    open: Open<'a>,
}

/// Opens a run.
pub type Open<'a> = Box<dyn FnOnce() -> Result<Box<dyn Run + 'a>> + Send + 'a>;

impl<'a> Waiting<'a> {
    /// A run with keys from `from` on only; empty where that is not known, so that it is opened at once.
    pub fn new(from: Vec<u8>, open: Open<'a>) -> Waiting<'a> {
        Waiting { from, rank: 0, open }
    }

    /// The rank of its records: of two without versions that of the greater one stands, if the rule says no other.
    #[must_use]
    pub fn ranked(self, rank: u64) -> Waiting<'a> {
        Waiting { rank, ..self }
    }

    /// Those that are opened last come first.
    pub fn last_first(&self, other: &Waiting<'a>) -> Ordering {
        other.from.cmp(&self.from)
    }

    /// Whether it may hold `key`, or a lesser one.
    #[inline]
    pub fn reaches(&self, key: &[u8]) -> bool {
        self.from.as_slice() <= key
    }

    /// Opens it.
    pub fn open(self) -> Result<Input<'a>> {
        Ok(Input::new((self.open)()?, self.rank))
    }
}

/// The first bytes of a key as a number of the same order; short keys are filled up with zeros.
#[inline]
fn head(key: &[u8]) -> u64 {
    match key.first_chunk::<8>() {
        Some(first) => u64::from_be_bytes(*first),
        None => key.iter().enumerate().fold(0, |n, (i, b)| n | u64::from(*b) << (56 - 8 * i)),
    }
}
