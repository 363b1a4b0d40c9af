//! How the rows of a table are laid out in the files that are written: the header's columns, and where each goes.

use crate::engine::cassandra::comparable;
use crate::engine::cassandra::schema::{ColumnRole, Table};
use crate::engine::cassandra::types::{CqlType, parse_cql};
use crate::error::{Error, Kind, Result};

use super::super::layout::{COLUMNS_MAX, ClusteringColumn};
use super::marshal;
use super::put;

/// A static or regular column of the files.
#[derive(Debug, Clone)]
pub struct Column {
    /// Number in records.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Its type.
    pub cql: CqlType,
    /// Length of every value, where the type has one and the file leaves it out.
    pub fixed: Option<usize>,
    /// A cell for each element.
    pub complex: bool,
    /// Cells written up to then, in microseconds, are hidden: the column was dropped then and added again.
    pub dropped_at: Option<i64>,
}

/// What a column's number stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Unknown,
    /// Its cells are not written.
    Dropped,
    At(ColumnRole, u16),
}

/// The columns of a table in the order of the files, and by their numbers.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The keyspace of user-defined types.
    keyspace: String,
    /// Type of the whole partition key.
    key: CqlType,
    /// Static columns: simple ones first, then complex ones, each by name (`ColumnMetadata.compareTo`).
    pub statics: Vec<Column>,
    /// Regular columns, ordered likewise.
    pub regulars: Vec<Column>,
    /// By the number of a column.
    places: Vec<Place>,
    /// Clustering columns.
    pub clustering: Vec<ClusteringColumn>,
    /// The table holds counters.
    pub counter: bool,
}

impl Layout {
    /// Of a table. Unsupported: a type that is not known; `TooLarge`: more than [`COLUMNS_MAX`] columns.
    pub fn of(table: &Table) -> Result<Layout> {
        let subject = || format!("table {}.{}", table.keyspace, table.name);
        let parse = |c: &crate::engine::cassandra::schema::Column| {
            parse_cql(&c.cql_type, &table.types).map_err(|e| e.within(format!("{} column {}", subject(), c.name)))
        };
        let mut keys: Vec<_> = table.columns.iter().filter(|c| c.role == ColumnRole::PartitionKey).collect();
        keys.sort_by_key(|c| c.position);
        let mut keys = keys.into_iter().map(parse).collect::<Result<Vec<_>>>()?;
        let key = if keys.len() == 1 { keys.remove(0) } else { CqlType::Composite(keys) };
        let clustering = comparable::Clustering::of(table).map_err(|e| e.within(subject()))?;
        let clustered = |(cql, descending): &(CqlType, bool)| {
            let (cql, descending) = (cql.clone(), *descending);
            ClusteringColumn { fixed: cql.fixed_len(), cql, descending }
        };
        let clustering = clustering.columns().iter().map(clustered).collect();
        let columns = |role| -> Result<Vec<Column>> {
            let mut columns = Vec::new();
            for c in table.columns.iter().filter(|c| c.role == role && !c.gone) {
                let cql = parse(c)?;
                let (complex, fixed) = (cql.is_multi_cell(), cql.fixed_len());
                let (name, dropped_at) = (c.name.clone(), c.dropped_at);
                columns.push(Column { number: c.number, name, fixed, complex, dropped_at, cql });
            }
            columns.sort_by(|a, b| (a.complex, a.name.as_bytes()).cmp(&(b.complex, b.name.as_bytes())));
            Ok(columns)
        };
        let (statics, regulars) = (columns(ColumnRole::Static)?, columns(ColumnRole::Regular)?);
        if statics.len().max(regulars.len()) > COLUMNS_MAX {
            return Err(Error::new(Kind::TooLarge, subject(), format_args!("has more than {COLUMNS_MAX} columns")));
        }
        let numbers = table.columns.iter().map(|c| c.number as usize).max().unwrap_or(0);
        if numbers > 4 * COLUMNS_MAX {
            return Err(Error::new(Kind::TooLarge, subject(), format_args!("column number {numbers}")));
        }
        let mut places = vec![Place::Unknown; numbers + 1];
        for column in table.columns.iter().filter(|c| c.number != 0 && c.gone) {
            places[column.number as usize] = Place::Dropped;
        }
        for (role, columns) in [(ColumnRole::Static, &statics), (ColumnRole::Regular, &regulars)] {
            for (i, column) in columns.iter().enumerate() {
                places[column.number as usize] = Place::At(role, i as u16);
            }
        }
        let (keyspace, counter) = (table.keyspace.clone(), table.counter);
        Ok(Layout { keyspace, key, statics, regulars, places, clustering, counter })
    }

    /// Static or regular columns.
    pub fn columns(&self, role: ColumnRole) -> &[Column] {
        if role == ColumnRole::Static { &self.statics } else { &self.regulars }
    }

    /// Where among the columns of `role` the column of that number stands. `None`: it was dropped, or dropped and added
    /// again in the other role. Damaged: the table has no such column.
    #[inline]
    pub fn place(&self, role: ColumnRole, number: u32) -> Result<Option<u16>> {
        match self.places.get(number as usize).copied().unwrap_or(Place::Unknown) {
            Place::At(found, place) => Ok((found == role).then_some(place)),
            Place::Dropped => Ok(None),
            Place::Unknown => {
                let subject = format_args!("column number {number}");
                Err(Error::damaged(subject, "the description of the table has none of that number"))
            }
        }
    }

    /// Appends the classes of the clustering columns, as a list.
    pub fn put_clustering_types(&self, out: &mut Vec<u8>) {
        put::vint(out, self.clustering.len() as u64);
        for column in &self.clustering {
            let class = marshal::clustering_class(&column.cql, column.descending, &self.keyspace);
            put::vbytes(out, class.as_bytes());
        }
    }

    /// Appends the types of all columns, as the header holds them (`SerializationHeader.Serializer`).
    pub fn put_types(&self, out: &mut Vec<u8>) {
        put::vbytes(out, marshal::class(&self.key, &self.keyspace).as_bytes());
        self.put_clustering_types(out);
        for columns in [&self.statics, &self.regulars] {
            put::vint(out, columns.len() as u64);
            for column in columns {
                put::vbytes(out, column.name.as_bytes());
                put::vbytes(out, marshal::class(&column.cql, &self.keyspace).as_bytes());
            }
        }
    }
}
