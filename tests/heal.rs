//! What is lost heals: every object of a repository, one at a time, deleted, emptied, cut, a bit flipped.

use std::sync::Arc;

use onefold::repo::{Repo, WriteStats};
use onefold::run::{ChunkKind, ChunkSource};
use onefold::store::Store;
use onefold::store::memory::Memory;

use crate::repo::{backup, chunks, init, open, problems, restore};

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Deleted,
    Emptied,
    Cut,
}

const FAULTS: [Fault; 3] = [Fault::Deleted, Fault::Emptied, Fault::Cut];

fn harm(store: &Memory, name: &str, fault: Fault) {
    let bytes = store.read(name).unwrap();
    match fault {
        Fault::Deleted => store.delete(name).unwrap(),
        Fault::Emptied => store.overwrite(name, &[]),
        Fault::Cut => store.overwrite(name, &bytes[..bytes.len() / 2]),
    }
}

type Plain = Vec<(ChunkKind, Vec<u8>)>;

/// A repository of three snapshots, each of which holds what the one before does and more, and what they hold.
fn three_snapshots() -> (Memory, [Plain; 3]) {
    let store: Arc<Memory> = Arc::new(Memory::new());
    let dynamic: Arc<dyn Store> = store.clone();
    let repo = init(&dynamic, None);
    let mut all = Plain::new();
    let held = [0, 1, 2].map(|seed| {
        all.extend(chunks(seed, 60));
        backup(&repo, &all);
        all.clone()
    });
    (store.fork(), held)
}

fn of_kind(store: &Memory, folder: &str) -> Vec<String> {
    store.names().into_iter().filter(|n| n.starts_with(folder)).collect()
}

/// Every chunk of every snapshot.
#[track_caller]
fn all_restore(repo: &Repo, held: &[Plain]) {
    let reader = repo.reader().unwrap();
    for (info, plain) in repo.snapshots().iter().zip(held) {
        let roots = repo.snapshot(&info.id).unwrap().roots;
        assert_eq!(roots.len(), plain.len());
        for ((kind, id), (_, plain)) in roots.iter().zip(plain) {
            assert_eq!(&reader.get(*kind, id).unwrap(), plain);
        }
    }
}

fn next_backup(store: Memory, data: &Plain) -> (Arc<dyn Store>, WriteStats) {
    let store: Arc<dyn Store> = Arc::new(store);
    let stats = backup(&open(&store, None).unwrap(), data);
    (store, stats)
}

#[test]
fn the_next_backup_stores_anew_what_lost_packs_held() {
    let (store, held) = three_snapshots();
    let packs = of_kind(&store, "pack/");
    assert!(packs.len() > 5);
    for pack in &packs {
        for fault in FAULTS {
            let harmed = store.fork();
            harm(&harmed, pack, fault);
            let (store, stats) = next_backup(harmed, &held[2]);
            assert!(stats.packs_doubted == 1 && stats.chunks_new > 0, "{pack} {fault:?}: {stats:?}");
            let repo = open(&store, None).unwrap();
            restore(&repo, &held[2]);
            all_restore(&repo, &held);
            // Once is enough.
            assert_eq!(backup(&repo, &held[2]).chunks_new, 0, "{pack} {fault:?}");
        }
    }
}

#[test]
fn the_next_backup_names_anew_what_lost_index_objects_named() {
    let (store, held) = three_snapshots();
    for index in of_kind(&store, "index/") {
        for fault in FAULTS {
            let harmed = store.fork();
            harm(&harmed, &index, fault);
            let (store, stats) = next_backup(harmed, &held[2]);
            assert!(stats.packs_named_anew > 0 && stats.chunks_new == 0, "{index} {fault:?}: {stats:?}");
            let repo = open(&store, None).unwrap();
            all_restore(&repo, &held);
            // The dead one no longer counts; what is left of it is no damage where it is gone.
            assert!(!repo.state().indexes().keys().any(|i| i.to_string() == index));
            let left = problems(&repo, true);
            assert!(
                left.iter().all(|p| p.contains(&index)) && left.is_empty() == (fault == Fault::Deleted),
                "{left:?}"
            );
            assert_eq!(backup(&repo, &held[2]).packs_named_anew, 0);
        }
    }
}

/// An index object and a pack that it named are gone, and the pack comes back when other objects have taken the
/// index object's place.
#[test]
fn a_pack_that_comes_back_is_named_again() {
    let (store, held) = three_snapshots();
    let harmed = store.fork();
    let index = of_kind(&store, "index/").remove(0);
    let session = index["index/".len()..].split('-').next().unwrap();
    let pack = of_kind(&store, &format!("pack/{session}")).remove(0);
    harm(&harmed, &index, Fault::Deleted);
    harm(&harmed, &pack, Fault::Deleted);
    // The source has nothing any more of what it held.
    let (after, _) = next_backup(harmed, &chunks(9, 5));
    let repo = open(&after, None).unwrap();
    assert!(repo.state().indexes().keys().all(|i| i.to_string() != index));
    after.create(&pack, &store.read(&pack).unwrap()).unwrap();
    let stats = backup(&repo, &chunks(9, 5));
    assert_eq!((stats.packs_named_anew, stats.chunks_new), (1, 0));
    all_restore(&open(&after, None).unwrap(), &held);
}
