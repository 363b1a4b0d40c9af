//! What the store itself still has is saved: whatever is damaged, whenever a repair ends, and beside whatever else is going on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use onefold::check::{self, ranges};
use onefold::engine::Engine;
use onefold::engine::cassandra::Cassandra;
use onefold::repair::{Options, repair};
use onefold::repo::check::Reads;
use onefold::repo::repair::Mended;
use onefold::repo::{Repo, WriteOptions};
use onefold::run::{ChunkId, ChunkKind, ChunkSink, ChunkSource, Reached};
use onefold::snapshot::{Snapshot, hex};
use onefold::store::Store;
use onefold::store::faulty::{Fault, Faulty};
use onefold::store::folder::Folder;
use onefold::store::memory::Memory;
use onefold::watch::Watch;
use onefold::{Kind, Result};
use repo_format::snapshot::Says;

use crate::flow;
use crate::repo::{backup, chunks, each_request_fails, init, memory, open, put_all, restore};
use crate::sim_disk::{Loss, SimDisk};
use crate::user::capture;

type Plain = Vec<(ChunkKind, Vec<u8>)>;

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Deleted,
    Emptied,
    Cut,
    Flipped(usize),
    /// The list at the end cannot be opened, all frames can.
    End,
}

const HARMS: [Harm; 5] = [Harm::Deleted, Harm::Emptied, Harm::Cut, Harm::Flipped(3), Harm::End];

fn harm(store: &dyn Store, name: &str, harm: Harm) {
    let mut bytes = store.read(name).unwrap();
    store.delete(name).unwrap();
    let length = bytes.len();
    match harm {
        Harm::Deleted => return,
        Harm::Emptied => bytes.clear(),
        Harm::Cut => bytes.truncate(length / 2),
        Harm::Flipped(part) => bytes[length / part] ^= 8,
        Harm::End => bytes[length - 1] ^= 8,
    }
    store.create(name, bytes.clone().into()).unwrap();
}

fn of_kind(store: &dyn Store, folder: &str) -> Vec<String> {
    let mut names = Vec::new();
    let visit = &mut |name: &str, _| {
        names.push(name.to_owned());
        Ok(())
    };
    store.list(folder, visit).unwrap();
    names.sort();
    names
}

/// Three snapshots, each of which holds what the one before does and more.
fn three_snapshots(store: &Arc<dyn Store>) -> Plain {
    let repo = init(store, None);
    let mut all = Plain::new();
    for seed in 0..3 {
        all.extend(chunks(seed, 50));
        backup(&repo, &all);
    }
    all
}

fn mend(repo: &Repo, dry_run: bool) -> Result<Mended> {
    let watch = Watch::new();
    let examined = repo.check(Reads::All, &watch)?;
    let mended = repo.mend(&examined, dry_run, &watch)?;
    repo.declare(&examined, false)?;
    Ok(mended)
}

/// The chunks of all snapshots that can be read.
fn readable(store: &Arc<dyn Store>) -> BTreeSet<ChunkId> {
    let repo = open(store, None).unwrap();
    let reader = repo.reader().unwrap();
    let mut found = BTreeSet::new();
    for info in repo.snapshots() {
        let roots = repo.snapshot(&info.id).unwrap().roots;
        found.extend(roots.iter().filter(|(kind, id)| reader.get(*kind, id).is_ok()).map(|(_, id)| *id));
    }
    found
}

/// Chunks whose frames are whole, whoever names them: read from the sound repository by where they lie.
fn in_sound_frames(whole: &Arc<dyn Store>, damaged: &dyn Store) -> BTreeSet<ChunkId> {
    let repo = open(whole, None).unwrap();
    let mut sound = BTreeSet::new();
    for name in of_kind(&**whole, "pack") {
        let Ok(repo_format::names::Name::Pack(pack)) = repo_format::names::Name::parse(&name) else { continue };
        let bytes = whole.read(&name).unwrap();
        let left = damaged.read(&name).unwrap_or_default();
        for frame in repo_format::pack::open_pack(&pack, &bytes, &repo.ring().repo.index).unwrap() {
            let range = frame.offset as usize..(frame.offset + frame.length) as usize;
            if left.get(range.clone()) == bytes.get(range) {
                sound.extend(frame.chunks.iter().map(|chunk| chunk.id));
            }
        }
    }
    sound
}

