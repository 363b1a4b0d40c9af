//! A leaf into records.

use super::{
    COLUMN_MAX, ELEMENT, EXPIRING, EXTERNAL, EXTERNAL_BODY, GroupCodec, InForce, KIND, KIND_CELL, NO_VALUE,
    RECORDS_MAX, TimeUnit, VERSION, class_and_marks, has_time, is_dated, read_context, refers,
};
use crate::error::{FormatError, Result};
use crate::ints::{Ints, PLANES_MAX, StringsReader};
use crate::record::{Class, Traits};
use crate::tree::LEAF_BYTES_MAX;
use crate::wire::{Put, Reader, unzigzag};

/// Number, counts of elements and values, and of both the lengths (2), how many bytes, mode.
pub(super) const COLUMN_LEAST: usize = 11;
/// Bits that the heads of entries have in records.
const ENTRY_BITS: u8 = 0x3f;

struct ColumnReader<'a> {
    number: u64,
    elements: StringsReader<'a>,
    values: StringsReader<'a>,
}

/// Reads the records of a leaf in order. What it allocates is a small multiple of the leaf's own size, whatever it
/// claims; what it gives is at most [`LEAF_BYTES_MAX`] and one record more.
pub struct LeafReader<'a> {
    count: usize,
    at: usize,
    bytes: usize,
    context: (InForce, InForce),
    codec: GroupCodec,
    unit: TimeUnit,
    group_sizes: Ints<'a>,
    groups: StringsReader<'a>,
    left_in_group: u64,
    shared: Ints<'a>,
    rests: StringsReader<'a>,
    ends: Ints<'a>,
    shapes: Vec<&'a [u8]>,
    shapes_seen: usize,
    shape_ids: Ints<'a>,
    times: Ints<'a>,
    dates: Ints<'a>,
    ttls: Ints<'a>,
    columns: Vec<ColumnReader<'a>>,
    key: Vec<u8>,
    group_len: usize,
    ended: bool,
    /// The key before, whole.
    last: Vec<u8>,
    shape: &'a [u8],
    marks: Traits,
    refers: bool,
    buffer: [u8; PLANES_MAX],
}

impl<'a> LeafReader<'a> {
    /// Opens a leaf.
    pub fn new(bytes: &'a [u8]) -> Result<LeafReader<'a>> {
        let mut r = Reader::new(bytes, "leaf");
        let version = r.u8()?;
        if version != VERSION {
            return Err(FormatError::Unsupported(format!("leaf version {version}")));
        }
        let (codec, unit) = (GroupCodec::from_u8(r.u8()?)?, TimeUnit::from_u8(r.u8()?)?);
        let context = (read_context(&mut r)?, read_context(&mut r)?);
        let count = r.varint()?;
        if count > RECORDS_MAX as u64 {
            return Err(FormatError::TooLarge("records in a leaf"));
        }
        let count = count as usize;
        let groups = r.varint()?;
        if groups > count as u64 {
            return Err(FormatError::Invalid("groups of a leaf"));
        }
        let groups = groups as usize;
        let group_sizes = Ints::read(&mut r, groups)?;
        let groups = StringsReader::read(&mut r, groups)?;
        let shared = Ints::read(&mut r, count)?;
        let rests = StringsReader::read(&mut r, count)?;
        let ends = Ints::read(&mut r, count)?;
        let shapes = read_shapes(&mut r, count)?;
        let shape_ids = Ints::read(&mut r, count)?;
        let mut stream = || -> Result<Ints<'a>> {
            let n = r.varint()?;
            Ints::read(&mut r, usize::try_from(n).map_err(|_| FormatError::TooLarge("leaf stream"))?)
        };
        let (times, dates, ttls) = (stream()?, stream()?, stream()?);
        let columns = read_columns(&mut r)?;
        r.end()?;
        Ok(LeafReader {
            count,
            at: 0,
            bytes: 0,
            context,
            codec,
            unit,
            group_sizes,
            groups,
            left_in_group: 0,
            shared,
            rests,
            ends,
            shapes,
            shapes_seen: 0,
            shape_ids,
            times,
            dates,
            ttls,
            columns,
            key: Vec::new(),
            group_len: 0,
            ended: false,
            last: Vec::new(),
            shape: &[],
            marks: Traits::default(),
            refers: false,
            buffer: [0; PLANES_MAX],
        })
    }

    /// Number of records.
    pub fn count(&self) -> usize {
        self.count
    }

