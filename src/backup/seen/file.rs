//! A file of keys and fingerprints.
//!
//! ```text
//! file  = blocks │ end
//! block = length u32 │ sealed (length of the first part u32 │ zstd of the first part │ second part)     see `entry`
//! end   = sealed (JSON: of what it is, how many blocks and records) │ length u32
//! ```
//! Each is sealed for its place in this file, so that none is taken for another.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use repo_format::machine;
use repo_format::record::{Entries, EntryKind, Traits};

use super::entry::{Block, Blocks, Event, Print};
use super::{Of, Printer, Seen};
use crate::error::{Error, Result};
use crate::merge::{Before, By, Known, Prints, Rule, at_cut};
use crate::repo::world;
use crate::run::{Record, RecordBatch};

/// A block is written once it has so many bytes.
const BLOCK: usize = 128 << 10;
/// Neither a block nor an end has more: a key and a body of a deletion have their limits.
const BLOCK_MAX: usize = 8 << 20;

/// What the end says.
#[derive(serde::Serialize, serde::Deserialize)]
struct End {
    file: String,
    of: Of,
    blocks: u64,
    records: u64,
}

fn block_of(file: &str, number: u64) -> Vec<u8> {
    format!("seen {file} {number}").into_bytes()
}

const END_OF: &[u8] = b"seen end";

/// What is being written.
pub struct Writing {
    seen: Seen,
    path: PathBuf,
    to: BufWriter<File>,
    /// Names this file in what is sealed.
    file: String,
    block: Block,
    blocks: u64,
    records: u64,
    scratch: Vec<u8>,
}

impl Writing {
    pub(super) fn create(seen: &Seen, path: PathBuf) -> Result<Writing> {
        let options = File::options().create(true).truncate(true).write(true).mode(0o600).open(&path);
        let to = BufWriter::with_capacity(1 << 18, options.map_err(|e| Error::io(path.display(), e))?);
        let file = crate::snapshot::hex(&world::random::<16>()?);
        let (block, scratch) = (Block::default(), Vec::new());
        Ok(Writing { seen: seen.clone(), path, to, file, block, blocks: 0, records: 0, scratch })
    }

    /// Adds records, as they stand at a cut (seconds since 1970).
    pub fn push(&mut self, batch: &RecordBatch, rule: &dyn Rule, cut: u32) -> Result<()> {
        for record in batch.iter() {
            let (mut print, mut event) = ([0; 16], Event::None);
            if record.is_row() {
                print = self.seen.printer.print(record.body);
                if record.traits.has(Traits::EXPIRING) {
                    event = self.event(&record, rule, cut)?;
                }
            }
            self.block.push(&record, &print, event);
            self.records += 1;
            if self.block.len() >= BLOCK {
                self.end_block()?;
            }
        }
        Ok(())
    }

    /// What expires of a record first.
    fn event(&mut self, record: &Record<'_>, rule: &dyn Rule, cut: u32) -> Result<Event> {
        let (mut first, mut more) = (None, false);
        for entry in Entries::new(record.body) {
            let entry = entry?;
            if entry.kind != EntryKind::Cell || !entry.expires() || entry.ldt <= cut {
                continue;
            }
            more |= first.is_some_and(|first| first != entry.ldt);
            first = Some(first.map_or(entry.ldt, |first: u32| first.min(entry.ldt)));
        }
        let Some(first) = first else { return Ok(Event::None) };
        if more {
            return Ok(Event::More(first));
        }
        self.scratch.clear();
        at_cut(rule, record.body, first, &mut self.scratch)?;
        Ok(Event::Leaves(first, self.seen.printer.print(&self.scratch)))
    }

    fn end_block(&mut self) -> Result<()> {
        let (head, prints) = self.block.take();
        let packed = zstd::bulk::compress(&head, 1).map_err(|e| Error::io("zstd", e))?;
        let mut plain = (packed.len() as u32).to_le_bytes().to_vec();
        plain.extend_from_slice(&packed);
        plain.extend_from_slice(&prints);
        let of = block_of(&self.file, self.blocks);
        let sealed = machine::seal(&self.seen.key, &self.seen.repo, &of, &world::random()?, &plain)?;
        self.blocks += 1;
        let failed = |e| Error::io(self.path.display(), e);
        self.to.write_all(&(sealed.len() as u32).to_le_bytes()).map_err(failed)?;
        self.to.write_all(&sealed).map_err(failed)
    }

    /// Ends the file: it is of this.
    pub fn finish(mut self, of: Of) -> Result<()> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let end = End { file: self.file.clone(), of, blocks: self.blocks, records: self.records };
        let plain = serde_json::to_vec(&end).map_err(|e| Error::damaged("state of keys", e))?;
        let sealed = machine::seal(&self.seen.key, &self.seen.repo, END_OF, &world::random()?, &plain)?;
        let failed = |e| Error::io(self.path.display(), e);
        self.to.write_all(&sealed).map_err(failed)?;
        self.to.write_all(&(sealed.len() as u32).to_le_bytes()).map_err(failed)?;
        self.to.flush().map_err(failed)
    }

    /// Nothing is remembered.
    pub fn give_up(self) {
        // One that stays is of no state, and passed over.
        let _ = fs::remove_file(&self.path);
    }
}

