//! What a cluster says about its tables.

use serde::Deserialize;

use crate::error::{Error, Result};

/// The place of a column in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnRole {
    /// Part of the partition key.
    PartitionKey,
    /// Part of the clustering.
    Clustering,
    /// One value a partition.
    Static,
    /// One value a row.
    Regular,
}

/// A column. `cql_type` is written as in CQL (`frozen<map<text, int>>`); UDTs appear by name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Column {
    /// Name, without quotes.
    pub name: String,
    /// Number in stored records: from 1 for static and regular columns; 0 for key columns, which are not stored as cells.
    pub number: u32,
    /// Where it stands.
    pub role: ColumnRole,
    /// Position among the columns of its role that make up a key.
    pub position: u32,
    /// Clustering order DESC.
    pub descending: bool,
    /// Type in CQL syntax.
    pub cql_type: String,
    /// Microseconds: cells written up to then are hidden, because the column was dropped then.
    pub dropped_at: Option<i64>,
    /// The column is no longer part of the table (dropped and not added again).
    pub gone: bool,
}

/// A user-defined type.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UserType {
    /// Name in its keyspace.
    pub name: String,
    /// Field names and CQL types, in order.
    pub fields: Vec<(String, String)>,
}

/// A table as the captured schema describes it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Table {
    /// Keyspace.
    pub keyspace: String,
    /// Name.
    pub name: String,
    /// Id, 32 hex digits as in the folder's name.
    pub id: String,
    /// All columns, dropped ones too. Key columns first in key order, then by number.
    pub columns: Vec<Column>,
    /// User-defined types of the keyspace.
    pub types: Vec<UserType>,
    /// Whether its cells are counters.
    pub counter: bool,
    /// Materialised view: kept as schema only.
    pub view: bool,
    /// Seconds.
    pub gc_grace: u32,
    /// Seconds; 0 none.
    pub default_ttl: u32,
    /// `CREATE TABLE …` as captured, where there is a `schema.cql`; empty otherwise.
    pub cql: String,
}

impl Table {
    /// As a snapshot holds it; `name` is that of its shard, for errors.
    pub fn read(description: &serde_json::Value, name: &str) -> Result<Table> {
        Table::deserialize(description).map_err(|e| Error::damaged(format!("snapshot: {name}"), e))
    }
}