    /// What is in force where the leaf begins: the group's deletion and the open marker.
    pub fn context(&self) -> (InForce, InForce) {
        self.context
    }

    /// Steps to the next record; its class, or `None` at the end. [`LeafReader::body`] must be called once in between.
    pub fn next_key(&mut self) -> Result<Option<Class>> {
        if self.at == self.count {
            self.used_up()?;
            return Ok(None);
        }
        if self.bytes >= LEAF_BYTES_MAX {
            return Err(FormatError::TooLarge("bytes in a leaf"));
        }
        self.read_key()?;
        self.at += 1;
        self.bytes += self.key.len();
        let id = self.shape_ids.next_len()?;
        let shape = *self.shapes.get(id).ok_or(FormatError::Invalid("shape"))?;
        if id >= self.shapes_seen {
            if id > self.shapes_seen {
                return Err(FormatError::Invalid("order of shapes"));
            }
            self.shapes_seen += 1;
        }
        let (class, shape) = shape.split_first().ok_or(FormatError::Invalid("shape"))?;
        self.shape = shape;
        let (class, marks) = class_and_marks(*class)?;
        self.marks = marks;
        Ok(Some(class))
    }

    fn read_key(&mut self) -> Result<()> {
        std::mem::swap(&mut self.key, &mut self.last);
        self.key.clear();
        // The last byte of a key is stored apart, and not shared.
        let last = &self.last[self.group_len..self.last.len() - usize::from(self.ended)];
        if self.left_in_group == 0 {
            self.left_in_group = self.group_sizes.next_int()?;
            let group = self.groups.next_string(&mut self.buffer)?;
            self.codec.give(group, &mut self.key);
            if self.left_in_group == 0 || self.at > 0 && self.key == self.last[..self.group_len] {
                return Err(FormatError::Invalid("group of a leaf"));
            }
        } else {
            self.key.extend_from_slice(&self.last[..self.group_len]);
        }
        self.left_in_group -= 1;
        self.group_len = self.key.len();
        let shared = self.shared.next_len()?;
        let (shared, unlike) = last.split_at_checked(shared).ok_or(FormatError::Invalid("shared part of a key"))?;
        self.key.extend_from_slice(shared);
        let rest = self.rests.next_string(&mut self.buffer)?;
        if rest.first().is_some_and(|first| unlike.first() == Some(first)) {
            return Err(FormatError::Invalid("shared part of a key"));
        }
        self.key.extend_from_slice(rest);
        self.ended = match self.ends.next_int()? {
            0 if self.key.len() == self.group_len => false,
            end @ 1..=256 => {
                self.key.push((end - 1) as u8);
                true
            }
            _ => return Err(FormatError::Invalid("last byte of a key")),
        };
        if self.at > 0 && self.key <= self.last {
            return Err(FormatError::Invalid("order of keys"));
        }
        Ok(())
    }

    /// Fails where a stream holds more than the records took.
    fn used_up(&self) -> Result<()> {
        let strings = |s: &StringsReader<'_>| s.is_used_up();
        let used = self.left_in_group == 0
            && self.shapes_seen == self.shapes.len()
            && [&self.group_sizes, &self.times, &self.dates, &self.ttls].iter().all(|s| s.is_used_up())
            && [&self.groups, &self.rests].into_iter().all(strings)
            && self.columns.iter().all(|c| strings(&c.elements) && strings(&c.values));
        if used { Ok(()) } else { Err(FormatError::Invalid("leaf with more than its records")) }
    }

    /// Key of the record stepped to.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Length of its group.
    pub fn group_len(&self) -> usize {
        self.group_len
    }

    /// What the record stepped to, if it is of a layer, says besides ([`Traits::marks`]).
    pub fn marks(&self) -> Traits {
        self.marks
    }

    /// Whether the body read last holds references ([`crate::reference`]).
    pub fn refers(&self) -> bool {
        self.refers
    }

