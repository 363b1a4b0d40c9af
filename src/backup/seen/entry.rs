//! What is kept of one record: its key, and what tells whether it changed.
//!
//! ```text
//! block = entries varint │ heads string │ prints × 16 bytes
//! head  = class (bits 0-1), event (bits 2-3) u8 │ shared varint │ rest string │ group length varint │ [body string] │ [time u32]
//! ```
//! *shared* bytes of the key are those of the entry before in its block. A deletion of a group and a marker have their body; others have a
//! print. *event* 1: at *time* something of the record expires, and a second print is that of what is left; 2: the same, and there
//! is more to expire, so that nothing is known from then on.

use repo_format::record::{Class, Traits};
use repo_format::wire::{Put, Reader};

use crate::error::{Error, Result};
use crate::run::Record;

/// What tells whether a body changed.
pub type Print = [u8; 16];

/// What becomes of a record by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Nothing.
    None,
    /// Something expires at this time, seconds since 1970; the print is that of what is left.
    Leaves(u32, Print),
    /// Something expires at this time, and more later.
    More(u32),
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Vec<u8>,
    /// Length of the prefix that names its group.
    pub group_len: usize,
    /// What it is in its group.
    pub class: Class,
    /// The body of a deletion or marker; of others nothing.
    pub body: Vec<u8>,
    /// Of the body of others.
    pub print: Print,
    /// What expires of it.
    pub event: Event,
}

impl Entry {
    /// As a record whose body is not known.
    fn record(&self) -> Record<'_> {
        let Entry { key, group_len, class, body, .. } = self;
        Record { key, group_len: *group_len, class: *class, traits: Traits::default(), body }
    }
}

fn has_print(class: Class) -> bool {
    matches!(class, Class::Row | Class::Static)
}

/// Entries on their way into a block.
#[derive(Default)]
pub struct Block {
    entries: u64,
    heads: Vec<u8>,
    prints: Vec<u8>,
    last: Vec<u8>,
}

impl Block {
    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.heads.len() + self.prints.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Adds an entry; where `record` is no deletion and no marker, its body counts by `print`.
    pub fn push(&mut self, record: &Record<'_>, print: &Print, event: Event) {
        let Record { key, group_len, class, body, .. } = *record;
        self.entries += 1;
        let number = match event {
            Event::None => 0,
            Event::Leaves(..) => 1,
            Event::More(_) => 2,
        };
        self.heads.push(class as u8 | number << 2);
        let shared = key.iter().zip(&self.last).take_while(|(a, b)| a == b).count();
        self.heads.put_varint(shared as u64);
        self.heads.put_string(&key[shared..]);
        self.heads.put_varint(group_len as u64);
        if has_print(class) {
            self.prints.extend_from_slice(print);
        } else {
            self.heads.put_string(body);
        }
        match event {
            Event::None => {}
            Event::Leaves(time, print) => {
                self.heads.put_u32(time);
                self.prints.extend_from_slice(&print);
            }
            Event::More(time) => self.heads.put_u32(time),
        }
        self.last.truncate(shared);
        self.last.extend_from_slice(&key[shared..]);
    }

    /// Gives the block in two parts, of which the second cannot be compressed, and begins anew.
    pub fn take(&mut self) -> (Vec<u8>, Vec<u8>) {
        let mut head = Vec::with_capacity(self.heads.len() + 16);
        head.put_varint(self.entries);
        head.put_string(&self.heads);
        self.entries = 0;
        self.heads.clear();
        self.last.clear();
        (head, std::mem::take(&mut self.prints))
    }
}

/// The entries of a block, one after the other.
pub struct Blocks {
    heads: Vec<u8>,
    at: usize,
    prints: Vec<u8>,
    print: usize,
    left: u64,
    entry: Entry,
}

impl Blocks {
    /// Of the two parts of a block.
    pub fn open(head: &[u8], prints: Vec<u8>) -> Result<Blocks> {
        let mut r = Reader::new(head, "state of keys");
        let (left, heads) = (r.varint()?, r.string()?.to_vec());
        r.end()?;
        let (key, body) = (Vec::new(), Vec::new());
        let entry = Entry { key, group_len: 0, class: Class::Row, body, print: [0; 16], event: Event::None };
        Ok(Blocks { heads, at: 0, prints, print: 0, left, entry })
    }

