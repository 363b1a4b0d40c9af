//! A leaf: some hundreds of records of a tree, by column (SPEC "Leaves").
//!
//! Records are taken apart into streams of one kind each: shapes, keys, times, and per column lengths and values.
//! Equal records in equal order give equal bytes.

use std::collections::HashMap;

use crate::error::{FormatError, Result};
use crate::ints::{Ints, PLANES_MAX, Strings, StringsReader, put_ints};
use crate::murmur3;
use crate::record::{Class, Traits};
use crate::wire::{Put, Reader, unzigzag, zigzag};

/// Most records in a leaf.
pub const RECORDS_MAX: usize = 1 << 16;
/// Largest column number.
pub const COLUMN_MAX: u32 = u16::MAX as u32;
/// Head of the one entry (kind raw, column 0) that stands in a leaf for a body kept outside: its value is a blob reference.
pub const EXTERNAL_BODY: u8 = EXTERNAL | KIND_RAW;

const EXTERNAL: u8 = 1 << 6;
const VERSION: u8 = 0;
const WITH_TOKENS: u8 = 1;
const KIND: u8 = 3;
const KIND_RAW: u8 = 1;
const ELEMENT: u8 = 1 << 2;
const EXPIRING: u8 = 1 << 3;
const SAME_TIME: u8 = 1 << 4;
const NO_VALUE: u8 = 1 << 5;

/// A deletion in force where a leaf begins: its version and when it was made.
pub type OpenDeletion = Option<(i64, u32)>;

/// What helps a compressor. It may change from leaf to leaf: a leaf says itself how it is laid out.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// Groups begin with the Murmur3 token of the rest, which then need not be stored.
    pub tokens: bool,
    /// Partition keys are numbers.
    pub numeric_groups: bool,
    /// Columns whose values are numbers.
    pub numeric: Vec<u32>,
}

#[derive(Default)]
struct Column {
    elements: Strings,
    values: Strings,
}

/// Collects records into a leaf.
#[derive(Default)]
pub struct LeafBuilder {
    layout: Layout,
    count: usize,
    context: (OpenDeletion, OpenDeletion),
    group: Vec<u8>,
    rest: Vec<u8>,
    group_sizes: Vec<u64>,
    groups: Strings,
    raw_groups: Strings,
    tokens: bool,
    shared: Vec<u64>,
    rests: Strings,
    ends: Vec<u64>,
    shapes: HashMap<Vec<u8>, u64>,
    shape_list: Vec<u8>,
    shape: Vec<u8>,
    last_shape: (Vec<u8>, u64),
    shape_ids: Vec<u64>,
    times: Vec<u64>,
    dates: Vec<u64>,
    ttls: Vec<u64>,
    columns: Vec<Column>,
    scratch: Vec<u64>,
    bytes: usize,
}

impl LeafBuilder {
    /// An empty leaf.
    pub fn new(layout: Layout) -> LeafBuilder {
        LeafBuilder { layout, ..LeafBuilder::default() }
    }

    /// Records so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of keys and bodies so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is in force where the leaf begins: the group's deletion and the open marker. To be said before the first record.
    pub fn context(&mut self, group: OpenDeletion, open: OpenDeletion) {
        self.context = (group, open);
    }

    /// Adds a record; keys ascend, `group_len <= key.len()`.
    pub fn push(&mut self, key: &[u8], group_len: usize, class: Class, body: &[u8]) -> Result<()> {
        if self.count >= RECORDS_MAX {
            return Err(FormatError::TooLarge("records in a leaf"));
        }
        let (group, rest) = key.split_at(group_len);
        self.push_key(group, rest);
        self.shape.clear();
        self.shape.push(class as u8);
        self.push_body(body)?;
        let id = self.shape_id();
        self.shape_ids.push(id);
        self.count += 1;
        self.bytes += key.len() + body.len();
        Ok(())
    }

    fn push_key(&mut self, group: &[u8], rest: &[u8]) {
        if self.count == 0 {
            self.tokens = self.layout.tokens;
        }
        match self.group_sizes.last_mut() {
            Some(size) if group == self.group => *size += 1,
            _ => {
                self.group_sizes.push(1);
                self.raw_groups.push(group);
                self.group.clear();
                self.group.extend_from_slice(group);
                match unescape(group) {
                    Some(key) if self.tokens => self.groups.push(&key),
                    _ => self.tokens = false,
                }
            }
        }
        let (front, end) = match rest.split_last() {
            Some((end, front)) => (front, u64::from(*end) + 1),
            None => (rest, 0),
        };
        let shared = front.iter().zip(&self.rest).take_while(|(a, b)| a == b).count();
        self.shared.push(shared as u64);
        self.rests.push(&front[shared..]);
        self.ends.push(end);
        self.rest.truncate(shared);
        self.rest.extend_from_slice(&front[shared..]);
    }

