//! Records of a selection as units to be sent, and the rows that are read back afterwards.

use std::collections::BTreeMap;

use repo_format::record::Class;

use super::order::Order;
use super::state;
use crate::engine::cassandra::client::{Client, Unit};
use crate::engine::cassandra::mutate::{Mutations, Probe};
use crate::error::{Error, Kind, Result};
use crate::run::{Record, RecordBatch, Run};
use crate::watch::Watch;

/// Rows that are read back when all is written.
const READ_BACK: usize = 40;

/// Some of the rows that pass, spread evenly over them.
#[derive(Default)]
struct Sample {
    /// With the number of the row.
    probes: Vec<(u64, Probe)>,
    rows: u64,
    /// Of so many rows one is kept, 1 for 0.
    each: u64,
}

impl Sample {
    fn pass(&mut self, probe: impl FnOnce() -> Result<Option<Probe>>) -> Result<()> {
        let number = self.rows;
        self.rows += 1;
        if !number.is_multiple_of(self.each.max(1)) {
            return Ok(());
        }
        let Some(probe) = probe()? else { return Ok(()) };
        if self.probes.len() == READ_BACK {
            self.each = 2 * self.each.max(1);
            let each = self.each;
            self.probes.retain(|(number, _)| number.is_multiple_of(each));
        }
        if number.is_multiple_of(self.each.max(1)) {
            self.probes.push((number, probe));
        }
        Ok(())
    }

    /// How many of them do not show, of how many.
    fn hidden(&self, client: &Client) -> Result<(usize, usize)> {
        let asked = self.probes.iter().map(|(_, probe)| (probe.text.clone(), probe.keys.clone()));
        let found = client.all_rows(asked)?;
        let shows = |row: &Vec<Option<Vec<u8>>>| row.iter().all(Option::is_some);
        Ok((found.iter().filter(|found| !found.rows.iter().any(shows)).count(), found.len()))
    }
}

/// Records in order, made statements.
pub(super) struct Source<'a> {
    run: Box<dyn Run + 'a>,
    mutations: Mutations,
    watch: &'a Watch,
    batch: RecordBatch,
    next: usize,
    ended: bool,
    last: Vec<u8>,
    sample: Sample,
}

impl<'a> Source<'a> {
    pub(super) fn new(run: Box<dyn Run + 'a>, mutations: Mutations, watch: &'a Watch) -> Source<'a> {
        let (batch, sample) = (RecordBatch::new(), Sample::default());
        Source { run, mutations, watch, batch, next: 0, ended: false, last: Vec::new(), sample }
    }

    /// What could not be carried exactly, with what a restore before could not.
    pub(super) fn not_carried(&self) -> &BTreeMap<&'static str, u64> {
        self.mutations.not_carried()
    }

    /// The next record; `None` after the last one.
    fn peek(&mut self) -> Result<Option<Record<'_>>> {
        self.watch.check()?;
        while self.next == self.batch.len() && !self.ended {
            self.next = 0;
            self.ended = !self.run.next_batch(&mut self.batch)?;
        }
        Ok((!self.ended).then(|| self.batch.get(self.next)))
    }

    /// Its statements in `unit`.
    fn take(&mut self, unit: &mut Unit) -> Result<()> {
        let (record, now) = (self.batch.get(self.next), state::now());
        self.next += 1;
        self.mutations.push(&record, now, &mut unit.mutations)?;
        self.last.clear();
        self.last.extend_from_slice(record.key);
        unit.rows = u64::from(matches!(record.class, Class::Row | Class::Static) && !unit.mutations.is_empty());
        if unit.rows > 0 {
            self.sample.pass(|| self.mutations.probe(&record, now))?;
        }
        Ok(())
    }

    /// The statements of the next record that has any.
    pub(super) fn next(&mut self) -> Result<Option<Unit>> {
        let mut unit = Unit::default();
        while unit.mutations.is_empty() && !self.ended {
            match self.peek()? {
                Some(_) => self.take(&mut unit)?,
                None => self.mutations.finish(&mut unit.mutations)?,
            }
        }
        unit.position.clone_from(&self.last);
        Ok((!unit.mutations.is_empty()).then_some(unit))
    }

    /// Passes all up to `behind`, which was acknowledged by a run before. Errors: nothing of it shows any more.
    pub(super) fn pass(&mut self, behind: &[u8], client: &Client, order: &Order<'_>) -> Result<()> {
        let mut unit = Unit::default();
        while self.peek()?.is_some_and(|record| record.key <= behind) {
            self.take(&mut unit)?;
            unit.mutations.clear();
        }
        let (hidden, all) = self.sample.hidden(client)?;
        if hidden > 0 && hidden == all {
            return Err(gone(order, "shows nothing of what was restored before"));
        }
        Ok(())
    }

    /// Reads some of the rows that were sent, by runs before as well. They do not show where the target holds newer
    /// deletions, which no read tells.
    pub(super) fn read_back(&self, client: &Client, name: &str) -> Result<()> {
        let (hidden, all) = self.sample.hidden(client)?;
        if hidden == 0 {
            return Ok(());
        }
        let message = format!("{hidden} of {all} rows that were read back do not show what was written");
        Err(Error::new(Kind::Io, format!("table {name}"), message).hint(
            "newer deletions in the target hide them, or they have expired: restore with --replace or --rewrite-times now",
        ))
    }
}

/// The table is not as an earlier run left it.
pub(super) fn gone(order: &Order<'_>, what: &str) -> Error {
    let hint = format!("to restore it from the beginning, remove {}", order.state.display());
    Error::new(Kind::Usage, format!("table {}", order.name()), what).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_any_number_of_rows() {
        for rows in [1_u64, 39, 40, 41, 1_000, 123_456] {
            let mut sample = Sample::default();
            for _ in 0..rows {
                let probe = Probe { text: String::new(), keys: Vec::new(), times: Vec::new() };
                sample.pass(|| Ok(Some(probe))).unwrap();
            }
            let numbers: Vec<u64> = sample.probes.iter().map(|(number, _)| *number).collect();
            assert!(numbers.len() <= READ_BACK && numbers.len() as u64 >= rows.min(READ_BACK as u64 / 2), "{rows}");
            let widest = numbers.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
            assert!(numbers[0] == 0 && rows - numbers[numbers.len() - 1] <= widest.max(1), "{rows} {numbers:?}");
        }
    }
}
