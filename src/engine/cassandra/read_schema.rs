//! What the capture of a node says about the cluster: keyspaces, tables and types out of `system_schema`, the node and
//! its peers out of `system`. Columns: `SchemaKeyspace`, `SystemKeyspace`.

mod details;
pub(super) mod fuzzing;
mod node;
mod own;
mod rows;

use std::collections::{BTreeMap, HashMap};

use crate::engine::cassandra::capture::{Capture, CapturedTable};
pub use crate::engine::cassandra::schema::Keyspace;
use crate::engine::cassandra::schema::{Column, ColumnRole, Table, UserType, number_columns};
use crate::engine::cassandra::types::hex;
use crate::engine::cassandra::value::Parts;
use crate::error::{Error, Kind, Result};

pub use details::in_order as types_in_order;
pub use node::{Node, Peer, address, node_of, read_node, read_peers, read_this};
pub use own::schema as read_own_schema;
pub use rows::SystemRow;

/// All that a node's `system_schema` says. Equal on nodes that agree.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Schema {
    /// By name.
    pub keyspaces: Vec<Keyspace>,
    /// By keyspace and name; views are marked.
    pub tables: Vec<Table>,
    /// By the ids of tables that are known by a `schema.cql` alone, which cannot be read: why not.
    #[serde(default)]
    pub misread: BTreeMap<String, String>,
}

impl Schema {
    /// The live table whose id is `id` (32 hex digits).
    pub fn table(&self, id: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.id == id)
    }

    /// A keyspace by name.
    pub fn keyspace(&self, name: &str) -> Option<&Keyspace> {
        self.keyspaces.iter().find(|keyspace| keyspace.name == name)
    }
}

/// Reads the schema out of a capture: from `system_schema`, or where that was not captured from the tables'
/// `schema.cql`, which say nothing about keyspaces. `None` where there is neither. Errors are those of the files:
/// damaged, of an unknown version, and so on.
pub fn read_schema(capture: &Capture) -> Result<Option<Schema>> {
    if find(capture, "system_schema", "tables").is_none() {
        return read_own_schema(capture);
    }
    let rows = |name: &str| find(capture, "system_schema", name).map_or(Ok(Vec::new()), rows::read);
    let texts = own::texts(capture)?;
    let mut schema = from_rows(&rows, &texts)?;
    own::take_newer_types(&mut schema.tables, &texts);
    Ok(Some(schema))
}

/// A schema out of the tables of `system_schema`, whose rows `rows` gives by the table's name; `cql` holds `schema.cql` by
/// table id, where there is one.
pub fn from_rows(rows: &dyn Fn(&str) -> Result<Vec<SystemRow>>, cql: &BTreeMap<String, String>) -> Result<Schema> {
    let mut schema = Schema::default();
    for row in rows("keyspaces")? {
        let mut replication = text_map(row.value("replication"))?;
        if let Some(class) = replication.get_mut("class") {
            *class = class.rsplit('.').next().unwrap_or_default().to_string();
        }
        let durable_writes = row.value("durable_writes") != Some(&[0]);
        schema.keyspaces.push(Keyspace { name: text(&row.key)?, replication, durable_writes, ..Keyspace::default() });
    }
    let mut types: HashMap<String, Vec<UserType>> = HashMap::new();
    for row in rows("types")? {
        types.entry(text(&row.key)?).or_default().push(user_type(&row)?);
    }
    for types in types.values_mut() {
        details::in_order(types);
    }
    let mut columns: HashMap<(String, String), Vec<Column>> = HashMap::new();
    for row in rows("columns")? {
        columns.entry(table_name(&row)?).or_default().push(live_column(&row)?);
    }
    for row in rows("dropped_columns")? {
        let columns = columns.entry(table_name(&row)?).or_default();
        drop_column(columns, dropped_column(&row)?);
    }
    for (rows, view) in [(rows("tables")?, false), (rows("views")?, true)] {
        for row in rows {
            let names = table_name(&row)?;
            let columns = columns.remove(&names).unwrap_or_default();
            let types = types.get(&names.0).cloned().unwrap_or_default();
            schema.tables.push(table(&row, names, columns, types, view, cql)?);
        }
    }
    details::read(&mut schema, rows)?;
    schema.keyspaces.sort_by(|a, b| a.name.cmp(&b.name));
    schema.tables.sort_by(|a, b| (&a.keyspace, &a.name).cmp(&(&b.keyspace, &b.name)));
    Ok(schema)
}

/// The folder of a system table.
fn find<'a>(capture: &'a Capture, keyspace: &str, name: &str) -> Option<&'a CapturedTable> {
    capture.tables.iter().find(|table| table.keyspace == keyspace && table.name == name)
}

fn table_name(row: &SystemRow) -> Result<(String, String)> {
    Ok((text(&row.key)?, text(component(row, 0)?)?))
}

