//! One check between what should be there and what was: schema x topology x manifests.
//!
//! - Every table of the schema has a folder on every captured node that owns parts of its keyspace: `nodetool snapshot` makes
//!   one for every table, with a `manifest.json`, also where the table is empty.
//! - Every SSTable that a `manifest.json` names is there, and has what its `TOC.txt` names and reading cannot do without.
//! - The tables of `system_schema` and `system` that make up this expectation are whole themselves.
//! - What is there by name only, or where no table is looked for, was meant to be backed up.
//!
//! Not expected, because what is missing is nothing: views, secondary indexes, and the index components of SSTables (Cassandra
//! builds them anew); `TOC.txt` and `Digest.crc32` (a list of names, and a checksum beside those of the chunks); `schema.cql`
//! where `system_schema` tells. `backups/` beside a snapshot hold later writes only: the snapshot is whole without them.

use std::collections::{BTreeMap, BTreeSet};

use super::Captured;
use super::cluster::Cluster;
use super::tables::Tables;
use crate::engine::Shard;
use crate::engine::cassandra::capture::{CapturedFile, CapturedSsTable, CapturedTable};
use crate::engine::cassandra::sstable::{Component, names_component, read_toc};
use crate::engine::cassandra::whose::is_local;

/// The tables of `system_schema` since 3.0. A later one is expected where another node has it, or its version does.
const SCHEMA: [&str; 10] = [
    "aggregates",
    "columns",
    "dropped_columns",
    "functions",
    "indexes",
    "keyspaces",
    "tables",
    "triggers",
    "types",
    "views",
];
/// The tables of `system` that tell who a node is, and who its peers are.
const SELF: [&str; 3] = ["local", "peers", "peers_v2"];

const COPY: &str = "copy it again";

/// What should be there and is not, a line for each: node, place, what to do.
pub fn problems(captured: &[Captured], cluster: &Cluster, tables: &Tables) -> Vec<String> {
    let mut problems = Vec::new();
    for (node, c) in captured.iter().enumerate() {
        let mut say = |what: String| problems.push(format!("node {}: {what}", c.name));
        of_places(c, &mut say);
        of_schema(captured, cluster, node, &mut say);
        missing(c, node, cluster, tables, &mut say);
        for table in c.capture.tables.iter().filter(|t| is_expected(t, tables)) {
            of_table(c, table, &mut say);
        }
    }
    let is_there = |shard: &Shard| captured.iter().any(|c| c.capture.tables.iter().any(|t| t.id == shard.id));
    // Where all tables are missing that was said; here are none.
    if !tables.shards.iter().any(is_there) && cluster.counted.is_empty() {
        problems.push("no table was found that holds data: give the folders that hold KEYSPACE/TABLE-ID/".to_string());
    }
    problems
}

/// Whether all of a table's folder is expected to be whole.
fn is_expected(table: &CapturedTable, tables: &Tables) -> bool {
    match table.keyspace.as_str() {
        "system_schema" => true,
        "system" => SELF.contains(&table.name.as_str()),
        _ => tables.is_decoded(&table.id),
    }
}

/// What a node remembers of Paxos besides `system.paxos`, in a live data directory: its own, and no rows.
const PAXOS: &str = "system/_paxos_repair_state";

/// What cannot be looked at, and what lies where no table is.
fn of_places(c: &Captured, say: &mut dyn FnMut(String)) {
    for hole in &c.capture.holes {
        say(format!("{} {}; what belongs there is not in the backup", hole.place, hole.what));
    }
    for stray in c.capture.strays.iter().filter(|stray| stray.name != PAXOS) {
        let count = stray.files.len();
        say(format!(
            "{} is no table's folder: its files ({count}) are kept byte for byte, and rows in them are not merged; name it \
             TABLE-ID, as Cassandra does",
            stray.place
        ));
    }
}

/// Whether the tables that tell the schema and the ring are all there.
fn of_schema(captured: &[Captured], cluster: &Cluster, node: usize, say: &mut dyn FnMut(String)) {
    let Some(c) = captured.get(node) else { return };
    let schema = names(c, "system_schema");
    if !schema.is_empty() {
        let mut expected: BTreeSet<&str> = SCHEMA.into();
        let major = |node: usize| cluster.nodes.get(node)?.version.as_deref()?.split('.').next()?.parse::<u32>().ok();
        // While a cluster is upgraded, nodes of a newer version have more.
        let alike = captured.iter().enumerate().filter(|(other, _)| major(*other) == major(node));
        expected.extend(alike.flat_map(|(_, c)| names(c, "system_schema")));
        if major(node).is_some_and(|major| major >= 5) {
            expected.insert("column_masks");
        }
        for table in expected.difference(&schema) {
            say(format!("system_schema.{table} is not there: what it says of the tables is missing; {COPY}"));
        }
    }
    let own = names(c, "system");
    if !own.contains("local") && SELF.iter().any(|name| own.contains(name)) {
        say(format!("system.local is not there: who the node is and what it truncated only that says; {COPY}"));
    }
    if own.contains("local") && !own.contains("peers") && !own.contains("peers_v2") {
        say(format!("system.peers_v2 is not there: its peers are not known; {COPY}, or give --source-ring FILE"));
    }
}

fn names<'a>(c: &'a Captured, keyspace: &str) -> BTreeSet<&'a str> {
    c.capture.tables.iter().filter(|t| t.keyspace == keyspace).map(|t| t.name.as_str()).collect()
}

