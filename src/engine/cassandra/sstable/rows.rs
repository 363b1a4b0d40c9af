//! One row of `Data.db` as one canonical record body.
//!
//! ```text
//! row  = flags u8 │ [extended u8] │ clustering │ size vint │ previous size vint │ body
//! body = [time [ttl ldt]] │ [row deletion] │ [missing columns] │ columns
//! cell = flags u8 │ [time] │ [ldt] │ [ttl] │ [path] │ [value]        simple column = cell
//!                                                                    complex column = [deletion] │ n │ n × cell
//! ```
//! Times are unsigned vints, differences to the header's smallest. Sources: `UnfilteredSerializer`, `Cell.Serializer`,
//! `Columns.Serializer`, `SerializationHeader`.

use repo_format::record::{BodyWriter, Entry, EntryKind, Traits};

use crate::run::RECORD_MAX;

use super::cursor::{Cursor, Fault, Parsed};
use super::layout::{Column, Layout};

/// Nothing follows in the partition.
pub const END_OF_PARTITION: u8 = 0x01;
/// A bound of a range deletion, not a row.
pub const IS_MARKER: u8 = 0x02;
const HAS_TIME: u8 = 0x04;
const HAS_TTL: u8 = 0x08;
const HAS_DELETION: u8 = 0x10;
const HAS_ALL_COLUMNS: u8 = 0x20;
const HAS_COMPLEX_DELETION: u8 = 0x40;
/// A byte of extended flags follows.
pub const HAS_EXTENSION: u8 = 0x80;
/// Extended: the static row.
pub const IS_STATIC: u8 = 0x01;
/// Extended: a deletion that newer liveness lifts; only old materialised views have it.
pub const IS_SHADOWABLE: u8 = 0x02;

const CELL_DELETED: u8 = 0x01;
const CELL_EXPIRING: u8 = 0x02;
const CELL_EMPTY: u8 = 0x04;
const CELL_ROW_TIME: u8 = 0x08;
const CELL_ROW_TTL: u8 = 0x10;

/// What stands for a local deletion time that an `i32` could not hold (source: `Cell.INVALID_DELETION_TIME`).
pub const INVALID_LDT: u32 = u32::MAX - 1;
/// The time to live of a row of a view that is to count as expired (source: `LivenessInfo.EXPIRED_LIVENESS_TTL`).
const EXPIRED_TTL: u32 = i32::MAX as u32;
/// Most cells in one row; their list is the decoder's largest buffer besides the row itself (40 bytes each).
pub const CELLS_MAX: usize = 2 << 20;

/// A deletion. One with the least time is none and never appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion {
    /// Microseconds: all written up to then is gone.
    pub time: i64,
    /// Seconds: when it was made.
    pub ldt: u32,
}

impl Deletion {
    /// `None` for the deletion that deletes nothing.
    pub fn new(time: i64, ldt: i32) -> Option<Deletion> {
        (time != i64::MIN).then_some(Deletion { time, ldt: legacy_ldt(ldt, 0) })
    }

    /// As the one entry of a body.
    pub fn write(self, out: &mut Vec<u8>) -> Traits {
        let mut writer = BodyWriter::new(out);
        writer.push(&self.entry(0));
        writer.traits()
    }

    fn entry(self, column: u32) -> Entry<'static> {
        let kind = EntryKind::Deletion;
        Entry { column, kind, element: None, time: self.time, ldt: self.ldt, ttl: 0, value: None }
    }
}

/// `nb` keeps an `i32`; what is negative, or would have been written before 1970, is an overflow
/// (source: `Cell.decodeLocalDeletionTime`).
#[inline]
fn legacy_ldt(ldt: i32, ttl: u32) -> u32 {
    if ldt < 0 || ((ldt as u32) < ttl && ttl != EXPIRED_TTL) { INVALID_LDT } else { ldt as u32 }
}

/// A part of the body, `start..end`; `start > end` where there is none.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

const NONE: Span = Span { start: 1, end: 0 };

impl Span {
    #[inline]
    fn of(self, body: &[u8]) -> Option<&[u8]> {
        body.get(self.start as usize..self.end as usize)
    }
}

