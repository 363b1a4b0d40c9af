//! What a snapshot says itself, patches of nodes and kept files, is damaged: what of it is harmed is named, and the tables are
//! whole.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use onefold::backup::{Options, Target, backup};
use onefold::check::{Options as CheckOptions, check};
use onefold::engine::cassandra::Cassandra;
use onefold::engine::cassandra::source::NodeDir;
use onefold::repo::check::Reads;
use onefold::repo::{Repo, WriteOptions};
use onefold::run::{ChunkId, ChunkKind, ChunkSink, ChunkSource};
use onefold::snapshot::Snapshot;
use onefold::store::Store;
use onefold::store::memory::Memory;
use onefold::store::watched::Watched;
use onefold::watch::Watch;
use onefold::{Error, Kind, Result};

use crate::cassandra_rows::SHOW;
use crate::flow;
use crate::large_values::noise;
use crate::repo::open;
use crate::tiers::reads;
use crate::user::{capture, copy};

/// Chunks in memory, named as a repository names them.
struct Named<'a> {
    repo: &'a Repo,
    chunks: Mutex<HashMap<ChunkId, (ChunkKind, Vec<u8>)>>,
}

impl ChunkSink for Named<'_> {
    fn put(&self, kind: ChunkKind, plain: &[u8]) -> Result<ChunkId> {
        let id = self.repo.ring().repo.chunk_id.id(kind, plain);
        self.chunks.lock().unwrap().insert(id, (kind, plain.to_vec()));
        Ok(id)
    }
}

impl ChunkSource for Named<'_> {
    fn get(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        let chunks = self.chunks.lock().unwrap();
        let found = chunks.get(id).filter(|(of, _)| *of == kind);
        found.map(|(_, plain)| plain.clone()).ok_or_else(|| Error::new(Kind::NotFound, id, "no such chunk"))
    }
}

/// Parts of a snapshot that a chunk belongs to.
type Victims = BTreeMap<ChunkId, BTreeSet<String>>;

/// Roots of the trees of patches and of files, of a file, and of two trees of what nodes hold otherwise: one that only one
/// node has, and one of records.
fn victims(s: &Snapshot, chunks: &Named<'_>) -> Victims {
    let mut victims = Victims::new();
    let mut add = |id, part: String| victims.entry(id).or_default().insert(part);
    add(s.patches.as_ref().unwrap().own_root().unwrap().id, "patches of nodes".to_owned());
    add(s.files.as_ref().unwrap().own_root().unwrap().id, "kept files".to_owned());
    let mut files = s.files(None, chunks).unwrap().map(|file| file.unwrap());
    let file = files.find(|file| file.name.ends_with("nb-99-big-Data.db")).unwrap();
    add(file.content.root, format!("node {}: {}", s.nodes[file.node].name, file.name));
    let mut trees: [Victims; 2] = Default::default();
    for shard in &s.shards {
        for (node, patch) in s.nodes.iter().zip(s.patches(shard, chunks).unwrap()) {
            for (trees, root) in trees.iter_mut().zip([patch.bits, patch.held]) {
                let part = format!("{}: patch of node {}", shard.name, node.name);
                if let Some(root) = root {
                    trees.entry(root.id).or_default().insert(part);
                }
            }
        }
    }
    victims.extend(trees.into_iter().map(|trees| trees.into_iter().min_by_key(|(_, parts)| parts.len()).unwrap()));
    victims
}

/// A check, `ls` and the counts of `drift` need what a snapshot says itself, and no content.
fn reads_no_content(memory: &Memory, s: &Snapshot) {
    let watched = Arc::new(Watched::new(Arc::new(memory.fork()) as Arc<dyn Store>));
    let store: Arc<dyn Store> = watched.clone();
    watched.record();
    let repo = open(&store, None).unwrap();
    let checked = check(&repo, onefold::engine::ALL, CheckOptions::default(), &Watch::new()).unwrap();
    assert_eq!((checked.whole, checked.harmed.len()), (checked.trees_of, 0));
    let reader = repo.reader().unwrap();
    assert!(s.files_kept() > 0 && s.files(None, &reader).unwrap().all(|file| file.is_ok()));
    let patches = s.shards.iter().flat_map(|shard| s.patches(shard, &reader).unwrap());
    assert!(patches.filter(|patch| patch.bits.is_some()).count() > 0);
    let (content, metadata) = reads(&watched);
    assert!(content == 0 && metadata > 0, "content {content} times, metadata {metadata}");
}

