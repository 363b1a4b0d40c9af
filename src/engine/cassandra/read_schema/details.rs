//! What a restore needs besides columns: options, indexes, views, triggers, masks, functions, aggregates, and the order
//! of types. Columns of the tables: `SchemaKeyspace`.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::SystemRow;
use super::{Schema, component, missing, table_name, text, text_list, text_map};
use crate::engine::cassandra::schema::{Aggregate, Function, Index, Options, Setting, Table, Trigger, UserType, View};
use crate::engine::cassandra::types::parse_cql;
use crate::engine::cassandra::value::Parts;
use crate::error::Result;

const TEXTS: [&str; 5] = ["additional_write_policy", "comment", "memtable", "read_repair", "speculative_retry"];
const DOUBLES: [&str; 2] = ["bloom_filter_fp_chance", "crc_check_chance"];
const NUMBERS: [&str; 5] = [
    "default_time_to_live",
    "gc_grace_seconds",
    "max_index_interval",
    "memtable_flush_period_in_ms",
    "min_index_interval",
];
const FLAGS: [&str; 3] = ["allow_auto_snapshot", "cdc", "incremental_backups"];
const MAPS: [&str; 4] = ["auto_repair", "caching", "compaction", "compression"];

/// The options in a row of `tables` or `views`; what it leaves out has its default.
pub(super) fn options(row: &SystemRow) -> Result<Options> {
    let mut options = Options::default();
    let mut put = |name: &str, value: String| options.0.insert(name.to_string(), Setting::Text(value));
    for name in TEXTS {
        if let Some(value) = row.value(name) {
            put(name, text(value)?);
        }
    }
    for name in DOUBLES {
        if let Some(bytes) = row.value(name).and_then(|v| v.first_chunk::<8>()) {
            put(name, format!("{:?}", f64::from_be_bytes(*bytes)));
        }
    }
    for name in NUMBERS {
        if let Some(bytes) = row.value(name).and_then(|v| v.first_chunk::<4>()) {
            put(name, i32::from_be_bytes(*bytes).to_string());
        }
    }
    for name in FLAGS {
        if let Some(flag) = row.value(name).and_then(|v| v.first()) {
            put(name, (*flag != 0).to_string());
        }
    }
    for name in MAPS.iter().filter(|name| row.value(name).is_some()) {
        options.0.insert((*name).to_string(), Setting::Map(text_map(row.value(name))?));
    }
    let extensions = blob_map(row.value("extensions"))?;
    if !extensions.is_empty() {
        options.0.insert("extensions".to_string(), Setting::Map(extensions));
    }
    Ok(options)
}

/// Reads what belongs to tables and keyspaces into those of `schema`; `rows` gives a table of `system_schema`.
pub(super) fn read(schema: &mut Schema, rows: &dyn Fn(&str) -> Result<Vec<SystemRow>>) -> Result<()> {
    for row in rows("indexes")? {
        let index = index(&row)?;
        with_table(schema, table_name(&row)?, |table| table.indexes.push(index));
    }
    for row in rows("triggers")? {
        let class = text_map(row.value("options"))?.remove("class").unwrap_or_default();
        let trigger = Trigger { name: text(component(&row, 1)?)?, class };
        with_table(schema, table_name(&row)?, |table| table.triggers.push(trigger));
    }
    for row in rows("column_masks")? {
        let (column, mask) = (text(component(&row, 1)?)?, mask(&row)?);
        with_table(schema, table_name(&row)?, |table| drop(table.masks.insert(column, mask)));
    }
    for row in rows("views")? {
        let (keyspace, name) = table_name(&row)?;
        let Some(base) = row.value("base_table_name").map(text).transpose()? else { continue };
        let Some(read) = schema.tables.iter().find(|t| t.keyspace == keyspace && t.name == name) else { continue };
        let view = view(&row, read)?;
        with_table(schema, (keyspace, base), |table| table.views.push(view));
    }
    for row in rows("functions")? {
        let (keyspace, function) = (text(&row.key)?, function(&row)?);
        schema.keyspaces.iter_mut().filter(|k| k.name == keyspace).for_each(|k| k.functions.push(function.clone()));
    }
    for row in rows("aggregates")? {
        let (keyspace, aggregate) = (text(&row.key)?, aggregate(&row)?);
        schema.keyspaces.iter_mut().filter(|k| k.name == keyspace).for_each(|k| k.aggregates.push(aggregate.clone()));
    }
    Ok(())
}

fn with_table(schema: &mut Schema, (keyspace, name): (String, String), add: impl FnOnce(&mut Table)) {
    if let Some(table) = schema.tables.iter_mut().find(|t| t.keyspace == keyspace && t.name == name) {
        add(table);
    }
}

