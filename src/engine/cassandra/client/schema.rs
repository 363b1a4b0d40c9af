//! The schema of a live cluster, in the same terms as a captured one.

use std::collections::HashMap;

use super::Client;
use crate::engine::cassandra::read_schema::{Schema, SystemRow, from_rows};
use crate::engine::cassandra::schema::statements::qualified;
use crate::engine::cassandra::schema::{ColumnRole, Table};
use crate::engine::cassandra::types::quote_name;
use crate::error::Result;

/// Tables of `system_schema` that are read, with the columns of their clustering.
const TABLES: [(&str, &[&str]); 6] = [
    ("keyspaces", &[]),
    ("types", &["type_name"]),
    ("columns", &["table_name", "column_name"]),
    ("dropped_columns", &["table_name", "column_name"]),
    ("tables", &["table_name"]),
    ("views", &["view_name"]),
];

impl Client {
    /// One keyspace with its types, tables and views; nothing where it does not exist.
    pub fn schema(&self, keyspace: &str) -> Result<Schema> {
        let rows = |name: &str| {
            let Some((_, clustering)) = TABLES.iter().find(|(table, _)| *table == name) else { return Ok(Vec::new()) };
            self.system_rows(name, clustering, keyspace)
        };
        from_rows(&rows, &HashMap::new())
    }

    /// Whether a read of the table `keyspace.name`, whose key is that of `table`, finds anything.
    pub fn holds_data(&self, table: &Table, (keyspace, name): (&str, &str)) -> Result<bool> {
        let key = table.columns.iter().find(|c| c.role == ColumnRole::PartitionKey);
        let key = key.map_or_else(|| "*".to_string(), |c| quote_name(&c.name));
        let text = format!("SELECT {key} FROM {} LIMIT 1", qualified(keyspace, name));
        Ok(!self.rows(&text, &[])?.rows.is_empty())
    }

    fn system_rows(&self, table: &str, clustering: &[&str], keyspace: &str) -> Result<Vec<SystemRow>> {
        let text = format!("SELECT * FROM system_schema.{table} WHERE keyspace_name = ?");
        let found = self.rows(&text, &[keyspace.as_bytes().to_vec()])?;
        let row = |values: Vec<Option<Vec<u8>>>| {
            let mut named: HashMap<String, Vec<u8>> =
                found.names.iter().cloned().zip(values).filter_map(|(name, value)| Some((name, value?))).collect();
            let mut take = |name: &str| named.remove(name).unwrap_or_default();
            let (key, clustering) = (take("keyspace_name"), clustering.iter().map(|name| take(name)).collect());
            SystemRow::new(key, clustering, named)
        };
        Ok(found.rows.into_iter().map(row).collect())
    }
}
