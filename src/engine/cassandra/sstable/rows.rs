//! One row of `Data.db` as one canonical record body.
//!
//! ```text
//! row  = flags u8 │ [extended u8] │ clustering │ size vint │ previous size vint │ body
//! body = [time [ttl ldt]] │ [row deletion] │ [missing columns] │ columns
//! simple column = cell      complex column = [deletion] │ n vint │ n × cell
//! ```
//! Sources: `UnfilteredSerializer`, `Columns.Serializer`.

use repo_format::record::{BodyWriter, Entry, EntryKind, Traits};

use crate::run::RECORD_MAX;

use super::cells::{self, Cells, Item, Liveness};
use super::cursor::{Cursor, Fault, Parsed};
use super::layout::{Column, Layout, Order};

/// Nothing follows in the partition.
pub const END_OF_PARTITION: u8 = 0x01;
/// A bound of a range deletion, not a row.
pub const IS_MARKER: u8 = 0x02;
/// The row's liveness follows.
pub const HAS_TIME: u8 = 0x04;
/// The liveness has a time to live and an expiry.
pub const HAS_TTL: u8 = 0x08;
/// The row's deletion follows.
pub const HAS_DELETION: u8 = 0x10;
/// No list of missing columns: there are all.
pub const HAS_ALL_COLUMNS: u8 = 0x20;
/// Each complex column begins with a deletion.
pub const HAS_COMPLEX_DELETION: u8 = 0x40;
/// A byte of extended flags follows.
pub const HAS_EXTENSION: u8 = 0x80;
/// Extended: the static row.
pub const IS_STATIC: u8 = 0x01;
/// Extended: a deletion that newer liveness lifts; only old materialised views have it.
pub const IS_SHADOWABLE: u8 = 0x02;

/// Most cells in one row; their list is the decoder's largest buffer besides the row itself (40 bytes each).
pub const CELLS_MAX: usize = 2 << 20;

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
    /// In the order of the file.
    items: Vec<Item>,
    /// Where each column's items lie, in the order of the file.
    columns: Vec<Collected>,
    present: Vec<u16>,
}

