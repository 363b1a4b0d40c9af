//! Packs hold metadata or content: which, their names say; what only needs metadata reads no content.

use std::collections::BTreeSet;
use std::sync::Arc;

use onefold::backup::{Options, Target, backup};
use onefold::check::{Options as CheckOptions, check};
use onefold::engine::cassandra::Cassandra;
use onefold::engine::cassandra::source::NodeDir;
use onefold::repo::{Repo, WriteOptions, WriteStats};
use onefold::run::{ChunkKind, Reached};
use onefold::snapshot::Snapshot;
use onefold::store::Store;
use onefold::store::memory::Memory;
use onefold::store::watched::{Request, Watched};
use onefold::tree::{Root, TreeRun};
use onefold::watch::Watch;
use repo_format::names::{Name, PackClass};
use repo_format::pack::open_pack;

use crate::flow;
use crate::large_values::{noise, one_table};
use crate::repo::open;
use crate::world::collect;

/// A table of `rows` rows of some 600 bytes, the first `large` of which are larger than a leaf holds, and a file that is
/// kept as it is.
fn backed_up(store: &Arc<dyn Store>, rows: u64, large: u64) -> (Repo, Snapshot, WriteStats) {
    let folder = tempfile::tempdir().unwrap();
    let values: Vec<Vec<u8>> = (0..rows).map(|n| noise(n, if n < large { 300_000 } else { 600 })).collect();
    let of_table = one_table(folder.path(), 0, &values);
    std::fs::write(of_table.join("nb-9-big-Data.db"), noise(9, 200_000)).unwrap();
    let source = flow::source(&[NodeDir::new("n1", folder.path())]);
    let repo = flow::new_repo(store);
    let writer = repo.writer(WriteOptions::default()).unwrap();
    let target = Target { leaf_target: 16 << 10, ..Target::of(&repo, None, &writer).unwrap() };
    let options = Options { cluster: "lab".into(), ..Options::default() };
    let snapshot = backup(&Cassandra, &source, &target, &options, &Watch::new()).unwrap();
    let (_, stats) = writer.commit(snapshot.roots().unwrap(), snapshot.encode().unwrap()).unwrap();
    (repo, snapshot, stats)
}

#[test]
fn packs_hold_what_their_names_say() {
    let memory = Arc::new(Memory::new());
    let store: Arc<dyn Store> = memory.clone();
    let (repo, snapshot, stats) = backed_up(&store, 2000, 3);
    let mut classes = BTreeSet::new();
    for name in memory.names() {
        let Ok(Name::Pack(pack)) = Name::parse(&name) else { continue };
        let frames = open_pack(&pack, &memory.read(&name).unwrap(), &repo.ring().repo.index).unwrap();
        assert!(frames.iter().all(|frame| PackClass::of(frame.kind) == pack.class));
        assert!(name.starts_with(&format!("pack/{}/", pack.class.word())));
        classes.insert(pack.class);
    }
    assert_eq!(classes, PackClass::ALL.into());
    // Two packs of content at most, as ever, and one object more.
    assert!(stats.packs <= 3, "{stats:?}");
    let (reader, mut kinds) = (repo.reader().unwrap(), BTreeSet::new());
    snapshot
        .reach(&reader, &mut |_, reached| {
            let Reached::Chunk { id, kind, .. } = reached else { panic!("{reached:?}") };
            kinds.insert(kind as u8);
            let folder = match kind {
                ChunkKind::Branch | ChunkKind::BlobList | ChunkKind::MetadataLeaf => "pack/metadata/",
                ChunkKind::Leaf | ChunkKind::Data => "pack/content/",
            };
            assert!(reader.packs_of(&id)?.iter().all(|pack| pack.starts_with(folder)));
            Ok(true)
        })
        .unwrap();
    assert_eq!(kinds, ChunkKind::ALL.map(|kind| kind as u8).into());
}

/// The reads of content since the last call, and of metadata.
pub fn reads(watched: &Watched<Arc<dyn Store>>) -> (usize, usize) {
    let of = |requests: &[Request], class: &str| {
        let folder = format!("pack/{class}/");
        let is =
            |r: &&Request| matches!(r, Request::Read(name) | Request::ReadRange(name, _) if name.starts_with(&folder));
        requests.iter().filter(is).count()
    };
    let requests = watched.take_record();
    (of(&requests, "content"), of(&requests, "metadata"))
}

#[test]
fn what_needs_no_content_reads_none() {
    let watched = Arc::new(Watched::new(Arc::new(Memory::new()) as Arc<dyn Store>));
    let store: Arc<dyn Store> = watched.clone();
    let (_, snapshot, _) = backed_up(&store, 8000, 0);
    watched.record();
    let repo = open(&store, None).unwrap();
    let checked = check(&repo, onefold::engine::ALL, CheckOptions::default(), &Watch::new()).unwrap();
    assert!(checked.whole == 1 && checked.reached > 100, "{checked:?}");
    let (content, metadata) = reads(&watched);
    // The leaf of the kept files is among it.
    assert_eq!(content, 0, "a check read content");
    assert!(metadata > 0 && snapshot.files.is_some());

    // Some rows are a frame or two of content, not a pack.
    let tree = &snapshot.shards[0].layers[0];
    let root = Root { blobs: 0, ..tree.root().unwrap() };
    let reader = repo.reader().unwrap();
    let first = collect(&mut TreeRun::range(Some(root), &reader, vec![0x80], Some(vec![0x82]))).unwrap();
    assert!(!first.is_empty() && first.len() < 400, "{}", first.len());
    let (content, metadata) = reads(&watched);
    assert!((1..4).contains(&content) && metadata < 3, "content {content} times, metadata {metadata}");
}