    /// The entry that was given last.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The next entry; `None` at the end.
    ///
    /// Errors: the block is not what [`Block`] makes.
    pub fn next_entry(&mut self) -> Result<Option<&Entry>> {
        let bad = |what: &str| Error::damaged("state of keys", what);
        if self.left == 0 {
            let used = self.at == self.heads.len() && self.print == self.prints.len();
            return if used { Ok(None) } else { Err(bad("has more than its entries")) };
        }
        self.left -= 1;
        let rest = self.heads.get(self.at..).unwrap_or_default();
        let mut r = Reader::new(rest, "state of keys");
        let first = r.u8()?;
        let class = Class::from_u8(first & 3)?;
        let shared = usize::try_from(r.varint()?).unwrap_or(usize::MAX);
        let (rest_of_key, e) = (r.string()?, &mut self.entry);
        let ascends = e.key.get(shared..).is_some_and(|end| end < rest_of_key);
        // The first of a block shares nothing with any.
        if !ascends && (shared > 0 || !e.key.is_empty()) {
            return Err(bad("has keys out of order"));
        }
        e.key.truncate(shared);
        e.key.extend_from_slice(rest_of_key);
        (e.class, e.group_len) = (class, usize::try_from(r.varint()?).unwrap_or(usize::MAX));
        if e.group_len > e.key.len() {
            return Err(bad("has a group beyond its key"));
        }
        e.body.clear();
        if !has_print(class) {
            e.body.extend_from_slice(r.string()?);
        }
        let time = if first >> 2 == 0 { 0 } else { r.u32()? };
        self.at += rest.len() - r.remaining();
        let mut print = || -> Result<Print> {
            let print = self.prints.get(self.print..).and_then(|rest| rest.first_chunk::<16>().copied());
            self.print += 16;
            print.ok_or_else(|| bad("lacks a print"))
        };
        e.print = if has_print(class) { print()? } else { [0; 16] };
        e.event = match first >> 2 {
            0 => Event::None,
            1 => Event::Leaves(time, print()?),
            2 => Event::More(time),
            _ => return Err(bad("has an unknown event")),
        };
        Ok(Some(&self.entry))
    }
}

/// Reads any bytes as a block: the first four say how long its first part is. What is accepted is written to be read as the same.
pub fn fuzz(data: &[u8]) {
    let _whether = is_block(data);
}

fn is_block(data: &[u8]) -> bool {
    let Some((length, rest)) = data.split_first_chunk::<4>() else { return false };
    let Some((head, prints)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize) else { return false };
    let read = |head: &[u8], prints: Vec<u8>| -> Result<Vec<Entry>> {
        let mut blocks = Blocks::open(head, prints)?;
        let mut all = Vec::new();
        while let Some(entry) = blocks.next_entry()? {
            all.push(entry.clone());
        }
        Ok(all)
    };
    let Ok(all) = read(head, prints.to_vec()) else { return false };
    let mut block = Block::default();
    all.iter().for_each(|entry| block.push(&entry.record(), &entry.print, entry.event));
    let (head, prints) = block.take();
    let again = read(&head, prints);
    assert!(again.is_ok_and(|again| again == all), "a block reads as another");
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_reads_as_it_was_written() {
        let entry = |key: &[u8], class, event| Entry {
            key: key.to_vec(),
            group_len: 1,
            class,
            body: if has_print(class) { Vec::new() } else { vec![32, 0] },
            print: if has_print(class) { [key[1]; 16] } else { [0; 16] },
            event,
        };
        let all = [
            entry(b"a\x00", Class::Group, Event::None),
            entry(b"a1", Class::Static, Event::Leaves(7, [9; 16])),
            entry(b"a2", Class::Row, Event::More(u32::MAX)),
            entry(b"b2", Class::Marker, Event::None),
        ];
        let mut block = Block::default();
        for _ in 0..2 {
            all.iter().for_each(|entry| block.push(&entry.record(), &entry.print, entry.event));
            assert!(block.len() > 64 && !block.is_empty());
            let (head, prints) = block.take();
            let mut blocks = Blocks::open(&head, prints.clone()).unwrap();
            for entry in &all {
                assert_eq!(blocks.next_entry().unwrap(), Some(entry));
            }
            assert_eq!(blocks.next_entry().unwrap(), None);
            let whole = [&(head.len() as u32).to_le_bytes(), &head[..], &prints].concat();
            assert!(is_block(&whole));
            for at in 0..whole.len() {
                fuzz(&whole[..at]);
                let mut other = whole.clone();
                other[at] ^= 1;
                fuzz(&other);
            }
        }
    }
}
