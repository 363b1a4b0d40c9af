//! Rows and markers as bytes: what [`super::super::rows`] and [`super::super::cells`] read.
//! Sources: `UnfilteredSerializer`, `Cell.Serializer`, `Columns.Serializer`.

use std::cmp::Ordering;

use repo_format::record::{Entries, Entry, EntryKind};

use crate::engine::cassandra::comparable::{self, encode_component};
use crate::engine::cassandra::rule::{self, has_local_shards};
use crate::engine::cassandra::schema::ColumnRole;
use crate::engine::cassandra::types::CqlType;
use crate::error::{Error, Kind, Result};
use crate::run::Record;

use super::super::cells::{self, Deletion};
use super::super::rows;
use super::clustering::{Bound, Components, put_bound_kind};
use super::facts::Facts;
use super::layout::{Column, Layout};
use super::put;
use super::times::{Of, Times};

/// A row or marker on its way, in buffers that are used again and again.
#[derive(Default)]
pub struct Encoder {
    /// Flags and clustering.
    head: Vec<u8>,
    /// Where in the head the clustering's values begin.
    values_at: usize,
    body: Vec<u8>,
    components: Components,
    entries: Vec<Entry<'static>>,
    /// Cells of dropped columns that were left out.
    pub hidden: u64,
}

/// What the files of one table are written with.
pub struct Context<'c> {
    /// Columns.
    pub layout: &'c Layout,
    /// Times.
    pub times: &'c mut Times,
    /// Counts what is written.
    pub facts: &'c mut Facts,
}

/// The parts of a record that do not belong to a column, and the cells.
struct Parts<'r> {
    deletion: Option<Deletion>,
    raw: Option<&'r [u8]>,
    live: Option<Entry<'r>>,
    /// By place in the file, which stands instead of the column's number.
    cells: Vec<Entry<'r>>,
    /// Some of the cells are deletions of a whole column.
    complex_deletions: bool,
}

impl Encoder {
    /// Takes a row. `false`: nothing of it is left to be written.
    pub fn row(&mut self, c: &mut Context<'_>, role: ColumnRole, record: &Record<'_>) -> Result<bool> {
        let cells = recycled(std::mem::take(&mut self.entries));
        let mut parts = self.parts(c, role, record, cells)?;
        let something = parts.deletion.is_some() || parts.live.is_some() || !parts.cells.is_empty();
        if something {
            self.put_row(c, role, record, &mut parts)?;
        }
        self.entries = recycled(parts.cells);
        Ok(something)
    }

    /// An empty static row, which stands in a partition that has none where the table has static columns.
    pub fn empty_static_row(&mut self, layout: &Layout) {
        self.head.clear();
        self.body.clear();
        self.head.extend_from_slice(&[rows::HAS_EXTENSION, rows::IS_STATIC]);
        put_subset(&mut self.body, layout.statics.len(), &[]);
    }

    /// Takes a marker at `key` ([`comparable::position`]'s second part), where `closed` ends and `opened` begins.
    pub fn marker(
        &mut self,
        c: &mut Context<'_>,
        bound: Bound,
        key: &[u8],
        closed: Option<Deletion>,
        opened: Option<Deletion>,
    ) -> Result<()> {
        self.head.clear();
        self.body.clear();
        self.components.of_key(key, &c.layout.clustering)?;
        self.head.push(rows::IS_MARKER);
        put_bound_kind(&mut self.head, bound, self.components.count());
        self.values_at = self.head.len();
        self.components.put(&mut self.head, &c.layout.clustering)?;
        for deletion in [closed, opened].into_iter().flatten() {
            c.times.put_deletion(&mut self.body, Some(deletion));
            c.facts.deletion(deletion);
        }
        Ok(())
    }

    /// Appends all of it. `previous`: bytes from the start of the one before to here.
    pub fn put(&self, out: &mut Vec<u8>, previous: u64) {
        out.extend_from_slice(&self.head);
        put::vint(out, (self.body.len() + put::vint_len(previous)) as u64);
        put::vint(out, previous);
        out.extend_from_slice(&self.body);
    }

