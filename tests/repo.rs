//! Repositories: round trips, deduplication, keys, caches, two processes at once.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use onefold::Kind;
use onefold::repo::{InitOptions, Repo, WriteOptions};
use onefold::run::{ChunkId, ChunkKind, ChunkSink, ChunkSource};
use onefold::store::Store;
use onefold::store::memory::Memory;
use onefold::watch::Watch;
use proptest::prelude::*;
use repo_format::credential::{PasswordCost, Unlock};
use repo_format::keyfile::KeyFile;

/// Cheap to derive, unlike a password.
pub fn key_file() -> KeyFile {
    KeyFile::from_bytes([7; 32])
}

/// Small packs, so that little data fill several.
pub fn small() -> InitOptions {
    let sizes = onefold::repo::open::Sizes { cut_average: 4 << 10, frame_target: 16 << 10, pack_target: 256 << 10 };
    InitOptions { cost: PasswordCost::default(), sizes: Some(sizes) }
}

pub fn init(store: &Arc<dyn Store>, cache: Option<&Path>) -> Repo {
    Repo::init(store.clone(), Unlock::KeyFile(&key_file()), cache, small()).unwrap()
}

pub fn open(store: &Arc<dyn Store>, cache: Option<&Path>) -> onefold::Result<Repo> {
    Repo::open(store.clone(), Unlock::KeyFile(&key_file()), cache)
}

pub fn memory() -> Arc<dyn Store> {
    Arc::new(Memory::new())
}

/// `n` chunks that do not compress, from a seed.
pub fn chunks(seed: u64, n: usize) -> Vec<(ChunkKind, Vec<u8>)> {
    let kinds = [ChunkKind::Leaf, ChunkKind::Branch, ChunkKind::Data, ChunkKind::BlobList];
    let one = |i: usize| {
        let mut bytes = vec![0; 3000 + (i * 997) % 9000];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(&i.to_le_bytes()).finalize_xof().fill(&mut bytes);
        (kinds[i % 4], bytes)
    };
    (0..n).map(one).collect()
}

pub type Roots = Vec<(ChunkKind, ChunkId)>;

pub fn put_all(sink: &dyn ChunkSink, chunks: &[(ChunkKind, Vec<u8>)]) -> Roots {
    chunks.iter().map(|(kind, plain)| (*kind, sink.put(*kind, plain).unwrap())).collect()
}

/// Writes chunks and commits them as a snapshot that names them all.
pub fn backup(repo: &Repo, chunks: &[(ChunkKind, Vec<u8>)]) -> onefold::repo::WriteStats {
    let writer = repo.writer(WriteOptions::default()).unwrap();
    let roots = put_all(&writer, chunks);
    writer.commit(roots, b"{}".to_vec()).unwrap().1
}

/// Every chunk of the latest snapshot, read and compared.
pub fn restore(repo: &Repo, chunks: &[(ChunkKind, Vec<u8>)]) {
    let latest = repo.find_snapshot("latest").unwrap();
    let snapshot = repo.snapshot(&latest.id).unwrap();
    let reader = repo.reader().unwrap();
    assert_eq!(snapshot.roots.len(), chunks.len());
    for ((kind, id), (_, plain)) in snapshot.roots.iter().zip(chunks) {
        assert_eq!(&reader.get(*kind, id).unwrap(), plain);
    }
}

pub fn problems(repo: &Repo, read_data: bool) -> Vec<String> {
    let watch = Watch::new();
    repo.check(read_data, &watch).unwrap();
    watch.problems().into_iter().map(|p| format!("{}: {}", p.subject, p.message)).collect()
}

#[test]
fn what_is_put_is_read_again_by_this_and_other_processes() {
    let store = memory();
    let repo = init(&store, None);
    let data = chunks(1, 300);
    let stats = backup(&repo, &data);
    assert_eq!((stats.chunks, stats.chunks_new), (300, 300));
    assert!(stats.packs > 2, "several packs: {stats:?}");
    restore(&repo, &data);
    restore(&open(&store, None).unwrap(), &data);
    assert_eq!(problems(&repo, true), Vec::<String>::new());

    // The same again adds a snapshot and nothing else.
    let again = backup(&open(&store, None).unwrap(), &data);
    assert_eq!((again.chunks_new, again.packs, again.index_objects), (0, 0, 0));
    assert_eq!(open(&store, None).unwrap().snapshots().len(), 2);
    assert_eq!(problems(&repo, true), Vec::<String>::new());
}