pub(super) fn index(row: &SystemRow) -> Result<Index> {
    let name = text(component(row, 1)?)?;
    let kind = row.value("kind").map(text).transpose()?.ok_or_else(|| missing(&name, "kind"))?;
    Ok(Index { name, kind, options: text_map(row.value("options"))? })
}

fn view(row: &SystemRow, read: &Table) -> Result<View> {
    let condition = row.value("where_clause").map(text).transpose()?;
    Ok(View {
        condition: condition.ok_or_else(|| missing(&read.name, "where_clause"))?,
        all_columns: row.value("include_all_columns").is_some_and(|v| v != [0]),
        name: read.name.clone(),
        columns: read.columns.clone(),
        options: read.options.clone(),
    })
}

/// The function of a masked column with its arguments after the first, which is the column.
pub(super) fn mask(row: &SystemRow) -> Result<String> {
    let field = |name: &str| row.value(name).map(text).transpose();
    let name = field("function_name")?.ok_or_else(|| missing("column_masks", "function_name"))?;
    let types = text_list(row.value("function_argument_types"))?;
    let values = text_list(row.value("function_argument_values"))?;
    let mut nulls = Parts::new(row.value("function_argument_nulls").unwrap_or(&[0; 4]));
    let mut arguments = Vec::new();
    nulls.count(1)?;
    for (t, value) in types.iter().zip(values) {
        let null = nulls.part()?.is_some_and(|v| v != [0]);
        let quoted = matches!(t.as_str(), "text" | "ascii" | "varchar" | "date" | "time" | "timestamp" | "inet");
        arguments.push(match t.as_str() {
            _ if null => "null".to_string(),
            "blob" => format!("0x{value}"),
            _ if quoted => format!("'{}'", value.replace('\'', "''")),
            _ => value,
        });
    }
    let of = field("function_keyspace")?.filter(|k| k != "system").map(|k| format!("{k}.")).unwrap_or_default();
    Ok(format!("{of}{name}({})", arguments.join(", ")))
}

pub(super) fn function(row: &SystemRow) -> Result<Function> {
    let name = text(component(row, 0)?)?;
    let field = |column: &str| row.value(column).map(text).transpose()?.ok_or_else(|| missing(&name, column));
    let names = text_list(row.value("argument_names"))?;
    let types = text_list(Some(component(row, 1)?))?;
    Ok(Function {
        arguments: names.into_iter().zip(types).collect(),
        returns: field("return_type")?,
        language: field("language")?,
        body: field("body")?,
        called_on_null: row.value("called_on_null_input").is_some_and(|v| v != [0]),
        name,
    })
}

pub(super) fn aggregate(row: &SystemRow) -> Result<Aggregate> {
    let name = text(component(row, 0)?)?;
    let field = |column: &str| row.value(column).map(text).transpose();
    Ok(Aggregate {
        arguments: text_list(Some(component(row, 1)?))?,
        state_function: field("state_func")?.ok_or_else(|| missing(&name, "state_func"))?,
        state: field("state_type")?.ok_or_else(|| missing(&name, "state_type"))?,
        final_function: field("final_func")?,
        initial: field("initcond")?,
        name,
    })
}

/// A map of blobs, each as CQL writes it.
pub(super) fn blob_map(value: Option<&[u8]>) -> Result<BTreeMap<String, String>> {
    let Some(value) = value.filter(|v| !v.is_empty()) else { return Ok(BTreeMap::new()) };
    let mut parts = Parts::new(value);
    let count = parts.count(2)?;
    let mut pair = || {
        let key = text(parts.part()?.unwrap_or_default())?;
        Ok((key, format!("0x{}", super::hex(parts.part()?.unwrap_or_default()))))
    };
    (0..count).map(|_| pair()).collect()
}

/// Puts each type behind those that its fields are made of; what cannot be read keeps its place at the end.
pub fn in_order(types: &mut Vec<UserType>) {
    let all = types.clone();
    let made_of = |t: &UserType| -> BTreeSet<String> {
        let fields = t.fields.iter().filter_map(|(_, field)| parse_cql(field, &all).ok());
        let mut names = BTreeSet::new();
        fields.for_each(|field| field.user_types(&mut names));
        names
    };
    let mut waiting: Vec<(UserType, BTreeSet<String>)> = types.drain(..).map(|t| (t.clone(), made_of(&t))).collect();
    while !waiting.is_empty() {
        let ready = waiting.iter().position(|(_, of)| of.iter().all(|name| types.iter().any(|t| t.name == *name)));
        types.push(waiting.remove(ready.unwrap_or(0)).0);
    }
}
