//! Backup of real captures in process, and everything out again: rows, every node's own view, in any order of nodes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use onefold::backup::{Options, Target, backup};
use onefold::engine::cassandra::Cassandra;
use onefold::engine::cassandra::rows::Layout;
use onefold::engine::cassandra::schema::Table;
use onefold::engine::cassandra::source::{CapturedNodes, NodeDir};
use onefold::engine::text::TextForm;
use onefold::engine::{EVERYTHING, Engine, Show, Source, Taking};
use onefold::merge::{Across, Merge};
use onefold::repo::{InitOptions, Repo, WriteOptions, WriteStats};
use onefold::restore;
use onefold::run::{RecordBatch, Run};
use onefold::snapshot::{Shard, Snapshot};
use onefold::store::Store;
use onefold::store::folder::Folder;
use onefold::tree::{NodeView, TreeRun};
use onefold::view::{Side, View};
use onefold::watch::Watch;
use onefold::{Error, Kind};
use repo_format::credential::Unlock;
use serde_json::Value;

use crate::cassandra_rows::{Nobody, SHOW, captures, close, lines, rows_of};
use crate::repo::{key_file, memory, open, small};
use crate::sim_disk::SimDisk;
use crate::user::{copy, three};

pub fn nodes(root: &Path, order: [usize; 3]) -> Vec<NodeDir> {
    let dirs = three(root);
    order.map(|n| NodeDir::new(format!("n{}", n + 1), &dirs[n])).into()
}

pub fn source(nodes: &[NodeDir]) -> CapturedNodes {
    CapturedNodes::open(nodes, None, &Default::default()).unwrap()
}

pub fn new_repo(store: &Arc<dyn Store>) -> Repo {
    Repo::init(store.clone(), Unlock::KeyFile(&key_file()), None, InitOptions::default()).unwrap()
}

/// Backs up and commits.
pub fn store(repo: &Repo, source: &CapturedNodes, node_views: bool) -> Result<(Snapshot, WriteStats), Error> {
    let writer = repo.writer(WriteOptions { take_over: true, threads: 1, ..WriteOptions::default() })?;
    let options = Options { cluster: "lab".into(), node_views, ..Options::default() };
    let snapshot = backup(&Cassandra, source, &Target::of(repo, None, &writer)?, &options, &Watch::new())?;
    let (_, stats) = writer.commit(snapshot.roots()?, snapshot.encode()?)?;
    Ok((snapshot, stats))
}

pub fn rows(repo: &Repo, s: &Snapshot, shard: &Shard, node: Option<usize>, show: Show) -> Vec<String> {
    let mut out = Vec::new();
    let reader = repo.reader().unwrap();
    let side = node.map_or(Side::Reconciled, Side::Node);
    let view = View::open(&Cassandra, s, shard, &reader).unwrap().of(side);
    let count = restore::rows(&view, None, show, TextForm::Json, &mut out).unwrap();
    let rows = crate::user::lines(&String::from_utf8(out).unwrap());
    assert_eq!(rows.len() as u64, count);
    rows
}

#[test]
fn what_is_stored_is_what_the_cluster_answered() {
    for root in captures() {
        let repo = new_repo(&memory());
        let (snapshot, _) = store(&repo, &source(&nodes(&root, [0, 1, 2])), false).unwrap();
        assert!(snapshot.complete && snapshot.problems.is_empty(), "{:?}", snapshot.problems);
        let meta: BTreeMap<String, Value> =
            serde_json::from_str(&fs::read_to_string(root.join("expected/meta.json")).unwrap()).unwrap();
        assert!(meta.len() > 5);
        for (name, meta) in &meta {
            let ours = rows(&repo, &snapshot, snapshot.shard(name).unwrap(), None, SHOW);
            let truth = lines(&root.join(format!("expected/{name}.rows.jsonl")));
            let times = lines(&root.join(format!("expected/{name}.times.jsonl")));
            let later = meta["times_read"].as_f64().unwrap() as i64 - i64::from(snapshot.cut.seconds);
            assert_eq!((ours.len(), ours.len()), (truth.len(), times.len()), "{name}");
            for ((ours, truth), times) in ours.iter().zip(&truth).zip(&times) {
                // Of clusterings that compare equal, Cassandra shows the spelling of whichever replica answers first.
                if name != "lab.equal_keys" {
                    assert!(ours.starts_with(&truth[..truth.len() - 1]), "{name}\n{truth}\n{ours}");
                }
                let ours: BTreeMap<String, Value> = serde_json::from_str(ours).unwrap();
                let times: BTreeMap<String, Value> = serde_json::from_str(times).unwrap();
                for (key, truth) in times {
                    let at_cut = if key.starts_with("ttl(") { lived(&truth, later) } else { truth };
                    let key_name = key.trim_start_matches('"');
                    assert!(close(key_name, &at_cut, &ours[&key]), "{name} {key} {at_cut} {}", ours[&key]);
                }
            }
        }
    }
}