/// What is remembered of a shard.
pub struct Keys {
    seen: Seen,
    path: PathBuf,
    end: End,
}

impl Keys {
    pub(super) fn find(seen: &Seen, path: PathBuf, of: &Of) -> Result<Keys> {
        let failed = |e| Error::io(path.display(), e);
        let bad = |what: &str| Error::damaged(path.display(), what);
        let file = File::open(&path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut last = [0; 4];
        let at = length.checked_sub(4).ok_or_else(|| bad("is cut short"))?;
        file.read_exact_at(&mut last, at).map_err(failed)?;
        let sealed = u64::from(u32::from_le_bytes(last));
        let from = at.checked_sub(sealed).filter(|_| sealed <= BLOCK_MAX as u64).ok_or_else(|| bad("has no end"))?;
        let mut bytes = vec![0; sealed as usize];
        file.read_exact_at(&mut bytes, from).map_err(failed)?;
        let plain = machine::open(&seen.key, &seen.repo, END_OF, &bytes)
            .map_err(|_| bad("was changed, or is of another credential or version"))?;
        let end: End = serde_json::from_slice(&plain).map_err(|_| bad("does not say what it is of"))?;
        if end.of != *of {
            return Err(bad("is of another snapshot"));
        }
        Ok(Keys { seen: seen.clone(), path, end })
    }

    /// The records, as they stand at a cut (seconds since 1970).
    pub fn read(&self, cut: u32) -> Result<Reading> {
        let file = File::open(&self.path).map_err(|e| Error::io(self.path.display(), e))?;
        Ok(Reading {
            seen: self.seen.clone(),
            printer: Arc::clone(&self.seen.printer),
            path: self.path.clone(),
            name: self.end.file.clone(),
            file,
            at: 0,
            number: 0,
            blocks: self.end.blocks,
            left: self.end.records,
            cut,
            block: None,
            current: None,
        })
    }
}

/// How the record that is next is compared.
#[derive(Clone, Copy)]
struct Current {
    print: Option<Print>,
}

/// The records that are remembered, one after the other.
pub struct Reading {
    seen: Seen,
    printer: Arc<Printer>,
    path: PathBuf,
    name: String,
    file: File,
    at: u64,
    number: u64,
    blocks: u64,
    left: u64,
    cut: u32,
    block: Option<Blocks>,
    current: Option<Current>,
}

impl Reading {
    fn next_block(&mut self) -> Result<Blocks> {
        let failed = |e| Error::io(self.path.display(), e);
        let bad = |what: &str| Error::damaged(self.path.display(), what);
        let mut length = [0; 4];
        self.file.read_exact_at(&mut length, self.at).map_err(failed)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > BLOCK_MAX {
            return Err(bad("has a block that is too long"));
        }
        let mut sealed = vec![0; length];
        self.file.read_exact_at(&mut sealed, self.at + 4).map_err(failed)?;
        self.at += 4 + length as u64;
        let of = block_of(&self.name, self.number);
        self.number += 1;
        let plain = machine::open(&self.seen.key, &self.seen.repo, &of, &sealed).map_err(|_| bad("was changed"))?;
        let parts = plain
            .split_first_chunk::<4>()
            .and_then(|(length, rest)| rest.split_at_checked(u32::from_le_bytes(*length) as usize));
        let (packed, prints) = parts.ok_or_else(|| bad("has a block without its parts"))?;
        let head = zstd::bulk::decompress(packed, BLOCK_MAX).map_err(failed)?;
        Blocks::open(&head, prints.to_vec())
    }

    /// Goes on to the next record; `false` at the end.
    fn load(&mut self) -> Result<bool> {
        while self.current.is_none() {
            let Some(block) = &mut self.block else {
                if self.number == self.blocks {
                    let whole = self.left == 0;
                    return if whole { Ok(false) } else { Err(Error::damaged(self.path.display(), "lacks records")) };
                }
                self.block = Some(self.next_block()?);
                continue;
            };
            let Some(entry) = block.next_entry()? else {
                self.block = None;
                continue;
            };
            let left = self.left.checked_sub(1);
            self.left = left.ok_or_else(|| Error::damaged(self.path.display(), "has more than its records"))?;
            let print = match entry.event {
                Event::Leaves(time, after) if time <= self.cut => Some(after),
                Event::More(time) if time <= self.cut => None,
                _ => Some(entry.print),
            };
            self.current = Some(Current { print });
        }
        Ok(true)
    }
}

impl Before for Reading {
    fn known(&mut self) -> Result<Option<Known<'_>>> {
        if !self.load()? {
            return Ok(None);
        }
        let (Some(current), Some(block)) = (&self.current, &self.block) else { return Ok(None) };
        let entry = block.entry();
        let by = match current.print {
            Some(print) => By::Print(print, &*self.printer),
            None => By::Nothing,
        };
        Ok(Some(Known { key: &entry.key, group_len: entry.group_len, class: entry.class, body: &entry.body, by }))
    }

    fn step(&mut self) {
        self.current = None;
    }
}