    /// The clustering's values, or a bound's kind, number of components and values: as an index holds them behind a row's kind.
    pub fn prefix(&self) -> &[u8] {
        let from = if self.head.first() == Some(&rows::IS_MARKER) { 1 } else { self.values_at };
        self.head.get(from..).unwrap_or_default()
    }

    fn parts<'r>(
        &mut self,
        c: &mut Context<'_>,
        role: ColumnRole,
        record: &Record<'r>,
        cells: Vec<Entry<'r>>,
    ) -> Result<Parts<'r>> {
        let mut parts = Parts { deletion: None, raw: None, live: None, cells, complex_deletions: false };
        let columns = c.layout.columns(role);
        let (mut sorted, mut last, mut number) = (true, 0, 0);
        let mut entries = Entries::new(record.body);
        while let Some(entry) = entries.next_entry()? {
            if entry.column == 0 {
                match entry.kind {
                    EntryKind::Deletion => {
                        parts.deletion = Some(fitted(c.times, Deletion { time: entry.time, ldt: entry.ldt })?);
                    }
                    EntryKind::Raw => parts.raw = entry.value,
                    EntryKind::Cell => parts.live = Some(fitted_cell(c.times, entry)?),
                    EntryKind::Tombstone => return Err(Error::damaged("row", "a tombstone as its liveness")),
                }
                continue;
            }
            // What is behind relies on it: a column's deletion first, then its cells, in one piece.
            let before = std::mem::replace(&mut number, entry.column);
            let late = before > number || before == number && entry.kind == EntryKind::Deletion;
            if late || entry.kind == EntryKind::Raw {
                return Err(Error::damaged("row", "entries that are not in canonical order"));
            }
            let Some(place) = c.layout.place(role, entry.column)? else {
                self.hidden += 1;
                continue;
            };
            if columns[usize::from(place)].dropped_at.is_some_and(|dropped| entry.time <= dropped) {
                self.hidden += 1;
                continue;
            }
            let entry = Entry { column: u32::from(place), ..entry };
            sorted &= last <= place;
            last = place;
            if entry.kind == EntryKind::Deletion {
                parts.complex_deletions = true;
                let Deletion { time, ldt } = fitted(c.times, Deletion { time: entry.time, ldt: entry.ldt })?;
                parts.cells.push(Entry { time, ldt, ..entry });
            } else {
                parts.cells.push(fitted_cell(c.times, entry)?);
            }
        }
        if !sorted {
            parts.cells.sort_by_key(|entry| entry.column); // stable: elements stay in order
        }
        Ok(parts)
    }

    fn put_row(
        &mut self,
        c: &mut Context<'_>,
        role: ColumnRole,
        record: &Record<'_>,
        parts: &mut Parts<'_>,
    ) -> Result<()> {
        self.head.clear();
        self.body.clear();
        let columns = c.layout.columns(role);
        let mut flags = 0;
        if let Some(live) = &parts.live {
            flags |= rows::HAS_TIME;
            c.times.put_time(&mut self.body, live.time);
            if live.expires() {
                flags |= rows::HAS_TTL;
                c.times.put_ttl(&mut self.body, live.ttl);
                c.times.put_ldt(&mut self.body, live.ldt);
            }
            c.facts.liveness(live);
        }
        if let Some(deletion) = parts.deletion {
            flags |= rows::HAS_DELETION;
            c.times.put_deletion(&mut self.body, Some(deletion));
            c.facts.deletion(deletion);
        }
        if put_subset(&mut self.body, columns.len(), &parts.cells) {
            flags |= rows::HAS_ALL_COLUMNS;
        }
        if parts.complex_deletions {
            flags |= rows::HAS_COMPLEX_DELETION;
        }
        let (mut with_cells, live) = (0, parts.live);
        let mut rest = &mut parts.cells[..];
        while let Some(first) = rest.first() {
            let place = first.column;
            let n = rest.iter().take_while(|entry| entry.column == place).count();
            let (cells, after) = std::mem::take(&mut rest).split_at_mut(n);
            rest = after;
            let column = &columns[place as usize];
            let count = match cells {
                _ if column.complex => put_complex(&mut self.body, c, column, cells, (parts.complex_deletions, live))?,
                [cell] => {
                    put_cell(&mut self.body, c, column, cell, live.as_ref())?;
                    1
                }
                _ => return Err(Error::damaged(format_args!("column {}", column.name), "two cells in one")),
            };
            with_cells += u64::from(count > 0);
        }
        c.facts.row(with_cells);
        if role == ColumnRole::Static {
            self.head.extend_from_slice(&[flags | rows::HAS_EXTENSION, rows::IS_STATIC]);
            return Ok(());
        }
        self.head.push(flags);
        self.values_at = 1;
        match parts.raw {
            Some(raw) => self.components.of_raw(raw)?,
            None => {
                let (_, key) = comparable::position(&record.key[record.group_len..])?;
                self.components.of_key(key, &c.layout.clustering)?;
            }
        }
        if self.components.count() != c.layout.clustering.len() {
            return Err(Error::damaged("row", format_args!("a clustering of {} components", self.components.count())));
        }
        self.components.put(&mut self.head, &c.layout.clustering)
    }
}

