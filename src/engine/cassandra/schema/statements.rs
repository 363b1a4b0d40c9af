//! A captured schema as CQL (`SchemaCQLHelper`): what must be there before the data, and what comes after them. The
//! statements end without a semicolon.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Column, ColumnRole, Index, Keyspace, Options, Setting, Table, UserType, View};
use crate::engine::cassandra::types::{parse_cql, quote_name};
use crate::error::{Error, Kind, Result};

/// A release of Cassandra: major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u32, pub u32);

impl Release {
    /// The first with `system.peers_v2`.
    pub const V4_0: Release = Release(4, 0);
    /// The first with `system_views.gossip_info`.
    pub const V4_1: Release = Release(4, 1);
    /// The newest that is known here.
    pub const NEWEST: Release = Release(5, 0);

    /// Of a version such as `4.1.10` or `5.0-beta1`.
    pub fn parse(version: &str) -> Option<Release> {
        let mut parts = version.split(['.', '-']).map(|part| part.parse().ok());
        Some(Release(parts.next()??, parts.next()??))
    }
}

/// Where a table goes.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Keyspace, perhaps another than the captured one.
    pub keyspace: &'a str,
    /// Name, perhaps another than the captured one.
    pub table: &'a str,
    /// What runs there; options that it does not know are left out.
    pub release: Release,
}

/// Statements in the order in which they must be executed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statements {
    /// The statements.
    pub cql: Vec<String>,
    /// What of the captured schema they do not make, each in a few words.
    pub left_out: Vec<String>,
}

/// What must be there before the data: the keyspace with `replication`, the types that the table is made of, the table,
/// and its dropped columns, each dropped again at its time: old cells stay hidden.
///
/// Fails where a type is not understood, and for tables of COMPACT STORAGE, which no statement makes as they are.
pub fn before(
    table: &Table,
    keyspace: &Keyspace,
    replication: &BTreeMap<String, String>,
    place: &Place<'_>,
) -> Result<Statements> {
    let mut made =
        Statements { cql: vec![create_keyspace(keyspace, replication, place.keyspace)], left_out: Vec::new() };
    made.cql.extend(create_types(&used_types(table)?, place.keyspace));
    create_table(table, place, &mut made)?;
    Ok(made)
}

/// What comes after the data: indexes, views and triggers. Views of a table that comes under another name into its own
/// keyspace are left out, because their names are taken.
pub fn after(table: &Table, place: &Place<'_>) -> Statements {
    let mut made = Statements::default();
    made.cql.extend(table.indexes.iter().map(|index| create_index(index, table, place)));
    for view in &table.views {
        if table.keyspace == place.keyspace && table.name != place.table {
            made.left_out.push(format!("materialised view {}: its name is taken by the one that is there", view.name));
        } else {
            create_view(view, place, &mut made);
        }
    }
    for trigger in &table.triggers {
        let (name, on, class) = (quote_name(&trigger.name), qualified(place.keyspace, place.table), &trigger.class);
        made.cql.push(format!("CREATE TRIGGER {name} ON {on} USING {}", quote_text(class)));
    }
    made
}

/// `CREATE KEYSPACE` under the name `name`.
pub fn create_keyspace(keyspace: &Keyspace, replication: &BTreeMap<String, String>, name: &str) -> String {
    let (name, replication, durable) = (quote_name(name), map(replication), keyspace.durable_writes);
    format!("CREATE KEYSPACE IF NOT EXISTS {name} WITH replication = {replication} AND durable_writes = {durable}")
}

/// `CREATE TYPE` of each, in the order given.
pub fn create_types(types: &[UserType], keyspace: &str) -> Vec<String> {
    let create = |t: &UserType| {
        let fields: Vec<_> = t.fields.iter().map(|(name, of)| format!("    {} {of}", quote_name(name))).collect();
        format!("CREATE TYPE IF NOT EXISTS {} (\n{}\n)", qualified(keyspace, &t.name), fields.join(",\n"))
    };
    types.iter().map(create).collect()
}

