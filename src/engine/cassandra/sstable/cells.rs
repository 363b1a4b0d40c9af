//! Cells, deletions and their times, as rows store them.
//!
//! ```text
//! cell     = flags u8 │ [time] │ [ldt] │ [ttl] │ [path length vint │ path] │ [value]
//! deletion = time │ ldt
//! ```
//! Times are unsigned vints, differences to the header's smallest. A value has its length as vint before it, unless
//! its type gives it. Sources: `Cell.Serializer`, `SerializationHeader`, `DeletionTime`.

use repo_format::record::{BodyWriter, Entry, EntryKind, Near, Traits};

use super::cursor::{Cursor, Fault, Parsed};
use super::layout::{Column, Layout};
use super::name::Version;

/// The byte that stands for "not deleted" at the head of a partition.
const NO_DELETION: u8 = 0x80;

/// A tombstone.
pub const CELL_DELETED: u8 = 0x01;
/// Time to live and expiry follow.
pub const CELL_EXPIRING: u8 = 0x02;
/// No value follows.
pub const CELL_EMPTY: u8 = 0x04;
/// The write time is that of the row's liveness.
pub const CELL_ROW_TIME: u8 = 0x08;
/// Time to live and expiry are those of the row's liveness.
pub const CELL_ROW_TTL: u8 = 0x10;

/// What stands for a local deletion time that an `i32` could not hold (source: `Cell.INVALID_DELETION_TIME`).
pub const INVALID_LDT: u32 = u32::MAX - 1;
/// The time to live of a row of a view that is to count as expired (source: `LivenessInfo.EXPIRED_LIVENESS_TTL`).
const EXPIRED_TTL: u32 = i32::MAX as u32;

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
    pub fn new(time: i64, ldt: i64) -> Option<Deletion> {
        let ldt = u32::try_from(ldt).ok().filter(|ldt| *ldt < INVALID_LDT).unwrap_or(INVALID_LDT);
        (time != i64::MIN).then_some(Deletion { time, ldt })
    }

    /// As the head of a partition stores it. Since `oa` one byte says that there is none; it is the first of a write time before
    /// 1970 otherwise, which Cassandra writes and then refuses to read.
    pub fn of_partition(c: &mut Cursor<'_>, version: Version) -> Parsed<Option<Deletion>> {
        if version < Version::Oa {
            let ldt = i64::from(c.i32()?);
            return Ok(Deletion::new(c.i64()?, ldt));
        }
        if c.first()? == NO_DELETION {
            c.u8()?;
            return Ok(None);
        }
        let time = c.i64()?;
        Ok(Deletion::new(time, i64::from(c.u32()?)))
    }

    /// As the one entry of a body.
    pub fn write(self, out: &mut Vec<u8>) -> Traits {
        let mut writer = BodyWriter::new(out);
        writer.push(&self.entry(0));
        writer.traits()
    }

    /// As an entry.
    pub fn entry(self, column: u32) -> Entry<'static> {
        let kind = EntryKind::Deletion;
        Entry { column, kind, element: None, time: self.time, ldt: self.ldt, ttl: 0, value: None }
    }
}

/// The local deletion time of a cell or a row's liveness. `nb` keeps an `i32`, of which the negative ones are overflows; what would have
/// been written before 1970 is one, too (source: `Cell.decodeLocalDeletionTime`).
#[inline]
fn cell_ldt(ldt: i64, ttl: u32, version: Version) -> u32 {
    // Beyond 2^31 the difference to the header's smallest wraps around: negative is past 2038.
    let ldt = if ldt < 0 && version >= Version::Oa { i64::from(ldt as u32) } else { ldt };
    let ldt = u32::try_from(ldt).unwrap_or(INVALID_LDT);
    if ldt < ttl && ttl != EXPIRED_TTL { INVALID_LDT } else { ldt }
}

/// A part of the body, `start..end`; `start > end` where there is none.
#[derive(Clone, Copy)]
pub struct Span {
    start: u32,
    end: u32,
}

/// No part.
const NONE: Span = Span { start: 1, end: 0 };

impl Span {
    /// The part itself.
    #[inline]
    pub fn of(self, body: &[u8]) -> Option<&[u8]> {
        body.get(self.start as usize..self.end as usize)
    }

    /// The same, with what stands behind it.
    #[inline]
    fn near(self, body: &[u8]) -> Option<Near<'_>> {
        Near::first(body.get(self.start as usize..)?, self.end.checked_sub(self.start)? as usize)
    }
}

