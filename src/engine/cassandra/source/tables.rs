//! Which tables are decoded, and which files are kept as they are.

use std::collections::BTreeMap;

use repo_format::leaf::Layout;

use super::{Captured, Cluster};
use crate::engine::cassandra::capture::CapturedTable;
use crate::engine::cassandra::read_schema::number_columns;
use crate::engine::cassandra::schema::{ColumnRole, Table};
use crate::engine::{Described, Kept, Shard};
use crate::error::{Error, Kind, Result};

/// Keyspaces in which every node has something else: kept as files, for reference and for restoring a node as it was.
pub const LOCAL: [&str; 4] = ["system", "system_schema", "system_views", "system_virtual_schema"];

/// What to do about schemas that disagree.
pub const DISAGREE: &str = "wait until `nodetool describecluster` shows one schema version, then capture again";

/// The tables of all captures together.
pub struct Tables {
    by_id: BTreeMap<String, Table>,
    /// One for each table that is decoded.
    pub shards: Vec<Shard>,
    /// Files that are not decoded.
    pub kept: Vec<Kept>,
}

impl Tables {
    /// Sorts out every folder of every capture.
    pub fn read(captured: &[Captured], cluster: &Cluster, before: &Described) -> Result<Tables> {
        let mut by_id = agreed(cluster)?;
        for table in by_id.values_mut() {
            if let Some(earlier) = earlier(table, before)? {
                number_columns(&mut table.columns, Some(&earlier.columns));
            }
        }
        let mut tables = Tables { by_id, shards: Vec::new(), kept: Vec::new() };
        for (node, c) in captured.iter().enumerate() {
            for table in &c.capture.tables {
                tables.keep(node, table);
            }
        }
        let decoded = |t: &&Table| !LOCAL.contains(&t.keyspace.as_str()) && !t.view;
        let mut shards: Vec<Shard> = tables.by_id.values().filter(decoded).map(|t| shard(t, cluster)).collect();
        shards.sort_by(|a, b| a.name.cmp(&b.name));
        tables.shards = shards;
        Ok(tables)
    }

    /// A table by its id.
    pub fn get(&self, id: &str) -> Option<&Table> {
        self.by_id.get(id)
    }

    /// Whether the files of a table are decoded.
    pub fn is_decoded(&self, id: &str) -> bool {
        self.shards.iter().any(|s| s.id == id)
    }

    /// Notes the files of a table's folder that are kept as they are.
    fn keep(&mut self, node: usize, table: &CapturedTable) {
        let (reason, problem) = match self.by_id.get(&table.id) {
            _ if LOCAL.contains(&table.keyspace.as_str()) => (Some("a table of the node itself"), false),
            Some(t) if t.view => (None, false),
            Some(_) => (None, false),
            None => (Some("not in the captured schema"), !table.sstables.is_empty()),
        };
        let folder = format!("{}/{}-{}", table.keyspace, table.name, table.id);
        let mut add = |path: &std::path::Path, reason: &str, problem| {
            let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let (path, name) = (path.to_path_buf(), format!("{folder}/{file}"));
            self.kept.push(Kept { node, path, name, reason: reason.to_owned(), problem });
        };
        if let Some(path) = &table.schema_cql {
            add(path, "the schema as captured", false);
        }
        if let Some(reason) = reason {
            for (_, file) in table.sstables.iter().flat_map(|s| &s.files) {
                add(&file.path, reason, problem);
            }
        }
        for file in &table.unknown {
            add(&file.path, "a file of unknown purpose", false);
        }
    }
}

/// The tables of all nodes' schemas, which must agree where they overlap.
fn agreed(cluster: &Cluster) -> Result<BTreeMap<String, Table>> {
    let mut by_id: BTreeMap<String, Table> = BTreeMap::new();
    for table in cluster.schemas.iter().flat_map(|s| &s.tables) {
        match by_id.get(&table.id) {
            Some(other) if (&other.columns, &other.types) != (&table.columns, &table.types) => {
                let subject = format!("table {}.{}", table.keyspace, table.name);
                return Err(Error::new(Kind::Usage, subject, "two nodes describe it differently").hint(DISAGREE));
            }
            Some(_) => {}
            None => drop(by_id.insert(table.id.clone(), table.clone())),
        }
    }
    Ok(by_id)
}

/// The table as the snapshot before describes it.
fn earlier(table: &Table, before: &Described) -> Result<Option<Table>> {
    let Some(description) = before.get(&table.id) else { return Ok(None) };
    let read = serde_json::from_value(description.clone());
    read.map(Some).map_err(|e| Error::damaged(format!("snapshot: {}.{}", table.keyspace, table.name), e))
}

fn shard(table: &Table, cluster: &Cluster) -> Shard {
    Shard {
        name: format!("{}.{}", table.keyspace, table.name),
        id: table.id.clone(),
        grace: table.gc_grace,
        layout: layout(table),
        unread: cluster.unread.get(&table.keyspace).cloned().unwrap_or_default(),
        ring_known: cluster.ring_known(&table.keyspace),
    }
}

/// Numbers compress better byte by byte than one after another.
fn layout(table: &Table) -> Layout {
    const NUMBERS: [&str; 10] =
        ["int", "bigint", "smallint", "double", "float", "timestamp", "date", "time", "counter", "timeuuid"];
    let is_number = |t: &str| NUMBERS.contains(&t);
    let mut keys = table.columns.iter().filter(|c| c.role == ColumnRole::PartitionKey);
    let numeric_groups = matches!((keys.next(), keys.next()), (Some(key), None) if is_number(&key.cql_type));
    let numeric = table.columns.iter().filter(|c| c.number != 0 && is_number(&c.cql_type)).map(|c| c.number).collect();
    Layout { tokens: true, numeric_groups, numeric }
}
