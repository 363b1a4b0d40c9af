//! Every hole that a capture can have: each file, folder, table, keyspace and node of each bundled capture, left out or emptied. A
//! backup of what is left is never complete, unless what is missing is provably nothing: `NOTHING` says what that is, and why.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use onefold::backup::{Options, Target, backup};
use onefold::engine::cassandra::Cassandra;
use onefold::engine::cassandra::source::{CapturedNodes, NodeDir};
use onefold::engine::{
    CaptureTime, Described, Finding, Kept, Narrowed, Node, NodeParts, Shard, Source, Taking, Without,
};
use onefold::run::{ChunkId, ChunkKind, ChunkSink};
use onefold::watch::Watch;
use onefold::{Error, blob};
use repo_format::key::CutKey;

use crate::user::{capture, files_below, three};

const CAPTURES: [&str; 4] = ["cassandra-5.0", "cassandra-4.1", "cassandra-5.0-oa", "cassandra-5.0-mixed"];

/// Of each capture, one mutation in so many, and so many pairs; `ONEFOLD_HOLES=all`: every one, and 2,000 pairs.
const SAMPLE: (u64, usize) = (10, 40);
const PAIRS: usize = 2000;

/// Whether a path in a node's folder, left out or emptied, is nothing that a backup lacks.
type Is = fn(&Path, Change) -> bool;

/// What is provably nothing, and why.
const NOTHING: [(&str, Is); 8] = [
    ("an index of an SSTable: Cassandra builds it anew", |path, _| {
        let ends = ["-Index.db", "-Summary.db", "-Filter.db", "-Partitions.db", "-Rows.db"];
        ends.iter().any(|end| name(path).ends_with(end)) || name(path).contains("-SAI+")
    }),
    (
        "a list of names and a checksum of the whole: each chunk has a checksum of its own, and reading needs neither",
        |path, _| name(path).ends_with("-TOC.txt") || name(path).ends_with("-Digest.crc32"),
    ),
    ("checksums of chunks: Cassandra reads without", |path, change| {
        name(path).ends_with("-CRC.db") && change == Change::Gone
    }),
    ("what `system_schema` says as well", |path, _| name(path) == "schema.cql"),
    ("a view and all in it: Cassandra builds it anew", |path, _| {
        path.iter().any(|part| part.to_string_lossy().starts_with("people_by_city-"))
    }),
    ("a secondary index and all in it: Cassandra builds it anew", |path, _| {
        path.iter().any(|part| part.to_string_lossy().starts_with('.'))
    }),
    ("what came after the snapshot, which is whole without", |path, _| name(path) == "backups"),
    ("one node's schema, whole: the nodes agree on it, and the others' is there", |path, _| {
        name(path) == "system_schema"
    }),
];

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Gone,
    Emptied,
}

/// One thing that happens to a capture: a path below its folder, and what becomes of it.
type Mutation = (PathBuf, Change);

/// A copy of a capture that is changed and mended again, its files hard links where that can be.
struct Mirror {
    dir: tempfile::TempDir,
}

impl Mirror {
    fn of(root: &Path) -> Mirror {
        let dir = tempfile::tempdir().unwrap();
        for node in three(root) {
            for file in files_below(&node) {
                let to = dir.path().join("nodes").join(file.strip_prefix(root).unwrap());
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                // Links, where the temporary folder is on the same file system. Nothing is written through them.
                fs::hard_link(&file, &to).or_else(|_| fs::copy(&file, &to).map(drop)).unwrap();
            }
        }
        fs::create_dir(dir.path().join("aside")).unwrap();
        Mirror { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("nodes")
    }

    /// Every file and folder of every node, gone and emptied.
    fn mutations(&self) -> Vec<Mutation> {
        let root = self.root();
        let mut paths = BTreeSet::new();
        for file in files_below(&root) {
            let path = file.strip_prefix(&root).unwrap();
            paths.extend(path.ancestors().filter(|p| !p.as_os_str().is_empty()).map(Path::to_path_buf));
        }
        let both = |path: PathBuf| [(path.clone(), Change::Gone), (path, Change::Emptied)];
        paths.into_iter().flat_map(both).collect()
    }

    /// Whether a backup with these mutations is complete; the capture is whole again afterwards.
    fn is_complete(&self, mutations: &[Mutation]) -> Result<bool, Error> {
        let aside = |n: usize| self.dir.path().join("aside").join(n.to_string());
        for (n, (path, change)) in mutations.iter().enumerate() {
            let path = self.root().join(path);
            let folder = path.is_dir();
            fs::rename(&path, aside(n)).unwrap();
            match change {
                Change::Gone => {}
                Change::Emptied if folder => fs::create_dir(&path).unwrap(),
                Change::Emptied => fs::write(&path, "").unwrap(),
            }
        }
        let complete = self.judge(&mutations.iter().map(|(path, _)| path.as_path()).collect::<Vec<_>>());
        for (n, (path, _)) in mutations.iter().enumerate().rev() {
            let path = self.root().join(path);
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => fs::remove_dir(&path).unwrap(),
                Ok(_) => fs::remove_file(&path).unwrap(),
                Err(_) => {}
            }
            fs::rename(aside(n), &path).unwrap();
        }
        complete
    }

