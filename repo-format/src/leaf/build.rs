//! Records into a leaf.

use std::collections::HashMap;

use super::{
    COLUMN_MAX, ELEMENT, EXPIRING, GroupCodec, InForce, Layout, NO_VALUE, RECORDS_MAX, VERSION, has_time, is_dated,
    put_context, refers,
};
use crate::error::{FormatError, Result};
use crate::ints::{Strings, put_ints};
use crate::record::{Class, Traits};
use crate::tree::LEAF_BYTES_MAX;
use crate::wire::{Put, Reader, zigzag};

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
    context: (InForce, InForce),
    group: Vec<u8>,
    rest: Vec<u8>,
    last_key: Vec<u8>,
    group_sizes: Vec<u64>,
    groups: Strings,
    /// What the layout's codec keeps of them, as long as it fits all.
    kept: Strings,
    fits: bool,
    /// Memory for what is kept of one group.
    kept_of: Vec<u8>,
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
    refers: bool,
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

    /// Whether the record added last holds references ([`crate::reference`]).
    pub fn refers(&self) -> bool {
        self.refers
    }

    /// What is in force where the leaf begins: the group's deletion and the open marker. To be said before the first record.
    pub fn context(&mut self, group: InForce, open: InForce) {
        self.context = (group, open);
    }

    /// Adds a record; keys ascend strictly, `group_len <= key.len()`.
    pub fn push(&mut self, key: &[u8], group_len: usize, class: Class, body: &[u8]) -> Result<()> {
        self.push_to_layer(key, group_len, class, Traits::default(), body)
    }

    /// Adds a record of a layer, with its [marks](Traits::marks).
    pub fn push_to_layer(
        &mut self,
        key: &[u8],
        group_len: usize,
        class: Class,
        marks: Traits,
        body: &[u8],
    ) -> Result<()> {
        if self.count >= RECORDS_MAX {
            return Err(FormatError::TooLarge("records in a leaf"));
        }
        if self.bytes >= LEAF_BYTES_MAX {
            return Err(FormatError::TooLarge("bytes in a leaf"));
        }
        if self.count > 0 && key <= self.last_key.as_slice() {
            return Err(FormatError::Invalid("order of keys"));
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        let (group, rest) = key.split_at(group_len);
        self.push_key(group, rest);
        self.shape.clear();
        self.shape.push(class as u8 | marks.marks().0);
        self.push_body(body)?;
        let id = self.shape_id();
        self.shape_ids.push(id);
        self.count += 1;
        self.bytes += key.len() + body.len();
        Ok(())
    }

    fn push_key(&mut self, group: &[u8], rest: &[u8]) {
        if self.count == 0 {
            self.fits = self.layout.groups != GroupCodec::None;
        }
        match self.group_sizes.last_mut() {
            Some(size) if group == self.group => *size += 1,
            _ => {
                self.group_sizes.push(1);
                self.groups.push(group);
                self.group.clear();
                self.group.extend_from_slice(group);
                self.fits = self.fits && self.layout.groups.keep(group, &mut self.kept_of);
                if self.fits {
                    self.kept.push(&self.kept_of);
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
        self.refers = false;
        while !r.is_empty() {
            let head = r.u8()?;
            let column = r.varint()?;
            self.refers |= refers(head, column);
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
                self.columns[column].elements.push_near(r.near_string()?);
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
                self.dates.push(zigzag(i64::from(ldt).wrapping_sub(self.layout.unit.expected_date(time, ttl))));
            }
            if head & NO_VALUE == 0 {
                self.columns[column].values.push_near(r.near_string()?);
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
        let codec = if self.fits && self.count > 0 { self.layout.groups } else { GroupCodec::None };
        out.push(codec as u8);
        out.push(self.layout.unit as u8);
        put_context(out, self.context.0);
        put_context(out, self.context.1);
        out.put_varint(self.count as u64);
        out.put_varint(self.group_sizes.len() as u64);
        let scratch = &mut self.scratch;
        put_ints(out, &self.group_sizes, scratch);
        let groups = if codec == GroupCodec::None { &self.groups } else { &self.kept };
        groups.put(out, codec == self.layout.groups && self.layout.numeric_groups, scratch);
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
        self.context = (InForce::Nothing, InForce::Nothing);
        self.shapes.clear();
        for bytes in [&mut self.group, &mut self.rest, &mut self.last_key, &mut self.shape_list, &mut self.last_shape.0]
        {
            bytes.clear();
        }
        for ints in [&mut self.group_sizes, &mut self.shared, &mut self.ends, &mut self.shape_ids] {
            ints.clear();
        }
        for ints in [&mut self.times, &mut self.dates, &mut self.ttls] {
            ints.clear();
        }
        for strings in [&mut self.groups, &mut self.kept, &mut self.rests] {
            strings.clear();
        }
        for column in &mut self.columns {
            column.elements.clear();
            column.values.clear();
        }
    }
}