#[derive(Clone, Copy)]
struct Item {
    time: i64,
    ldt: u32,
    ttl: u32,
    element: Span,
    value: Span,
    column: u32,
    kind: EntryKind,
}

impl Item {
    #[inline]
    fn entry<'a>(&self, body: &'a [u8]) -> Entry<'a> {
        Entry {
            column: self.column,
            kind: self.kind,
            element: self.element.of(body),
            time: self.time,
            ldt: self.ldt,
            ttl: self.ttl,
            value: self.value.of(body),
        }
    }
}

/// When the row itself was written; `ttl` 0 where it does not expire.
#[derive(Clone, Copy)]
struct Liveness {
    time: i64,
    ldt: u32,
    ttl: u32,
}

/// Why no record comes out of a row.
pub enum Nothing {
    /// The row says nothing (its columns hold no cell). Cassandra skips such rows too.
    Empty,
    /// The row cannot be read.
    Fault(Fault),
}

impl From<Fault> for Nothing {
    fn from(fault: Fault) -> Nothing {
        Nothing::Fault(fault)
    }
}

/// Decodes rows, with buffers that are used again and again.
#[derive(Default)]
pub struct RowDecoder {
    items: Vec<Item>,
    present: Vec<u16>,
    sorted: bool,
}

impl RowDecoder {
    /// Appends the entries of a row to `out`. `body` follows the row's sizes; `clustering` is kept where it is given.
    pub fn row(
        &mut self,
        layout: &Layout,
        flags: u8,
        is_static: bool,
        body: &[u8],
        clustering: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<Traits, Nothing> {
        let mut c = Cursor::new(body);
        let live = if flags & HAS_TIME != 0 { Some(liveness(&mut c, layout, flags)?) } else { None };
        let deletion = if flags & HAS_DELETION != 0 { deletion(&mut c, layout)? } else { None };
        let columns = if is_static { &layout.statics } else { &layout.regulars };
        let mut writer = BodyWriter::new(out);
        if let Some(deletion) = deletion {
            writer.push(&deletion.entry(0));
        }
        if let Some(raw) = clustering {
            let kind = EntryKind::Raw;
            writer.push(&Entry { column: 0, kind, element: None, time: 0, ldt: 0, ttl: 0, value: Some(raw) });
        }
        if let Some(Liveness { time, ldt, ttl }) = live {
            let kind = EntryKind::Cell;
            writer.push(&Entry { column: 0, kind, element: None, time, ldt, ttl, value: None });
        }
        let mut cells = Cells { layout, live, complex_deletions: flags & HAS_COMPLEX_DELETION != 0, c };
        let all = flags & HAS_ALL_COLUMNS != 0;
        let written = if columns.plain {
            self.present(&mut cells, &columns.list, all, |_, cells, column| cells.write(column, &mut writer))?
        } else {
            self.items.clear();
            self.sorted = true;
            self.present(&mut cells, &columns.list, all, Self::collect)?;
            self.write_collected(body, &mut writer)?;
            self.items.len()
        };
        if cells.c.remaining() != 0 {
            return Err(Fault::Bad("end of a row").into());
        }
        if live.is_none() && deletion.is_none() && written == 0 {
            return Err(Nothing::Empty);
        }
        Ok(writer.traits())
    }

    fn write_collected(&mut self, body: &[u8], writer: &mut BodyWriter<'_>) -> Parsed<()> {
        if !self.sorted {
            self.items.sort_unstable_by(|a, b| a.entry(body).path().cmp(&b.entry(body).path()));
            if self.items.windows(2).any(|two| two[0].entry(body).path() == two[1].entry(body).path()) {
                return Err(Fault::Bad("order of cells (one path twice)"));
            }
        }
        for item in &self.items {
            writer.push(&item.entry(body));
        }
        Ok(())
    }

    /// Calls `each` for the columns that the row has, and counts them: all, or according to a bitmap of the missing
    /// ones, or from 64 columns on to a list of the fewer.
    #[inline]
    fn present<'a>(
        &mut self,
        cells: &mut Cells<'a>,
        columns: &[Column],
        all: bool,
        mut each: impl FnMut(&mut Self, &mut Cells<'a>, &Column) -> Parsed<()>,
    ) -> Parsed<usize> {
        let encoded = if all { 0 } else { cells.c.vint()? };
        if columns.len() >= 64 && encoded != 0 {
            let present = large_subset(&mut cells.c, columns.len(), encoded, std::mem::take(&mut self.present))?;
            for index in &present {
                each(self, cells, &columns[usize::from(*index)])?;
            }
            let count = present.len();
            self.present = present;
            return Ok(count);
        }
        if encoded != 0 && encoded >> columns.len() != 0 {
            return Err(Fault::Bad("list of missing columns"));
        }
        for (i, column) in columns.iter().enumerate() {
            if i >= 64 || encoded >> i & 1 == 0 {
                each(self, cells, column)?;
            }
        }
        Ok(columns.len() - encoded.count_ones() as usize)
    }

    #[inline]
    fn collect(&mut self, cells: &mut Cells<'_>, column: &Column) -> Parsed<()> {
        if let Some(last) = self.items.last() {
            self.sorted &= last.column < column.number;
        }
        if column.complex {
            return self.complex(cells, column);
        }
        let item = cells.cell(column)?;
        self.items.push(item);
        Ok(())
    }

    fn complex(&mut self, reader: &mut Cells<'_>, column: &Column) -> Parsed<()> {
        if reader.complex_deletions
            && let Some(Deletion { time, ldt }) = deletion(&mut reader.c, reader.layout)?
        {
            let (column, kind) = (column.number, EntryKind::Deletion);
            self.items.push(Item { time, ldt, ttl: 0, element: NONE, value: NONE, column, kind });
        }
        let count = reader.c.length()?;
        if count > CELLS_MAX || self.items.len() + count > CELLS_MAX {
            return Err(Fault::TooLarge("number of cells in a row"));
        }
        let mut last: Option<&[u8]> = None;
        for _ in 0..count {
            let item = reader.cell(column)?;
            let element = item.element.of(reader.body());
            self.sorted &= last < element;
            last = element;
            self.items.push(item);
        }
        Ok(())
    }
}

/// Indexes of the columns that a row has, out of `count`: either they or the missing ones are listed, whichever are
/// fewer. Uses the memory of `present`.
fn large_subset(c: &mut Cursor<'_>, count: usize, missing: u64, mut present: Vec<u16>) -> Parsed<Vec<u16>> {
    let bad = Fault::Bad("list of columns");
    let missing = usize::try_from(missing).ok().filter(|n| *n <= count).ok_or(bad)?;
    let lists_present = count - missing < count / 2;
    let listed = if lists_present { count - missing } else { missing };
    present.clear();
    let mut from = 0;
    for _ in 0..listed {
        let index = c.length()?;
        if index < from || index >= count {
            return Err(bad);
        }
        if lists_present {
            present.push(index as u16);
        } else {
            present.extend(from as u16..index as u16);
        }
        from = index + 1;
    }
    if !lists_present {
        present.extend(from as u16..count as u16);
    }
    Ok(present)
}

fn liveness(c: &mut Cursor<'_>, layout: &Layout, flags: u8) -> Parsed<Liveness> {
    let time = read_time(c, layout)?;
    if flags & HAS_TTL == 0 {
        return Ok(Liveness { time, ldt: 0, ttl: 0 });
    }
    let ttl = read_ttl(c, layout)?;
    let ldt = legacy_ldt(read_ldt(c, layout)?, ttl);
    Ok(Liveness { time, ldt: if ttl == 0 { 0 } else { ldt }, ttl })
}

/// A deletion as rows and markers store it.
pub fn deletion(c: &mut Cursor<'_>, layout: &Layout) -> Parsed<Option<Deletion>> {
    let time = read_time(c, layout)?;
    Ok(Deletion::new(time, read_ldt(c, layout)?))
}

#[inline]
fn read_time(c: &mut Cursor<'_>, layout: &Layout) -> Parsed<i64> {
    Ok((c.vint()? as i64).wrapping_add(layout.min_time))
}

/// Cassandra wraps around at 32 bits here, in both directions.
#[inline]
fn read_ldt(c: &mut Cursor<'_>, layout: &Layout) -> Parsed<i32> {
    Ok((c.vint()? as i32).wrapping_add(layout.min_ldt as i32))
}

#[inline]
fn read_ttl(c: &mut Cursor<'_>, layout: &Layout) -> Parsed<u32> {
    let ttl = (c.vint()? as i32).wrapping_add(layout.min_ttl as i32);
    u32::try_from(ttl).map_err(|_| Fault::Bad("time to live"))
}

/// Reads the cells of one row.
struct Cells<'a> {
    layout: &'a Layout,
    live: Option<Liveness>,
    complex_deletions: bool,
    c: Cursor<'a>,
}

