//! What of an SSTable's header the rows need, resolved once a file: lengths of values, numbers of columns.

use crate::engine::cassandra::comparable;
use crate::engine::cassandra::schema::{self, ColumnRole, Table};
use crate::engine::cassandra::types::{self, CqlType};
use crate::error::{Error, Kind, Result};

use super::agree::Agreed;
use super::name::{Revision, Version};
use super::stats::{Header, HeaderColumn};

/// Most static or regular columns in a file.
pub const COLUMNS_MAX: usize = 32 << 10;

/// A static or regular column of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Number in records.
    pub number: u32,
    /// Length of every value, where the type has one and the file leaves it out.
    pub fixed: Option<u32>,
    /// A collection or user-defined type with a cell for each element.
    pub complex: bool,
}

/// The static or the regular columns of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    /// In the order of the file.
    pub list: Vec<Column>,
    /// How that is related to the order of numbers, in which records have them.
    pub order: Order,
}

/// How the columns of a file come into the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Order {
    /// None is complex, and their numbers ascend: rows can be written as they are read.
    #[default]
    Same,
    /// Simple ones stand before complex ones, and the numbers of both ascend: rows are read at two places at once. For example, `a`, `c`
    /// and the set `b` stand in a file in this order.
    TwoRuns {
        /// Number of the simple ones.
        simple: usize,
        /// Places in the list, by number.
        by_number: Vec<u8>,
    },
    /// Any other: cells are sorted.
    Any,
}

impl Columns {
    /// In the order of the file.
    pub fn new(list: Vec<Column>) -> Columns {
        Columns { order: Order::of(&list), list }
    }
}

impl Order {
    fn of(list: &[Column]) -> Order {
        let ascends = |run: &[Column]| run.windows(2).all(|two| two[0].number < two[1].number);
        let simple = list.iter().take_while(|column| !column.complex).count();
        let (first, rest) = list.split_at(simple);
        let mut by_number: Vec<u8> = (0..=u8::MAX).take(list.len()).collect();
        by_number.sort_by_key(|place| list[usize::from(*place)].number);
        let number = |place: u8| list[usize::from(place)].number;
        let distinct = by_number.windows(2).all(|two| number(two[0]) < number(two[1]));
        match rest {
            _ if !ascends(first) || !ascends(rest) || rest.iter().any(|column| !column.complex) => Order::Any,
            [] => Order::Same,
            // From 64 columns on, rows have lists of their columns.
            _ if distinct && list.len() < 64 => Order::TwoRuns { simple, by_number },
            _ => Order::Any,
        }
    }
}

/// A clustering column of the file.
#[derive(Debug, Clone)]
pub struct ClusteringColumn {
    /// Its type.
    pub cql: CqlType,
    /// Clustering order DESC.
    pub descending: bool,
    /// Length of every value, where the type has one and the file leaves it out.
    pub fixed: Option<usize>,
}

impl ClusteringColumn {
    /// Of a type and whether its order is DESC.
    pub fn new((cql, descending): (CqlType, bool)) -> ClusteringColumn {
        ClusteringColumn { fixed: cql.fixed_len(), cql, descending }
    }
}

/// The clustering columns of the file.
#[derive(Debug, Clone)]
pub struct Clustering {
    /// In order.
    pub columns: Vec<ClusteringColumn>,
    /// The same, to make keys of.
    pub comparable: comparable::Clustering,
    /// The key gives every clustering back.
    pub exact: bool,
}

impl Clustering {
    /// Of types, each with whether its order is DESC.
    pub fn new(types: Vec<(CqlType, bool)>) -> Result<Clustering> {
        let exact = types.iter().all(|(cql, _)| comparable::is_byte_exact(cql));
        let comparable = comparable::Clustering::new(types.clone())?;
        Ok(Clustering { columns: types.into_iter().map(ClusteringColumn::new).collect(), comparable, exact })
    }
}

/// How the rows of one file are laid out.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Static columns.
    pub statics: Columns,
    /// Regular columns.
    pub regulars: Columns,
    /// Clustering columns.
    pub clustering: Clustering,
    /// How the file stores rows.
    pub version: Version,
    /// Microseconds; added to each write time.
    pub min_time: i64,
    /// Seconds; added to each local deletion time.
    pub min_ldt: i64,
    /// Seconds; added to each time to live.
    pub min_ttl: i64,
    /// Cells are counters.
    pub counter: bool,
}

