//! A snapshot of a thousand tables on a hundred nodes: how large it is, and that it is read in bounded memory.

use std::fs;
use std::sync::Arc;

use onefold::backup::Target;
use onefold::engine::Node;
use onefold::repo::{Repo, WriteOptions};
use onefold::run::{ChunkSink, PackClass};
use onefold::snapshot::{self, About, File, Patch, Shard, Snapshot};
use onefold::store;
use onefold::tree::{Drift, NodePatch, Root, Shape};
use repo_format::credential::Unlock;
use repo_format::keyfile::KeyFile;
use repo_format::leaf::Layout;
use serde_json::{Value, json};

use crate::user::{User, capture, three};

const TABLES: usize = 1000;
const NODES: usize = 100;
const FILES: usize = 5000;
/// Tokens of a node, replicas of a keyspace.
const TOKENS: usize = 16;
const REPLICAS: usize = 3;

/// What a process may map, in KiB: no more than any other operation on records.
const MAPPED: u64 = 384 << 10;

fn keyspace(i: usize) -> String {
    format!("keyspace_{i:04}")
}

/// Numbers that do not compress.
fn mixed(n: usize) -> u64 {
    let hash = blake3::hash(&n.to_le_bytes());
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap())
}

fn node(i: usize) -> Node {
    Node {
        name: format!("node{i:03}.example.com"),
        address: Some(format!("10.0.{}.{}", i / 10, i % 10)),
        host_id: Some(format!("{:032x}", u128::from(mixed(i)) << 64 | u128::from(mixed(i + NODES)))),
        data_center: Some(format!("dc{}", i % 2)),
        rack: Some(format!("rack{}", i % 3)),
        version: Some("5.0.9".to_owned()),
        captured: 1_700_000_000 + i as u64,
    }
}

/// The description of the whole, with a keyspace for each table, two ways to replicate them, and token ranges for either and every
/// node, as an engine says them.
fn description(mut of: Value) -> Value {
    let range = |n: usize| json!({ "after": mixed(n) as i64, "to": mixed(n + 1) as i64 });
    let owned: Vec<Vec<Value>> =
        (0..NODES).map(|node| (0..TOKENS * REPLICAS).map(|i| range(node * 1000 + i)).collect()).collect();
    let replication = |k: usize| json!({ "class": "NetworkTopologyStrategy", "dc0": (k % 2 + 2).to_string() });
    let keyspace = |k: usize| json!({ "name": keyspace(k), "replication": replication(k), "durable_writes": true });
    of["keyspaces"] = (0..TABLES).map(keyspace).collect();
    of["owned"] = (0..2).map(|k| json!({ "replication": replication(k), "nodes": owned })).collect();
    of
}

fn table(i: usize, of: &Shard) -> Shard {
    let name = format!("{}.table_{i:04}", keyspace(i));
    let digest = snapshot::hex(blake3::hash(&i.to_le_bytes()).as_bytes());
    Shard {
        name,
        digest,
        rows: mixed(i) % 1_000_000,
        id: format!("{:032x}", u128::from(mixed(i)) << 64 | u128::from(mixed(i + 1))),
        ..of.clone()
    }
}

fn drift(table: usize, node: usize) -> Drift {
    let count = |n: usize| mixed(table * NODES + node + n) % 1000;
    Drift { missing: count(0), stale: count(1), extra: count(2), deletions: count(3), purged: count(4) }
}

/// Every node differs in every table: two trees, five counts.
fn patches(shards: &[Shard], bits: Root, held: Root) -> Vec<Patch> {
    let patch = |table: usize, node: usize| {
        let patch = NodePatch { bits: Some(bits), held: Some(held), drift: drift(table, node) };
        Patch { shard: shards[table].id.clone(), node, patch }
    };
    (0..shards.len()).flat_map(|table| (0..NODES).map(move |node| (table, node))).map(|(t, n)| patch(t, n)).collect()
}

fn files(of: &File) -> Vec<File> {
    let about = About { reason: "of a table that is in no schema".to_owned(), merged: false };
    let file = |i: usize| File {
        node: i % NODES,
        name: format!("keyspace_{:02}/old-{:x}/nb-{i}-big-Data.db", i % 10, mixed(i)),
        content: of.content,
        about: about.clone(),
    };
    (0..FILES).map(file).collect()
}

