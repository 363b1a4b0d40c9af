//! Records to rows, as `SELECT * FROM table` at a given time would return them (`SelectStatement.processPartition`).
//!
//! Records come merged: nothing in them is covered by a deletion any more. They are taken one at a time; besides the
//! row in the making only the partition's static columns are held.

mod assemble;

use std::fmt::Write;

use repo_format::record::{Class, Entries, Entry, EntryKind};

use super::comparable::{self, Clustering};
use super::json::{write_name, write_value};
use super::rule::is_live;
use super::schema::{Column, ColumnRole, Table};
use super::types::{CqlType, parse_cql};
use crate::error::{Error, Result};
use crate::run::Record;
use assemble::{Element, assemble};

/// The columns of a table in the order of `SELECT *`: partition key, clustering, then static and then regular ones,
/// each by name. Dropped ones are not among them.
#[derive(Debug, Clone)]
pub struct Layout {
    columns: Vec<(Column, CqlType)>,
    clustering: Clustering,
    keys: usize,
}

impl Layout {
    /// Of a table.
    pub fn of(table: &Table) -> Result<Layout> {
        let mut columns = Vec::new();
        for column in table.columns.iter().filter(|c| !c.gone) {
            let within = |e: Error| e.within(format!("table {}.{} column {}", table.keyspace, table.name, column.name));
            columns.push((column.clone(), parse_cql(&column.cql_type, &table.types).map_err(within)?));
        }
        columns.sort_by(|(a, _), (b, _)| {
            let by_position = |c: &Column| (role_order(c.role), if is_key(c.role) { c.position } else { 0 });
            by_position(a).cmp(&by_position(b)).then_with(|| a.name.cmp(&b.name))
        });
        let keys = columns.iter().filter(|(c, _)| c.role == ColumnRole::PartitionKey).count();
        Ok(Layout { columns, clustering: Clustering::of(table)?, keys })
    }

    /// Names, roles and types, in order.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = (&Column, &CqlType)> {
        self.columns.iter().map(|(c, t)| (c, t))
    }

    /// A column by its place.
    pub fn column(&self, place: usize) -> Option<(&Column, &CqlType)> {
        self.columns.get(place).map(|(c, t)| (c, t))
    }

    /// The place of a column by its name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|(c, _)| c.name == name)
    }

    /// How many columns make up the partition key.
    pub fn partition_keys(&self) -> usize {
        self.keys
    }

    /// The clustering columns.
    pub fn clustering(&self) -> &Clustering {
        &self.clustering
    }

    /// The values of a partition key's columns (`CompositeType.split`): the key itself where there is one column.
    pub fn split_partition_key<'k>(&self, key: &'k [u8]) -> Result<Vec<&'k [u8]>> {
        if self.keys == 1 {
            return Ok(vec![key]);
        }
        let bad = || Error::damaged("partition key", format!("{} bytes are not {} values", key.len(), self.keys));
        let mut parts = Vec::with_capacity(self.keys);
        let mut rest = key;
        while let Some((len, after)) = rest.split_first_chunk::<2>() {
            let (part, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*len))).ok_or_else(bad)?;
            let (_end, after) = after.split_first().ok_or_else(bad)?;
            parts.push(part);
            rest = after;
        }
        if parts.len() == self.keys && rest.is_empty() { Ok(parts) } else { Err(bad()) }
    }
}

fn role_order(role: ColumnRole) -> u8 {
    match role {
        ColumnRole::PartitionKey => 0,
        ColumnRole::Clustering => 1,
        ColumnRole::Static => 2,
        ColumnRole::Regular => 3,
    }
}

fn is_key(role: ColumnRole) -> bool {
    matches!(role, ColumnRole::PartitionKey | ColumnRole::Clustering)
}

/// What a row must satisfy to be shown: given the raw value of each column of the [`Layout`], null where it has none.
pub type Predicate<'p> = Box<dyn Fn(&[Option<&[u8]>]) -> Result<bool> + Send + 'p>;

/// What to write for each row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Show {
    /// `"writetime(c)"` of every column outside the key.
    pub write_times: bool,
    /// `"ttl(c)"`: the seconds left.
    pub ttls: bool,
}

