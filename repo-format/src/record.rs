//! The canonical record (SPEC "Records"): what every engine decodes to and every merge compares.
//!
//! A record is a key, a class and a body. The body is a list of entries in ascending order of
//! (column, entry kind, element). Equal meaning is equal bytes, so replicas that agree are compared with `memcmp`.
//!
//! ```text
//! entry  = head u8 │ column varint │ [element string] │ [time i64] │ [ldt u32] │ [ttl u32] │ [value string]
//! head   = bits 0-1 kind │ bit 2 element present │ bit 3 ttl and ldt present (an expiring cell)
//!        │ bit 4 time equals that of the entry before │ bit 5 value absent │ bits 6-7 zero
//! ```
//! Column 0 is the record itself: its cell is the row's liveness, its deletion the row's deletion.
//! Tombstones and deletions always have an `ldt`, expiring cells `ldt` and `ttl`, live cells neither.

use std::cmp::Ordering;

use crate::error::{FormatError, Result};
pub use crate::wire::Near;
use crate::wire::{Put, Reader};

/// What a record is within its group. The group may be empty: then all records of the run lie in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// A row, an item, a document: cells and deletions of its own.
    Row = 0,
    /// Stands first in its group; its one deletion covers every record of the group.
    Group = 1,
    /// From this key on to the next marker (or the end of the group) its deletion covers the rows; with an
    /// empty body, none does. Covers rows of class `Row` only.
    Marker = 2,
    /// Values that all rows of a group share. No marker covers it; in all else it is like a `Row`.
    Static = 3,
}

impl Class {
    /// From its number.
    pub fn from_u8(n: u8) -> Result<Class> {
        match n {
            0 => Ok(Class::Row),
            1 => Ok(Class::Group),
            2 => Ok(Class::Marker),
            3 => Ok(Class::Static),
            _ => Err(FormatError::Invalid("record class")),
        }
    }
}

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// Everything in this column (or, in column 0, in this record or what the record's class says) up to `time` is gone.
    Deletion = 0,
    /// Bytes kept beside the key where the key cannot give them back (raw clustering). No time.
    Raw = 1,
    /// A cell with a value (or, in column 0, the liveness of the record, without).
    Cell = 2,
    /// A deleted cell.
    Tombstone = 3,
}

/// One entry of a body. `time` is the version; `ldt` (seconds since 1970) when a deletion was made or a cell expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// 0 the record itself, from 1 the table's columns as numbered in its description.
    pub column: u32,
    /// What the entry says.
    pub kind: EntryKind,
    /// Path inside the column: a collection's element; empty where there is none.
    pub element: Option<&'a [u8]>,
    /// Version, in the engine's unit: a write time, a sequence number. Zero for `Raw`.
    pub time: i64,
    /// Local deletion time or expiry; zero for live cells.
    pub ldt: u32,
    /// Time to live in seconds; zero where the cell does not expire.
    pub ttl: u32,
    /// The value; `None` for tombstones, deletions and liveness.
    pub value: Option<&'a [u8]>,
}

impl<'a> Entry<'a> {
    /// Position of the entry in its body. Cell and tombstone of one path compare equal.
    #[inline]
    pub fn path(&self) -> (u32, u8, &'a [u8]) {
        let kind = match self.kind {
            EntryKind::Tombstone => EntryKind::Cell as u8,
            kind => kind as u8,
        };
        (self.column, kind, self.element.unwrap_or(&[]))
    }

    /// Order of two entries in a body: that of their [`Entry::path`].
    #[inline]
    pub fn order(&self, other: &Entry<'_>) -> Ordering {
        let kind = |e: &Entry<'_>| (e.kind as u8).min(EntryKind::Cell as u8);
        let order = self.column.cmp(&other.column).then(kind(self).cmp(&kind(other)));
        if order.is_ne() || (self.element.is_none() && other.element.is_none()) {
            return order;
        }
        self.element.unwrap_or(&[]).cmp(other.element.unwrap_or(&[]))
    }

    /// Whether the cell expires.
    #[inline]
    pub fn expires(&self) -> bool {
        self.ttl != 0
    }
}

/// Facts about a body that let a merge pass it by unread, derived from the bytes and never stored; and, of records of a layer, what
/// they change below ([`Traits::marks`]), which is stored with the class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traits(pub u8);

