//! The schema of the cluster, as nodes have it: `system_schema`, manifests, the ring.

use std::fs;
use std::path::Path;

use onefold::engine::cassandra::comparable::{self, Clustering};
use onefold::engine::cassandra::cql;
use onefold::engine::cassandra::schema::Table;
use onefold::engine::cassandra::sstable::write::{Options, SsTableWriter};
use onefold::run::Record;
use repo_format::record::{BodyWriter, Class};

use super::cluster::{GRACE, TOKENS};

/// A table of the cluster.
pub struct Named {
    pub keyspace: &'static str,
    pub name: &'static str,
    id: &'static str,
    pub replicas: usize,
}

pub const TABLES: [Named; 2] = [
    Named { keyspace: "two", name: "t", id: "0000000000000000000000000000a002", replicas: 2 },
    Named { keyspace: "three", name: "t", id: "0000000000000000000000000000a003", replicas: 3 },
];

/// What columns there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Narrow,
    /// A column was added.
    Wide,
    /// It was dropped again.
    Dropped,
}

/// Columns: name, role, place in its role, type.
const COLUMNS: [(&str, &str, i32, &str); 8] = [
    ("k", "partition_key", 0, "int"),
    ("c", "clustering", 0, "int"),
    ("m", "regular", -1, "map<tinyint, text>"),
    ("s", "static", -1, "text"),
    ("sm", "static", -1, "map<tinyint, text>"),
    ("v", "regular", -1, "text"),
    ("w", "regular", -1, "text"),
    ("x", "regular", -1, "text"),
];

impl Named {
    pub fn full(&self) -> String {
        format!("{}.{}", self.keyspace, self.name)
    }

    pub fn folder(&self) -> String {
        format!("{}/{}-{}", self.keyspace, self.name, self.id)
    }

    /// As files have it: what was dropped stays in those from before.
    pub fn read(&self, stage: Stage) -> Table {
        let x = if stage == Stage::Narrow { "" } else { "x text, " };
        table(&format!(
            "CREATE TABLE {} (k int, c int, m map<tinyint, text>, s text static, sm map<tinyint, text> static, v text, w text, \
             {x}PRIMARY KEY (k, c))",
            self.full()
        ))
    }
}

fn table(text: &str) -> Table {
    cql::parse(text).unwrap().tables.remove(0)
}

