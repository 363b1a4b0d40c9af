//! Which tables are decoded, and which files are kept as they are.

use std::collections::{BTreeMap, BTreeSet};

use repo_format::leaf::{GroupCodec, Layout, TimeUnit};

use super::{Captured, Cluster, missing_types};
use crate::engine::cassandra::capture::{CapturedTable, OldSsTable, Stray, escaped};
use crate::engine::cassandra::read_schema::types_in_order;
use crate::engine::cassandra::schema::{ColumnRole, Table, number_columns, take_type};
use crate::engine::cassandra::whose::is_local;
use crate::engine::{Described, Kept, Shard};
use crate::error::{Error, Kind, Result};
use crate::run::ShardKind;
use crate::volume::Place;

/// What to do about schemas that disagree.
pub const DISAGREE: &str = "wait until `nodetool describecluster` shows one schema version, then capture again";

/// The tables of all captures together.
pub struct Tables {
    by_id: BTreeMap<String, Table>,
    /// One for each table that is decoded.
    pub shards: Vec<Shard>,
    /// Files that are not decoded.
    pub kept: Vec<Kept>,
    /// As in [`Schema`](crate::engine::cassandra::read_schema::Schema), of all nodes.
    misread: BTreeMap<String, String>,
}

impl Tables {
    /// Sorts out every folder of every capture.
    pub fn read(captured: &[Captured], cluster: &Cluster, before: &Described<'_>) -> Result<Tables> {
        let mut by_id = agreed(cluster)?;
        let earlier_ids = recreated(&mut by_id, cluster)?;
        for table in by_id.values_mut().filter(|t| cluster.is_meant(t)) {
            missing_types::complete(table, captured);
            if let Some(earlier) = earlier(table, before)? {
                number_columns(&mut table.columns, Some(&earlier.columns));
            }
        }
        let misread = cluster.schemas.iter().flat_map(|s| s.misread.clone()).collect();
        let mut tables = Tables { by_id, shards: Vec::new(), kept: Vec::new(), misread };
        let mut names = BTreeSet::new();
        for (node, c) in captured.iter().enumerate() {
            for table in &c.capture.tables {
                tables.keep(node, table, earlier_ids.contains(&table.id), &mut names);
            }
            for stray in &c.capture.strays {
                tables.keep_stray(node, stray, &mut names);
            }
        }
        let decoded = tables.by_id.values().filter(|t| cluster.is_meant(t));
        let mut shards: Vec<Shard> = decoded.map(|t| shard(t, cluster)).collect();
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

    /// Why all files of a table's folder are kept as they are, and whether that leaves something uncovered. `earlier`: it
    /// is not the current table of its name.
    fn reason(&self, table: &CapturedTable, earlier: bool) -> Option<(String, bool)> {
        if is_local(&table.keyspace) {
            // What a batch wrote that was not finished may be nowhere else: it is at hand, and not replayed.
            let batches = table.keyspace == "system" && table.name == "batches";
            let reason = if batches { "batches that were not finished" } else { "a table of the node itself" };
            return Some((reason.to_string(), false));
        }
        if self.by_id.contains_key(&table.id) {
            return None;
        }
        if let Some(why) = self.misread.get(&table.id) {
            return Some((format!("its schema.cql cannot be read: {why}"), true));
        }
        let namesake = self.by_id.values().find(|t| (&t.keyspace, &t.name) == (&table.keyspace, &table.name));
        Some(match namesake {
            Some(current) if earlier || made(&table.id).is_some_and(|time| made(&current.id) > Some(time)) => {
                (format!("of a dropped table: {}.{} is now {}", current.keyspace, current.name, current.id), false)
            }
            Some(_) => ("of a table made after the schema was captured".to_string(), !table.sstables.is_empty()),
            None => ("not in the captured schema".to_string(), !table.sstables.is_empty()),
        })
    }

    /// Notes the files of a table's folder that are kept as they are. `names` are those given so far.
    fn keep(&mut self, node: usize, table: &CapturedTable, earlier: bool, names: &mut BTreeSet<(usize, String)>) {
        let whole = self.reason(table, earlier);
        let folder = format!("{}/{}-{}", table.keyspace, table.name, table.id);
        let mut add = |place: &Place, reason: &str, problem| {
            let file = escaped(place.file_name());
            let backup = place.path().parent().is_some_and(|parent| parent.ends_with("backups"));
            let name = if backup { format!("{folder}/backups/{file}") } else { format!("{folder}/{file}") };
            self.kept.push(kept(node, place, name, reason, problem, names));
        };
        if let Some(place) = &table.schema_cql {
            // The table may be missing from all else.
            match &whole {
                Some((reason, true)) if self.misread.contains_key(&table.id) => add(place, reason, true),
                _ => add(place, "the schema as captured", false),
            }
        }
        if let Some((reason, problem)) = &whole {
            for sstable in &table.sstables {
                for (i, (_, file)) in sstable.files.iter().enumerate() {
                    // One line says it of all.
                    add(&file.place, reason, *problem && i == 0);
                }
            }
        }
        for old in table.old.values() {
            let reason = whole.clone().unwrap_or_else(|| (not_understood(old), true));
            // One word for all files of an SSTable.
            old.files.iter().enumerate().for_each(|(n, file)| add(&file.place, &reason.0, reason.1 && n == 0));
        }
        for file in &table.unknown {
            add(&file.place, "a file of unknown purpose", false);
        }
    }

    /// Keeps what lies where no table is; that it lies there is said once, for all its files.
    fn keep_stray(&mut self, node: usize, stray: &Stray, names: &mut BTreeSet<(usize, String)>) {
        for file in &stray.files {
            let path = file.place.path();
            let below = path.strip_prefix(stray.place.path()).unwrap_or(path).iter().map(escaped);
            let name = [stray.name.clone()].into_iter().chain(below).collect::<Vec<_>>().join("/");
            self.kept.push(kept(node, &file.place, name, "in a folder that is no table's", false, names));
        }
    }
}

/// A file that is kept, under a name that no other of `names` has: there may be the same on another disk of the node.
fn kept(
    node: usize,
    place: &Place,
    mut name: String,
    reason: &str,
    problem: bool,
    names: &mut BTreeSet<(usize, String)>,
) -> Kept {
    while !names.insert((node, name.clone())) {
        name.push('+');
    }
    Kept { node, place: place.clone(), name, reason: reason.to_owned(), problem }
}

/// Why an SSTable under a name of another time is not decoded.
fn not_understood(old: &OldSsTable) -> String {
    match old.version.as_deref() {
        Some(version) if version < "ma" => {
            format!("an SSTable from before 3.0 (version {version}), which is not supported")
        }
        Some(version) => format!("an SSTable of version {version} under a name that is not understood"),
        None => "an SSTable under a name that is not understood".to_string(),
    }
}

/// The tables of all nodes' schemas, which must agree where they overlap.
fn agreed(cluster: &Cluster) -> Result<BTreeMap<String, Table>> {
    let mut by_id: BTreeMap<String, Table> = BTreeMap::new();
    // What `system_schema` says comes first: a `schema.cql` may say less.
    let (whole, partly): (Vec<_>, Vec<_>) = cluster.schemas.iter().partition(|s| !s.keyspaces.is_empty());
    for table in whole.into_iter().chain(partly).flat_map(|s| &s.tables) {
        let known = by_id.entry(table.id.clone()).or_insert_with(|| table.clone());
        // A node that was captured before another may know fewer fields of a type; and where only `schema.cql` files tell, it
        // knows the types that its own files happen to define.
        let before = known.types.clone();
        if known.columns != table.columns || !table.types.iter().all(|t| take_type(&mut known.types, t)) {
            let subject = format!("table {}.{}", table.keyspace, table.name);
            return Err(Error::new(Kind::Usage, subject, "two nodes describe it differently").hint(DISAGREE));
        }
        if known.types != before {
            types_in_order(&mut known.types);
        }
    }
    Ok(by_id)
}

/// Takes out of `by_id` the tables that are not the current one of their name, and gives their ids: dropped and made again,
/// they are in captures whose schema is known by `schema.cql` alone. What a node's `system_schema` says is current.
fn recreated(by_id: &mut BTreeMap<String, Table>, cluster: &Cluster) -> Result<BTreeSet<String>> {
    let mut current: BTreeMap<(String, String), String> = BTreeMap::new();
    for whole in cluster.schemas.iter().filter(|s| !s.keyspaces.is_empty()) {
        for table in &whole.tables {
            let id = current.entry((table.keyspace.clone(), table.name.clone())).or_insert_with(|| table.id.clone());
            if *id != table.id {
                let subject = format!("table {}.{}", table.keyspace, table.name);
                let message = format_args!("is {id} on one node and {} on another", table.id);
                return Err(Error::new(Kind::Usage, subject, message).hint(DISAGREE));
            }
        }
    }
    let mut ids: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for table in by_id.values() {
        ids.entry((table.keyspace.clone(), table.name.clone())).or_default().push(table.id.clone());
    }
    let mut earlier = BTreeSet::new();
    for (name, ids) in ids.into_iter().filter(|(_, ids)| ids.len() > 1) {
        let newest = || ids.iter().filter(|_| ids.iter().all(|id| made(id).is_some())).max_by_key(|id| made(id));
        let Some(newest) = current.get(&name).or_else(newest).cloned() else {
            let message = "was captured more than once, and which one is current is not known";
            let error = Error::new(Kind::Usage, format!("table {}.{}", name.0, name.1), message);
            return Err(error.hint("capture `system_schema` too, or leave the other folders out"));
        };
        earlier.extend(ids.into_iter().filter(|id| *id != newest));
    }
    by_id.retain(|id, _| !earlier.contains(id));
    Ok(earlier)
}

/// When a table was made, by its id: 100 ns since 1582, where the id is a time-based UUID (version 1).
fn made(id: &str) -> Option<u64> {
    let part = |range: std::ops::Range<usize>| u64::from_str_radix(id.get(range)?, 16).ok();
    (id.len() == 32 && id.as_bytes()[12] == b'1').then_some(())?;
    Some(part(13..16)? << 48 | part(8..12)? << 32 | part(0..8)?)
}

/// The same in milliseconds since 1970.
pub fn made_ms(id: &str) -> Option<i64> {
    const FROM_1582_TO_1970: i64 = 12_219_292_800_000;
    i64::try_from(made(id)? / 10_000).ok()?.checked_sub(FROM_1582_TO_1970)
}

/// The table as the snapshot before describes it.
fn earlier(table: &Table, before: &Described<'_>) -> Result<Option<Table>> {
    let Some(description) = before.of(&table.id) else { return Ok(None) };
    let read = serde_json::from_value(description);
    read.map(Some).map_err(|e| Error::damaged(format!("snapshot: {}.{}", table.keyspace, table.name), e))
}

fn shard(table: &Table, cluster: &Cluster) -> Shard {
    Shard {
        name: format!("{}.{}", table.keyspace, table.name),
        kind: ShardKind::Records,
        id: table.id.clone(),
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
    Layout { groups: GroupCodec::Murmur3, unit: TimeUnit::Microsecond, numeric_groups, numeric }
}