/// Names the tables of which an owner has no folder: keyspace by keyspace where it has none of any.
fn missing(c: &Captured, node: usize, cluster: &Cluster, tables: &Tables, say: &mut dyn FnMut(String)) {
    let ids: BTreeSet<&str> = c.capture.tables.iter().map(|t| t.id.as_str()).collect();
    let keyspaces: BTreeSet<&str> = c.capture.tables.iter().map(|t| t.keyspace.as_str()).collect();
    let mut gone: BTreeMap<&str, Vec<&Shard>> = BTreeMap::new();
    for shard in tables.shards.iter().filter(|s| !ids.contains(s.id.as_str())) {
        let keyspace = keyspace_of(shard);
        if cluster.is_owner(node, keyspace) {
            gone.entry(keyspace).or_default().push(shard);
        }
    }
    let untagged: BTreeMap<&str, String> =
        c.capture.untagged.iter().map(|(_, id, place)| (id.as_str(), place.to_string())).collect();
    for (keyspace, shards) in gone {
        if !keyspaces.contains(keyspace) && !shards.iter().any(|s| untagged.contains_key(s.id.as_str())) {
            say(format!(
                "keyspace {keyspace} is not there, and the schema has tables in it ({}): capture it, or leave it out by name \
                 (--exclude {keyspace})",
                shards.len()
            ));
            continue;
        }
        let (other, none): (Vec<_>, Vec<_>) = shards.into_iter().partition(|s| untagged.contains_key(s.id.as_str()));
        for shard in other {
            let (name, path) = (&shard.name, untagged.get(shard.id.as_str()).map_or("", String::as_str));
            say(format!(
                "{name}: {path} has files and no snapshot of that tag: it is not read; take the snapshot of all tables, or leave \
                 it out by name (--exclude {name})"
            ));
        }
        if let Some(name) = none.first().map(|s| &s.name) {
            let names = none.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ");
            say(format!(
                "{names}: the folder is not there (nodetool makes one for an empty table, too); {COPY}, or leave out by name \
                 (--exclude {name})"
            ));
        }
    }
    for (keyspace, id, place) in &c.capture.untagged {
        if !is_local(keyspace) && tables.get(id).is_none() {
            say(format!("{place} has files and no snapshot of that tag, and is in no captured schema"));
        }
    }
}

/// The keyspace of a shard.
fn keyspace_of(shard: &Shard) -> &str {
    shard.name.split_once('.').map_or(shard.name.as_str(), |(keyspace, _)| keyspace)
}

/// Compares a table's folder with its manifest, and its SSTables with their lists of components.
fn of_table(c: &Captured, table: &CapturedTable, say: &mut dyn FnMut(String)) {
    let name = format!("{}.{}", table.keyspace, table.name);
    let mut named: BTreeSet<&str> = BTreeSet::new();
    for manifest in &table.manifests {
        match &manifest.files {
            Ok(files) => named.extend(files.iter().map(String::as_str)),
            Err(what) => {
                say(format!("{name}: {} {what}: which SSTables should be there is not known; {COPY}", manifest.place))
            }
        }
    }
    if table.manifests.is_empty() && c.capture.tables.iter().any(|t| !t.manifests.is_empty()) && !is_later(c, table) {
        let what =
            if table.sstables.is_empty() { "holds neither manifest.json nor SSTables" } else { "has no manifest.json" };
        say(format!(
            "{name}: its folder {what}, as others of the node have: what should be there is not known; {COPY}"
        ));
    }
    let there = |file: &&str| {
        let is_it = |there: &CapturedFile| there.place.file_name().to_string_lossy() == **file;
        let mut old = table.old.values().flat_map(|old| &old.files);
        table.sstables.iter().any(|s| data(s).is_some_and(is_it)) || old.any(is_it)
    };
    let lost: Vec<&str> = named.iter().filter(|file| !there(file)).copied().collect();
    if let Some((first, more)) = lost.split_first() {
        let they = match more.len() {
            0 => format!("{first}, which is not there: its rows"),
            more => format!("{first} and {more} more, which are not there: their rows"),
        };
        say(format!("{name}: manifest.json names {they} are missing; {COPY}"));
    }
    for sstable in &table.sstables {
        of_sstable(&name, sstable, say);
    }
}

/// Whether a table was made after the snapshot, so that it has nothing but incremental backups.
fn is_later(c: &Captured, table: &CapturedTable) -> bool {
    let made = super::tables::made_ms(&table.id);
    let taken = c.capture.tables.iter().flat_map(|t| &t.manifests).filter_map(|m| m.created).min();
    !table.sstables.is_empty()
        && table.sstables.iter().all(|s| s.backup)
        && made.is_some_and(|made| taken.is_none_or(|taken| made >= taken))
}

fn data(s: &CapturedSsTable) -> Option<&CapturedFile> {
    s.files.iter().find(|(component, _)| *component == Component::Data).map(|(_, file)| file)
}

/// What would not be noticed by reading the SSTable: without its compression information a compressed file is plain bytes, and a
/// file without bytes has no wrong ones. Any other component that is missed is named when the SSTable is opened.
fn of_sstable(table: &str, s: &CapturedSsTable, say: &mut dyn FnMut(String)) {
    let file = |component| s.files.iter().find(|(c, _)| *c == component).map(|(_, file)| file);
    if file(Component::Data).is_some_and(|data| data.length == 0) {
        say(format!("{table}: {} has no bytes; {COPY}", s.descriptor.file(Component::Data)));
    }
    let Some(toc) = file(Component::Toc).filter(|_| file(Component::CompressionInfo).is_none()) else { return };
    let toc = match read_toc(&toc.place) {
        Ok(toc) => toc,
        Err(e) => return say(format!("{table}: {}: {}: what it names is not known; {COPY}", e.subject(), e.message())),
    };
    if names_component(&toc, Component::CompressionInfo) {
        let info = s.descriptor.file(Component::CompressionInfo);
        say(format!("{table}: {info} is not there, and TOC.txt names it; {COPY}"));
    }
}
