//! However many threads read a capture, and in however many ranges of keys, what is stored is the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use onefold::backup::{Options, Target, backup};
use onefold::blob;
use onefold::engine::Described;
use onefold::engine::cassandra::Cassandra;
use onefold::engine::cassandra::source::{CapturedNodes, NodeDir};
use onefold::run::ChunkId;
use onefold::snapshot::Snapshot;
use onefold::watch::Watch;
use repo_format::key::CutKey;

use crate::cassandra_rows::captures;
use crate::user::{copy, table_dir, three};
use crate::world::Chunks;

/// Backs up a capture, and gives with the snapshot the names of all chunks.
fn stored(root: &Path, cores: usize, range_bytes: u64) -> (Snapshot, BTreeSet<ChunkId>) {
    let nodes: Vec<NodeDir> = (1..).zip(three(root)).map(|(n, dir)| NodeDir::new(format!("n{n}"), dir)).collect();
    let source = CapturedNodes::open(&nodes, None, &Described::default()).unwrap();
    let chunks = Chunks::default();
    let target = Target {
        sink: &chunks,
        secret: [7; 16],
        leaf_target: 4 << 10,
        branch_children: 8,
        fingerprint: [5; 32],
        range_bytes,
        cores,
        blobs: Arc::new(blob::Chunker::new(&CutKey::from_bytes([3; 32]), 64 << 10).unwrap()),
        before: None,
        memory: None,
        seen: None,
        remembers: false,
    };
    let options = Options { cluster: "lab".into(), cut: Some(1_900_000_000), node_views: true, ..Options::default() };
    let mut snapshot = backup(&Cassandra, &source, &target, &options, &Watch::new()).unwrap();
    (snapshot.started_ms, snapshot.finished_ms) = (0, 0);
    let names = chunks.0.lock().unwrap().keys().copied().collect();
    (snapshot, names)
}

fn same_however_read(root: &Path) -> Snapshot {
    let (one, of_one) = stored(root, 1, 16 << 20);
    // Small shards side by side; leaves on other threads; and ranges of next to nothing, so that most hold no row.
    for (cores, range_bytes) in [(2, 16 << 20), (12, 16 << 20), (12, 4 << 10), (7, 256)] {
        let (many, of_many) = stored(root, cores, range_bytes);
        let (a, b) = (serde_json::to_value(&one).unwrap(), serde_json::to_value(&many).unwrap());
        assert_eq!(a, b, "{} on {cores} processors, {range_bytes} bytes a range", root.display());
        assert_eq!(of_one, of_many, "chunks of {}", root.display());
    }
    one
}

#[test]
fn any_number_of_threads_and_ranges_stores_the_same() {
    for capture in captures() {
        same_however_read(&capture);
    }
}

/// One file is damaged in the middle: whichever ranges were read by then, it alone is kept, and its rows are not merged.
#[test]
fn a_damaged_file_is_found_in_ranges_as_it_is_without() {
    let capture = captures().into_iter().find(|path| path.ends_with("cassandra-5.0")).unwrap();
    let root = tempfile::tempdir().unwrap();
    for (from, to) in three(&capture).iter().zip(three(root.path())) {
        copy(from, &to, &|_| true);
    }
    let folder = table_dir(&root.path().join("node2"), "lab", "users");
    let data = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path());
    let data =
        data.filter(|path| path.to_string_lossy().ends_with("-Data.db")).max_by_key(|p| p.metadata().unwrap().len());
    let mut bytes = fs::read(data.as_ref().unwrap()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(data.unwrap(), bytes).unwrap();
    let snapshot = same_however_read(root.path());
    assert!(!snapshot.complete && snapshot.files.is_some(), "{:?}", snapshot.problems);
}