/// An entry whose bytes are parts of the row's body.
#[derive(Clone, Copy)]
pub struct Item {
    time: i64,
    ldt: u32,
    ttl: u32,
    element: Span,
    value: Span,
    /// Number of the column.
    pub column: u32,
    kind: EntryKind,
}

impl Item {
    /// A deletion of a whole column.
    pub fn deletion(column: u32, Deletion { time, ldt }: Deletion) -> Item {
        Item { time, ldt, ttl: 0, element: NONE, value: NONE, column, kind: EntryKind::Deletion }
    }

    /// The path inside the column.
    #[inline]
    pub fn element<'a>(&self, body: &'a [u8]) -> Option<&'a [u8]> {
        self.element.of(body)
    }

    /// Appends the entry.
    #[inline]
    pub fn write(&self, body: &[u8], writer: &mut BodyWriter<'_>) {
        match (self.kind, self.ttl, self.element.near(body), self.value.near(body)) {
            (EntryKind::Cell, 0, None, Some(value)) => writer.push_live(self.column, self.time, value),
            (EntryKind::Cell, 0, Some(element), Some(value)) => {
                writer.push_live_element(self.column, element, self.time, value);
            }
            _ => {
                let (element, value) = (self.element.of(body), self.value.of(body));
                let Item { time, ldt, ttl, column, kind, .. } = *self;
                writer.push(&Entry { column, kind, element, time, ldt, ttl, value });
            }
        }
    }
}

/// When the row itself was written; `ttl` 0 where it does not expire.
#[derive(Clone, Copy)]
pub struct Liveness {
    /// Microseconds.
    pub time: i64,
    /// Seconds since 1970: when it expires; 0 where it does not.
    pub ldt: u32,
    /// Seconds.
    pub ttl: u32,
}

impl Liveness {
    /// As a row stores it; `expires` when time to live and expiry follow.
    pub fn read(c: &mut Cursor<'_>, layout: &Layout, expires: bool) -> Parsed<Liveness> {
        let time = read_time(c, layout)?;
        if !expires {
            return Ok(Liveness { time, ldt: 0, ttl: 0 });
        }
        let ttl = read_ttl(c, layout)?;
        let ldt = cell_ldt(read_ldt(c, layout)?, ttl, layout.version);
        Ok(Liveness { time, ldt: if ttl == 0 { 0 } else { ldt }, ttl })
    }
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

/// The difference wraps around at 32 bits, in both directions; before `oa` so does the sum.
#[inline]
fn read_ldt(c: &mut Cursor<'_>, layout: &Layout) -> Parsed<i64> {
    let sum = i64::from(c.vint()? as i32).wrapping_add(layout.min_ldt);
    Ok(if layout.version >= Version::Oa { sum } else { i64::from(sum as i32) })
}

#[inline]
fn read_ttl(c: &mut Cursor<'_>, layout: &Layout) -> Parsed<u32> {
    let ttl = (c.vint()? as i32).wrapping_add(layout.min_ttl as i32);
    u32::try_from(ttl).map_err(|_| Fault::Bad("time to live"))
}

/// Reads the cells of one row.
#[derive(Clone, Copy)]
pub struct Cells<'a> {
    /// How the file lays them out.
    pub layout: &'a Layout,
    /// That of the row, to which cells refer.
    pub live: Option<Liveness>,
    /// A deletion stands before the cells of each complex column.
    pub complex_deletions: bool,
    /// In the row's body.
    pub c: Cursor<'a>,
}

