//! What is lost heals: every object of a repository, one at a time, deleted, emptied, cut, a bit flipped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use onefold::check::{Options, check};
use onefold::engine::cassandra::source::NodeDir;
use onefold::repo::check::Reads;
use onefold::repo::{Repo, WriteStats};
use onefold::run::{ChunkKind, ChunkSource, Reached};
use onefold::snapshot::Snapshot;
use onefold::store::Store;
use onefold::store::memory::Memory;
use onefold::watch::Watch;
use repo_format::limits::TRIM_EVERY;
use repo_format::names::ObjectKind;

use crate::cassandra_rows::SHOW;
use crate::flow;
use crate::repo::{backup, chunks, init, open, restore};
use crate::trim::fill;
use crate::user::{capture, copy};

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Deleted,
    Emptied,
    Cut,
    Flipped,
}

const FAULTS: [Fault; 3] = [Fault::Deleted, Fault::Emptied, Fault::Cut];

fn harm(store: &Memory, name: &str, fault: Fault) {
    let bytes = store.read(name).unwrap();
    match fault {
        Fault::Deleted => store.delete(name).unwrap(),
        Fault::Emptied => store.overwrite(name, &[]),
        Fault::Cut => store.overwrite(name, &bytes[..bytes.len() / 2]),
        Fault::Flipped => {
            let mut flipped = bytes.clone();
            flipped[bytes.len() / 2] ^= 1;
            store.overwrite(name, &flipped);
        }
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

/// What check calls damage.
fn damage(repo: &Repo, read_data: bool) -> Vec<String> {
    let watch = Watch::new();
    repo.check(Reads::all_if(read_data), &watch).unwrap();
    let damage = watch.problems().into_iter().filter(|p| p.damage);
    damage.map(|p| format!("{}: {}", p.subject, p.message)).collect()
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
            // Nobody needs it any more, so check has nothing against it; and once is enough.
            assert_eq!(damage(&repo, true), Vec::<String>::new(), "{pack} {fault:?}");
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
            // The dead one no longer counts, and what is left of it is no damage.
            assert!(!repo.state().indexes().keys().any(|i| i.to_string() == index));
            assert_eq!(damage(&repo, true), Vec::<String>::new());
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
    let pack = of_kind(&store, "pack/").into_iter().find(|pack| pack.contains(session)).unwrap();
    harm(&harmed, &index, Fault::Deleted);
    harm(&harmed, &pack, Fault::Deleted);
    // The source has nothing any more of what it held.
    let (after, _) = next_backup(harmed, &chunks(9, 5));
    let repo = open(&after, None).unwrap();
    assert!(repo.state().indexes().keys().all(|i| i.to_string() != index));
    after.create(&pack, store.read(&pack).unwrap().into()).unwrap();
    let stats = backup(&repo, &chunks(9, 5));
    assert_eq!((stats.packs_named_anew, stats.chunks_new), (1, 0));
    all_restore(&open(&after, None).unwrap(), &held);
}

/// A flipped bit is named by `check --read-data`; the next backup of that machine stores anew what the pack held. Seen
/// an hour later, the pack is declared lost; whole again, found.
#[test]
fn a_flipped_bit_is_named_healed_declared_lost_and_found() {
    let (whole, held) = three_snapshots();
    for pack in of_kind(&whole, "pack/") {
        let dir = tempfile::tempdir().unwrap();
        let cache = Some(dir.path());
        let memory = Arc::new(whole.fork());
        let store: Arc<dyn Store> = memory.clone();
        let original = whole.read(&pack).unwrap();
        let mut flipped = original.clone();
        flipped[original.len() / 3] ^= 8;
        memory.overwrite(&pack, &flipped);
        let repo = open(&store, cache).unwrap();
        assert_eq!(damage(&repo, false), Vec::<String>::new());
        assert_eq!(backup(&repo, &held[2]).chunks_new, 0);
        assert!(damage(&repo, true)[0].contains(&pack));
        // From now on it is known here, and a check looks at it again.
        assert!(damage(&repo, false)[0].contains(&pack));
        let stats = backup(&open(&store, cache).unwrap(), &held[2]);
        assert!(stats.packs_doubted == 1 && stats.chunks_new > 0, "{stats:?}");
        all_restore(&open(&store, None).unwrap(), &held);
        assert_eq!(damage(&repo, true), Vec::<String>::new());
        let declare = |told| {
            let repo = open(&store, cache).unwrap();
            let said = repo.declare(&repo.check(Reads::All, &Watch::new()).unwrap(), told).unwrap();
            (said.len(), open(&store, cache).unwrap().state().lost().len())
        };
        assert_eq!(declare(false), (0, 0));
        an_hour_ago(dir.path());
        assert_eq!(declare(false), (1, 1));
        assert_eq!(declare(false), (0, 1));
        memory.overwrite(&pack, &original);
        assert_eq!(declare(false), (1, 0));
        // What was struck is believed again.
        assert_eq!(backup(&open(&store, cache).unwrap(), &held[2]).packs_doubted, 0);
    }
}

/// Sets the first sightings in a cache back by an hour.
fn an_hour_ago(cache: &std::path::Path) {
    let repo = std::fs::read_dir(cache).unwrap().map(|e| e.unwrap().path()).find(|p| !p.ends_with("places")).unwrap();
    let mut set_back = 0;
    for file in std::fs::read_dir(repo).unwrap().map(|e| e.unwrap().path()) {
        if file.file_name().unwrap().to_string_lossy().starts_with("sightings-") {
            let mut seen: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            for seen in seen.as_object_mut().unwrap().values_mut() {
                let first = seen["first_ms"].as_u64().unwrap();
                seen["first_ms"] = (first - onefold::repo::sightings::APART_MS).into();
                set_back += 1;
            }
            std::fs::write(&file, seen.to_string()).unwrap();
        }
    }
    assert!(set_back > 0);
}

/// A store that is not there, or a wrong prefix, must not make anybody declare everything lost.
#[test]
fn most_of_a_store_is_not_declared_lost_unasked() {
    let (whole, held) = three_snapshots();
    let dir = tempfile::tempdir().unwrap();
    let cache = Some(dir.path());
    let memory = Arc::new(whole.fork());
    let store: Arc<dyn Store> = memory.clone();
    for pack in of_kind(&whole, "pack/").iter().take(3) {
        memory.delete(pack).unwrap();
    }
    let repo = open(&store, cache).unwrap();
    repo.check(Reads::None, &Watch::new()).unwrap();
    an_hour_ago(dir.path());
    let examined = repo.check(Reads::None, &Watch::new()).unwrap();
    assert!(repo.declare(&examined, false).unwrap()[0].contains("--declare-lost"));
    assert!(repo.state().lost().is_empty());
    assert!(backup(&open(&store, cache).unwrap(), &held[2]).chunks_new > 0);
    assert!(open(&store, cache).unwrap().state().lost().is_empty());
    repo.declare(&examined, true).unwrap();
    assert_eq!(repo.state().lost().len(), 3);
    all_restore(&open(&store, None).unwrap(), &held);
}

/// Files of other programs between the objects are no damage.
#[test]
fn stray_files_are_notes() {
    let (store, _) = three_snapshots();
    let strays = ["pack/.nfs0000000000a1", "snapshot/.ab12.x7Yz", "index/.syncthing.tmp", "log/4913", "copy/log/x~"];
    strays.iter().for_each(|name| store.overwrite(name, b"stray"));
    let store: Arc<dyn Store> = Arc::new(store);
    let repo = open(&store, None).unwrap();
    assert_eq!(damage(&repo, true), Vec::<String>::new());
    let notes = crate::repo::problems(&repo, true);
    assert!(strays.iter().all(|name| notes.iter().any(|n| n.starts_with(name))), "{notes:?}");
}

/// Parts of snapshots, by the snapshot's id and the name of the part.
type Parts = BTreeSet<(String, String)>;

/// What cannot be read, by reading every chunk of every snapshot.
fn unreadable(repo: &Repo) -> Parts {
    let mut parts = Parts::new();
    let reader = repo.reader().unwrap();
    for info in repo.snapshots() {
        let Ok(snapshot) = repo.snapshot(&info.id) else {
            parts.insert((info.id.to_string(), String::new()));
            continue;
        };
        let snapshot = Snapshot::decode(&snapshot.says).unwrap();
        let mut visit = |part: &str, reached| {
            let read = match reached {
                Reached::Chunk { kind, id, .. } => reader.get(kind, &id).is_ok(),
                Reached::Broken(_) => false,
            };
            if !read {
                parts.insert((info.id.to_string(), part.to_owned()));
            }
            Ok(read)
        };
        snapshot.reach(&reader, &mut visit).unwrap();
    }
    parts
}

/// What check says that cannot be restored whole, and all that it says.
fn told(repo: &Repo, read_data: bool) -> (Parts, String) {
    let watch = Watch::new();
    let checked =
        check(repo, onefold::engine::ALL, Options { reads: Reads::all_if(read_data), declare_lost: false }, &watch)
            .unwrap();
    let whole = checked.trees_of as usize - checked.harmed.iter().map(|h| &h.snapshot).collect::<BTreeSet<_>>().len();
    assert_eq!(checked.whole as usize, whole);
    let said = watch.problems().iter().map(|p| format!("{}: {}\n", p.subject, p.message)).collect();
    (checked.harmed.into_iter().map(|h| (h.snapshot, h.part.unwrap_or_default())).collect(), said)
}

/// Three snapshots of some tables of a captured cluster: of one node, of two, of all.
struct Captured {
    store: Memory,
    dir: tempfile::TempDir,
    /// Rows of every table of the last snapshot.
    rows: BTreeMap<String, Vec<String>>,
}

const TABLES: [&str; 5] = ["lab/users", "lab/orders", "lab/metrics", "lab/sai", "lab/counters"];

fn nodes_of(dir: &Path, count: usize) -> Vec<NodeDir> {
    (1..=count).map(|n| NodeDir::new(format!("n{n}"), dir.join(format!("node{n}")))).collect()
}

fn all_rows(repo: &Repo, s: &Snapshot) -> BTreeMap<String, Vec<String>> {
    let stored = s.shards.iter().filter(|shard| !shard.layers.is_empty());
    stored.map(|shard| (shard.name.clone(), flow::rows(repo, s, shard, None, SHOW))).collect()
}

fn captured() -> Captured {
    let dir = tempfile::tempdir().unwrap();
    let keep = |table: &str| table.starts_with("system") || TABLES.contains(&table);
    for node in ["node1", "node2", "node3"] {
        copy(&capture("cassandra-5.0").join(node), &dir.path().join(node), &keep);
    }
    let store: Arc<Memory> = Arc::new(Memory::new());
    let dynamic: Arc<dyn Store> = store.clone();
    let repo = init(&dynamic, None);
    let mut rows = BTreeMap::new();
    for count in 1..=3 {
        let (snapshot, _) = flow::store(&repo, &flow::source(&nodes_of(dir.path(), count)), false).unwrap();
        rows = all_rows(&repo, &snapshot);
        if count == 2 {
            // The log begins with a checkpoint of the administrator from now on.
            fill(&repo, &*store, TRIM_EVERY + 1);
            assert_eq!(repo.trim(0, false).unwrap().log_trimmed_to, TRIM_EVERY);
            // Writers' own checkpoints only save time: nobody misses one.
            let admin = repo.state().n();
            let own = |name: &String| name.starts_with("checkpoint/") && !name.contains(&format!("{admin:020}"));
            store.names().iter().filter(|name| own(name)).for_each(|name| store.delete(name).unwrap());
        }
    }
    assert!(rows.values().filter(|rows| !rows.is_empty()).count() >= 4, "{:?}", rows.keys());
    Captured { store: store.fork(), dir, rows }
}

/// Of the objects and what happens to them, one case in so many; `ONEFOLD_HEAL=all`: every one.
const SAMPLE: usize = 9;

/// Every object of a repository, one at a time, deleted, emptied, cut, with a bit flipped: check tells right what can be
/// restored, the next backup works, and its snapshot restores.
#[test]
fn every_object_of_a_repository_lost_or_damaged() {
    let whole = captured();
    let all = std::env::var("ONEFOLD_HEAL").is_ok_and(|v| v == "all");
    let mut covered = BTreeSet::new();
    let faults = [Fault::Deleted, Fault::Emptied, Fault::Cut, Fault::Flipped];
    let names = whole.store.names();
    for kind in ObjectKind::ALL {
        assert!(names.iter().any(|name| name.starts_with(kind.word())), "{kind:?} is not among the objects");
    }
    let cases = names.iter().flat_map(|name| faults.map(|fault| (name, fault)));
    let mut tried = 0;
    for (n, (name, fault)) in cases.enumerate() {
        let folder = name.rsplit_once('/').map_or(name.as_str(), |(folder, _)| folder);
        if covered.insert((folder, fault)) || all || n % SAMPLE == 0 {
            tried += 1;
            one_object(&whole, name, fault);
        }
    }
    assert!(tried > 40, "{tried} of {} objects", names.len());
}

#[track_caller]
fn one_object(whole: &Captured, name: &str, fault: Fault) {
    let context = format!("{name} {fault:?}");
    let cache = tempfile::tempdir().unwrap();
    let harmed = whole.store.fork();
    harm(&harmed, name, fault);
    let store: Arc<dyn Store> = Arc::new(harmed);
    let repo = open(&store, Some(cache.path())).unwrap_or_else(|e| panic!("{context}: {e}"));
    let unread = unreadable(&repo);
    let (parts, said) = told(&repo, fault == Fault::Flipped);
    same(&parts, &unread, &context);
    // What is stored twice may have been written again from its second copy already when the repository was opened.
    let mended = store.read(name).is_ok_and(|bytes| bytes == whole.store.read(name).unwrap());
    assert!(said.contains(name) || mended, "{context}: {said}");

    let repo = open(&store, Some(cache.path())).unwrap();
    let stored = flow::store(&repo, &flow::source(&nodes_of(whole.dir.path(), 3)), false);
    let (snapshot, _) = stored.unwrap_or_else(|e| panic!("{context}: {e}"));
    let repo = open(&store, None).unwrap();
    assert!(all_rows(&repo, &snapshot) == whole.rows, "{context}");
    let (parts, said) = told(&repo, true);
    same(&parts, &unreadable(&repo), &format!("{context}: {said}"));
    let newest = repo.find_snapshot("latest").unwrap().id.to_string();
    assert!(parts.iter().all(|(id, _)| *id != newest), "{context}: {parts:?}");
    assert!(parts.is_subset(&unread), "{context}: {parts:?}");
}

#[track_caller]
fn same(told: &Parts, read: &Parts, context: &str) {
    let differ: Vec<_> = told.symmetric_difference(read).take(3).collect();
    assert!(differ.is_empty(), "{context}: told {}, cannot be read {}: {differ:?}", told.len(), read.len());
}