    /// Backs up, merging the tables alone in whose folders `touched` lies: the others are as they were.
    fn judge(&self, touched: &[&Path]) -> Result<bool, Error> {
        let nodes: Vec<NodeDir> =
            (1..).zip(three(&self.root())).map(|(n, dir)| NodeDir::new(format!("n{n}"), dir)).collect();
        let source = CapturedNodes::open(&nodes, None, &Described::default())?;
        if source.shards().iter().any(|s| !s.unread.is_empty() || !s.ring_known) {
            return Ok(false);
        }
        let is_touched = |shard: &&Shard| {
            let (keyspace, table) = shard.name.split_once('.').unwrap();
            let folder = format!("{table}-{}", shard.id);
            touched.iter().any(|path| {
                let parts: Vec<_> = path.iter().skip(1).map(|part| part.to_str().unwrap()).collect();
                parts.starts_with(&[keyspace, &folder])
            })
        };
        let shards = source.shards().iter().filter(is_touched).cloned().collect();
        let blobs = Arc::new(blob::Chunker::new(&CutKey::from_bytes([3; 32]), 64 << 10)?);
        let target = Target {
            sink: &Nowhere,
            secret: [7; 16],
            leaf_target: 256 << 10,
            branch_children: 64,
            fingerprint: [5; 32],
            range_bytes: 16 << 20,
            cores: 2,
            blobs,
            before: None,
            memory: None,
            seen: None,
            remembers: false,
        };
        let options = Options { cluster: "lab".into(), ..Options::default() };
        Ok(backup(&Cassandra, &Only { source: &source, shards }, &target, &options, &Watch::new())?.complete)
    }
}

/// Names chunks, and drops them.
struct Nowhere;

impl ChunkSink for Nowhere {
    fn put(&self, kind: ChunkKind, plain: &[u8]) -> Result<ChunkId, Error> {
        Ok(ChunkId(*blake3::Hasher::new().update(&[kind as u8]).update(plain).finalize().as_bytes()))
    }
}

/// A source of which some shards alone are merged.
struct Only<'s> {
    source: &'s CapturedNodes,
    shards: Vec<Shard>,
}

impl Source for Only<'_> {
    fn bytes(&self, shard: &Shard) -> u64 {
        self.source.bytes(shard)
    }

    fn nodes(&self) -> &[Node] {
        self.source.nodes()
    }

    fn shards(&self) -> &[Shard] {
        &self.shards
    }

    fn times(&self) -> &[CaptureTime] {
        self.source.times()
    }

    fn parts<'a>(
        &'a self,
        shard: &Shard,
        without: &Without,
        taking: Taking<'a>,
    ) -> onefold::Result<Vec<NodeParts<'a>>> {
        self.source.parts(shard, without, taking)
    }

    fn captured(&self, shard: &Shard) -> Vec<bool> {
        self.source.captured(shard)
    }

    fn findings(&self, shard: &Shard) -> Vec<Finding> {
        self.source.findings(shard)
    }

    fn kept(&self) -> &[Kept] {
        self.source.kept()
    }

    fn problems(&self) -> &[String] {
        self.source.problems()
    }

    fn narrowed(&self) -> &Narrowed {
        self.source.narrowed()
    }

    fn notes(&self) -> &[String] {
        self.source.notes()
    }

    fn describe(&self, shard: Option<&Shard>) -> Result<serde_json::Value, Error> {
        self.source.describe(shard)
    }
}