impl Traits {
    /// Some cell expires.
    pub const EXPIRING: Traits = Traits(1);
    /// Some entry is a deletion or a tombstone.
    pub const DELETED: Traits = Traits(2);
    /// Of a record of a layer: below it there is none at its key.
    pub const ADDED: Traits = Traits(4);
    /// Of a record of a layer: there is none at its key any more. Its body is empty; that of a marker holds the deletion that is in
    /// force behind its key, if one is.
    pub const GONE: Traits = Traits(8);
    /// Of a marker of a layer: behind its key the layer says nothing more of what is in force, which is as below it.
    pub const RESUMES: Traits = Traits(16);
    /// All that a record of a layer may say besides its class and body.
    pub const MARKS: Traits = Traits(4 | 8 | 16);

    /// Whether all bits of `other` are set.
    #[inline]
    pub fn has(self, other: Traits) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those of [`Traits::MARKS`].
    #[inline]
    #[must_use]
    pub fn marks(self) -> Traits {
        Traits(self.0 & Traits::MARKS.0)
    }

    /// Without those of `other`.
    #[inline]
    #[must_use]
    pub fn without(self, other: Traits) -> Traits {
        Traits(self.0 & !other.0)
    }

    /// Both.
    #[inline]
    #[must_use]
    pub fn with(self, other: Traits) -> Traits {
        Traits(self.0 | other.0)
    }
}

const ELEMENT: u8 = 1 << 2;
const EXPIRING: u8 = 1 << 3;
/// In the head of an entry: its time is that of the entry before.
pub(crate) const SAME_TIME: u8 = 1 << 4;
const NO_VALUE: u8 = 1 << 5;
/// Bits that no head has. One in a leaf may, where a blob stands for the value: what should be read is then not here.
const OTHERS: u8 = 3 << 6;

/// Appends entries, which must come in ascending order of [`Entry::path`], to a body.
pub struct BodyWriter<'b> {
    out: &'b mut Vec<u8>,
    time: Option<i64>,
    traits: Traits,
}

/// A place that a [`BodyWriter`] can go back to.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    length: usize,
    time: Option<i64>,
    traits: Traits,
}

impl<'b> BodyWriter<'b> {
    /// Appends to `out`.
    pub fn new(out: &'b mut Vec<u8>) -> Self {
        BodyWriter { out, time: None, traits: Traits::default() }
    }

    /// Appends one entry.
    #[inline]
    pub fn push(&mut self, e: &Entry<'_>) {
        let mut head = e.kind as u8;
        let timed = e.kind != EntryKind::Raw;
        let same = timed && self.time == Some(e.time);
        let dated = matches!(e.kind, EntryKind::Deletion | EntryKind::Tombstone);
        if e.element.is_some() {
            head |= ELEMENT;
        }
        if e.ttl != 0 {
            head |= EXPIRING;
            self.traits = self.traits.with(Traits::EXPIRING);
        }
        if dated {
            self.traits = self.traits.with(Traits::DELETED);
        }
        if same {
            head |= SAME_TIME;
        }
        if e.value.is_none() {
            head |= NO_VALUE;
        }
        self.out.push(head);
        self.out.put_varint(u64::from(e.column));
        if let Some(element) = e.element {
            self.out.put_string(element);
        }
        if timed && !same {
            self.out.put_i64(e.time);
            self.time = Some(e.time);
        }
        if dated || e.ttl != 0 {
            self.out.put_u32(e.ldt);
        }
        if e.ttl != 0 {
            self.out.put_u32(e.ttl);
        }
        if let Some(value) = e.value {
            self.out.put_string(value);
        }
    }

    /// Appends a live cell without element: what [`BodyWriter::push`] does, for what nearly all entries are.
    #[inline(always)]
    pub fn push_live(&mut self, column: u32, time: i64, value: Near<'_>) {
        let same = self.time == Some(time);
        // One append in place of four, where column and length take one byte each.
        if let (Ok(number @ ..0x80), Ok(length @ ..0x80)) = (u8::try_from(column), u8::try_from(value.bytes().len())) {
            if same {
                self.out.extend_from_slice(&[EntryKind::Cell as u8 | SAME_TIME, number, length]);
            } else {
                let [a, b, c, d, e, f, g, h] = time.to_le_bytes();
                self.out.extend_from_slice(&[EntryKind::Cell as u8, number, a, b, c, d, e, f, g, h, length]);
            }
            value.append(self.out);
        } else {
            self.out.push(EntryKind::Cell as u8 | if same { SAME_TIME } else { 0 });
            self.out.put_varint(u64::from(column));
            if !same {
                self.out.put_i64(time);
            }
            self.out.put_string(value.bytes());
        }
        self.time = Some(time);
    }