/// The same vector, empty, for entries of another life; not one that a huge row made large.
fn recycled<'a>(mut entries: Vec<Entry<'_>>) -> Vec<Entry<'a>> {
    entries.clear();
    entries.shrink_to(1 << 12);
    entries.into_iter().map_while(|_| None).collect() // collects in place
}

fn fitted(times: &mut Times, Deletion { time, ldt }: Deletion) -> Result<Deletion> {
    Ok(Deletion { time, ldt: times.fit(ldt, Of::Deletion)? })
}

#[inline]
fn fitted_cell<'e>(times: &mut Times, cell: Entry<'e>) -> Result<Entry<'e>> {
    if cell.kind == EntryKind::Cell && cell.ttl == 0 {
        return Ok(cell);
    }
    if cell.ttl > i32::MAX as u32 {
        return Err(Error::damaged("cell", format_args!("a time to live of {} seconds", cell.ttl)));
    }
    Ok(Entry { ldt: times.fit(cell.ldt, Of::Cell)?, ..cell })
}

/// Appends which of `count` columns the cells belong to, unless it is all: then `true`.
fn put_subset(out: &mut Vec<u8>, count: usize, cells: &[Entry<'_>]) -> bool {
    let present = || {
        let mut last = None;
        cells.iter().map(|cell| cell.column as usize).filter(move |place| last.replace(*place) != Some(*place))
    };
    let n = present().count();
    if n == count {
        return true;
    }
    if count < 64 {
        let missing = present().fold((1_u64 << count) - 1, |missing, place| missing & !(1 << place));
        put::vint(out, missing);
        return false;
    }
    put::vint(out, (count - n) as u64);
    if n < count / 2 {
        present().for_each(|place| put::vint(out, place as u64));
    } else {
        let mut from = 0;
        for place in present().chain([count]) {
            (from..place).for_each(|missing| put::vint(out, missing as u64));
            from = place + 1;
        }
    }
    false
}

fn put_cell(
    out: &mut Vec<u8>,
    c: &mut Context<'_>,
    column: &Column,
    cell: &Entry<'_>,
    live: Option<&Entry<'_>>,
) -> Result<()> {
    let tombstone = cell.kind == EntryKind::Tombstone;
    let value = if tombstone { &[][..] } else { cell.value.unwrap_or_default() };
    let row_time = live.is_some_and(|live| live.time == cell.time);
    let row_ttl = cell.expires() && live.is_some_and(|live| (live.ttl, live.ldt) == (cell.ttl, cell.ldt));
    let mut flags = 0;
    for (flag, set) in [
        (cells::CELL_DELETED, tombstone),
        (cells::CELL_EXPIRING, cell.expires()),
        (cells::CELL_EMPTY, value.is_empty()),
        (cells::CELL_ROW_TIME, row_time),
        (cells::CELL_ROW_TTL, row_ttl),
    ] {
        flags |= if set { flag } else { 0 };
    }
    out.push(flags);
    if !row_time {
        c.times.put_time(out, cell.time);
    }
    if (tombstone || cell.expires()) && !row_ttl {
        c.times.put_ldt(out, cell.ldt);
        if cell.expires() {
            c.times.put_ttl(out, cell.ttl);
        }
    }
    if column.complex {
        put::vbytes(out, cell.element.unwrap_or_default());
    }
    c.facts.cell(cell);
    let wrong = |what: &dyn std::fmt::Display| Err(Error::damaged(format_args!("column {}", column.name), what));
    match column.fixed.filter(|_| !column.complex) {
        _ if value.is_empty() => {}
        None => put::vbytes(out, value),
        Some(fixed) if fixed == value.len() => out.extend_from_slice(value),
        Some(fixed) => return wrong(&format_args!("a {} of {} bytes, not {fixed}", column.cql, value.len())),
    }
    if column.cql.is_counter() && !value.is_empty() && has_local_shards(value)? {
        let message = "a counter in local or remote shards, from before 2.1";
        return Err(Error::new(Kind::Unsupported, format_args!("column {}", column.name), message));
    }
    Ok(())
}

/// Appends a column of several cells; its deletion, if it has one, is the first of `cells`. Returns the number of cells.
fn put_complex(
    out: &mut Vec<u8>,
    c: &mut Context<'_>,
    column: &Column,
    cells: &mut [Entry<'_>],
    parts: (bool, Option<Entry<'_>>),
) -> Result<usize> {
    let (complex_deletions, live) = parts;
    let (deletion, cells) = match cells.split_first_mut() {
        Some((first, rest)) if first.kind == EntryKind::Deletion => {
            (Some(Deletion { time: first.time, ldt: first.ldt }), rest)
        }
        _ => (None, cells),
    };
    if complex_deletions {
        c.times.put_deletion(out, deletion);
    }
    if let Some(deletion) = deletion {
        c.facts.deletion(deletion);
    }
    let cells = in_order(column, cells)?;
    put::vint(out, cells.len() as u64);
    for cell in cells {
        put_cell(out, c, column, cell, live.as_ref())?;
    }
    Ok(cells.len())
}

/// Brings cells from the order of their paths' bytes into that of the paths' type, and of paths that are equal there
/// (decimals 1.0 and 1.00) keeps the cell that Cassandra would.
fn in_order<'c, 'e>(column: &Column, cells: &'c mut [Entry<'e>]) -> Result<&'c [Entry<'e>]> {
    use CqlType::{Ascii, Blob, Date, Inet, Text, Time, Udt};
    let path = match column.cql.path_type() {
        Some(Ascii | Blob | Date | Inet | Text | Time) | None => return Ok(cells),
        Some(_) if matches!(column.cql, Udt { .. }) || cells.len() < 2 => return Ok(cells),
        Some(path) => path,
    };
    let mut keyed = Vec::with_capacity(cells.len());
    for cell in cells.iter() {
        let mut key = Vec::new();
        encode_component(&mut key, path, false, cell.element)?;
        keyed.push((key, *cell));
    }
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    keyed.dedup_by(|(again, second), (key, first)| {
        let equal = again == key;
        if equal && rule::resolve(&Entry { element: second.element, ..*first }, second) == Ordering::Less {
            *first = *second;
        }
        equal
    });
    let count = keyed.len();
    for (place, (_, cell)) in cells.iter_mut().zip(keyed) {
        *place = cell;
    }
    Ok(&cells[..count])
}