/// A number that looks drawn, the same in every run.
fn drawn(seed: &str, n: usize) -> u64 {
    let hash = blake3::hash(format!("{seed} {n}").as_bytes());
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap())
}

fn why((path, change): &Mutation) -> Option<&'static str> {
    let below: PathBuf = path.iter().skip(1).collect();
    NOTHING.iter().find(|(_, is)| is(&below, *change)).map(|(why, _)| *why)
}

/// What is tried of a capture: mutations one at a time, and pairs of them that do not lie in one another.
fn tries(mirror: &Mirror, seed: &str) -> Vec<Vec<Mutation>> {
    let all = std::env::var("ONEFOLD_HOLES").is_ok_and(|knob| knob == "all");
    let (every, pairs) = if all { (1, PAIRS) } else { SAMPLE };
    let mutations = mirror.mutations();
    let some = mutations.iter().enumerate().filter(|(n, _)| drawn(seed, *n).is_multiple_of(every));
    let mut tries: Vec<Vec<Mutation>> = some.map(|(_, mutation)| vec![mutation.clone()]).collect();
    let mut n = 0;
    let ones = tries.len();
    while tries.len() < ones + pairs {
        let pick = |n| &mutations[(drawn(&format!("{seed} pair"), n) % mutations.len() as u64) as usize];
        let (a, b) = (pick(n), pick(n + 1));
        if !a.0.starts_with(&b.0) && !b.0.starts_with(&a.0) {
            tries.push(vec![a.clone(), b.clone()]);
        }
        n += 2;
    }
    tries
}

#[test]
fn no_hole_is_complete() {
    for capture_name in CAPTURES {
        let root = capture(capture_name);
        let first = Mirror::of(&root);
        assert!(first.is_complete(&[]).unwrap(), "{capture_name} as it is");
        let tries = tries(&first, capture_name);
        let (next, whole) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |mirror: &Mirror| -> Vec<String> {
            let mut wrong = Vec::new();
            while let Some(mutations) = tries.get(next.fetch_add(1, Ordering::Relaxed)) {
                let complete = mirror.is_complete(mutations).unwrap_or_else(|error| {
                    assert!(!error.subject().is_empty() && !error.message().is_empty(), "{mutations:?}: {error:?}");
                    false
                });
                whole.fetch_add(usize::from(complete), Ordering::Relaxed);
                if complete && !mutations.iter().all(|mutation| why(mutation).is_some()) {
                    wrong.push(format!("{mutations:?}"));
                }
            }
            wrong
        };
        let wrong: Vec<String> = std::thread::scope(|scope| {
            let second = scope.spawn(|| work(&Mirror::of(&root)));
            let mut wrong = work(&first);
            wrong.extend(second.join().unwrap());
            wrong
        });
        assert!(wrong.is_empty(), "{capture_name}: complete without these:\n{}", wrong.join("\n"));
        // What is nothing is told from what is something.
        let whole = whole.into_inner();
        assert!(whole > 0 && whole < tries.len(), "{whole} of {} are complete", tries.len());
    }
}

/// A node that is not given is an owner that was not read.
#[test]
fn a_node_left_out_is_never_complete() {
    for capture_name in CAPTURES {
        let nodes: Vec<NodeDir> =
            (1..).zip(three(&capture(capture_name))).map(|(n, dir)| NodeDir::new(format!("n{n}"), dir)).collect();
        for left in 0..nodes.len() {
            let others: Vec<NodeDir> =
                nodes.iter().enumerate().filter(|(n, _)| *n != left).map(|(_, n)| n.clone()).collect();
            let source = CapturedNodes::open(&others, None, &Described::default()).unwrap();
            assert!(source.shards().iter().all(|s| s.unread.len() == 1), "{capture_name} without {left}");
        }
    }
}