/// Seconds left to live, so many seconds earlier.
fn lived(ttl: &Value, earlier: i64) -> Value {
    match ttl {
        Value::Number(n) => (n.as_i64().unwrap() + earlier).into(),
        Value::Array(all) => all.iter().map(|t| lived(t, earlier)).collect(),
        other => other.clone(),
    }
}

fn batches(run: &mut dyn Run) -> Vec<RecordBatch> {
    let mut found = Vec::new();
    let mut batch = RecordBatch::new();
    while run.next_batch(&mut batch).unwrap() {
        found.push(std::mem::take(&mut batch));
    }
    found
}

fn records(batches: &[RecordBatch]) -> Vec<(&[u8], &[u8])> {
    batches.iter().flat_map(RecordBatch::iter).map(|r| (r.key, r.body)).collect()
}

/// Every node's own view is what its files alone come to, record by record and row by row.
#[test]
fn every_nodes_view_reads_back() {
    let mut differing = 0;
    for root in captures() {
        let source = source(&nodes(&root, [0, 1, 2]));
        let repo = new_repo(&memory());
        let (snapshot, _) = store(&repo, &source, true).unwrap();
        let reader = repo.reader().unwrap();
        for shard in source.shards() {
            let stored = snapshot.shard(&shard.name).unwrap();
            let all = rows(&repo, &snapshot, stored, None, SHOW);
            let schema = Cassandra.schema(&shard.name, &source.describe(Some(shard)).unwrap()).unwrap();
            let (rule, watch) = (schema.rule(), Watch::new());
            for runs in source.parts(shard, &Default::default(), Taking::records(&watch)).unwrap() {
                let (node, owned) = (runs.node, runs.owned.clone());
                let own =
                    Merge::of(runs.parts.into_iter().map(|part| (part.open)(&EVERYTHING).unwrap()).collect(), rule);
                let mut nobody = Nobody;
                let across = Across::new(vec![owned.clone()], 0, &mut nobody);
                let own = batches(&mut Merge::across(vec![Box::new(own)], rule, snapshot.cut.seconds, across));
                let base = stored.layers.first().map(|tree| tree.root().unwrap());
                let patch = snapshot.patches(stored, &reader).unwrap()[node];
                let view = batches(&mut NodeView::new(Box::new(TreeRun::new(base, &reader)), &patch, owned, &reader));
                assert!(records(&view) == records(&own), "{} of node {node}", shard.name);

                let shown = if base.is_some() { rows(&repo, &snapshot, stored, Some(node), SHOW) } else { Vec::new() };
                assert_eq!(shown, text(&source, shard, &own, snapshot.cut.seconds), "{} of node {node}", shard.name);
                differing += usize::from(shown != all);
            }
        }
    }
    assert!(differing > 60, "nodes that differ: {differing}");
}

/// Records as lines.
fn text(source: &CapturedNodes, shard: &onefold::engine::Shard, batches: &[RecordBatch], now: u32) -> Vec<String> {
    let table: Table = serde_json::from_value(source.describe(Some(shard)).unwrap()).unwrap();
    rows_of(Layout::of(&table).unwrap(), now, None, batches.iter().flat_map(RecordBatch::iter))
}

#[test]
fn any_order_of_nodes_gives_the_same_trees() {
    const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for root in captures() {
        let repo = new_repo(&memory());
        let (first, _) = store(&repo, &source(&nodes(&root, ORDERS[0])), true).unwrap();
        for order in &ORDERS[1..] {
            let (again, stats) = store(&repo, &source(&nodes(&root, *order)), true).unwrap();
            let reader = repo.reader().unwrap();
            assert_eq!((&first.patches, &first.files), (&again.patches, &again.files), "{order:?}");
            for (one, other) in first.shards.iter().zip(&again.shards) {
                assert_eq!((&one.name, one.rows), (&other.name, other.rows));
                assert_eq!(one.layers, other.layers, "{} in order {order:?}", one.name);
                let (patches, other) = (first.patches(one, &reader).unwrap(), again.patches(other, &reader).unwrap());
                for (place, node) in order.iter().enumerate() {
                    assert_eq!(patches[*node], other[place], "{} in order {order:?}", one.name);
                }
            }
            assert_eq!(stats.chunks_new, 0, "{order:?}");
        }
    }
}