/// After a repair: all that was in sound frames is readable, also when the damaged pack goes for good; the log says that it is lost;
/// a second repair finds nothing to do; the next backup heals.
#[track_caller]
fn is_mended(store: &Arc<dyn Store>, sound: &BTreeSet<ChunkId>, packs: &[String], all: &Plain, context: &str) {
    assert!(readable(store).is_superset(sound), "{context}: something that was there is not readable");
    for pack in packs {
        if store.read(pack).is_ok() {
            store.delete(pack).unwrap();
        }
    }
    assert_eq!(&readable(store), sound, "{context}: without the damaged packs");
    let repo = open(store, None).unwrap();
    let lost: Vec<String> = repo.state().lost().keys().map(ToString::to_string).collect();
    assert!(packs.iter().all(|pack| lost.contains(pack)), "{context}: {lost:?}");
    let again = mend(&repo, false).unwrap();
    let nothing = Mended { packs_lost: again.packs_lost, ..Mended::default() };
    assert_eq!(again, nothing, "{context}");
    backup(&open(store, None).unwrap(), all);
    restore(&open(store, None).unwrap(), all);
    let watch = Watch::new();
    open(store, None).unwrap().check(Reads::All, &watch).unwrap();
    assert!(watch.problems().iter().all(|problem| !problem.damage), "{context}: {:?}", watch.problems());
}

#[test]
fn what_is_whole_in_a_damaged_pack_is_saved() {
    let whole: Arc<Memory> = Arc::new(Memory::new());
    let dynamic: Arc<dyn Store> = whole.clone();
    let all = three_snapshots(&dynamic);
    let mut saved = 0;
    for pack in of_kind(&*whole, "pack") {
        for how in HARMS {
            let context = format!("{pack} {how:?}");
            let store: Arc<dyn Store> = Arc::new(whole.fork());
            harm(&*store, &pack, how);
            let sound = in_sound_frames(&dynamic, &*store);
            let names = of_kind(&*store, "");
            let dry = mend(&open(&store, None).unwrap(), true).unwrap();
            assert_eq!(of_kind(&*store, ""), names, "{context}: a dry run changes nothing");
            let mended = mend(&open(&store, None).unwrap(), false).unwrap();
            assert_eq!(dry, mended, "{context}");
            assert_eq!(mended.packs_lost, 1, "{context}");
            assert_eq!(mended.packs_saved > 0, mended.frames_saved > 0);
            assert!(how != Harm::End || mended.frames_saved > 0 && sound.len() == all.len(), "{context}: {mended:?}");
            assert!(names.iter().all(|name| store.read(name).is_ok()), "{context}: something was deleted");
            saved += mended.frames_saved;
            is_mended(&store, &sound, std::slice::from_ref(&pack), &all, &context);
        }
    }
    assert!(saved > 20, "{saved}");
}

#[test]
fn packs_that_no_index_object_names_are_named_again() {
    let whole: Arc<Memory> = Arc::new(Memory::new());
    let dynamic: Arc<dyn Store> = whole.clone();
    let all = three_snapshots(&dynamic);
    let indexes = of_kind(&*whole, "index");
    let every: BTreeSet<ChunkId> = readable(&dynamic);
    for how in HARMS {
        for lost in indexes.iter().map(std::slice::from_ref).chain([&indexes[..]]) {
            let context = format!("{lost:?} {how:?}");
            let store: Arc<dyn Store> = Arc::new(whole.fork());
            lost.iter().for_each(|index| harm(&*store, index, how));
            assert!(readable(&store).len() < every.len(), "{context}");
            let mended = mend(&open(&store, None).unwrap(), false).unwrap();
            assert!(mended.packs_named > 0 && mended.indexes_replaced == lost.len() as u64, "{context}: {mended:?}");
            assert_eq!((mended.packs_lost, mended.frames_saved), (0, 0), "{context}");
            is_mended(&store, &every, &[], &all, &context);
        }
    }
    // The index object is gone, and a pack that it named is damaged: nothing but the frames themselves says what they hold.
    let store: Arc<dyn Store> = Arc::new(whole.fork());
    // The largest has frames beside the one that is harmed.
    let pack = of_kind(&*whole, "pack").into_iter().max_by_key(|pack| whole.read(pack).unwrap().len()).unwrap();
    indexes.iter().for_each(|index| harm(&*store, index, Harm::Emptied));
    harm(&*store, &pack, Harm::Flipped(2));
    let sound = in_sound_frames(&dynamic, &*store);
    let mended = mend(&open(&store, None).unwrap(), false).unwrap();
    assert!(mended.packs_named > 0 && mended.frames_saved > 0, "{mended:?}");
    store.delete(&pack).unwrap();
    assert_eq!(readable(&store), sound);
}