    fn push_body(&mut self, body: &[u8]) -> Result<()> {
        let mut r = Reader::new(body, "record body");
        let mut time = 0i64;
        while !r.is_empty() {
            let head = r.u8()?;
            let column = r.varint()?;
            if column > u64::from(COLUMN_MAX) {
                return Err(FormatError::TooLarge("column number"));
            }
            self.shape.push(head);
            self.shape.put_varint(column);
            let column = column as usize;
            if column >= self.columns.len() {
                self.columns.resize_with(column + 1, Column::default);
            }
            if head & ELEMENT != 0 {
                self.columns[column].elements.push(r.string()?);
            }
            if has_time(head) {
                time = r.i64()?;
                // Sign bit flipped, so that order as unsigned is order in time.
                self.times.push(time as u64 ^ (1 << 63));
            }
            if is_dated(head) {
                let ldt = r.u32()?;
                let ttl = if head & EXPIRING != 0 { r.u32()? } else { 0 };
                if head & EXPIRING != 0 {
                    self.ttls.push(u64::from(ttl));
                }
                self.dates.push(zigzag(i64::from(ldt).wrapping_sub(expected_date(time, ttl))));
            }
            if head & NO_VALUE == 0 {
                self.columns[column].values.push(r.string()?);
            }
        }
        Ok(())
    }

    fn shape_id(&mut self) -> u64 {
        if self.count > 0 && self.shape == self.last_shape.0 {
            return self.last_shape.1;
        }
        let next = self.shapes.len() as u64;
        let id = match self.shapes.get(&self.shape) {
            Some(id) => *id,
            None => {
                self.shapes.insert(self.shape.clone(), next);
                self.shape_list.put_string(&self.shape);
                next
            }
        };
        self.last_shape.0.clear();
        self.last_shape.0.extend_from_slice(&self.shape);
        self.last_shape.1 = id;
        id
    }

    /// Appends the leaf to `out` and starts anew.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.push(VERSION);
        let tokens = self.tokens && self.count > 0;
        out.push(if tokens { WITH_TOKENS } else { 0 });
        put_context(out, self.context.0);
        put_context(out, self.context.1);
        out.put_varint(self.count as u64);
        out.put_varint(self.group_sizes.len() as u64);
        let scratch = &mut self.scratch;
        put_ints(out, &self.group_sizes, scratch);
        let groups = if tokens { &self.groups } else { &self.raw_groups };
        groups.put(out, tokens && self.layout.numeric_groups, scratch);
        put_ints(out, &self.shared, scratch);
        self.rests.put(out, false, scratch);
        put_ints(out, &self.ends, scratch);
        out.put_varint(self.shapes.len() as u64);
        out.extend_from_slice(&self.shape_list);
        put_ints(out, &self.shape_ids, scratch);
        for stream in [&self.times, &self.dates, &self.ttls] {
            out.put_varint(stream.len() as u64);
            put_ints(out, stream, scratch);
        }
        let used = |c: &Column| !c.elements.is_empty() || !c.values.is_empty();
        out.put_varint(self.columns.iter().filter(|c| used(c)).count() as u64);
        for (number, column) in self.columns.iter().enumerate().filter(|(_, c)| used(c)) {
            out.put_varint(number as u64);
            out.put_varint(column.elements.len() as u64);
            column.elements.put(out, false, scratch);
            out.put_varint(column.values.len() as u64);
            column.values.put(out, self.layout.numeric.contains(&(number as u32)), scratch);
        }
        self.clear();
    }

    fn clear(&mut self) {
        self.count = 0;
        self.bytes = 0;
        self.context = (None, None);
        self.shapes.clear();
        for bytes in [&mut self.group, &mut self.rest, &mut self.shape_list, &mut self.last_shape.0] {
            bytes.clear();
        }
        for ints in [&mut self.group_sizes, &mut self.shared, &mut self.ends, &mut self.shape_ids] {
            ints.clear();
        }
        for ints in [&mut self.times, &mut self.dates, &mut self.ttls] {
            ints.clear();
        }
        for strings in [&mut self.groups, &mut self.raw_groups, &mut self.rests] {
            strings.clear();
        }
        for column in &mut self.columns {
            column.elements.clear();
            column.values.clear();
        }
    }
}

