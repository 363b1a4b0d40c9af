//! Records to rows, as `SELECT * FROM table` at a given time would return them (`SelectStatement.processPartition`).
//!
//! Records come merged: nothing in them is covered by a deletion any more. They are taken one at a time; besides the
//! row in the making only the partition's static columns are held.

mod assemble;
mod csv;
mod json;
mod row;

use repo_format::record::Class;

use super::comparable::Clustering;
use super::schema::{Column, ColumnRole, Table};
use super::types::{CqlType, parse_cql};
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

fn is_key(role: ColumnRole) -> bool {
    matches!(role, ColumnRole::PartitionKey | ColumnRole::Clustering)
}

/// What a row must satisfy to be shown: given the raw value of each column of the [`Layout`], null where it has none.
pub type Predicate<'p> = Box<dyn Fn(&[Option<&[u8]>]) -> Result<bool> + Send + 'p>;

/// The text form of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// As `SELECT JSON`, an object a line.
    #[default]
    Json,
    /// As `COPY TO` of cqlsh ([`super::text`]), in the quotes of RFC 4180.
    Csv,
}

/// What to write for each row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Show {
    /// In which form.
    pub form: Form,
    /// `"writetime(c)"` of every column outside the key.
    pub write_times: bool,
    /// `"ttl(c)"`: the seconds left.
    pub ttls: bool,
}

/// Makes rows of records.
pub struct Rows<'p> {
    row: Row,
    show: Show,
    predicate: Option<Predicate<'p>>,
    /// The partition has static columns and no row so far.
    only_static: bool,
    count: u64,
}

impl<'p> Rows<'p> {
    /// Of a table at `now` (seconds since 1970); rows that `predicate` rejects are left out.
    pub fn new(layout: Layout, now: u32, show: Show, predicate: Option<Predicate<'p>>) -> Rows<'p> {
        Rows { row: Row::new(layout, now), show, predicate, only_static: false, count: 0 }
    }

    /// Appends what stands before all rows: for CSV the names of the columns.
    pub fn header(&self, out: &mut String) {
        match self.show.form {
            Form::Json => {}
            Form::Csv => csv::header(out, &self.row.layout, self.show),
        }
    }

    /// Rows written so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes the next record; appends the rows that it completes to `out`, each with the end of its line. Errors name the key.
    pub fn push(&mut self, record: &Record<'_>, out: &mut String) -> Result<()> {
        self.take(record, out).map_err(|e| e.within(self.row.key_or_bytes(record.group())))
    }

    fn take(&mut self, record: &Record<'_>, out: &mut String) -> Result<()> {
        if !self.row.is_in_partition(record) {
            self.finish(out)?;
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
                self.write(out)
            }
        }
    }

    /// The records have ended: a partition of static columns alone is a row, too.
    pub fn finish(&mut self, out: &mut String) -> Result<()> {
        if std::mem::take(&mut self.only_static) {
            self.row.clear_row();
            self.write(out)?;
        }
        Ok(())
    }

    fn write(&mut self, out: &mut String) -> Result<()> {
        if let Some(predicate) = &self.predicate
            && !predicate(&self.row.values())?
        {
            return Ok(());
        }
        self.count += 1;
        match self.show.form {
            Form::Json => json::write(out, &self.row, self.show),
            Form::Csv => csv::write(out, &self.row, self.show),
        }
    }
}

#[cfg(test)]
mod tests;
