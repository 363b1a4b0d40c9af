//! Records to rows, as `SELECT * FROM table` at a given time would return them (`SelectStatement.processPartition`).
//!
//! Records come merged: nothing in them is covered by a deletion any more. They are taken one at a time; besides the
//! row in the making only the partition's static columns are held.

mod assemble;
mod json;
mod row;

use repo_format::record::Class;

use super::comparable::Clustering;
use super::json::{write_name, write_value};
use super::schema::{Column, ColumnRole, Table};
use super::text::write_text;
use super::types::{CqlType, parse_cql};
use crate::engine::{self, Of, RowSink, Rows as _, Show};
use crate::error::{Error, Result};
use crate::run::Record;
pub use row::Row;

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
        let of_table = |e: Error| e.within(format!("table {}.{}", table.keyspace, table.name));
        Ok(Layout { columns, clustering: Clustering::of(table).map_err(of_table)?, keys })
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

fn of(role: ColumnRole) -> Of {
    match role {
        ColumnRole::PartitionKey | ColumnRole::Clustering => Of::Key,
        ColumnRole::Static => Of::Shared,
        ColumnRole::Regular => Of::Own,
    }
}

fn is_key(role: ColumnRole) -> bool {
    matches!(role, ColumnRole::PartitionKey | ColumnRole::Clustering)
}

/// What a row must satisfy to be shown: given the raw value of each column of the [`Layout`], null where it has none.
pub type Predicate<'p> = Box<dyn Fn(&[Option<&[u8]>]) -> Result<bool> + Send + 'p>;

/// What stands at one place of a row.
#[derive(Debug, Clone, Copy)]
enum Cell {
    /// The value of a column, by its place in the layout.
    Value(usize),
    /// `writetime(c)`.
    WriteTime(usize),
    /// `ttl(c)`: the seconds left.
    Ttl(usize),
}

/// What rows have: the columns of the layout, and what is shown of each of those outside the key.
fn cells(layout: &Layout, show: Show) -> Vec<Cell> {
    let mut cells: Vec<Cell> = (0..layout.columns.len()).map(Cell::Value).collect();
    for place in (0..layout.columns.len()).filter(|place| !is_key(layout.columns[*place].0.role)) {
        cells.extend(show.write_times.then_some(Cell::WriteTime(place)));
        cells.extend(show.ttls.then_some(Cell::Ttl(place)));
    }
    cells
}

/// The same by name.
pub fn columns(layout: &Layout, show: Show) -> Vec<engine::Column> {
    let column = |cell| {
        let name = |place: usize| layout.columns[place].0.name.as_str();
        let (name, of, kind) = match cell {
            Cell::Value(place) => {
                let (column, t) = &layout.columns[place];
                (column.name.clone(), of(column.role), t.to_string())
            }
            Cell::WriteTime(place) => (format!("writetime({})", name(place)), Of::Written(place), "bigint".to_owned()),
            Cell::Ttl(place) => (format!("ttl({})", name(place)), Of::Left(place), "int".to_owned()),
        };
        let mut json = String::new();
        write_name(&mut json, &name);
        engine::Column { name, json, of, kind }
    };
    cells(layout, show).into_iter().map(column).collect()
}

/// Makes rows of records.
pub struct Rows<'p> {
    row: Row,
    cells: Vec<Cell>,
    predicate: Option<Predicate<'p>>,
    /// The partition has static columns and no row so far.
    only_static: bool,
}

impl<'p> Rows<'p> {
    /// Of a table at `now` (seconds since 1970); rows that `predicate` rejects are left out.
    pub fn new(layout: Layout, now: u32, show: Show, predicate: Option<Predicate<'p>>) -> Rows<'p> {
        let cells = cells(&layout, show);
        Rows { row: Row::new(layout, now), cells, predicate, only_static: false }
    }

    fn take(&mut self, record: &Record<'_>, to: &mut dyn RowSink) -> Result<()> {
        if !self.row.is_in_partition(record) {
            self.finish(to)?;
            self.row.begin(record)?;
        }
        match record.class {
            Class::Group | Class::Marker => Ok(()),
            Class::Static => {
                self.only_static = self.row.fill(record)?;
                Ok(())
            }
            Class::Row => {
                if !self.row.fill(record)? {
                    return Ok(());
                }
                self.only_static = false;
                self.give(to)
            }
        }
    }

    fn give(&self, to: &mut dyn RowSink) -> Result<()> {
        if let Some(predicate) = &self.predicate
            && !predicate(&self.row.values())?
        {
            return Ok(());
        }
        to.row(&Whole { row: &self.row, cells: &self.cells })
    }
}

impl engine::Rows for Rows<'_> {
    fn push(&mut self, record: &Record<'_>, to: &mut dyn RowSink) -> Result<()> {
        self.take(record, to).map_err(|e| e.within(self.row.key_or_bytes(record.group())))
    }

    /// A partition of static columns alone is a row, too.
    fn finish(&mut self, to: &mut dyn RowSink) -> Result<()> {
        if std::mem::take(&mut self.only_static) {
            self.row.clear_row();
            self.give(to)?;
        }
        Ok(())
    }
}

/// A row with what is shown of it.
struct Whole<'a> {
    row: &'a Row,
    cells: &'a [Cell],
}

impl engine::Row for Whole<'_> {
    fn json(&self, place: usize, out: &mut String) -> Result<bool> {
        match self.cells.get(place) {
            Some(Cell::Value(place)) => self.row.value(*place, out, write_value),
            Some(cell) => Ok(self.row.time(*cell, "null", out)),
            None => Ok(false),
        }
    }

    /// As `COPY TO` of cqlsh writes it ([`super::text`]).
    fn text(&self, place: usize, out: &mut String) -> Result<bool> {
        match self.cells.get(place) {
            Some(Cell::Value(place)) => self.row.value(*place, out, write_text),
            Some(cell) => Ok(self.row.time(*cell, "", out)),
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests;