fn table(
    row: &SystemRow,
    (keyspace, name): (String, String),
    mut columns: Vec<Column>,
    types: Vec<UserType>,
    view: bool,
    cql: &BTreeMap<String, String>,
) -> Result<Table> {
    let id = hex(row.value("id").ok_or_else(|| missing(&name, "id"))?);
    let flags = text_list(row.value("flags"))?;
    let has = |flag: &str| flags.iter().any(|f| f == flag);
    number_columns(&mut columns, None);
    Ok(Table {
        options: details::options(row)?,
        compact: !view && (!has("compound") || has("dense") || has("super")),
        counter: has("counter") || columns.iter().any(|c| c.cql_type == "counter"),
        gc_grace: number(row.value("gc_grace_seconds")).unwrap_or(864_000),
        default_ttl: number(row.value("default_time_to_live")).unwrap_or(0),
        cql: cql.get(&id).cloned().unwrap_or_default(),
        keyspace,
        name,
        id,
        columns,
        types,
        view,
        ..Table::default()
    })
}

fn live_column(row: &SystemRow) -> Result<Column> {
    let name = text(component(row, 1)?)?;
    let field = |column: &str| row.value(column).map(text).transpose();
    let kind = field("kind")?.ok_or_else(|| missing(&name, "kind"))?;
    Ok(Column {
        number: 0,
        role: role(&kind, &name)?,
        position: number(row.value("position")).unwrap_or(0),
        descending: field("clustering_order")?.is_some_and(|order| order == "desc"),
        cql_type: field("type")?.ok_or_else(|| missing(&name, "type"))?,
        dropped_at: None,
        gone: false,
        name,
    })
}

fn dropped_column(row: &SystemRow) -> Result<Column> {
    let name = text(component(row, 1)?)?;
    let field = |column: &str| row.value(column).map(text).transpose();
    let time = row.value("dropped_time").and_then(|v| v.first_chunk::<8>());
    let time = i64::from_be_bytes(*time.ok_or_else(|| missing(&name, "dropped_time"))?);
    Ok(Column {
        number: 0,
        role: role(&field("kind")?.unwrap_or_else(|| "regular".to_string()), &name)?,
        position: 0,
        descending: false,
        cql_type: field("type")?.ok_or_else(|| missing(&name, "type"))?,
        dropped_at: Some(time.saturating_mul(1000)),
        gone: true,
        name,
    })
}

/// A dropped column that was added again is the live one, with cells hidden up to the drop; unless it came back as
/// static instead of regular or the reverse, which makes it another one.
fn drop_column(columns: &mut Vec<Column>, dropped: Column) {
    match columns.iter_mut().find(|c| c.name == dropped.name && c.role == dropped.role) {
        Some(live) => live.dropped_at = dropped.dropped_at,
        None => columns.push(dropped),
    }
}

fn role(kind: &str, name: &str) -> Result<ColumnRole> {
    match kind {
        "partition_key" => Ok(ColumnRole::PartitionKey),
        "clustering" => Ok(ColumnRole::Clustering),
        "static" => Ok(ColumnRole::Static),
        "regular" => Ok(ColumnRole::Regular),
        other => Err(Error::new(Kind::Unsupported, format_args!("column {name}"), format_args!("is of kind {other}"))),
    }
}

fn user_type(row: &SystemRow) -> Result<UserType> {
    let name = text(component(row, 0)?)?;
    let names = text_list(row.value("field_names"))?;
    let types = text_list(row.value("field_types"))?;
    if names.len() != types.len() {
        return Err(missing(&name, "type of a field"));
    }
    Ok(UserType { name, fields: names.into_iter().zip(types).collect() })
}

fn component(row: &SystemRow, i: usize) -> Result<&[u8]> {
    row.clustering.get(i).map(Vec::as_slice).ok_or_else(|| missing("a row", "clustering"))
}

fn missing(name: &str, what: &str) -> Error {
    Error::damaged(format_args!("system_schema: {name}"), format_args!("{what} is missing"))
}

fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::damaged("system table", "a text is not UTF-8"))
}

fn text_list(value: Option<&[u8]>) -> Result<Vec<String>> {
    let Some(value) = value.filter(|v| !v.is_empty()) else { return Ok(Vec::new()) };
    let mut parts = Parts::new(value);
    (0..parts.count(1)?).map(|_| text(parts.part()?.unwrap_or_default())).collect()
}

fn text_map(value: Option<&[u8]>) -> Result<BTreeMap<String, String>> {
    let Some(value) = value.filter(|v| !v.is_empty()) else { return Ok(BTreeMap::new()) };
    let mut parts = Parts::new(value);
    let count = parts.count(2)?;
    let mut pair = || Ok((text(parts.part()?.unwrap_or_default())?, text(parts.part()?.unwrap_or_default())?));
    (0..count).map(|_| pair()).collect()
}

/// A non-negative int.
fn number(value: Option<&[u8]>) -> Option<u32> {
    u32::try_from(i32::from_be_bytes(*value?.first_chunk::<4>()?)).ok()
}

#[cfg(test)]
mod tests;