/// Empty ones are there, too.
const SYSTEM: [&str; 10] = [
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

pub fn write_manifest(folder: &Path, files: &[String], clock: u32) {
    let at = jiff::Timestamp::from_second(clock.into()).unwrap();
    let manifest =
        serde_json::json!({ "files": files, "created_at": at.to_string(), "expires_at": null, "ephemeral": false });
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
}

/// `nodetool ring`: a token for each node.
pub fn write_ring(path: &Path) {
    let mut text = "\nDatacenter: dc1\n==========\nAddress Rack Status State Load Owns Token\n".to_owned();
    for (n, token) in (1..).zip(TOKENS) {
        text += &format!("127.0.0.{n} rack1 Up Normal 1 MiB 66.00% {token}\n");
    }
    fs::write(path, text).unwrap();
}

type Cells = Vec<(&'static str, Vec<u8>)>;

/// Rows of a table of `system_schema`: partition key, clustering, cells.
type Rows = Vec<(String, Vec<String>, Cells)>;

fn text_map(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut out = (pairs.len() as i32).to_be_bytes().to_vec();
    for text in pairs.iter().flat_map(|(key, value)| [key, value]) {
        out.extend((text.len() as i32).to_be_bytes());
        out.extend(text.as_bytes());
    }
    out
}

fn keyspaces() -> Rows {
    let of = |table: &Named| {
        let count = table.replicas.to_string();
        let class = ("class", "org.apache.cassandra.locator.SimpleStrategy");
        let replication = text_map(&[class, ("replication_factor", &count)]);
        (table.keyspace.to_owned(), Vec::new(), vec![("durable_writes", vec![1]), ("replication", replication)])
    };
    TABLES.iter().map(of).collect()
}

fn tables() -> Rows {
    let of = |table: &Named| {
        let id = u128::from_str_radix(table.id, 16).unwrap().to_be_bytes().to_vec();
        let flags = [&1i32.to_be_bytes()[..], &8i32.to_be_bytes(), b"compound"].concat();
        let cells = vec![("id", id), ("flags", flags), ("gc_grace_seconds", GRACE.to_be_bytes().to_vec())];
        (table.keyspace.to_owned(), vec![table.name.to_owned()], cells)
    };
    TABLES.iter().map(of).collect()
}

fn columns(stage: Stage) -> Rows {
    let mut rows = Rows::new();
    for table in &TABLES {
        for (name, kind, position, cql_type) in COLUMNS.iter().filter(|(n, ..)| *n != "x" || stage == Stage::Wide) {
            let order = if *kind == "clustering" { "asc" } else { "none" };
            let cells: Cells = vec![
                ("clustering_order", order.into()),
                ("kind", (*kind).into()),
                ("position", position.to_be_bytes().to_vec()),
                ("type", (*cql_type).into()),
            ];
            rows.push((table.keyspace.to_owned(), vec![table.name.to_owned(), (*name).to_owned()], cells));
        }
    }
    rows
}

fn dropped(stage: Stage) -> Rows {
    let of = |table: &Named| {
        let time = i64::from(u32::MAX).to_be_bytes().to_vec();
        let cells: Cells = vec![("dropped_time", time), ("kind", "regular".into()), ("type", "text".into())];
        (table.keyspace.to_owned(), vec![table.name.to_owned(), "x".to_owned()], cells)
    };
    TABLES.iter().filter(|_| stage == Stage::Dropped).map(of).collect()
}

/// What a node has in `system_schema`.
pub fn write(node: &Path, stage: Stage, clock: u32) {
    for (n, name) in SYSTEM.iter().enumerate() {
        let folder = node.join(format!("system_schema/{name}-{n:032x}"));
        fs::create_dir_all(&folder).unwrap();
        let (columns_of, rows) = match *name {
            "keyspaces" => {
                ("durable_writes boolean, replication frozen<map<text, text>>, PRIMARY KEY (ks)", keyspaces())
            }
            "tables" => {
                ("t text, id uuid, flags frozen<set<text>>, gc_grace_seconds int, PRIMARY KEY (ks, t)", tables())
            }
            "columns" => (
                "t text, c text, clustering_order text, kind text, position int, type text, PRIMARY KEY (ks, t, c)",
                columns(stage),
            ),
            "dropped_columns" => {
                ("t text, c text, dropped_time timestamp, kind text, type text, PRIMARY KEY (ks, t, c)", dropped(stage))
            }
            _ => ("", Rows::new()),
        };
        let generation = stage as u64 + 1;
        let file = format!("nb-{generation}-big-Data.db");
        let names: Vec<String> = if rows.is_empty() { Vec::new() } else { vec![file.clone()] };
        if !rows.is_empty() && !folder.join(&file).exists() {
            for old in crate::user::files_below(&folder) {
                fs::remove_file(old).unwrap();
            }
            let of = table(&format!("CREATE TABLE system_schema.{name} (ks text, {columns_of})"));
            write_rows(&folder, generation, &of, rows);
        }
        write_manifest(&folder, &names, clock);
    }
}

fn write_rows(folder: &Path, generation: u64, table: &Table, rows: Rows) {
    let clustering = Clustering::of(table).unwrap();
    let mut records: Vec<(Vec<u8>, usize, Vec<u8>)> = Vec::new();
    for (partition, parts, cells) in rows {
        let mut key = Vec::new();
        let group_len = comparable::put_group(&mut key, partition.as_bytes());
        let parts: Vec<Option<&[u8]>> = parts.iter().map(|part| Some(part.as_bytes())).collect();
        clustering.row(&mut key, &parts).unwrap();
        let mut body = Vec::new();
        let mut writer = BodyWriter::new(&mut body);
        let mut cells: Vec<(u32, Vec<u8>)> = cells
            .into_iter()
            .map(|(name, value)| (table.columns.iter().find(|c| c.name == name).unwrap().number, value))
            .collect();
        cells.sort();
        cells.iter().for_each(|(column, value)| writer.push_live(*column, 1000, value.as_slice().into()));
        records.push((key, group_len, body));
    }
    records.sort();
    let mut writer = SsTableWriter::create(folder, generation, table, &Options::default()).unwrap();
    for (key, group_len, body) in &records {
        let traits = repo_format::record::check(body).unwrap();
        writer.push(&Record { key, group_len: *group_len, class: Class::Row, traits, body }).unwrap();
    }
    writer.finish().unwrap();
}
