//! The schema of a live cluster, in the same terms as a captured one.

use std::collections::{BTreeMap, HashMap};

use super::{Client, Rows};
use crate::engine::cassandra::read_schema::{Schema, SystemRow, from_rows};
use crate::engine::cassandra::schema::statements::qualified;
use crate::engine::cassandra::schema::{ColumnRole, Table};
use crate::engine::cassandra::types::{hex, quote_name};
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
        let keyspace = literal(keyspace);
        let ask = |(table, _)| {
            let text = format!("SELECT * FROM system_schema.{table} WHERE keyspace_name = {keyspace}");
            (text, Vec::new())
        };
        let found = self.all_rows(TABLES.into_iter().map(ask))?;
        let rows = |name: &str| {
            let of_table = TABLES.iter().zip(&found).find(|((table, _), _)| *table == name);
            Ok(of_table.map_or(Vec::new(), |((_, clustering), rows)| system_rows(rows, clustering)))
        };
        from_rows(&rows, &BTreeMap::new())
    }

    /// The id of a table, 32 hex digits; `None` where there is no such table.
    pub fn table_id(&self, (keyspace, name): (&str, &str)) -> Result<Option<String>> {
        let (keyspace, name) = (literal(keyspace), literal(name));
        let text =
            format!("SELECT id FROM system_schema.tables WHERE keyspace_name = {keyspace} AND table_name = {name}");
        let found = self.rows(&text, &[])?;
        Ok(found.rows.first().and_then(|row| row.first()?.as_deref()).map(hex))
    }

    /// Whether a read of the table `keyspace.name`, whose key is that of `table`, finds anything.
    pub fn holds_data(&self, table: &Table, (keyspace, name): (&str, &str)) -> Result<bool> {
        let key = table.columns.iter().find(|c| c.role == ColumnRole::PartitionKey);
        let key = key.map_or_else(|| "*".to_string(), |c| quote_name(&c.name));
        let text = format!("SELECT {key} FROM {} LIMIT 1", qualified(keyspace, name));
        Ok(!self.rows(&text, &[])?.rows.is_empty())
    }
}

fn system_rows(found: &Rows, clustering: &[&str]) -> Vec<SystemRow> {
    let row = |values: &Vec<Option<Vec<u8>>>| {
        let named = found.names.iter().cloned().zip(values.iter().cloned());
        let mut named: HashMap<String, Vec<u8>> = named.filter_map(|(name, value)| Some((name, value?))).collect();
        let mut take = |name: &str| named.remove(name).unwrap_or_default();
        let (key, clustering) = (take("keyspace_name"), clustering.iter().map(|name| take(name)).collect());
        SystemRow::new(key, clustering, named)
    };
    found.rows.iter().map(row).collect()
}

/// A text as CQL writes it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