/// A flipped frame, a pack without its end, an index object that is gone.
fn damaged(store: &Arc<dyn Store>) -> (Plain, BTreeSet<ChunkId>, [String; 2]) {
    let all = three_snapshots(store);
    let whole: Arc<dyn Store> = memory();
    for name in of_kind(&**store, "") {
        whole.create(&name, store.read(&name).unwrap().into()).unwrap();
    }
    let packs = of_kind(&**store, "pack");
    let (first, last) = (packs[0].clone(), packs[packs.len() - 1].clone());
    harm(&**store, &first, Harm::Flipped(2));
    harm(&**store, &last, Harm::End);
    // The index object of a session that neither is of.
    let session = |name: &str| name.rsplit('/').next().unwrap().split('-').next().unwrap().to_owned();
    let other = |index: &&String| session(index) != session(&first) && session(index) != session(&last);
    let index = of_kind(&**store, "index").iter().find(other).cloned().unwrap();
    harm(&**store, &index, Harm::Deleted);
    let sound = in_sound_frames(&whole, &**store);
    (all, sound, [first, last])
}

/// Every request of a repair fails, or is done though reported failed: nothing is lost, and the next run ends the work.
#[test]
fn every_request_of_a_repair_fails_once() {
    let made: Arc<Memory> = Arc::new(Memory::new());
    let dynamic: Arc<dyn Store> = made.clone();
    let (all, sound, packs) = damaged(&dynamic);
    let states = each_request_fails(|fails, context| {
        let store: Arc<dyn Store> = Arc::new(made.fork());
        let faulty = fails(store.clone());
        let before = readable(&store);
        // Whether it fails or is tried again with success: what counts is what is left.
        let _ = open(&faulty, None).and_then(|repo| mend(&repo, false));
        assert!(readable(&store).is_superset(&before), "{context}");
        mend(&open(&store, None).unwrap(), false).unwrap_or_else(|e| panic!("{context}: {e}"));
        is_mended(&store, &sound, &packs, &all, context);
    });
    assert!(states > 100, "{states}");
}

#[test]
fn a_repair_survives_a_loss_of_power_at_any_operation() {
    let disk = Arc::new(Folder::new(SimDisk::new()));
    let store: Arc<dyn Store> = disk.clone();
    let (all, sound, packs) = damaged(&store);
    let before = readable(&store);
    let begun = disk.disk().operations();
    mend(&open(&store, None).unwrap(), false).unwrap();
    let ended = disk.disk().operations();
    assert!(ended > begun + 20, "{begun} {ended}");
    for k in begun..=ended {
        for loss in [Loss::Nothing, Loss::Everything, Loss::Torn(1)] {
            let context = format!("after operation {k} of {begun}..{ended}, {loss:?}");
            let store: Arc<dyn Store> = Arc::new(Folder::new(disk.disk().crash(k, loss)));
            assert!(readable(&store).is_superset(&before), "{context}");
            mend(&open(&store, None).unwrap(), false).unwrap_or_else(|e| panic!("{context}: {e}"));
            is_mended(&store, &sound, &packs, &all, &context);
        }
    }
}

/// A repair that died on this machine is taken over: what it carried is not carried again, and its session does not stay open.
#[test]
fn the_next_repair_takes_over_from_one_that_died() {
    let made: Arc<Memory> = Arc::new(Memory::new());
    let dynamic: Arc<dyn Store> = made.clone();
    let (all, sound, packs) = damaged(&dynamic);
    let dir = tempfile::tempdir().unwrap();
    let memory = Arc::new(made.fork());
    let store: Arc<dyn Store> = memory.clone();
    let whole = open(&store, Some(dir.path())).unwrap().state().n();
    // The commit is the second entry that it writes.
    let commit = format!("log/{:020}", whole + 2);
    let faulty = Faulty::new(memory, move |operation, name: &str| {
        let fails = operation == onefold::store::faulty::Operation::Create && name == commit;
        fails.then_some(Fault::Error(Kind::Full))
    });
    let full: Arc<dyn Store> = Arc::new(faulty);
    assert_eq!(mend(&open(&full, Some(dir.path())).unwrap(), false).unwrap_err().kind(), Kind::Full);
    let uploaded = of_kind(&*store, "pack").len();
    let repo = open(&store, Some(dir.path())).unwrap();
    assert_eq!(repo.state().open_sessions().len(), 1);
    mend(&repo, false).unwrap();
    assert_eq!(of_kind(&*store, "pack").len(), uploaded, "carried once");
    assert!(repo.refresh().unwrap().open_sessions().is_empty());
    is_mended(&store, &sound, &packs, &all, "taken over");
}

