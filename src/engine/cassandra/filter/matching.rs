//! The records of a run that conditions name one by one.

use std::sync::Arc;

use repo_format::record::Class;

use super::all_hold;
use super::scope::Scope;
use crate::engine::cassandra::rows::{Layout, Row};
use crate::error::Result;
use crate::run::{Record, RecordBatch, Run};

/// Partitions that satisfy the conditions on parts of the partition key, and of them, where there are conditions on other columns,
/// the rows that satisfy those: without any deletion around them, which may cover rows that do not. A static row is
/// tested as a row of its own that has nothing but keys and static columns.
pub struct Matching<'a> {
    run: Box<dyn Run + 'a>,
    batch: RecordBatch,
    scope: Arc<Scope>,
    row: Row,
    /// The partition is among those named.
    named: bool,
}

impl<'a> Matching<'a> {
    /// Of a table's run, values judged at `now` (seconds since 1970).
    pub(super) fn new(run: Box<dyn Run + 'a>, scope: Arc<Scope>, layout: Layout, now: u32) -> Matching<'a> {
        Matching { run, batch: RecordBatch::new(), scope, row: Row::new(layout, now), named: false }
    }

    fn names(&mut self, r: &Record<'_>) -> Result<bool> {
        if !self.row.is_in_partition(r) {
            self.row.begin(r)?;
            self.named = all_hold(&self.scope.of_partitions, &self.row.values())?;
        }
        if !self.named || self.scope.of_rows.is_empty() {
            return Ok(self.named);
        }
        match r.class {
            Class::Group | Class::Marker => Ok(false),
            Class::Static | Class::Row => {
                self.row.fill(r)?;
                // A static row has no clustering that slices could name.
                let named = r.class == Class::Row || self.scope.slices.is_none();
                Ok(named && all_hold(&self.scope.of_rows, &self.row.values())?)
            }
        }
    }
}

impl Run for Matching<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        while out.is_empty() {
            let mut batch = std::mem::take(&mut self.batch);
            if !self.run.next_batch(&mut batch)? {
                return Ok(false);
            }
            for record in batch.iter() {
                if self.names(&record)? {
                    out.push(&record);
                }
            }
            self.batch = batch;
        }
        Ok(true)
    }
}
