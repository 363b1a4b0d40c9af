//! The files being written: records in key order in, each to the file of its part and window.
//!
//! At most [`OPEN_MAX`] files are open at once, whatever the number of nodes and windows. Where more are wanted, the records of the rest
//! wait for another pass over the same run; each pass writes other files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use repo_format::record::{Class, Traits};

use super::cut::newest;
use super::parts::token;
use super::{Cut, Parts};
use crate::error::{Error, Result};
use crate::run::Record;

/// Files open at once.
pub const OPEN_MAX: usize = 64;

/// Which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Place among the parts.
    pub part: usize,
    /// First second of its window; 0 where there are none.
    pub window: i64,
    /// Counts from 0 through a table.
    pub number: u64,
}

/// A file being written. Dropped before `finish` it leaves nothing.
pub trait FileSink {
    /// Takes the next record; keys ascend.
    fn push(&mut self, record: &Record<'_>) -> Result<()>;
    /// Bytes of `Data.db` so far.
    fn bytes(&self) -> u64;
    /// Completes it.
    fn finish(self: Box<Self>) -> Result<Finished>;
}

/// A file that is complete: every component.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finished {
    /// All components.
    pub files: Vec<PathBuf>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Rows, static ones too.
    pub rows: u64,
    /// The newest write time in it.
    pub newest: Option<i64>,
    /// Deletion times that were capped.
    pub capped: u64,
}

/// Makes files, and is told when one is complete.
pub trait Files {
    /// Begins a file.
    fn create(&mut self, place: &Place) -> Result<Box<dyn FileSink>>;
    /// A file is complete.
    fn finished(&mut self, place: &Place, file: Finished) -> Result<()>;
}

/// What earlier passes did.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    files: u64,
    done: BTreeSet<Key>,
}

/// Part and window.
type Key = (usize, i64);

struct Open {
    sink: Box<dyn FileSink>,
    place: Place,
    /// The partition that it took last, by number.
    partition: u64,
}

/// One pass over a table's records.
pub struct Writing<'a> {
    parts: &'a Parts,
    cut: Cut,
    files: &'a mut dyn Files,
    before: Progress,
    open: BTreeMap<Key, Open>,
    begun: BTreeSet<Key>,
    waiting: BTreeSet<Key>,
    group: Vec<u8>,
    partition: u64,
    /// The parts that the partition belongs to.
    parts_here: Vec<usize>,
    /// The window whose files have a range deletion open.
    deleting: Option<i64>,
}

impl<'a> Writing<'a> {
    /// The first pass, or one that goes on from what earlier ones did.
    pub fn new(parts: &'a Parts, cut: Cut, before: Progress, files: &'a mut dyn Files) -> Writing<'a> {
        Writing {
            parts,
            cut,
            files,
            before,
            open: BTreeMap::new(),
            begun: BTreeSet::new(),
            waiting: BTreeSet::new(),
            group: Vec::new(),
            partition: 0,
            parts_here: Vec::new(),
            deleting: None,
        }
    }

    /// Takes the next record of the table.
    pub fn push(&mut self, record: &Record<'_>) -> Result<()> {
        if record.group() != self.group || self.partition == 0 {
            self.enter(record)?;
        }
        if record.class == Class::Marker {
            return self.marker(record);
        }
        // Windows alone make it necessary to look into records.
        let time = match self.cut {
            Cut::Windows { .. } => newest(record.body)?.unwrap_or_default(),
            _ => 0,
        };
        self.write(self.cut.window(time), record)
    }

    /// Completes every open file. `Some` where records still wait for another pass.
    pub fn finish(mut self) -> Result<Option<Progress>> {
        self.close(|_| true)?;
        if self.waiting.is_empty() {
            return Ok(None);
        }
        self.before.done.append(&mut self.begun);
        Ok(Some(self.before))
    }

    /// Begins a partition. Parts that end before it are complete.
    fn enter(&mut self, record: &Record<'_>) -> Result<()> {
        self.group.clear();
        self.group.extend_from_slice(record.group());
        self.partition += 1;
        self.deleting = None;
        let token = token(record.key).ok_or_else(|| Error::damaged("key", "has no token"))?;
        let before = std::mem::take(&mut self.parts_here);
        self.parts.of(token, &mut self.parts_here);
        if self.parts_here != before {
            let parts = self.parts;
            self.close(|(part, _)| parts.last(part) < token)?;
        }
        Ok(())
    }

    /// A range deletion belongs to the window of its own time: it is closed in one file before another opens in the next.
    fn marker(&mut self, record: &Record<'_>) -> Result<()> {
        let next = newest(record.body)?.map(|time| self.cut.window(time));
        if let Some(open) = self.deleting.filter(|open| next != Some(*open)) {
            self.write(open, &Record { body: &[], traits: Traits::default(), ..*record })?;
        }
        if let Some(window) = next {
            self.write(window, record)?;
        }
        self.deleting = next;
        Ok(())
    }

    /// To the file of the window in every part that the partition belongs to.
    fn write(&mut self, window: i64, record: &Record<'_>) -> Result<()> {
        for at in 0..self.parts_here.len() {
            self.write_to((self.parts_here[at], window), record)?;
        }
        Ok(())
    }

    fn write_to(&mut self, key: Key, record: &Record<'_>) -> Result<()> {
        if self.before.done.contains(&key) || self.waiting.contains(&key) {
            return Ok(());
        }
        let full = |open: &&Open| open.partition != self.partition && open.sink.bytes() >= self.cut.size();
        if self.open.get(&key).filter(full).is_some() {
            self.close(|other| other == key)?;
        }
        if !self.open.contains_key(&key) {
            if self.open.len() >= OPEN_MAX && !self.begun.contains(&key) {
                self.waiting.insert(key);
                return Ok(());
            }
            self.create(key)?;
        }
        if let Some(open) = self.open.get_mut(&key) {
            open.partition = self.partition;
            open.sink.push(record)?;
        }
        Ok(())
    }

    fn create(&mut self, key: Key) -> Result<()> {
        let (part, window) = key;
        let place = Place { part, window, number: self.before.files };
        self.before.files += 1;
        let sink = self.files.create(&place)?;
        self.begun.insert(key);
        self.open.insert(key, Open { sink, place, partition: self.partition });
        Ok(())
    }

    fn close(&mut self, which: impl Fn(Key) -> bool) -> Result<()> {
        let keys: Vec<Key> = self.open.keys().copied().filter(|key| which(*key)).collect();
        for key in keys {
            if let Some(open) = self.open.remove(&key) {
                let file = open.sink.finish()?;
                self.files.finished(&open.place, file)?;
            }
        }
        Ok(())
    }
}