impl Layout {
    /// For files with `header`, which is that of `file`, of `table`. Unsupported: a type or a column that is not known, or
    /// not what the schema says of it ([`super::agree`]).
    pub fn new(header: &Header, revision: Revision, table: &Table, file: &str) -> Result<Layout> {
        let agreed = Agreed::new(table, file);
        let clustering = Clustering::new(agreed.keys(header)?).map_err(|e| e.within(file))?;
        if header.statics.len().max(header.regulars.len()) > COLUMNS_MAX {
            return Err(Error::new(Kind::TooLarge, file, format_args!("has more than {COLUMNS_MAX} columns")));
        }
        let columns = |list: &[HeaderColumn], role| -> Result<Columns> {
            list.iter().map(|named| column(named, role, revision, &agreed)).collect::<Result<_>>().map(Columns::new)
        };
        Ok(Layout {
            statics: columns(&header.statics, ColumnRole::Static)?,
            regulars: columns(&header.regulars, ColumnRole::Regular)?,
            clustering,
            version: revision.rows(),
            min_time: header.min_time,
            min_ldt: header.min_ldt,
            min_ttl: header.min_ttl,
            counter: table.counter,
        })
    }
}

fn column(named: &HeaderColumn, role: ColumnRole, revision: Revision, agreed: &Agreed<'_>) -> Result<Column> {
    let file = agreed.file();
    let mut cql =
        types::parse_class(&named.marshal).map_err(|e| e.within(format_args!("{file}: column {}", named.name)))?;
    if let CqlType::Udt { frozen, .. } = &mut cql
        && revision < Revision::Na
    {
        // Headers of 3.x leave out that a user-defined type is frozen (`SSTableHeaderFix`).
        *frozen |= agreed.named(&named.name, role).is_some_and(|c| c.cql_type.starts_with("frozen<"));
    }
    let number = agreed.column(&named.name, role, &cql)?.number;
    let fixed = if cql.is_multi_cell() { None } else { cql.fixed_len().map(u32::try_from) };
    let fixed =
        fixed.transpose().map_err(|_| Error::new(Kind::TooLarge, file, "a vector's length passes the limit"))?;
    Ok(Column { number, fixed, complex: cql.is_multi_cell() })
}

/// A table as far as a header tells: key columns have no names there, user-defined types and dropped columns are not
/// known. Enough to read files whose schema nobody captured, and the schema itself.
pub fn table_of(header: &Header) -> Result<Table> {
    let mut columns = Vec::new();
    let key_column = |name, role, position, (cql, descending): (CqlType, bool)| schema::Column {
        name,
        number: 0,
        role,
        position,
        descending,
        cql_type: cql.to_string(),
        dropped_at: None,
        gone: false,
    };
    let key = types::parse_class(&header.key)?;
    let parts = if let CqlType::Composite(parts) = key { parts } else { vec![key] };
    for (i, part) in (0..).zip(parts) {
        columns.push(key_column(format!("key{i}"), ColumnRole::PartitionKey, i, (part, false)));
    }
    for (i, class) in (0..).zip(&header.clustering) {
        let typed = types::parse_clustering_class(class)?;
        columns.push(key_column(format!("column{i}"), ColumnRole::Clustering, i, typed));
    }
    let mut counter = false;
    let roles = [(ColumnRole::Static, &header.statics), (ColumnRole::Regular, &header.regulars)];
    let mut others: Vec<_> = roles.iter().flat_map(|(role, list)| list.iter().map(|c| (*role, c))).collect();
    others.sort_by(|a, b| a.1.name.as_bytes().cmp(b.1.name.as_bytes()));
    for (number, (role, named)) in (1..).zip(others) {
        let cql = types::parse_class(&named.marshal)?;
        counter |= cql.is_counter();
        columns.push(schema::Column { number, ..key_column(named.name.clone(), role, 0, (cql, false)) });
    }
    Ok(Table { columns, counter, ..Table::default() })
}
