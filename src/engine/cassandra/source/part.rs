//! One SSTable of a captured node as a [`Part`] of its shard.

use std::sync::{Arc, PoisonError};

use super::super::capture::CapturedSsTable;
use super::super::schema::Table;
use super::super::sstable::files::Reading;
use super::super::sstable::{self, Component, Remark, SsTable, SsTableRun};
use super::ranges::{self, Ranged};
use super::{CapturedNodes, Findings};
use crate::engine::{EVERYTHING, Finding, KeyRange, Part};
use crate::error::{Error, Kind, Result};
use crate::run::{RecordBatch, Run};
use crate::volume::Place;
use crate::watch::Watch;

/// What names an SSTable among those of its node's table: the path of its rows.
pub fn name(s: &CapturedSsTable) -> String {
    s.data().to_string()
}

impl CapturedNodes {
    /// An SSTable of `node` as a part. Its header and first chunk are read now and forgotten again: of ten thousand they
    /// would take more memory than what is merged.
    pub(super) fn part<'a>(
        &'a self,
        s: &'a CapturedSsTable,
        name: String,
        table: &'a Table,
        node: usize,
        watch: &'a Watch,
    ) -> Part<'a> {
        let first = whole(s).and_then(|()| open(s, table)?.first_group()).map(Option::unwrap_or_default);
        let (bytes, files) = (s.bytes(), places(s));
        let (from, called) = (first.as_ref().ok().cloned(), name.clone());
        let part_files = files.clone();
        let (pieces, by_index) = (Arc::default(), ranges::by_index(s).unwrap_or(false));
        let start = move |range: &KeyRange| {
            let sstable = open(s, table)?;
            if *range != EVERYTHING {
                let piece = sstable.piece(&self.files, range, &pieces, by_index)?;
                let (reading, name, from) = (self.files.reading(), called.clone(), from.clone());
                return Ok(Box::new(Ranged { piece, reading, name, from, watch, bytes, told: 0 }) as Box<dyn Run>);
            }
            let (run, reading) = (sstable.run_through(&self.files)?.announcing(), self.files.reading());
            let each = bytes as f64 / sstable.statistics().stats.rows.max(1) as f64;
            let at = Whose {
                name: called.clone(),
                findings: &self.findings,
                table: table.id.clone(),
                node,
                files: files.clone(),
            };
            let from = from.clone();
            Ok(Box::new(Followed { run, reading, at, from, watch, bytes, each, read: 0.0, told: 0 }) as Box<dyn Run>)
        };
        Part { name, files: part_files, bytes, rank: 0, from: first, open: Box::new(start) }
    }
}

/// The SSTable, if its rows are understood and could be written again.
fn open(s: &CapturedSsTable, table: &Table) -> Result<SsTable> {
    let sstable = SsTable::open(&s.folder, &s.descriptor, table)?;
    // What no restore could write again is not understood: SSTables carry every value as it is.
    sstable::write::layout::Layout::of(table).map_err(|e| e.within(sstable.data()))?;
    Ok(sstable)
}

/// An error where the capture has no rows or no header of the SSTable: what was never there is damage, what was there and
/// is gone is not.
fn whole(s: &CapturedSsTable) -> Result<()> {
    let missing = |component: &Component| !s.files.iter().any(|(c, _)| c == component);
    match [Component::Data, Component::Statistics].into_iter().find(missing) {
        Some(component) => {
            let place = s.folder.join(s.descriptor.file(component));
            Err(Error::damaged(place, "is not in the capture, where other files of its SSTable are"))
        }
        None => Ok(()),
    }
}

/// All its files, that with the rows first.
fn places(s: &CapturedSsTable) -> Vec<Place> {
    let (data, rest): (Vec<_>, Vec<_>) = s.files.iter().partition(|(component, _)| *component == Component::Data);
    data.into_iter().chain(rest).map(|(_, file)| file.place.clone()).collect()
}

/// Tells the watch how far a file has been read, in bytes of the file, and at its end what was seen in it.
struct Followed<'a> {
    run: SsTableRun,
    reading: Reading,
    at: Whose<'a>,
    /// What no key may come before; taken with the first batch.
    from: Option<Vec<u8>>,
    watch: &'a Watch,
    bytes: u64,
    /// Bytes of the file for each record.
    each: f64,
    read: f64,
    told: u64,
}

/// Which SSTable it is, and where it is told what was seen in it.
struct Whose<'a> {
    name: String,
    findings: &'a Findings,
    table: String,
    node: usize,
    files: Vec<Place>,
}

impl Run for Followed<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        self.reading.limit(out);
        let more = self.run.next_batch(out)?;
        if let Some(from) = self.from.take()
            && more
        {
            begins_later(&self.at.name, &from, out)?;
        }
        self.read += out.len() as f64 * self.each;
        let now = if more { (self.read as u64).min(self.bytes) } else { self.bytes };
        self.watch.advance(now.saturating_sub(self.told));
        self.told = self.told.max(now);
        if !more {
            self.at.tell(self.run.remarks());
        }
        Ok(more)
    }
}

/// Fails where the first batch of a file begins before `from`, the first key that it had a while ago.
pub fn begins_later(name: &str, from: &[u8], batch: &RecordBatch) -> Result<()> {
    if first_key(batch) < from {
        return Err(Error::new(Kind::Io, name, "begins otherwise than it did a while ago: it was written to"));
    }
    Ok(())
}

/// The first key of a batch, or the one that it says is coming.
fn first_key(batch: &RecordBatch) -> &[u8] {
    if batch.is_empty() { batch.coming().unwrap_or_default() } else { batch.get(0).key }
}

impl Whose<'_> {
    fn tell(&self, remarks: &[Remark]) {
        let finding = |remark: &Remark| {
            let (damage, what) = match remark {
                Remark::Note(what) => (None, what),
                Remark::Problem { damage, what } => (Some(*damage), what),
            };
            Finding { node: self.node, part: self.name.clone(), files: self.files.clone(), what: what.clone(), damage }
        };
        let found: Vec<Finding> = remarks.iter().map(finding).collect();
        if !found.is_empty() {
            let mut all = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert((self.table.clone(), self.node, self.name.clone()), found);
        }
    }
}