/// The functions of a keyspace, then its aggregates. Their types must be there.
pub fn create_functions(keyspace: &Keyspace, name: &str) -> Vec<String> {
    let mut made = Vec::new();
    for f in &keyspace.functions {
        let arguments: Vec<_> = f.arguments.iter().map(|(n, t)| format!("{} {}", quote_name(n), thawed(t))).collect();
        let on_null = if f.called_on_null { "CALLED" } else { "RETURNS NULL" };
        let body = if f.body.contains("$$") { quote_text(&f.body) } else { format!("$${}$$", f.body) };
        made.push(format!(
            "CREATE FUNCTION IF NOT EXISTS {}({}) {on_null} ON NULL INPUT RETURNS {} LANGUAGE {} AS {body}",
            qualified(name, &f.name),
            arguments.join(", "),
            thawed(&f.returns),
            f.language,
        ));
    }
    for a in &keyspace.aggregates {
        let arguments: Vec<_> = a.arguments.iter().map(|t| thawed(t)).collect();
        let mut text = format!("CREATE AGGREGATE IF NOT EXISTS {}({})", qualified(name, &a.name), arguments.join(", "));
        let _ = write!(text, " SFUNC {} STYPE {}", quote_name(&a.state_function), thawed(&a.state));
        if let Some(last) = &a.final_function {
            let _ = write!(text, " FINALFUNC {}", quote_name(last));
        }
        if let Some(initial) = &a.initial {
            let _ = write!(text, " INITCOND {initial}");
        }
        made.push(text);
    }
    made
}

/// The types that a table's columns are made of, each behind those that it is made of.
pub fn used_types(table: &Table) -> Result<Vec<UserType>> {
    let mut names = BTreeSet::new();
    for column in table.columns.iter().filter(|c| !c.gone) {
        let within = |e: Error| e.within(format!("table {}.{} column {}", table.keyspace, table.name, column.name));
        parse_cql(&column.cql_type, &table.types).map_err(within)?.user_types(&mut names);
    }
    Ok(table.types.iter().filter(|t| names.contains(&t.name)).cloned().collect())
}

fn create_table(table: &Table, place: &Place<'_>, made: &mut Statements) -> Result<()> {
    let name = qualified(place.keyspace, place.table);
    if table.compact {
        let subject = format!("table {}.{}", table.keyspace, table.name);
        return Err(Error::new(Kind::Unsupported, subject, "was made WITH COMPACT STORAGE")
            .hint(format!("create {name} by hand, then restore")));
    }
    let twice = |c: &Column| c.gone && table.columns.iter().any(|other| other.name == c.name && !other.gone);
    let columns: Vec<&Column> = table.columns.iter().filter(|c| !twice(c)).collect();
    let mut lines: Vec<String> = columns.iter().map(|c| format!("    {}", column(c, table, place.release))).collect();
    lines.push(format!("    {}", primary_key(&columns)));
    let mut options = options(&table.options, place.release, "", &mut made.left_out);
    let or_captured = |name: &str, value: u32, options: &mut Vec<String>| {
        if !table.options.0.contains_key(name) {
            options.push(format!("{name} = {value}"));
        }
    };
    or_captured("default_time_to_live", table.default_ttl, &mut options);
    or_captured("gc_grace_seconds", table.gc_grace, &mut options);
    options.splice(0..0, clustering_order(&columns));
    made.cql.push(format!("CREATE TABLE {name} (\n{}\n) WITH {}", lines.join(",\n"), options.join("\n    AND ")));
    for column in table.columns.iter().filter(|c| c.gone && twice(c)) {
        made.left_out.push(format!("that column {} was once dropped: it came back as another", column.name));
    }
    for (c, at) in columns.iter().filter_map(|c| Some((c, c.dropped_at?))) {
        made.cql.push(format!("ALTER TABLE {name} DROP {} USING TIMESTAMP {at}", quote_name(&c.name)));
        if !c.gone {
            made.cql.push(format!("ALTER TABLE {name} ADD {}", column(c, table, place.release)));
        }
    }
    if place.release < Release(5, 0) {
        made.left_out.extend(table.masks.keys().map(|column| format!("mask of column {column}")));
    }
    Ok(())
}

fn column(c: &Column, table: &Table, release: Release) -> String {
    let mut text = format!("{} {}", quote_name(&c.name), c.cql_type);
    if c.role == ColumnRole::Static {
        text.push_str(" static");
    }
    if let Some(mask) = table.masks.get(&c.name).filter(|_| release >= Release(5, 0) && !c.gone) {
        let _ = write!(text, " MASKED WITH {mask}");
    }
    text
}

fn of_role<'a>(columns: &[&'a Column], role: ColumnRole) -> Vec<&'a Column> {
    let mut found: Vec<&Column> = columns.iter().copied().filter(|c| c.role == role).collect();
    found.sort_by_key(|c| c.position);
    found
}

fn primary_key(columns: &[&Column]) -> String {
    let names = |role| of_role(columns, role).into_iter().map(|c| quote_name(&c.name)).collect::<Vec<_>>();
    let partition = names(ColumnRole::PartitionKey).join(", ");
    let clustering: String = names(ColumnRole::Clustering).iter().map(|name| format!(", {name}")).collect();
    format!("PRIMARY KEY (({partition}){clustering})")
}