/// Gives every SSTable below `node` another generation, as another node would, in its name and in the manifest.
fn renumber(node: &Path) {
    for file in crate::user::files_below(node) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let parts: Vec<&str> = name.splitn(3, '-').collect();
        if let [version, generation, rest] = parts[..]
            && let Ok(generation) = generation.parse::<u32>()
        {
            fs::rename(&file, file.with_file_name(format!("{version}-{}-{rest}", generation + 1000))).unwrap();
        }
    }
    for file in crate::user::files_below(node) {
        if file.ends_with("manifest.json") && !file.parent().unwrap().ends_with("backups") {
            crate::user::mend_manifest(file.parent().unwrap());
        }
    }
}

/// A fourth node that holds what another holds adds nothing but its name.
#[test]
fn a_replica_that_agrees_adds_nothing() {
    for root in captures() {
        // Without `system` there is no host id, which would be that of the node it is a copy of, and no ring: all are owners.
        let bare = |n: usize, of: usize| {
            let dir = tempfile::tempdir().unwrap();
            copy(&root.join(format!("node{of}")), dir.path(), &|table| !table.starts_with("system/"));
            (NodeDir::new(format!("n{n}"), dir.path()), dir)
        };
        let (mut nodes, dirs): (Vec<_>, Vec<_>) =
            [(1, 1), (2, 2), (3, 3), (4, 3)].map(|(n, of)| bare(n, of)).into_iter().unzip();
        let fourth = nodes.pop().unwrap();
        renumber(fourth.dirs[0].path());
        let repo = new_repo(&memory());
        let (three, _) = store(&repo, &source(&nodes), false).unwrap();
        nodes.push(fourth);
        let (four, stats) = store(&repo, &source(&nodes), false).unwrap();
        assert_eq!(four.problems, three.problems);
        // It stands in the trees of patches and of kept files.
        assert!(stats.chunks_new <= 4 && dirs.len() == 4, "{stats:?}");
        let reader = repo.reader().unwrap();
        for (one, other) in three.shards.iter().zip(&four.shards) {
            assert_eq!(one.layers, other.layers, "{}", one.name);
            let (patches, others) = (three.patches(one, &reader).unwrap(), four.patches(other, &reader).unwrap());
            assert_eq!(others[2], others[3], "{}", one.name);
            assert_eq!(patches[..], others[..3], "{}", one.name);
        }
    }
}

#[test]
fn an_interrupted_backup_commits_nothing() {
    let place = memory();
    let repo = new_repo(&place);
    let all = source(&nodes(&captures()[1], [0, 1, 2]));
    let writer = repo.writer(WriteOptions::default()).unwrap();
    let watch = Watch::new();
    watch.interrupt();
    let target = Target::of(&repo, None, &writer).unwrap();
    let options = Options { cluster: "lab".into(), ..Options::default() };
    let error = backup(&Cassandra, &all, &target, &options, &watch).err().unwrap();
    assert_eq!(error.kind(), Kind::Interrupted);
    drop(writer);
    assert!(repo.refresh().unwrap().snapshots().is_empty());
    store(&open(&place, None).unwrap(), &all, false).unwrap();
}

/// A disk that fills up ends the backup by its name; what was stored before reads back, and with space the next one
/// goes through.
#[test]
fn a_full_disk_loses_nothing() {
    let root = &captures()[1];
    let folder = Arc::new(Folder::new(SimDisk::new()));
    let dynamic: Arc<dyn Store> = folder.clone();
    let repo = Repo::init(dynamic.clone(), Unlock::KeyFile(&key_file()), None, small()).unwrap();
    let one = nodes(root, [0, 1, 2])[..1].to_vec();
    let (before, _) = store(&repo, &source(&one), false).unwrap();
    let table = before.shard("lab.users").unwrap();
    let held = rows(&repo, &before, table, None, SHOW);
    let all = source(&nodes(root, [0, 1, 2]));
    let mut failures = 0;
    for space in [0, 10, 3_000, 30_000, 60_000, 100_000] {
        folder.disk().set_space(folder.disk().used() + space);
        let error = store(&open(&dynamic, None).unwrap(), &all, true).err();
        failures += usize::from(error.is_some());
        if let Some(error) = error {
            assert_eq!(error.kind(), Kind::Full, "{error}");
            assert!(error.advice().is_some(), "{error}");
        }
        folder.disk().set_space(usize::MAX);
        let repo = open(&dynamic, None).unwrap();
        assert_eq!(rows(&repo, &before, table, None, SHOW), held);
    }
    assert!(failures > 3, "{failures}");
    let repo = open(&dynamic, None).unwrap();
    store(&repo, &all, true).unwrap();
    assert_eq!(crate::repo::problems(&repo, true), Vec::<String>::new());
}