#[inline]
fn has_time(head: u8) -> bool {
    head & KIND != KIND_RAW && head & SAME_TIME == 0
}

#[inline]
fn is_dated(head: u8) -> bool {
    matches!(head & KIND, 0 | 3) || head & EXPIRING != 0
}

/// Deletions and expiries mostly happen in the second of the write, plus the time to live.
#[inline]
fn expected_date(time: i64, ttl: u32) -> i64 {
    time.div_euclid(1_000_000).wrapping_add(i64::from(ttl))
}

/// The partition key of a group, if the group is its token, the key with 00 as 00 FF, and 00 00.
fn unescape(group: &[u8]) -> Option<Vec<u8>> {
    let (token, escaped) = group.split_first_chunk::<8>()?;
    let escaped = escaped.strip_suffix(&[0, 0])?;
    let mut key = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(zero) = rest.iter().position(|b| *b == 0) {
        key.extend_from_slice(&rest[..=zero]);
        rest = rest[zero + 1..].strip_prefix(&[0xff])?;
    }
    key.extend_from_slice(rest);
    (murmur3::token_bytes(murmur3::token(&key)) == *token).then_some(key)
}

fn escape(key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&murmur3::token_bytes(murmur3::token(key)));
    for byte in key {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

fn put_context(out: &mut Vec<u8>, deletion: OpenDeletion) {
    out.push(u8::from(deletion.is_some()));
    if let Some((time, ldt)) = deletion {
        out.put_i64(time);
        out.put_u32(ldt);
    }
}

fn read_context(r: &mut Reader<'_>) -> Result<OpenDeletion> {
    match r.u8()? {
        0 => Ok(None),
        1 => Ok(Some((r.i64()?, r.u32()?))),
        _ => Err(FormatError::Invalid("leaf context")),
    }
}

struct ColumnReader<'a> {
    elements: StringsReader<'a>,
    values: StringsReader<'a>,
}