    /// Appends the body of the record stepped to, as it stands in the leaf; gives its traits and marks, and whether it or values of it
    /// lie beside the leaf.
    pub fn body(&mut self, out: &mut Vec<u8>) -> Result<(Traits, bool)> {
        let mut shape = Reader::new(self.shape, "shape");
        let mut time = 0i64;
        let mut traits = self.marks;
        let mut external = false;
        let start = out.len();
        self.refers = false;
        while !shape.is_empty() {
            let head = shape.u8()?;
            let column = shape.varint()?;
            self.refers |= refers(head, column);
            out.push(head);
            out.put_varint(column);
            let mut streams = None;
            if head & (ELEMENT | NO_VALUE) != NO_VALUE {
                let place = place_of(&self.columns, column).ok_or(FormatError::Invalid("column of a leaf"))?;
                streams = self.columns.get_mut(place);
            }
            if let (true, Some(column)) = (head & ELEMENT != 0, &mut streams) {
                out.put_string(column.elements.next_string(&mut self.buffer)?);
            }
            if has_time(head) {
                time = (self.times.next_int()? ^ (1 << 63)) as i64;
                out.put_i64(time);
            }
            if is_dated(head) {
                let ttl = if head & EXPIRING != 0 { self.ttls.next_int()? } else { 0 };
                let ttl = u32::try_from(ttl).map_err(|_| FormatError::Invalid("time to live"))?;
                let ldt = unzigzag(self.dates.next_int()?).wrapping_add(self.unit.expected_date(time, ttl));
                out.put_u32(u32::try_from(ldt).map_err(|_| FormatError::Invalid("deletion time"))?);
                if head & EXPIRING != 0 {
                    out.put_u32(ttl);
                    traits = traits.with(Traits::EXPIRING);
                }
                if matches!(head & KIND, 0 | 3) {
                    traits = traits.with(Traits::DELETED);
                }
            }
            if let (true, Some(column)) = (head & NO_VALUE == 0, streams) {
                out.put_string(column.values.next_string(&mut self.buffer)?);
            }
            external |= head & EXTERNAL != 0;
        }
        self.bytes += out.len() - start;
        Ok((traits, external))
    }
}

/// Where the streams of a column lie: mostly the columns have consecutive numbers.
#[inline]
fn place_of(columns: &[ColumnReader<'_>], number: u64) -> Option<usize> {
    let guess = number.checked_sub(columns.first()?.number)? as usize;
    match columns.get(guess) {
        Some(column) if column.number == number => Some(guess),
        _ => columns.binary_search_by_key(&number, |c| c.number).ok(),
    }
}

/// The shapes of `count` records, each checked for itself.
pub(super) fn read_shapes<'a>(r: &mut Reader<'a>, count: usize) -> Result<Vec<&'a [u8]>> {
    let n = r.count(2)?;
    if n > count {
        return Err(FormatError::Invalid("number of shapes"));
    }
    let mut shapes = Vec::with_capacity(n);
    for _ in 0..n {
        let shape = r.string()?;
        let mut entries = Reader::new(shape, "shape");
        let (class, marks) = class_and_marks(entries.u8()?)?;
        let gone = marks.has(Traits::GONE);
        let (mut last, mut beside, mut refer) = (0, false, false);
        while !entries.is_empty() {
            let (head, column) = (entries.u8()?, entries.varint()?);
            let body = head == EXTERNAL_BODY && column == 0 && shape.len() == 3;
            let value = head & !ENTRY_BITS == EXTERNAL && head & (KIND | NO_VALUE) == KIND_CELL;
            beside |= value;
            refer |= refers(head, column);
            if head > ENTRY_BITS && !body && !value || column < last || column > u64::from(COLUMN_MAX) {
                return Err(FormatError::Invalid("shape"));
            }
            last = column;
        }
        // What is gone has no body, but for what a marker leaves in force: one deletion of the record.
        let left = class == Class::Marker && shape.get(1..).is_some_and(|body| body == [NO_VALUE, 0]);
        if beside && refer || gone && shape.len() > 1 && !left {
            return Err(FormatError::Invalid("shape"));
        }
        shapes.push(shape);
    }
    Ok(shapes)
}

fn read_columns<'a>(r: &mut Reader<'a>) -> Result<Vec<ColumnReader<'a>>> {
    let n = r.count(COLUMN_LEAST)?;
    let mut columns: Vec<ColumnReader<'a>> = Vec::with_capacity(n);
    for _ in 0..n {
        let number = r.varint()?;
        if number > u64::from(COLUMN_MAX) || columns.last().is_some_and(|c| c.number >= number) {
            return Err(FormatError::Invalid("column of a leaf"));
        }
        let strings = |r: &mut Reader<'a>| -> Result<StringsReader<'a>> {
            let n = usize::try_from(r.varint()?).map_err(|_| FormatError::TooLarge("leaf column"))?;
            StringsReader::read(r, n)
        };
        let elements = strings(r)?;
        let values = strings(r)?;
        columns.push(ColumnReader { number, elements, values });
    }
    Ok(columns)
}
