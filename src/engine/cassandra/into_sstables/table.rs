//! One table, written in as many passes over its records as its files take.

use std::sync::atomic::Ordering;
use std::thread;

use super::plan::{Request, TablePlan};
use crate::engine::cassandra::placing::folders::{Folders, Out, Totals, options};
use crate::engine::cassandra::placing::{Cut, Progress, Windows, Writing};
use crate::engine::target::{is_of_one_shard, unwritable};
use crate::error::Result;
use crate::merge::ahead;
use crate::run::{Record, RecordBatch, Run};
use crate::watch::Watch;

/// How it is written.
pub struct Work<'w> {
    /// Version of the files, and what becomes of late times.
    pub request: &'w Request,
    /// Told how much there is to read.
    pub watch: &'w Watch,
}

impl Work<'_> {
    /// Writes a table. Memory: as `placing::files` says, whatever the number of nodes. Of a table that cannot be written nothing is
    /// left.
    pub fn write(&self, plan: &TablePlan<'_>, out: Out<'_>) -> Result<Totals> {
        let read = |take: &mut dyn FnMut(&Record<'_>) -> Result<()>| {
            thread::scope(|scope| each(&mut *ahead(scope, plan.stored.name, 1, plan.stored.read(true)?)?, take))
        };
        let again = || self.watch.bytes_total.fetch_add(plan.stored.bytes, Ordering::Relaxed);
        let mut settled = plan.plan.clone();
        if matches!(settled.cut, Cut::Windows { .. }) {
            let mut windows = Windows::new(settled.cut);
            read(&mut |record| windows.push(record))?;
            settled = settled.settled(windows);
            again();
        }
        let options = options(&plan.table, self.request.version, self.request.late_times, settled.level)?;
        let mut files = Folders::new(out, &plan.table, &settled.parts, options);
        files.clear()?;
        let mut pass = Some(Progress::default());
        while let Some(before) = pass {
            let mut writing = Writing::new(&settled.parts, settled.cut, before, &mut files);
            let written = read(&mut |record| writing.push(record)).and_then(|()| writing.finish());
            pass = match written {
                Err(e) if is_of_one_shard(&e) => return files.clear().and(Err(e)),
                written => written?,
            };
            if pass.is_some() {
                again();
            }
        }
        Ok(files.totals())
    }
}

fn each(run: &mut dyn Run, take: &mut dyn FnMut(&Record<'_>) -> Result<()>) -> Result<()> {
    let mut batch = RecordBatch::new();
    while run.next_batch(&mut batch)? {
        batch.iter().try_for_each(|record| take(&record)).map_err(unwritable)?;
    }
    Ok(())
}