/// Write time and seconds left of one cell.
type Times = (i64, Option<u32>);

/// A column of the row in the making.
#[derive(Default)]
struct Slot {
    value: Option<Vec<u8>>,
    /// One for each element of a column of several cells; `None` for a field that is null.
    times: Vec<Option<Times>>,
}

impl Slot {
    fn clear(&mut self) {
        self.value = None;
        self.times.clear();
    }

    fn set(&mut self, value: &[u8]) {
        self.value = Some(value.to_vec());
    }
}

/// Makes rows of records.
pub struct Rows<'p> {
    layout: Layout,
    now: u32,
    show: Show,
    predicate: Option<Predicate<'p>>,
    /// Place in the layout by column number; none for dropped columns.
    places: Vec<Option<usize>>,
    slots: Vec<Slot>,
    group: Vec<u8>,
    /// The partition has static columns and no row so far.
    only_static: bool,
}

impl<'p> Rows<'p> {
    /// Of a table, at `now` (seconds since 1970); rows that `predicate` rejects are left out.
    pub fn new(layout: Layout, now: u32, show: Show, predicate: Option<Predicate<'p>>) -> Rows<'p> {
        let last = layout.columns.iter().map(|(c, _)| c.number as usize).max().unwrap_or(0);
        let mut places = vec![None; last + 1];
        for (place, (column, _)) in layout.columns.iter().enumerate().filter(|(_, (c, _))| !is_key(c.role)) {
            places[column.number as usize] = Some(place);
        }
        let slots = layout.columns.iter().map(|_| Slot::default()).collect();
        Rows { layout, now, show, predicate, places, slots, group: Vec::new(), only_static: false }
    }

    /// Takes the next record; appends the rows that it completes to `out`, each a line of JSON.
    pub fn push(&mut self, record: &Record<'_>, out: &mut String) -> Result<()> {
        if record.group() != self.group {
            self.finish(out)?;
            self.begin(record)?;
        }
        match record.class {
            Class::Group | Class::Marker => Ok(()),
            Class::Static => {
                self.only_static = self.fill(record)?;
                Ok(())
            }
            Class::Row => {
                self.clear(ColumnRole::Clustering);
                self.clear(ColumnRole::Regular);
                if !self.fill(record)? {
                    return Ok(());
                }
                self.only_static = false;
                self.set_clustering(record)?;
                self.write(out)
            }
        }
    }

    /// The records have ended: a partition of static columns alone is a row, too.
    pub fn finish(&mut self, out: &mut String) -> Result<()> {
        if std::mem::take(&mut self.only_static) {
            self.clear(ColumnRole::Clustering);
            self.clear(ColumnRole::Regular);
            self.write(out)?;
        }
        Ok(())
    }

    fn begin(&mut self, record: &Record<'_>) -> Result<()> {
        self.group.clear();
        self.group.extend_from_slice(record.group());
        self.slots.iter_mut().for_each(Slot::clear);
        let key = comparable::split(record.key)?.partition_key;
        for (slot, part) in self.slots.iter_mut().zip(self.layout.split_partition_key(&key)?) {
            slot.set(part);
        }
        Ok(())
    }

    fn clear(&mut self, role: ColumnRole) {
        for (slot, (column, _)) in self.slots.iter_mut().zip(&self.layout.columns) {
            if column.role == role {
                slot.clear();
            }
        }
    }

    /// Fills the slots of what is live in a record; whether anything is, the row's liveness included.
    fn fill(&mut self, record: &Record<'_>) -> Result<bool> {
        let mut live = false;
        let mut elements: Vec<Element<'_>> = Vec::new();
        let mut current = None;
        for entry in Entries::new(record.body) {
            let entry = entry?;
            if !is_live(&entry, self.now) {
                continue;
            }
            if entry.column == 0 {
                live = true;
                continue;
            }
            let Some(place) = self.places.get(entry.column as usize).copied().flatten() else { continue };
            let (column, t) = &self.layout.columns[place];
            if column.dropped_at.is_some_and(|dropped| entry.time <= dropped) {
                continue;
            }
            live = true;
            let times = (entry.time, entry.expires().then(|| entry.ldt - self.now));
            if t.is_multi_cell() {
                if current != Some(place) {
                    self.assemble(current, &mut elements)?;
                    current = Some(place);
                }
                elements.push(element(&entry, times));
            } else {
                let slot = &mut self.slots[place];
                slot.set(entry.value.unwrap_or_default());
                slot.times.push(Some(times));
            }
        }
        self.assemble(current, &mut elements)?;
        Ok(live)
    }

    fn assemble(&mut self, place: Option<usize>, elements: &mut Vec<Element<'_>>) -> Result<()> {
        let Some(place) = place else { return Ok(()) };
        let (column, t) = &self.layout.columns[place];
        let slot = &mut self.slots[place];
        let value = assemble(t, elements, &mut slot.times).map_err(|e| e.within(format!("column {}", column.name)))?;
        slot.value = Some(value);
        elements.clear();
        Ok(())
    }

    fn set_clustering(&mut self, record: &Record<'_>) -> Result<()> {
        let first = self.layout.keys;
        if let Some(raw) = raw_clustering(record.body)? {
            let parts = comparable::raw_parts(raw)?;
            for (slot, part) in self.slots[first..].iter_mut().zip(&parts) {
                slot.value = part.map(<[u8]>::to_vec);
            }
            return Ok(());
        }
        let parts = self.layout.clustering.decode(comparable::split(record.key)?.clustering)?;
        for (slot, part) in self.slots[first..].iter_mut().zip(parts) {
            slot.value = part;
        }
        Ok(())
    }

    fn write(&self, out: &mut String) -> Result<()> {
        if let Some(predicate) = &self.predicate {
            let values: Vec<_> = self.slots.iter().map(|s| s.value.as_deref()).collect();
            if !predicate(&values)? {
                return Ok(());
            }
        }
        let start = out.len();
        for ((column, t), slot) in self.layout.columns.iter().zip(&self.slots) {
            out.push_str(if out.len() == start { "{" } else { ", " });
            write_name(out, &column.name);
            out.push_str(": ");
            match &slot.value {
                Some(value) => {
                    write_value(out, t, value).map_err(|e| e.within(format!("column {}", column.name)))?;
                }
                None => out.push_str("null"),
            }
        }
        for ((column, t), slot) in self.layout.columns.iter().zip(&self.slots).filter(|((c, _), _)| !is_key(c.role)) {
            if self.show.write_times {
                write_times(out, "writetime", column, t, slot, |(time, _)| Some(*time));
            }
            if self.show.ttls {
                write_times(out, "ttl", column, t, slot, |(_, left)| left.map(i64::from));
            }
        }
        out.push_str("}\n");
        Ok(())
    }
}

/// The clustering kept beside the key, in column 0 behind a deletion of the row.
fn raw_clustering(body: &[u8]) -> Result<Option<&[u8]>> {
    for entry in Entries::new(body) {
        let entry = entry?;
        match entry.kind {
            _ if entry.column > 0 => break,
            EntryKind::Raw => return Ok(entry.value),
            _ => {}
        }
    }
    Ok(None)
}

fn element<'e>(entry: &Entry<'e>, times: Times) -> Element<'e> {
    Element { path: entry.element.unwrap_or_default(), value: entry.value.unwrap_or_default(), times }
}

fn write_times(
    out: &mut String,
    function: &str,
    column: &Column,
    t: &CqlType,
    slot: &Slot,
    number: impl Fn(&Times) -> Option<i64>,
) {
    out.push_str(", ");
    write_name(out, &format!("{function}({})", column.name));
    out.push_str(": ");
    let list = t.is_multi_cell() && !slot.times.is_empty();
    if slot.times.is_empty() {
        out.push_str("null");
    }
    if list {
        out.push('[');
    }
    for (i, times) in slot.times.iter().enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        match times.as_ref().and_then(&number) {
            Some(n) => {
                let _ = write!(out, "{n}");
            }
            None => out.push_str("null"),
        }
    }
    if list {
        out.push(']');
    }
}

#[cfg(test)]
mod tests;
