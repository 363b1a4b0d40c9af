//! Whether a table that is there can take what was captured of another.

use std::collections::BTreeMap;

use super::statements::{qualified, quote_text, used_types};
use super::{Column, ColumnRole, Table};
use crate::error::{Error, Kind, Result};

/// What stands in the way, each in a few words; nothing where rows of `captured` can be written to `there`.
pub fn misfits(captured: &Table, there: &Table) -> Result<Vec<String>> {
    let mut found = Vec::new();
    if there.view {
        found.push("it is a materialised view".to_string());
    }
    if there.counter != captured.counter {
        found.push(format!("it {} counters", if there.counter { "holds" } else { "does not hold" }));
    }
    let live = |table: &'_ Table| -> Vec<Column> { table.columns.iter().filter(|c| !c.gone).cloned().collect() };
    let (wanted, have) = (live(captured), live(there));
    for column in &wanted {
        match have.iter().find(|c| c.name == column.name) {
            None => found.push(format!("column {} ({}) is missing", column.name, column.cql_type)),
            Some(other) => differs(column, other, &mut found),
        }
    }
    for column in have.iter().filter(|c| is_key(c) && !wanted.iter().any(|w| w.name == c.name)) {
        found.push(format!("column {} is part of its key and was not captured", column.name));
    }
    for t in used_types(captured)? {
        let Some(other) = there.types.iter().find(|o| o.name == t.name) else {
            found.push(format!("type {} is missing", t.name));
            continue;
        };
        // Fields are only ever added behind the others.
        if other.fields.get(..t.fields.len()) != Some(&t.fields[..]) {
            found.push(format!("type {} has other fields: ({})", t.name, fields(&other.fields)));
        }
    }
    Ok(found)
}

/// Refuses what was captured of a table where one of a target, `there`, cannot take it.
///
/// Errors: `Unsupported`, by all that stands in the way: of several tables the others can be had.
pub fn check_fits(captured: &Table, there: &Table) -> Result<()> {
    let misfits = misfits(captured, there)?;
    if misfits.is_empty() {
        return Ok(());
    }
    let subject = format!("table {} of the target", qualified(&there.keyspace, &there.name));
    Err(Error::new(Kind::Unsupported, subject, misfits.join("; "))
        .hint("make the table fit, or restore it alone, with --table, --into another name"))
}

/// How the replication `there` differs from the one that is `wanted`, in a few words; `None` where it does not.
pub fn other_replication(there: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> Option<String> {
    let differs = plain(there) != plain(wanted);
    differs.then(|| format!("is replicated as {} where {} is wanted", written(there), written(wanted)))
}

/// With the last part of the class's name alone.
fn plain(replication: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut plain = replication.clone();
    if let Some(class) = plain.get_mut("class") {
        *class = class.rsplit('.').next().unwrap_or_default().to_string();
    }
    plain
}

fn written(replication: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = replication.iter().map(|(k, v)| format!("{}: {}", quote_text(k), quote_text(v))).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn differs(column: &Column, other: &Column, found: &mut Vec<String>) {
    let name = &column.name;
    if column.cql_type != other.cql_type {
        found.push(format!("column {name} is of type {} where {} was captured", other.cql_type, column.cql_type));
    }
    if column.role != other.role || (is_key(column) && column.position != other.position) {
        found.push(format!("column {name} is {} where {} was captured", place(other), place(column)));
    }
    if column.descending != other.descending {
        let order = |c: &Column| if c.descending { "DESC" } else { "ASC" };
        found.push(format!("column {name} is ordered {} where {} was captured", order(other), order(column)));
    }
    if other.dropped_at > column.dropped_at {
        let at = other.dropped_at.unwrap_or_default();
        found.push(format!("column {name} was once dropped there: what was written before {at} would stay hidden"));
    }
}

fn is_key(column: &Column) -> bool {
    matches!(column.role, ColumnRole::PartitionKey | ColumnRole::Clustering)
}

fn place(column: &Column) -> String {
    match column.role {
        ColumnRole::PartitionKey => format!("number {} of the partition key", column.position + 1),
        ColumnRole::Clustering => format!("number {} of the clustering", column.position + 1),
        ColumnRole::Static => "static".to_string(),
        ColumnRole::Regular => "a regular column".to_string(),
    }
}

fn fields(fields: &[(String, String)]) -> String {
    fields.iter().map(|(name, t)| format!("{name} {t}")).collect::<Vec<_>>().join(", ")
}