fn clustering_order(columns: &[&Column]) -> Option<String> {
    let order = |c: &Column| format!("{} {}", quote_name(&c.name), if c.descending { "DESC" } else { "ASC" });
    let orders: Vec<String> = of_role(columns, ColumnRole::Clustering).into_iter().map(order).collect();
    (!orders.is_empty()).then(|| format!("CLUSTERING ORDER BY ({})", orders.join(", ")))
}

/// Each option as `name = value`; those that `release` does not know, or that CQL cannot set, go to `left_out`, with `of`
/// before them.
fn options(options: &Options, release: Release, of: &str, left_out: &mut Vec<String>) -> Vec<String> {
    let mut made = Vec::new();
    for (name, value) in &options.0 {
        let unified = |map: &BTreeMap<String, String>| {
            map.get("class").is_some_and(|class| class.ends_with("UnifiedCompactionStrategy"))
        };
        let since = match (name.as_str(), value) {
            // `TableAttributes` takes extensions and forgets them; auto_repair is refused unless the nodes do it.
            ("extensions" | "auto_repair", _) => None,
            ("memtable", _) => Some(Release(4, 1)),
            ("allow_auto_snapshot" | "incremental_backups", _) => Some(Release(5, 0)),
            ("compaction", Setting::Map(map)) if unified(map) => Some(Release(5, 0)),
            _ => Some(Release(4, 0)),
        };
        match value {
            Setting::Text(text) if name == "memtable" && text == "default" => {}
            _ if since.is_none_or(|since| release < since) => left_out.push(format!("{of}option {name}")),
            Setting::Map(entries) => made.push(format!("{name} = {}", map(entries))),
            Setting::Text(text) => made.push(format!("{name} = {}", scalar(text))),
        }
    }
    made
}

fn create_index(index: &Index, table: &Table, place: &Place<'_>) -> String {
    // Names of indexes are those of the keyspace: the captured one may be there.
    let name = match index.name.strip_prefix(&table.name) {
        _ if table.name == place.table => index.name.clone(),
        Some(rest) => format!("{}{rest}", place.table),
        None => format!("{}_{}", place.table, index.name),
    };
    let mut options = index.options.clone();
    let target = options.remove("target").unwrap_or_default();
    let head =
        format!("INDEX IF NOT EXISTS {} ON {} ({target})", quote_name(&name), qualified(place.keyspace, place.table));
    if index.kind != "CUSTOM" {
        return format!("CREATE {head}");
    }
    let class = options.remove("class_name").unwrap_or_default();
    let with = if options.is_empty() { String::new() } else { format!(" WITH OPTIONS = {}", map(&options)) };
    format!("CREATE CUSTOM {head} USING {}{with}", quote_text(&class))
}

fn create_view(view: &View, place: &Place<'_>, made: &mut Statements) {
    let columns: Vec<&Column> = view.columns.iter().filter(|c| !c.gone).collect();
    let names: Vec<String> = columns.iter().map(|c| quote_name(&c.name)).collect();
    let selected = if view.all_columns { "*".to_string() } else { names.join(", ") };
    let mut of_view = view.options.clone();
    of_view.0.remove("default_time_to_live");
    let mut with: Vec<String> = clustering_order(&columns).into_iter().collect();
    with.extend(options(&of_view, place.release, &format!("view {}: ", view.name), &mut made.left_out));
    made.cql.push(format!(
        "CREATE MATERIALIZED VIEW IF NOT EXISTS {} AS\n    SELECT {selected}\n    FROM {}\n    WHERE {}\n    {}\n    WITH {}",
        qualified(place.keyspace, &view.name),
        qualified(place.keyspace, place.table),
        view.condition,
        primary_key(&columns),
        with.join("\n    AND "),
    ));
}

/// `keyspace.name`, quoted where needed.
pub fn qualified(keyspace: &str, name: &str) -> String {
    format!("{}.{}", quote_name(keyspace), quote_name(name))
}

/// A text as CQL writes it.
pub fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn map(entries: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = entries.iter().map(|(k, v)| format!("{}: {}", quote_text(k), quote_text(v))).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// Numbers and truth values bare, texts in quotes.
fn scalar(text: &str) -> String {
    let number = text.starts_with(|c: char| c.is_ascii_digit() || c == '-') && text.parse::<f64>().is_ok();
    if number || text == "true" || text == "false" { text.to_string() } else { quote_text(text) }
}

/// A type without the `frozen<…>` around it, which arguments of functions must not have.
fn thawed(cql_type: &str) -> &str {
    cql_type.strip_prefix("frozen<").and_then(|t| t.strip_suffix('>')).unwrap_or(cql_type)
}