/// Reads the records of a leaf in order. Never allocates more than the leaf's own size, whatever it claims.
pub struct LeafReader<'a> {
    count: usize,
    at: usize,
    context: (OpenDeletion, OpenDeletion),
    tokens: bool,
    group_sizes: Ints<'a>,
    groups: StringsReader<'a>,
    left_in_group: u64,
    shared: Ints<'a>,
    rests: StringsReader<'a>,
    ends: Ints<'a>,
    shapes: Vec<&'a [u8]>,
    shape_ids: Ints<'a>,
    times: Ints<'a>,
    dates: Ints<'a>,
    ttls: Ints<'a>,
    columns: Vec<Option<ColumnReader<'a>>>,
    key: Vec<u8>,
    group_len: usize,
    ended: bool,
    shape: &'a [u8],
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
        let flags = r.u8()?;
        if flags & !WITH_TOKENS != 0 {
            return Err(FormatError::Unsupported(format!("leaf flags {flags:#04x}")));
        }
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
        let mut shapes = Vec::new();
        for _ in 0..r.count(1)? {
            shapes.push(r.string()?);
        }
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
            context,
            tokens: flags & WITH_TOKENS != 0,
            group_sizes,
            groups,
            left_in_group: 0,
            shared,
            rests,
            ends,
            shapes,
            shape_ids,
            times,
            dates,
            ttls,
            columns,
            key: Vec::new(),
            group_len: 0,
            ended: false,
            shape: &[],
            buffer: [0; PLANES_MAX],
        })
    }

    /// Number of records.
    pub fn count(&self) -> usize {
        self.count
    }

    /// What is in force where the leaf begins: the group's deletion and the open marker.
    pub fn context(&self) -> (OpenDeletion, OpenDeletion) {
        self.context
    }

    /// Steps to the next record; its class, or `None` at the end. [`LeafReader::body`] must be called once in between.
    pub fn next_key(&mut self) -> Result<Option<Class>> {
        if self.at == self.count {
            return Ok(None);
        }
        self.at += 1;
        // The last byte of a key is stored apart; drop it to get at what the next key shares.
        if self.ended {
            self.key.pop();
        }
        let kept = if self.left_in_group == 0 { self.next_group()? } else { self.key.len() - self.group_len };
        self.left_in_group -= 1;
        let shared = self.shared.next_len()?;
        if shared > kept {
            return Err(FormatError::Invalid("shared part of a key"));
        }
        self.key.truncate(self.group_len + shared);
        self.key.extend_from_slice(self.rests.next_string(&mut self.buffer)?);
        self.ended = match self.ends.next_int()? {
            0 => false,
            end @ 1..=256 => {
                self.key.push((end - 1) as u8);
                true
            }
            _ => return Err(FormatError::Invalid("last byte of a key")),
        };
        let id = self.shape_ids.next_len()?;
        let shape = *self.shapes.get(id).ok_or(FormatError::Invalid("shape"))?;
        let (class, shape) = shape.split_first().ok_or(FormatError::Invalid("shape"))?;
        self.shape = shape;
        Ok(Some(Class::from_u8(*class)?))
    }

    /// Replaces the group at the head of the key, keeping what follows it; gives the length of that.
    fn next_group(&mut self) -> Result<usize> {
        self.left_in_group = self.group_sizes.next_int()?;
        if self.left_in_group == 0 {
            return Err(FormatError::Invalid("size of a group"));
        }
        let rest = self.key.split_off(self.group_len);
        self.key.clear();
        let group = self.groups.next_string(&mut self.buffer)?;
        if self.tokens {
            escape(group, &mut self.key);
        } else {
            self.key.extend_from_slice(group);
        }
        self.group_len = self.key.len();
        self.key.extend_from_slice(&rest);
        Ok(rest.len())
    }

    /// Key of the record stepped to.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Length of its group.
    pub fn group_len(&self) -> usize {
        self.group_len
    }

    /// Appends the body of the record stepped to; gives its traits and whether a value in it is external.
    pub fn body(&mut self, out: &mut Vec<u8>) -> Result<(Traits, bool)> {
        let mut shape = Reader::new(self.shape, "shape");
        let mut time = 0i64;
        let mut traits = Traits::default();
        let mut external = false;
        while !shape.is_empty() {
            let head = shape.u8()?;
            let column = shape.varint()?;
            out.push(head);
            out.put_varint(column);
            let missing = FormatError::Invalid("column of a leaf");
            let mut streams = self.columns.get_mut(column as usize).and_then(Option::as_mut);
            if head & ELEMENT != 0 {
                let column = streams.as_mut().ok_or(missing.clone())?;
                out.put_string(column.elements.next_string(&mut self.buffer)?);
            }
            if has_time(head) {
                time = (self.times.next_int()? ^ (1 << 63)) as i64;
                out.put_i64(time);
            }
            if is_dated(head) {
                let ttl = if head & EXPIRING != 0 { self.ttls.next_int()? as u32 } else { 0 };
                let ldt = unzigzag(self.dates.next_int()?).wrapping_add(expected_date(time, ttl));
                out.put_u32(u32::try_from(ldt).map_err(|_| FormatError::Invalid("deletion time"))?);
                if head & EXPIRING != 0 {
                    out.put_u32(ttl);
                    traits = traits.with(Traits::EXPIRING);
                }
                if matches!(head & KIND, 0 | 3) {
                    traits = traits.with(Traits::DELETED);
                }
            }
            if head & NO_VALUE == 0 {
                let column = streams.as_mut().ok_or(missing)?;
                out.put_string(column.values.next_string(&mut self.buffer)?);
            }
            external |= head & EXTERNAL != 0;
        }
        Ok((traits, external))
    }
}

fn read_columns<'a>(r: &mut Reader<'a>) -> Result<Vec<Option<ColumnReader<'a>>>> {
    let mut columns: Vec<Option<ColumnReader<'a>>> = Vec::new();
    for _ in 0..r.count(3)? {
        let number = r.varint()?;
        if number > u64::from(COLUMN_MAX) || number < columns.len() as u64 {
            return Err(FormatError::Invalid("column of a leaf"));
        }
        columns.resize_with(number as usize, || None);
        let strings = |r: &mut Reader<'a>| -> Result<StringsReader<'a>> {
            let n = usize::try_from(r.varint()?).map_err(|_| FormatError::TooLarge("leaf column"))?;
            StringsReader::read(r, n)
        };
        let elements = strings(r)?;
        let values = strings(r)?;
        columns.push(Some(ColumnReader { elements, values }));
    }
    Ok(columns)
}
