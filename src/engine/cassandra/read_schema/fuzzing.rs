//! Rows of system tables, out of any bytes.

use std::collections::BTreeMap;

use repo_format::wire::Reader;

use super::details;
use super::rows::SystemRow;
use super::{
    Node, component, drop_column, dropped_column, live_column, node, number_columns, table, table_name, text_map,
    user_type,
};

const COLUMNS: [&str; 36] = [
    "kind",
    "type",
    "position",
    "clustering_order",
    "dropped_time",
    "field_names",
    "field_types",
    "id",
    "flags",
    "gc_grace_seconds",
    "default_time_to_live",
    "replication",
    "tokens",
    "data_center",
    "rack",
    "release_version",
    "host_id",
    "schema_version",
    "bloom_filter_fp_chance",
    "compaction",
    "extensions",
    "options",
    "where_clause",
    "function_name",
    "function_argument_types",
    "function_argument_values",
    "function_argument_nulls",
    "argument_names",
    "return_type",
    "language",
    "body",
    "state_func",
    "state_type",
    "initcond",
    "cdc",
    "comment",
];

/// A row, taken for one of every system table: key, two clustering values, then cells, each the number of its column,
/// element and value. Gives what they say of a node.
pub(in super::super) fn system_rows(bytes: &[u8]) -> Option<Node> {
    let row = row(bytes).ok()?;
    let mut columns: Vec<_> = live_column(&row).into_iter().collect();
    if let Ok(dropped) = dropped_column(&row) {
        drop_column(&mut columns, dropped);
    }
    number_columns(&mut columns, None);
    let types = user_type(&row).into_iter().collect();
    if let Ok(names) = table_name(&row) {
        let _ = table(&row, names, columns, types, false, &BTreeMap::new());
    }
    let _ = (details::options(&row), details::index(&row), details::mask(&row));
    let _ = (details::function(&row), details::aggregate(&row));
    let _ = (node::peer(&row), text_map(row.value("replication")), component(&row, 1).is_ok());
    // As a live node answers: its tokens are one value.
    let rows = |_: &str| {
        let mut row = SystemRow { key: row.key.clone(), clustering: row.clustering.clone(), cells: row.cells.clone() };
        row.expand_set("tokens")?;
        Ok(vec![row])
    };
    node::node_of(&rows).ok()?
}

fn row(bytes: &[u8]) -> repo_format::Result<SystemRow> {
    let mut r = Reader::new(bytes, "row");
    let mut row = SystemRow { key: r.string()?.to_vec(), ..SystemRow::default() };
    for _ in 0..2 {
        row.clustering.push(r.string()?.to_vec());
    }
    while !r.is_empty() {
        let column = COLUMNS[usize::from(r.u8()?) % COLUMNS.len()].to_string();
        row.cells.insert((column, r.string()?.to_vec()), r.string()?.to_vec());
    }
    Ok(row)
}