impl<'a> Cells<'a> {
    fn body(&self) -> &'a [u8] {
        self.c.all()
    }

    #[inline]
    fn span(&mut self, length: usize) -> Parsed<Span> {
        let start = self.c.at() as u32;
        self.c.bytes(length)?;
        Ok(Span { start, end: self.c.at() as u32 })
    }

    /// Writes a simple column's cell at once.
    #[inline]
    fn write(&mut self, column: &Column, writer: &mut BodyWriter<'_>) -> Parsed<()> {
        let mut c = self.c;
        let flags = c.u8()?;
        if flags & !CELL_ROW_TIME != 0 {
            let item = self.cell(column)?;
            writer.push(&item.entry(self.body()));
            return Ok(());
        }
        let time = match self.live {
            _ if flags == 0 => read_time(&mut c, self.layout)?,
            Some(live) => live.time,
            None => return Err(Fault::Bad("time of a cell")),
        };
        let value = match column.fixed {
            Some(length) => c.bytes(length as usize)?,
            None => c.vbytes()?,
        };
        self.c = c;
        writer.push_live(column.number, time, value);
        Ok(())
    }

    #[inline]
    fn cell(&mut self, column: &Column) -> Parsed<Item> {
        let flags = self.c.u8()?;
        if flags > 0x1f {
            return Err(Fault::Bad("flags of a cell"));
        }
        let time = match self.live {
            _ if flags & CELL_ROW_TIME == 0 => read_time(&mut self.c, self.layout)?,
            Some(live) => live.time,
            None => return Err(Fault::Bad("time of a cell")),
        };
        let deleted = flags & CELL_DELETED != 0;
        let (ldt, ttl) =
            if flags & (CELL_DELETED | CELL_EXPIRING | CELL_ROW_TTL) == 0 { (0, 0) } else { self.expiry(flags)? };
        let mut element = NONE;
        if column.complex {
            let length = self.c.length()?;
            element = self.span(length)?;
        }
        let mut value = Span { start: 0, end: 0 };
        if flags & CELL_EMPTY == 0 {
            let length = match column.fixed {
                Some(length) => length as usize,
                None => self.c.length()?,
            };
            value = self.span(length)?;
        }
        let kind = if deleted { EntryKind::Tombstone } else { EntryKind::Cell };
        if deleted {
            value = NONE; // Cassandra ignores the value of a tombstone and writes none
        }
        Ok(Item { time, ldt, ttl, element, value, column: column.number, kind })
    }

    /// Local deletion time and time to live of a tombstone or an expiring cell.
    fn expiry(&mut self, flags: u8) -> Parsed<(u32, u32)> {
        let bad = Fault::Bad("expiry of a cell");
        let (deleted, expiring) = (flags & CELL_DELETED != 0, flags & CELL_EXPIRING != 0);
        if deleted == expiring {
            return Err(bad);
        }
        if flags & CELL_ROW_TTL != 0 {
            let live = self.live.filter(|live| live.ttl != 0 && expiring).ok_or(bad)?;
            return Ok((live.ldt, live.ttl));
        }
        let ldt = read_ldt(&mut self.c, self.layout)?;
        let ttl = if expiring { read_ttl(&mut self.c, self.layout)? } else { 0 };
        if expiring && ttl == 0 {
            return Err(bad);
        }
        Ok((legacy_ldt(ldt, ttl), ttl))
    }
}

const _: () = assert!(RECORD_MAX < u32::MAX as usize);