fn shape(target: &Target<'_>, leaf_records: u32) -> Shape {
    let (secret, branch_children, blobs) = (target.secret, target.branch_children, Arc::clone(&target.blobs));
    Shape { secret, leaf_records, branch_children, class: PackClass::Metadata, layout: Layout::default(), blobs }
}

/// Makes the newest snapshot of `repo`, which is of three nodes, into a wide one. Gives what it says, and its id.
fn widen(repo: &Repo) -> (Snapshot, String) {
    let latest = repo.find_snapshot("latest").unwrap();
    let mut s = Snapshot::decode(&repo.snapshot(&latest.id).unwrap().says).unwrap();
    let reader = repo.reader().unwrap();
    let of = s.shard("lab.users").unwrap().clone();
    let patches_of = s.patches(&of, &reader).unwrap();
    let (bits, held) = patches_of.iter().find_map(|p| p.bits.zip(p.held)).expect("a node that differs");
    let file = s.files(None, &reader).unwrap().next().unwrap().unwrap();
    s.nodes = (0..NODES).map(node).collect();
    s.shards = (0..TABLES).map(|i| table(i, &of)).collect();
    s.description = description(s.description);
    let writer = repo.writer(WriteOptions::default()).unwrap();
    let sink: &dyn ChunkSink = &writer;
    let target = Target::of(repo, None, sink).unwrap();
    let root = snapshot::write_patches(&patches(&s.shards, bits, held), &s.nodes, sink, &shape(&target, 2048)).unwrap();
    s.patches = root.map(Into::into);
    let root = snapshot::write_files(&files(&file), &s.nodes, sink, &shape(&target, 1024)).unwrap();
    s.files = root.map(Into::into);
    let (info, _) = writer.commit(s.roots().unwrap(), s.encode().unwrap()).unwrap();
    (s, info.id.to_string())
}

#[test]
fn a_thousand_tables_on_a_hundred_nodes() {
    let user = User::new();
    user.backup(&three(&capture("cassandra-5.0")), &["--keep-node-views"]).fine();
    let key = KeyFile::from_text(&fs::read_to_string(user.path("key")).unwrap()).unwrap();
    let place = store::open(user.path("repo").to_str().unwrap()).unwrap();
    let repo = Repo::open(place, Unlock::KeyFile(&key), None).unwrap();
    let (s, id) = widen(&repo);

    let says = s.encode().unwrap();
    let object = fs::metadata(user.path("repo").join("snapshot").join(&id)).unwrap().len();
    let shards: usize = says.shards.iter().map(Vec::len).sum();
    let (body, description) = (says.body.len(), says.description.len());
    let sizes = format!("body {body}, description {description}, shards {shards}, sealed object {object} bytes");
    assert!(body < 1 << 20 && object < 1 << 20, "{sizes}");

    let reader = repo.reader().unwrap();
    for table in [0, 7, TABLES - 1] {
        let read = s.patches(&s.shards[table], &reader).unwrap();
        assert!(read.iter().map(|p| p.drift).eq((0..NODES).map(|node| drift(table, node))), "{table}");
    }
    let of_node: Vec<File> = s.files(Some(7), &reader).unwrap().map(Result::unwrap).collect();
    assert!(of_node.len() == FILES / NODES && of_node.iter().all(|f| f.node == 7));
    drop(repo);

    let limits = format!("export MALLOC_ARENA_MAX=1; ulimit -v {MAPPED}");
    let run = |args: &[&str]| {
        let ran = user.run_limited(&limits, args);
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.err);
        ran.out
    };
    assert_eq!(run(&["snapshots"]).lines().count(), 2);
    assert!(run(&["show"]).contains("tables     1000, kept files 5000"));
    let listed = run(&["ls", "--json"]);
    assert_eq!(listed.lines().count(), TABLES + FILES + 1);
    assert_eq!(run(&["drift", "--json"]).lines().count(), TABLES * NODES + NODES);
    let checked = run(&["check", "--json"]);
    let summary: Value = serde_json::from_str(checked.lines().last().unwrap()).unwrap();
    assert_eq!(summary["checked"]["whole"], 2, "{summary}");
}