impl<'a> Cells<'a> {
    /// The row's body.
    pub fn body(&self) -> &'a [u8] {
        self.c.all()
    }

    #[inline]
    fn span(&mut self, length: usize) -> Parsed<Span> {
        let start = self.c.at() as u32;
        self.c.bytes(length)?;
        Ok(Span { start, end: self.c.at() as u32 })
    }

    /// Reads the write time of a live cell that has at most the flags `others` besides; `None` where it is another.
    #[inline(always)]
    fn live_time(&self, c: &mut Cursor<'a>, others: u8) -> Parsed<Option<(u8, i64)>> {
        let flags = c.u8()?;
        if flags & !(CELL_ROW_TIME | others) != 0 {
            return Ok(None);
        }
        let time = match self.live {
            _ if flags & CELL_ROW_TIME == 0 => read_time(c, self.layout)?,
            Some(live) => live.time,
            None => return Err(Fault::Bad("time of a cell")),
        };
        Ok(Some((flags, time)))
    }

    #[inline(always)]
    fn value_length(c: &mut Cursor<'a>, column: &Column) -> Parsed<usize> {
        match column.fixed {
            Some(length) => Ok(length as usize),
            None => c.length(),
        }
    }

    /// Writes a simple column's cell at once.
    #[inline]
    pub fn write(&mut self, column: &Column, writer: &mut BodyWriter<'_>) -> Parsed<()> {
        let mut c = self.c;
        let Some((_, time)) = self.live_time(&mut c, 0)? else {
            self.cell(column)?.write(self.body(), writer);
            return Ok(());
        };
        let length = Self::value_length(&mut c, column)?;
        let value = c.near(length)?;
        self.c = c;
        writer.push_live(column.number, time, value);
        Ok(())
    }

    /// Steps over a simple column's cell.
    #[inline]
    pub fn skip(&mut self, column: &Column) -> Parsed<()> {
        let mut c = self.c;
        if self.live_time(&mut c, 0)?.is_none() {
            self.cell(column)?;
            return Ok(());
        }
        let length = Self::value_length(&mut c, column)?;
        c.bytes(length)?;
        self.c = c;
        Ok(())
    }

    /// Writes a cell of a complex column at once, and gives its path inside the column.
    #[inline]
    pub fn write_element(&mut self, column: &Column, writer: &mut BodyWriter<'_>) -> Parsed<&'a [u8]> {
        let mut c = self.c;
        let Some((flags, time)) = self.live_time(&mut c, CELL_EMPTY)? else {
            let item = self.cell(column)?;
            item.write(self.body(), writer);
            return Ok(item.element(self.body()).unwrap_or_default());
        };
        let length = c.length()?;
        let element = c.near(length)?;
        let value = if flags & CELL_EMPTY == 0 {
            let length = Self::value_length(&mut c, column)?;
            c.near(length)?
        } else {
            Near::from(&[][..])
        };
        self.c = c;
        writer.push_live_element(column.number, element, time, value);
        Ok(element.bytes())
    }

    /// Reads a cell.
    #[inline]
    pub fn cell(&mut self, column: &Column) -> Parsed<Item> {
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
        Ok((cell_ldt(ldt, ttl, self.layout.version), ttl))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(bytes: &[u8], version: Version) -> Parsed<Option<Deletion>> {
        let mut c = Cursor::new(bytes);
        let deletion = Deletion::of_partition(&mut c, version)?;
        assert_eq!(c.remaining(), 1, "{bytes:?}");
        Ok(deletion)
    }

    #[test]
    fn deletions_of_partitions() {
        let old = |ldt: i32, time: i64| [&ldt.to_be_bytes()[..], &time.to_be_bytes(), &[0]].concat();
        let new = |time: i64, ldt: u32| [&time.to_be_bytes()[..], &ldt.to_be_bytes(), &[0]].concat();
        let some = |time, ldt| Ok(Some(Deletion { time, ldt }));
        assert_eq!(partition(&old(i32::MAX, i64::MIN), Version::Nb), Ok(None));
        assert_eq!(partition(&old(7, -5), Version::Nb), some(-5, 7));
        assert_eq!(partition(&old(-7, 5), Version::Nb), some(5, INVALID_LDT));
        assert_eq!(partition(&[NO_DELETION, 0], Version::Oa), Ok(None));
        assert_eq!(partition(&new(5, 4_000_000_000), Version::Oa), some(5, 4_000_000_000));
        assert_eq!(partition(&new(5, u32::MAX), Version::Oa), some(5, INVALID_LDT));
        assert_eq!(partition(&new(-5, 7), Version::Oa), some(-5, 7));
        assert_eq!(partition(&new(5, 7)[..11], Version::Oa), Err(Fault::Short));
        assert_eq!(partition(&[], Version::Oa), Err(Fault::Short));
    }

    #[test]
    fn local_deletion_times_of_cells() {
        for (ldt, ttl, nb, oa) in [
            (1_800_000_000, 60, 1_800_000_000, 1_800_000_000),
            (-1_870_000_000, 60, INVALID_LDT, 2_424_967_296),
            (3_000_000_000, 60, 3_000_000_000, 3_000_000_000),
            (59, 60, INVALID_LDT, INVALID_LDT),
            (59, EXPIRED_TTL, 59, 59),
            (1 << 33, 0, INVALID_LDT, INVALID_LDT),
        ] {
            assert_eq!(cell_ldt(ldt, ttl, Version::Nb), nb, "nb {ldt} {ttl}");
            assert_eq!(cell_ldt(ldt, ttl, Version::Oa), oa, "oa {ldt} {ttl}");
        }
    }
}
