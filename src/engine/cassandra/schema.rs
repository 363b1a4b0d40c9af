//! What a cluster says about its tables.

pub mod fits;
pub mod statements;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use super::types::UserType;
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

/// Gives numbers to static and regular columns, those dropped too: from 1 in the order of their names' bytes. Columns
/// that `earlier` knows (by name and role) keep their numbers, and new ones come after its greatest, so that records
/// stored before keep their meaning. Sorts: key columns first in key order, then by number.
pub fn number_columns(columns: &mut [Column], earlier: Option<&[Column]>) {
    let earlier = earlier.unwrap_or_default();
    let mut next = earlier.iter().map(|c| c.number).max().unwrap_or(0) + 1;
    columns.sort_by(|a, b| (a.name.as_bytes(), a.role).cmp(&(b.name.as_bytes(), b.role)));
    for column in columns.iter_mut() {
        if matches!(column.role, ColumnRole::PartitionKey | ColumnRole::Clustering) {
            column.number = 0;
        } else if let Some(known) = earlier.iter().find(|e| e.name == column.name && e.role == column.role) {
            column.number = known.number;
        } else {
            column.number = next;
            next += 1;
        }
    }
    columns.sort_by_key(|c| if c.number == 0 { (0, c.role, c.position) } else { (c.number, c.role, 0) });
}

/// Adds `t` to `types`, in place of what it extends there. `false`, and nothing changes, where the two contradict each other.
pub fn take_type(types: &mut Vec<UserType>, t: &UserType) -> bool {
    match types.iter_mut().find(|known| known.name == t.name) {
        None => types.push(t.clone()),
        Some(known) if known.extends(t) => {}
        Some(known) if t.extends(known) => known.clone_from(t),
        Some(_) => return false,
    }
    true
}

/// The value of an option: scalars as CQL writes them, without quotes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Setting {
    /// A text, a number, `true` or `false`.
    Text(String),
    /// Such as `compaction`; the blobs of `extensions` as `0x…`.
    Map(BTreeMap<String, String>),
}

/// The options of a table or view by name, as `CREATE TABLE … WITH` names them (`TableParams`). Empty where the capture
/// does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Options(pub BTreeMap<String, Setting>);

impl Options {
    /// An option that is a map.
    pub fn map(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        match self.0.get(name) {
            Some(Setting::Map(map)) => Some(map),
            _ => None,
        }
    }

    /// An option that is no map.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Setting::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// An option that is a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.text(name)?.parse().ok()
    }
}

/// A secondary index (`IndexMetadata`).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Index {
    /// Name in its keyspace.
    pub name: String,
    /// `COMPOSITES` or `KEYS` (built in), or `CUSTOM` (SASI, SAI and others: `class_name` among the options).
    pub kind: String,
    /// `target` (a column, `keys(c)`, …) and what the index's class takes.
    pub options: BTreeMap<String, String>,
}

/// A materialised view (`ViewMetadata`). Its rows are not kept: Cassandra builds them anew.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct View {
    /// Name in its keyspace.
    pub name: String,
    /// What stands behind WHERE.
    pub condition: String,
    /// `SELECT *`.
    pub all_columns: bool,
    /// As those of a table.
    pub columns: Vec<Column>,
    /// As those of a table.
    pub options: Options,
}

/// A trigger (`TriggerMetadata`).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Trigger {
    /// Name.
    pub name: String,
    /// Its Java class.
    pub class: String,
}

/// A user-defined function (`UDFunction`). Types in CQL syntax.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Function {
    /// Name in its keyspace.
    pub name: String,
    /// Names and types.
    pub arguments: Vec<(String, String)>,
    /// Of what it returns.
    pub returns: String,
    /// `java`, `javascript`.
    pub language: String,
    /// Source.
    pub body: String,
    /// Called when an argument is null, or not.
    pub called_on_null: bool,
}

/// A user-defined aggregate (`UDAggregate`). Types in CQL syntax.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Aggregate {
    /// Name in its keyspace.
    pub name: String,
    /// Types of the arguments.
    pub arguments: Vec<String>,
    /// Function of state and arguments.
    pub state_function: String,
    /// Type of the state.
    pub state: String,
    /// Function of the last state.
    pub final_function: Option<String>,
    /// First state, as a CQL literal.
    pub initial: Option<String>,
}

/// A keyspace.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Keyspace {
    /// Name.
    pub name: String,
    /// `class` (the last part of the strategy's name) and its options, such as `dc1` → `3`.
    pub replication: BTreeMap<String, String>,
    /// Whether writes go through the commit log.
    pub durable_writes: bool,
    /// User-defined functions.
    #[serde(default)]
    pub functions: Vec<Function>,
    /// User-defined aggregates.
    #[serde(default)]
    pub aggregates: Vec<Aggregate>,
}

impl Keyspace {
    /// One of which nothing but its name was captured.
    pub fn unknown(name: &str) -> Keyspace {
        Keyspace { name: name.to_owned(), durable_writes: true, ..Keyspace::default() }
    }
}

/// A table as the captured schema describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Table {
    /// Keyspace.
    pub keyspace: String,
    /// Name.
    pub name: String,
    /// Id, 32 hex digits as in the folder's name.
    pub id: String,
    /// All columns, dropped ones too. Key columns first in key order, then by number.
    pub columns: Vec<Column>,
    /// User-defined types of the keyspace, each behind those that it is made of.
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
    /// All that `CREATE TABLE … WITH` takes, `gc_grace_seconds` and `default_time_to_live` among them.
    #[serde(default)]
    pub options: Options,
    /// Made `WITH COMPACT STORAGE` and never freed of it.
    #[serde(default)]
    pub compact: bool,
    /// Secondary indexes.
    #[serde(default)]
    pub indexes: Vec<Index>,
    /// Materialised views of it.
    #[serde(default)]
    pub views: Vec<View>,
    /// Triggers.
    #[serde(default)]
    pub triggers: Vec<Trigger>,
    /// Masked columns, each with its function and arguments in CQL (`mask_inner(1, null)`).
    #[serde(default)]
    pub masks: BTreeMap<String, String>,
}

impl Table {
    /// As a snapshot holds it; `name` is that of its shard, for errors.
    pub fn read(description: &serde_json::Value, name: &str) -> Result<Table> {
        Table::deserialize(description).map_err(|e| Error::damaged(format!("snapshot: {name}"), e))
    }
}