fn all_rows(repo: &Repo, s: &Snapshot) -> Vec<Vec<String>> {
    s.shards.iter().map(|shard| flow::rows(repo, s, shard, None, SHOW)).collect()
}

#[test]
fn what_is_harmed_of_patches_and_kept_files_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let keep = |table: &str| table.starts_with("system") || ["lab/users", "lab/orders"].contains(&table);
    for node in ["node1", "node2", "node3"] {
        copy(&capture("cassandra-5.0").join(node), &dir.path().join(node), &keep);
    }
    let lab = std::fs::read_dir(dir.path().join("node2/lab")).unwrap().map(|entry| entry.unwrap().path());
    for (n, table) in (0..).zip(lab) {
        std::fs::write(table.join("nb-99-big-Data.db"), noise(n, 3000)).unwrap();
    }
    let nodes: Vec<NodeDir> =
        (1..=3).map(|n| NodeDir::new(format!("n{n}"), dir.path().join(format!("node{n}")))).collect();
    let source = flow::source(&nodes);
    let memory = Arc::new(Memory::new());
    let store: Arc<dyn Store> = memory.clone();
    let repo = flow::new_repo(&store);
    let named = Named { repo: &repo, chunks: Mutex::default() };
    let options = Options { cluster: "lab".into(), node_views: true, ..Options::default() };
    let dry = backup(&Cassandra, &source, &Target::of(&repo, None, &named).unwrap(), &options, &Watch::new()).unwrap();
    let victims = victims(&dry, &named);
    let of = |what: &str| victims.values().flatten().filter(|part| part.contains(what)).count();
    assert!(victims.len() == 5 && of("patch of node") >= 2 && of("nb-99-big-Data.db") == 1, "{victims:?}");

    // Each lies in a pack of its own, since a session of its own has stored it; the backup then stores the rest.
    let mut packs = BTreeMap::new();
    for id in victims.keys() {
        let before = memory.names();
        let writer = repo.writer(WriteOptions::default()).unwrap();
        let (kind, plain) = named.chunks.lock().unwrap()[id].clone();
        assert_eq!(writer.put(kind, &plain).unwrap(), *id);
        writer.commit(dry.roots().unwrap(), dry.encode().unwrap()).unwrap();
        let new: Vec<String> =
            memory.names().into_iter().filter(|n| n.starts_with("pack/") && !before.contains(n)).collect();
        let [pack] = &new[..] else { panic!("{new:?}") };
        packs.insert(*id, pack.clone());
    }
    let (snapshot, _) = flow::store(&repo, &source, true).unwrap();
    reads_no_content(&memory, &snapshot);
    let rows = all_rows(&repo, &snapshot);
    assert!(rows.iter().filter(|rows| !rows.is_empty()).count() >= 2);
    for (id, parts) in &victims {
        for flipped in [false, true] {
            let (damaged, pack) = (memory.fork(), &packs[id]);
            if flipped {
                let mut bytes = damaged.read(pack).unwrap();
                bytes[300] ^= 1;
                damaged.overwrite(pack, &bytes);
            } else {
                damaged.delete(pack).unwrap();
            }
            let damaged: Arc<dyn Store> = Arc::new(damaged);
            let repo = open(&damaged, None).unwrap();
            let options = CheckOptions { reads: Reads::all_if(flipped), declare_lost: false };
            let checked = check(&repo, onefold::engine::ALL, options, &Watch::new()).unwrap();
            let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for harmed in checked.harmed {
                assert!(harmed.objects.contains(pack) && harmed.chunks == 1, "{harmed:?}");
                told.entry(harmed.snapshot).or_default().insert(harmed.part.unwrap());
            }
            // Every snapshot has these parts: those that share a tree with one that was walked before, too.
            assert_eq!((told.len(), checked.whole), (repo.snapshots().len(), 0), "{parts:?}");
            for told in told.values() {
                assert_eq!(told, parts, "{pack}");
            }
            assert!(all_rows(&repo, &snapshot) == rows, "{parts:?}");
        }
    }
}
