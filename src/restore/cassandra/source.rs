//! Records of a selection as units to be sent, and the rows that are read back afterwards.

use std::collections::BTreeMap;

use repo_format::record::Class;

use super::state;
use crate::engine::cassandra::client::{Client, Unit};
use crate::engine::cassandra::mutate::{Mutations, Probe};
use crate::error::{Error, Kind, Result};
use crate::run::{RecordBatch, Run};
use crate::watch::Watch;

/// Rows that are read back when all is written.
const READ_BACK: u64 = 40;

/// Records in order, made statements.
pub(super) struct Source<'a> {
    run: Box<dyn Run + 'a>,
    mutations: Mutations,
    /// Up to here all was acknowledged by a restore before.
    behind: Option<Vec<u8>>,
    watch: &'a Watch,
    batch: RecordBatch,
    next: usize,
    ended: bool,
    last: Vec<u8>,
    probes: Vec<Probe>,
    /// Of so many rows one is read back.
    each: u64,
    rows: u64,
}

impl<'a> Source<'a> {
    pub(super) fn new(
        run: Box<dyn Run + 'a>,
        mutations: Mutations,
        behind: Option<Vec<u8>>,
        rows: u64,
        watch: &'a Watch,
    ) -> Source<'a> {
        Source {
            run,
            mutations,
            behind,
            watch,
            batch: RecordBatch::new(),
            next: 0,
            ended: false,
            last: Vec::new(),
            probes: Vec::new(),
            each: rows / READ_BACK + 1,
            rows: 0,
        }
    }

    /// What could not be carried exactly, with what a restore before could not.
    pub(super) fn not_carried(&self) -> &BTreeMap<&'static str, u64> {
        self.mutations.not_carried()
    }

    /// The statements of the next record that has any.
    pub(super) fn next(&mut self) -> Result<Option<Unit>> {
        let mut unit = Unit::default();
        while unit.mutations.is_empty() && !self.ended {
            self.watch.check()?;
            if self.next == self.batch.len() {
                self.next = 0;
                if !self.run.next_batch(&mut self.batch)? {
                    self.ended = true;
                    self.mutations.finish(&mut unit.mutations)?;
                    unit.position.clone_from(&self.last);
                    break;
                }
            }
            let (record, now) = (self.batch.get(self.next), state::now());
            self.next += 1;
            self.mutations.push(&record, now, &mut unit.mutations)?;
            self.last.clear();
            self.last.extend_from_slice(record.key);
            if self.behind.as_deref().is_some_and(|behind| record.key <= behind) {
                unit.mutations.clear();
                continue;
            }
            unit.position = record.key.to_vec();
            unit.rows = u64::from(matches!(record.class, Class::Row | Class::Static));
            if unit.rows > 0 {
                if self.rows.is_multiple_of(self.each) && (self.probes.len() as u64) < READ_BACK {
                    self.probes.extend(self.mutations.probe(&record, now)?);
                }
                self.rows += 1;
            }
        }
        Ok((!unit.mutations.is_empty()).then_some(unit))
    }

    /// Reads some of the rows that were sent. They do not show where the target holds newer deletions, which no read tells.
    pub(super) fn read_back(&self, client: &Client, name: &str) -> Result<()> {
        let mut hidden = 0;
        for probe in &self.probes {
            let found = client.rows(&probe.text, &probe.keys)?;
            let shows = |row: &Vec<Option<Vec<u8>>>| row.iter().all(Option::is_some);
            hidden += usize::from(!found.rows.iter().any(shows));
        }
        if hidden == 0 {
            return Ok(());
        }
        let message =
            format!("{hidden} of {} rows that were read back do not show what was written", self.probes.len());
        Err(Error::new(Kind::Io, format!("table {name}"), message).hint(
            "newer deletions in the target hide them, or they have expired: restore with --replace or --rewrite-times now",
        ))
    }
}