    /// Appends a live cell with an element: what [`BodyWriter::push`] does, for what most entries of collections are.
    #[inline(always)]
    pub fn push_live_element(&mut self, column: u32, element: Near<'_>, time: i64, value: Near<'_>) {
        let same = self.time == Some(time);
        let lengths = (u8::try_from(column), u8::try_from(element.bytes().len()), u8::try_from(value.bytes().len()));
        let head = EntryKind::Cell as u8 | ELEMENT | if same { SAME_TIME } else { 0 };
        if let (Ok(number @ ..0x80), Ok(length @ ..0x80), Ok(last @ ..0x80)) = lengths {
            self.out.extend_from_slice(&[head, number, length]);
            element.append(self.out);
            if same {
                self.out.push(last);
            } else {
                let [a, b, c, d, e, f, g, h] = time.to_le_bytes();
                self.out.extend_from_slice(&[a, b, c, d, e, f, g, h, last]);
            }
            value.append(self.out);
        } else {
            self.out.push(head);
            self.out.put_varint(u64::from(column));
            self.out.put_string(element.bytes());
            if !same {
                self.out.put_i64(time);
            }
            self.out.put_string(value.bytes());
        }
        self.time = Some(time);
    }

    /// Where it stands now.
    pub fn mark(&self) -> Mark {
        Mark { length: self.out.len(), time: self.time, traits: self.traits }
    }

    /// Forgets what was appended since.
    pub fn go_back(&mut self, mark: Mark) {
        self.out.truncate(mark.length);
        (self.time, self.traits) = (mark.time, mark.traits);
    }

    /// Facts about what was written.
    pub fn traits(&self) -> Traits {
        self.traits
    }
}

/// Reads the entries of a body. Order and canonical form are checked by [`check`], not here.
pub struct Entries<'a> {
    reader: Reader<'a>,
    time: i64,
}

impl<'a> Entries<'a> {
    /// Over `body`.
    pub fn new(body: &'a [u8]) -> Self {
        Entries { reader: Reader::new(body, "record body"), time: 0 }
    }

    /// The first byte of the next entry, which says its form; `None` at the end.
    pub(crate) fn head(&self) -> Option<u8> {
        { self.reader }.u8().ok()
    }

    /// The next entry, or `None` at the end.
    #[inline]
    pub fn next_entry(&mut self) -> Result<Option<Entry<'a>>> {
        let r = &mut self.reader;
        if r.is_empty() {
            return Ok(None);
        }
        let head = r.u8()?;
        if head & OTHERS != 0 {
            return Err(FormatError::Invalid("head of an entry"));
        }
        let kind = match head & 3 {
            0 => EntryKind::Deletion,
            1 => EntryKind::Raw,
            2 => EntryKind::Cell,
            _ => EntryKind::Tombstone,
        };
        let column = u32::try_from(r.varint()?).map_err(|_| FormatError::Invalid("column number"))?;
        let element = if head & ELEMENT != 0 { Some(r.string()?) } else { None };
        let time = match kind {
            EntryKind::Raw => 0,
            _ if head & SAME_TIME != 0 => self.time,
            _ => {
                self.time = r.i64()?;
                self.time
            }
        };
        let dated = matches!(kind, EntryKind::Deletion | EntryKind::Tombstone);
        let ldt = if dated || head & EXPIRING != 0 { r.u32()? } else { 0 };
        let ttl = if head & EXPIRING != 0 { r.u32()? } else { 0 };
        let value = if head & NO_VALUE != 0 { None } else { Some(r.string()?) };
        Ok(Some(Entry { column, kind, element, time, ldt, ttl, value }))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>>;
    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().transpose()
    }
}

/// Checks that `body` is what [`BodyWriter`] writes for its entries, in ascending order, and derives its traits.
pub fn check(body: &[u8]) -> Result<Traits> {
    let mut again = Vec::with_capacity(body.len());
    let mut writer = BodyWriter::new(&mut again);
    let mut last: Option<Entry<'_>> = None;
    for entry in Entries::new(body) {
        let entry = entry?;
        if last.is_some_and(|l| l.path() >= entry.path()) {
            return Err(FormatError::Invalid("order of entries"));
        }
        writer.push(&entry);
        last = Some(entry);
    }
    let traits = writer.traits();
    if again == body { Ok(traits) } else { Err(FormatError::Invalid("canonical form of record body")) }
}