/// The items of one column.
#[derive(Clone, Copy)]
struct Collected {
    number: u32,
    start: u32,
    end: u32,
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
        let live =
            if flags & HAS_TIME != 0 { Some(Liveness::read(&mut c, layout, flags & HAS_TTL != 0)?) } else { None };
        let deletion = if flags & HAS_DELETION != 0 { cells::deletion(&mut c, layout)? } else { None };
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
        let written = match &columns.order {
            Order::Same => {
                self.present(&mut cells, &columns.list, all, |_, cells, column| cells.write(column, &mut writer))?
            }
            Order::TwoRuns { simple, by_number } => {
                self.write_two_runs(&mut cells, (&columns.list, *simple), by_number, all, &mut writer)?
            }
            Order::Any => {
                self.items.clear();
                self.columns.clear();
                self.present(&mut cells, &columns.list, all, Self::collect)?;
                self.write_collected(body, &mut writer)?;
                self.items.len()
            }
        };
        if cells.c.remaining() != 0 {
            return Err(Fault::Bad("end of a row").into());
        }
        if live.is_none() && deletion.is_none() && written == 0 {
            return Err(Nothing::Empty);
        }
        Ok(writer.traits())
    }

    /// Writes the columns in the order of their numbers, simple ones and complex ones each from a place of their own in the row.
    /// The first `simple` of `columns` are simple.
    fn write_two_runs(
        &mut self,
        cells: &mut Cells<'_>,
        (columns, simple): (&[Column], usize),
        by_number: &[u8],
        all: bool,
        writer: &mut BodyWriter<'_>,
    ) -> Parsed<usize> {
        let missing = if all { 0 } else { cells.c.vint()? };
        if missing >> columns.len() != 0 {
            return Err(Fault::Bad("list of missing columns"));
        }
        let is_there = |place: usize| missing >> place & 1 == 0;
        let mut complex = *cells;
        for (place, column) in columns[..simple].iter().enumerate() {
            if is_there(place) {
                complex.skip(column)?;
            }
        }
        let (border, mut written) = (complex.c.at(), 0);
        for place in by_number.iter().map(|place| usize::from(*place)).filter(|place| is_there(*place)) {
            let column = &columns[place];
            if column.complex {
                written += self.write_complex(&mut complex, column, written, writer)?;
            } else {
                cells.write(column, writer)?;
                written += 1;
            }
        }
        if cells.c.at() != border {
            return Err(Fault::Bad("end of a row"));
        }
        cells.c = complex.c;
        Ok(written)
    }

    /// Writes a complex column, and gives how many entries it has; `before` stand before it in the row.
    fn write_complex(
        &mut self,
        cells: &mut Cells<'_>,
        column: &Column,
        before: usize,
        writer: &mut BodyWriter<'_>,
    ) -> Parsed<usize> {
        let (start, mark) = (cells.c, writer.mark());
        if let Some(written) = write_sorted(cells, column, before, writer)? {
            return Ok(written);
        }
        cells.c = start;
        writer.go_back(mark);
        self.items.clear();
        self.complex(cells, column)?;
        self.items.iter().for_each(|item| item.write(cells.body(), writer));
        Ok(self.items.len())
    }

    /// The file has its complex columns last; records have all in the order of their numbers.
    fn write_collected(&mut self, body: &[u8], writer: &mut BodyWriter<'_>) -> Parsed<()> {
        self.columns.sort_unstable_by_key(|column| column.number);
        if self.columns.windows(2).any(|two| two[0].number == two[1].number) {
            return Err(Fault::Bad("order of cells (one path twice)"));
        }
        for Collected { start, end, .. } in &self.columns {
            for item in &self.items[*start as usize..*end as usize] {
                item.write(body, writer);
            }
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
        let start = self.items.len();
        if column.complex {
            self.complex(cells, column)?;
        } else {
            let item = cells.cell(column)?;
            self.items.push(item);
        }
        // At most `CELLS_MAX` in a complex column, and one in each other.
        self.columns.push(Collected { number: column.number, start: start as u32, end: self.items.len() as u32 });
        Ok(())
    }

    fn complex(&mut self, reader: &mut Cells<'_>, column: &Column) -> Parsed<()> {
        if reader.complex_deletions
            && let Some(deletion) = cells::deletion(&mut reader.c, reader.layout)?
        {
            self.items.push(Item::deletion(column.number, deletion));
        }
        let count = reader.c.length()?;
        if count > CELLS_MAX || self.items.len() + count > CELLS_MAX {
            return Err(Fault::TooLarge("number of cells in a row"));
        }
        let (start, body) = (self.items.len(), reader.body());
        let (mut sorted, mut last) = (true, None);
        for _ in 0..count {
            let item = reader.cell(column)?;
            let element = item.element(body);
            sorted &= last < element;
            last = element;
            self.items.push(item);
        }
        if !sorted {
            let cells = &mut self.items[start..];
            cells.sort_unstable_by(|a, b| a.element(body).cmp(&b.element(body)));
            if cells.windows(2).any(|two| two[0].element(body) == two[1].element(body)) {
                return Err(Fault::Bad("order of cells (one path twice)"));
            }
        }
        Ok(())
    }
}

/// Writes a complex column whose elements stand in the order of their bytes, as most do; `None` at the first that does not.
#[inline]
fn write_sorted(
    cells: &mut Cells<'_>,
    column: &Column,
    before: usize,
    writer: &mut BodyWriter<'_>,
) -> Parsed<Option<usize>> {
    let mut written = 0;
    if cells.complex_deletions
        && let Some(deletion) = cells::deletion(&mut cells.c, cells.layout)?
    {
        writer.push(&deletion.entry(column.number));
        written = 1;
    }
    let count = cells.c.length()?;
    if before + written + count > CELLS_MAX {
        return Err(Fault::TooLarge("number of cells in a row"));
    }
    let mut last = None;
    for _ in 0..count {
        let element = Some(cells.write_element(column, writer)?);
        if last >= element {
            return Ok(None);
        }
        last = element;
    }
    Ok(Some(written + count))
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

const _: () = assert!(RECORD_MAX < u32::MAX as usize);

#[cfg(test)]
mod tests;