#[test]
fn snapshots_are_found_by_prefix_and_latest() {
    let store = memory();
    let repo = init(&store, None);
    assert_eq!(repo.find_snapshot("latest").unwrap_err().kind(), Kind::NotFound);
    for seed in 0..3 {
        backup(&repo, &chunks(seed, 3));
    }
    let all = repo.snapshots();
    assert_eq!(repo.find_snapshot("latest").unwrap(), all[2]);
    for s in &all {
        assert_eq!(repo.find_snapshot(&s.id.to_string()).unwrap(), *s);
        assert_eq!(repo.find_snapshot(&s.id.to_string()[..16]).unwrap(), *s);
    }
    assert_eq!(repo.find_snapshot("").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(repo.find_snapshot("nonsense").unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn errors_of_opening_name_their_reason() {
    let store = memory();
    assert_eq!(open(&store, None).err().unwrap().kind(), Kind::NoRepository);
    init(&store, None);
    let again = Repo::init(store.clone(), Unlock::KeyFile(&key_file()), None, small());
    assert_eq!(again.err().unwrap().kind(), Kind::AlreadyExists);
    let other = KeyFile::from_bytes([8; 32]);
    let wrong = Repo::open(store.clone(), Unlock::KeyFile(&other), None).err().unwrap();
    assert_eq!(wrong.kind(), Kind::Denied);
    assert!(wrong.advice().is_some());
    let password = Repo::open(store.clone(), Unlock::Password(b"x"), None).err().unwrap();
    assert_eq!(password.kind(), Kind::Denied);
}

#[test]
fn a_password_opens_and_a_wrong_one_is_denied() {
    let store = memory();
    let cost = PasswordCost { memory_kib: 8 << 10, passes: 1, lanes: 1 };
    let dir = tempfile::tempdir().unwrap();
    let options = InitOptions { cost, sizes: None };
    Repo::init(store.clone(), Unlock::Password(b"right"), Some(dir.path()), options).unwrap();
    for cache in [None, Some(dir.path())] {
        Repo::open(store.clone(), Unlock::Password(b"right"), cache).unwrap();
        let wrong = Repo::open(store.clone(), Unlock::Password(b"wrong"), cache).err().unwrap();
        assert_eq!(wrong.kind(), Kind::Denied);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Any chunks in any order, some of them twice, from several threads: a map gives the same back.
    #[test]
    fn the_repository_is_a_map(
        sizes in proptest::collection::vec((0usize..40_000, 0u8..4, 0u8..6), 1..60),
        level in 1i32..6,
    ) {
        let store = memory();
        let repo = init(&store, None);
        let writer = repo.writer(WriteOptions { level, ..WriteOptions::default() }).unwrap();
        let kinds = [ChunkKind::Leaf, ChunkKind::Branch, ChunkKind::Data, ChunkKind::BlobList];
        let all: Vec<_> = sizes.iter().map(|(len, kind, fill)| (kinds[*kind as usize], vec![*fill; *len])).collect();
        let model: HashMap<ChunkId, (ChunkKind, Vec<u8>)> = std::thread::scope(|scope| {
            let halves: Vec<_> = all.chunks(all.len().div_ceil(2)).map(|half| {
                let writer = &writer;
                scope.spawn(move || half.iter().map(|(k, p)| (writer.put(*k, p).unwrap(), (*k, p.clone()))).collect::<Vec<_>>())
            }).collect();
            halves.into_iter().flat_map(|h| h.join().unwrap()).collect()
        });
        let (_, stats) = writer.commit(Vec::new(), Vec::new()).unwrap();
        prop_assert_eq!(stats.chunks_new as usize, model.len());
        let reader = open(&store, None).unwrap().reader().unwrap();
        for (id, (kind, plain)) in &model {
            prop_assert_eq!(&reader.get(*kind, id).unwrap(), plain);
            let other = if *kind == ChunkKind::Leaf { ChunkKind::Data } else { ChunkKind::Leaf };
            prop_assert!(reader.get(other, id).is_err());
        }
        prop_assert!(reader.get(ChunkKind::Leaf, &ChunkId([1; 32])).is_err());
    }
}
