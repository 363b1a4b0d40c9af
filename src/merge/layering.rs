//! What a run changes of another: the records of a layer (SPEC "Layers").

use repo_format::record::{Class, Traits};

use super::body::{Deletion, deletion, put_deletion};
use crate::error::{Error, Result};
use crate::run::{Record, RecordBatch, Run};

/// What was there before, record by record in the order of keys.
pub trait Before: Send {
    /// The next record; `None` at the end.
    fn known(&mut self) -> Result<Option<Known<'_>>>;
    /// Steps over it.
    fn step(&mut self);
}

/// A record that was there before.
#[derive(Clone, Copy)]
pub struct Known<'k> {
    /// Its key.
    pub key: &'k [u8],
    /// Length of the prefix that names its group.
    pub group_len: usize,
    /// What it is in its group.
    pub class: Class,
    /// The body of a deletion of a group, and of a marker; of others, where it is at hand.
    pub body: &'k [u8],
    /// What it is compared by.
    pub by: By<'k>,
}

/// How a record is compared with one of tonight's.
#[derive(Clone, Copy)]
pub enum By<'k> {
    /// The bodies themselves.
    Body,
    /// A fingerprint, and what takes tonight's.
    Print([u8; 16], &'k dyn Prints),
    /// Nothing is known: it counts as changed.
    Nothing,
}

/// Takes fingerprints of bodies.
pub trait Prints: Send + Sync {
    /// Of a body.
    fn print(&self, body: &[u8]) -> [u8; 16];
}

impl Known<'_> {
    fn is(&self, record: &Record<'_>) -> bool {
        match self.by {
            _ if self.class != record.class || self.group_len != record.group_len => false,
            _ if !record.is_row() => self.body == record.body,
            By::Body => self.body == record.body,
            By::Print(print, by) => by.print(record.body) == print,
            By::Nothing => false,
        }
    }
}

/// A run that was there before.
pub struct BeforeRun<'a> {
    run: Box<dyn Run + 'a>,
    batch: RecordBatch,
    at: usize,
    ended: bool,
}

impl<'a> BeforeRun<'a> {
    /// At its first record.
    pub fn new(run: Box<dyn Run + 'a>) -> BeforeRun<'a> {
        BeforeRun { run, batch: RecordBatch::new(), at: 0, ended: false }
    }
}

impl Before for BeforeRun<'_> {
    fn known(&mut self) -> Result<Option<Known<'_>>> {
        while self.at >= self.batch.len() && !self.ended {
            self.at = 0;
            self.ended = !self.run.next_batch(&mut self.batch)?;
        }
        if self.ended {
            return Ok(None);
        }
        let Record { key, group_len, class, body, .. } = self.batch.get(self.at);
        Ok(Some(Known { key, group_len, class, body, by: By::Body }))
    }

    fn step(&mut self) {
        self.at += 1;
    }
}

/// Is given the records of a layer, in the order of keys.
pub type Changed<'c> = dyn FnMut(&Record<'_>) -> Result<()> + 'c;

/// Holds a run against what was there before.
pub struct Layering<'a> {
    before: Box<dyn Before + 'a>,
    group: Vec<u8>,
    /// What markers have in force: before, and now.
    open: (Option<Deletion>, Option<Deletion>),
}

impl<'a> Layering<'a> {
    /// Against `before`.
    pub fn new(before: Box<dyn Before + 'a>) -> Layering<'a> {
        Layering { before, group: Vec::new(), open: (None, None) }
    }

    /// Takes the next records of the run; gives `out` what they change, and what is gone before them.
    pub fn push(&mut self, batch: &RecordBatch, out: &mut Changed<'_>) -> Result<()> {
        for record in batch.iter() {
            self.gone(Some(record.key), out)?;
            self.record(&record, out)?;
        }
        Ok(())
    }

    /// Ends the run.
    pub fn finish(mut self, out: &mut Changed<'_>) -> Result<()> {
        self.gone(None, out)
    }

    /// What was before `key` and is no longer.
    fn gone(&mut self, key: Option<&[u8]>, out: &mut Changed<'_>) -> Result<()> {
        while let Some(known) = self.before.known()? {
            if key.is_some_and(|key| known.key >= key) {
                break;
            }
            enter(&mut self.group, &mut self.open, &known.key[..known.group_len]);
            let mut body = Vec::new();
            let mut traits = Traits::GONE;
            if known.class == Class::Marker {
                self.open.0 = deletion(known.body)?;
                traits = traits.with(put_deletion(&mut body, self.open.1)).with(resumes(&self.open));
            }
            let Known { key, group_len, class, .. } = known;
            out(&Record { key, group_len, class, traits, body: &body })?;
            self.before.step();
        }
        Ok(())
    }

    fn record(&mut self, record: &Record<'_>, out: &mut Changed<'_>) -> Result<()> {
        enter(&mut self.group, &mut self.open, record.group());
        let known = self.before.known()?.filter(|known| known.key == record.key);
        let apart = self.open.0 != self.open.1;
        let mut traits = record.traits.without(Traits::MARKS);
        let is_marker = record.class == Class::Marker;
        if is_marker {
            self.open.1 = deletion(record.body)?;
        }
        let same = match &known {
            Some(known) if (known.class == Class::Marker) != is_marker => {
                return Err(Error::damaged("layer", "one key has two meanings, tonight and before"));
            }
            Some(known) => {
                if is_marker {
                    self.open.0 = deletion(known.body)?;
                }
                known.is(record)
            }
            None => {
                traits = traits.with(Traits::ADDED);
                false
            }
        };
        let known = known.is_some();
        if is_marker {
            traits = traits.with(resumes(&self.open));
        }
        if !same || is_marker && (apart || self.open.0 != self.open.1) {
            out(&Record { traits, ..*record })?;
        }
        if known {
            self.before.step();
        }
        Ok(())
    }
}

/// Whether behind a marker the same is in force as before.
fn resumes(open: &(Option<Deletion>, Option<Deletion>)) -> Traits {
    if open.0 == open.1 { Traits::RESUMES } else { Traits::default() }
}

fn enter(group: &mut Vec<u8>, open: &mut (Option<Deletion>, Option<Deletion>), next: &[u8]) {
    if group != next {
        group.clear();
        group.extend_from_slice(next);
        *open = (None, None);
    }
}