/// Two repairs that saw the same, and a backup that began before and ends after.
#[test]
fn beside_another_repair_and_a_backup_nothing_is_lost() {
    let made: Arc<Memory> = Arc::new(Memory::new());
    let dynamic: Arc<dyn Store> = made.clone();
    let (all, sound, packs) = damaged(&dynamic);
    for repairs in 1..=3 {
        let store: Arc<dyn Store> = Arc::new(made.fork());
        let writing = open(&store, None).unwrap();
        let writer = writing.writer(WriteOptions { threads: 1, ..WriteOptions::default() }).unwrap();
        let half = all.len() / 2;
        let mut roots = put_all(&writer, &all[..half]);
        let both: Vec<Repo> = (0..repairs).map(|_| open(&store, None).unwrap()).collect();
        let seen: Vec<_> = both.iter().map(|repo| repo.check(Reads::All, &Watch::new()).unwrap()).collect();
        for (repo, examined) in both.iter().zip(&seen) {
            repo.mend(examined, false, &Watch::new()).unwrap();
        }
        let done = (|| {
            for (kind, bytes) in &all[half..] {
                roots.push((*kind, writer.put(*kind, bytes)?));
            }
            writer.commit(std::mem::take(&mut roots), Says { body: b"{}".to_vec(), ..Says::default() })
        })();
        match done {
            Ok(_) => restore(&open(&store, None).unwrap(), &all),
            Err(e) => {
                assert_eq!(e.kind(), Kind::Busy, "{e}");
                is_mended(&store, &sound, &packs, &all, &format!("{repairs} repairs"));
            }
        }
    }
}

/// Of a captured cluster: what is lost is said by table and keys, and where in the ring these lie.
#[test]
fn what_is_lost_is_said_by_table_and_keys() {
    let made: Arc<Memory> = Arc::new(Memory::new());
    let dynamic: Arc<dyn Store> = made.clone();
    let repo = init(&dynamic, None);
    flow::store(&repo, &flow::source(&flow::nodes(&capture("cassandra-5.0"), [0, 1, 2])), false).unwrap();
    let engines: [&dyn Engine; 1] = [&Cassandra];
    let (mut ranged, mut placed) = (0, 0);
    for pack in of_kind(&*made, "pack/content") {
        for how in [Harm::Flipped(2), Harm::Flipped(5), Harm::Cut, Harm::Deleted] {
            let context = format!("{pack} {how:?}");
            let store: Arc<dyn Store> = Arc::new(made.fork());
            harm(&*store, &pack, how);
            let repo = open(&store, None).unwrap();
            let watch = Watch::new();
            let mut repaired = repair(&repo, Options { reads: Reads::All, dry_run: false }, &watch).unwrap();
            ranges::locate(&repo, &engines, &mut repaired.checked.harmed).unwrap();
            let lost = unreadable(&repo);
            let told: BTreeMap<&str, &check::Harmed> =
                repaired.checked.harmed.iter().map(|h| (h.part.as_deref().unwrap(), h)).collect();
            assert_eq!(
                told.keys().copied().collect::<BTreeSet<_>>(),
                lost.keys().map(String::as_str).collect(),
                "{context}"
            );
            for (part, keys) in &lost {
                for (from, to) in keys.iter().flatten() {
                    let within = |said: &ranges::Keys| {
                        said.from <= *from && (said.to.is_empty() || !to.is_empty() && *to <= said.to)
                    };
                    assert!(told[&part[..]].ranges.iter().any(within), "{context}: {part} from {}", hex(from));
                    ranged += 1;
                }
                placed += told[&part[..]].ranges.iter().filter(|r| !r.first.is_null() && !r.last.is_null()).count();
            }
            // A check afterwards says the same.
            let checked = check::check(&repo, onefold::engine::ALL, check::Options::default(), &Watch::new()).unwrap();
            assert!(how != Harm::Deleted || checked.harmed.len() == told.len(), "{context}");
        }
    }
    assert!(ranged > 10 && placed > 10, "{ranged} {placed}");
}

type Lost = BTreeMap<String, Vec<Option<(Vec<u8>, Vec<u8>)>>>;

/// Parts with chunks that cannot be read, and the keys that these speak of.
fn unreadable(repo: &Repo) -> Lost {
    let mut lost = Lost::new();
    let reader = repo.reader().unwrap();
    for info in repo.snapshots() {
        let snapshot = Snapshot::decode(&repo.snapshot(&info.id).unwrap().says).unwrap();
        let mut visit = |part: &str, keys: Option<(&[u8], &[u8])>, reached: Reached| {
            let read = match reached {
                Reached::Chunk { kind, id, .. } => reader.get(kind, &id).is_ok(),
                Reached::Broken(_) => false,
            };
            if !read {
                let keys = keys.map(|(from, to)| (from.to_vec(), to.to_vec()));
                lost.entry(part.to_owned()).or_default().push(keys);
            }
            Ok(read)
        };
        snapshot.reach_by_keys(&reader, &mut visit).unwrap();
    }
    lost
}
