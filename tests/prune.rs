//! Taking away what no snapshot needs: nothing needed is lost, whenever it stops, and in the end nothing unneeded is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use onefold::prune::{Options, Pruned, of_marked};
use onefold::repo::alone::Needs;
use onefold::repo::prune::{Limits, Marked, Marks};
use onefold::repo::{Repo, WriteOptions, world};
use onefold::run::{ChunkId, ChunkKind, ChunkSink, ChunkSource};
use onefold::store::Store;
use onefold::store::faulty::{Fault, Faulty, Operation};
use onefold::store::folder::Folder;
use onefold::store::memory::Memory;
use onefold::watch::Watch;
use onefold::{Error, Kind, Result};
use repo_format::id::SnapshotId;
use repo_format::snapshot::Says;

use crate::dice::Dice;
use crate::repo::{backup, chunks, each_request_fails, init, memory, open, problems, put_all};
use crate::sim_disk::{Loss, SimDisk};

type Plain = Vec<(ChunkKind, Vec<u8>)>;

const ALL: Options = Options { grace_ms: 0, limits: Limits { unused: 0.05, moved: u64::MAX }, dry_run: false };

/// What the snapshots need, where each names all its chunks.
pub fn mark(repo: &Repo) -> Result<Marked> {
    let mut marks = Marks::new(&repo.scratch_dir());
    for id in repo.needed_snapshots()? {
        let (writer, snapshot) = repo.needed_snapshot(&id)?;
        let number = marks.snapshot(id, writer)?;
        snapshot.roots.iter().try_for_each(|(_, chunk)| marks.add(number, chunk))?;
    }
    marks.finish()
}

fn prune(repo: &Repo, options: &Options) -> Result<Pruned> {
    let watch = Watch::new();
    let pruned = of_marked(repo, &mark(repo)?, options, &watch)?;
    let problems = watch.problems();
    assert!(problems.is_empty(), "{problems:?}");
    Ok(pruned)
}

/// With all that it may move, and no grace for anybody; what it tells is not looked at.
pub fn prune_at_once(repo: &Repo) {
    let limits = Limits { unused: 0.0, moved: u64::MAX };
    of_marked(repo, &mark(repo).unwrap(), &Options { limits, ..ALL }, &Watch::new()).unwrap();
}

/// What each snapshot must give back.
type Model = BTreeMap<SnapshotId, Plain>;

fn verify(repo: &Repo, model: &Model, context: &str) {
    repo.refresh().unwrap();
    let listed: BTreeSet<SnapshotId> = repo.snapshots().iter().map(|info| info.id).collect();
    assert!(model.keys().all(|id| listed.contains(id)), "{context}: a snapshot is gone");
    let reader = repo.reader().unwrap();
    for (id, plain) in model {
        let snapshot = repo.snapshot(id).unwrap_or_else(|e| panic!("{context}: {e}"));
        for ((kind, chunk), (_, bytes)) in snapshot.roots.iter().zip(plain) {
            let read = reader.get(*kind, chunk).unwrap_or_else(|e| panic!("{context}: {e}"));
            assert_eq!(&read, bytes, "{context}");
        }
    }
}

fn commit(repo: &Repo, plain: &Plain, model: &mut Model) {
    backup(repo, plain);
    model.insert(repo.find_snapshot("latest").unwrap().id, plain.clone());
}

fn forget(repo: &Repo, ids: &[SnapshotId], model: &mut Model) {
    repo.forget(&ids.iter().copied().collect()).unwrap();
    ids.iter().for_each(|id| drop(model.remove(id)));
}

/// Bytes of packs.
fn packs(store: &dyn Store) -> u64 {
    let mut bytes = 0;
    let visit = &mut |_: &str, size: u64| {
        bytes += size;
        Ok(())
    };
    store.list("pack", visit).unwrap();
    bytes
}

/// Snapshots of which each shares a part with those before.
fn nights(repo: &Repo, count: usize) -> Model {
    let mut model = Model::new();
    for night in 0..count {
        let plain: Plain = (0..6).flat_map(|part| chunks((night * (part + 1) / 5 * 10 + part) as u64, 20)).collect();
        commit(repo, &plain, &mut model);
    }
    model
}

#[test]
fn what_is_left_is_what_the_kept_ones_need() {
    for keep in [&[0usize, 4][..], &[7], &[0, 1, 2, 3, 4, 5, 6, 7], &[3, 5, 6]] {
        let store = memory();
        let repo = init(&store, None);
        let mut model = nights(&repo, 8);
        let ids: Vec<SnapshotId> = repo.snapshots().iter().map(|info| info.id).collect();
        let goes: Vec<SnapshotId> =
            ids.iter().enumerate().filter(|(at, _)| !keep.contains(at)).map(|(_, id)| *id).collect();
        let kept: Vec<Plain> = keep.iter().map(|at| model[&ids[*at]].clone()).collect();
        forget(&repo, &goes, &mut model);
        let dry = prune(&repo, &Options { dry_run: true, ..ALL }).unwrap();
        let before = packs(&*store);
        let tight = Options { limits: Limits { unused: 0.0, ..ALL.limits }, ..ALL };
        let pruned = prune(&repo, &tight).unwrap();
        assert_eq!(pruned.bytes_before, before);
        assert_eq!(dry.chunks, pruned.chunks);
        verify(&repo, &model, "after the first");
        // What was condemned in the first is deleted in the second, which also forgets it.
        prune(&repo, &tight).unwrap();
        verify(&open(&store, None).unwrap(), &model, "after the second");
        assert_eq!(problems(&open(&store, None).unwrap(), true), Vec::<String>::new(), "{keep:?}");
        let state = repo.refresh().unwrap();
        assert!(state.condemned().is_empty(), "{keep:?}: nothing is left to be remembered");
        let last = prune(&repo, &tight).unwrap();
        assert_eq!(
            (last.done.packs_condemned, last.done.packs_deleted, last.done.packs_emptied),
            (0, 0, 0),
            "{keep:?}"
        );

        let (young, fresh) = (memory(), &mut Model::new());
        let other = init(&young, None);
        kept.iter().for_each(|plain| commit(&other, plain, fresh));
        let (left, ideal) = (packs(&*store), packs(&*young));
        // Packs here are so small that frames of which a part is needed weigh as much as anything else.
        assert!(left as f64 <= ideal as f64 * 1.25, "{keep:?}: {left} bytes left, {ideal} would do");
    }
}

#[test]
fn what_is_condemned_waits_for_its_grace() {
    let store = memory();
    let repo = init(&store, None);
    let mut model = Model::new();
    commit(&repo, &chunks(1, 60), &mut model);
    commit(&repo, &chunks(2, 60), &mut model);
    let first = repo.snapshots()[0].id;
    let reader = repo.reader().unwrap();
    let old = (repo.snapshot(&first).unwrap(), chunks(1, 60));
    forget(&repo, &[first], &mut model);
    let patient = Options { grace_ms: 3_600_000, ..ALL };
    let pruned = prune(&repo, &patient).unwrap();
    assert!(
        pruned.done.packs_condemned > 0 && pruned.done.packs_deleted == 0 && pruned.packs_waiting > 0,
        "{pruned:?}"
    );
    let again = prune(&repo, &patient).unwrap();
    assert_eq!((again.done.packs_condemned, again.done.packs_deleted, again.done.others_deleted), (0, 0, 0));
    // A restore that began before goes on.
    for ((kind, id), (_, plain)) in old.0.roots.iter().zip(&old.1) {
        assert_eq!(&reader.get(*kind, id).unwrap(), plain);
    }
    // What comes again meanwhile is stored anew, and stays.
    commit(&repo, &chunks(1, 60), &mut model);
    let last = prune(&repo, &ALL).unwrap();
    assert!(last.done.packs_deleted > 0 && last.done.others_deleted > 0, "{last:?}");
    verify(&open(&store, None).unwrap(), &model, "after the grace");
}

/// A full store has no room for an entry of the log, nor for what would be moved: what is due is deleted before.
#[test]
fn a_full_store_gets_room() {
    let store = memory();
    let mut model = Model::new();
    let repo = init(&store, None);
    // Of the second one a part is needed by the third, so that there is something to be moved.
    [chunks(1, 60), [chunks(2, 60), chunks(3, 6)].concat(), chunks(3, 6)]
        .iter()
        .for_each(|plain| commit(&repo, plain, &mut model));
    let ids: Vec<SnapshotId> = repo.snapshots().iter().map(|info| info.id).collect();
    forget(&repo, &ids[..1], &mut model);
    assert!(prune(&repo, &Options { grace_ms: 3_600_000, ..ALL }).unwrap().packs_waiting > 0);
    forget(&repo, &ids[1..2], &mut model);
    let full = |operation, _: &str| (operation == Operation::Create).then_some(Fault::Error(Kind::Full));
    let before = packs(&*store);
    let faulty: Arc<dyn Store> = Arc::new(Faulty::new(store.clone(), full));
    let e = prune(&open(&faulty, None).unwrap(), &ALL).unwrap_err();
    assert!(e.kind() == Kind::Full && packs(&*store) < before, "{e}");
    verify(&open(&store, None).unwrap(), &model, "where it was full");
    prune(&open(&store, None).unwrap(), &ALL).unwrap();
    verify(&open(&store, None).unwrap(), &model, "and no longer is");
}

/// An administrator's clock was ten years ahead when packs were condemned: they do not wait ten years.
#[test]
fn a_clock_that_was_ahead_once_keeps_nothing_for_years() {
    let store = memory();
    let mut model = Model::new();
    let repo = init(&store, None);
    [1, 2].iter().for_each(|seed| commit(&repo, &chunks(*seed, 60), &mut model));
    let first = repo.snapshots()[0].id;
    forget(&repo, &[first], &mut model);
    let patient = Options { grace_ms: 3_600_000, ..ALL };
    world::shift(10 * 365 * 86_400_000);
    assert!(prune(&repo, &patient).unwrap().packs_waiting > 0);
    world::shift(0);
    commit(&repo, &chunks(3, 60), &mut model);
    assert!(prune(&repo, &patient).unwrap().packs_waiting > 0, "they wait as long as others");
    world::shift(7_200_000);
    let pruned = prune(&repo, &patient).unwrap();
    world::shift(0);
    assert!(pruned.done.packs_deleted > 0 && pruned.packs_waiting == 0, "{pruned:?}");
    verify(&open(&store, None).unwrap(), &model, "after the grace");
}

/// What was moved before the work is ended counts.
#[test]
fn a_prune_that_is_ended_has_moved_what_it_moved() {
    let store = memory();
    let mut model = Model::new();
    let repo = init(&store, None);
    for seed in 0..4 {
        commit(&repo, &[chunks(2 * seed, 60), chunks(100 + seed, 60)].concat(), &mut model);
    }
    let kept: Plain = (0..4).flat_map(|seed| chunks(100 + seed, 60)).collect();
    commit(&repo, &kept, &mut model);
    let ids: Vec<SnapshotId> = repo.snapshots().iter().map(|info| info.id).collect();
    forget(&repo, &ids[..4], &mut model);
    let watch = Arc::new(Watch::new());
    let (ends, read) = (watch.clone(), AtomicUsize::new(0));
    // While the second pack is read, the time is over.
    let script = move |operation, name: &str| {
        let is_pack = operation == Operation::Read && name.starts_with("pack/");
        if is_pack && read.fetch_add(1, Ordering::Relaxed) == 1 {
            ends.time_is_over();
        }
        None
    };
    let faulty: Arc<dyn Store> = Arc::new(Faulty::new(store.clone(), script));
    let ended = open(&faulty, None).unwrap();
    let marked = mark(&ended).unwrap();
    let e = of_marked(&ended, &marked, &ALL, &watch).unwrap_err();
    assert_eq!(e.kind(), Kind::Interrupted);
    let state = repo.refresh().unwrap();
    assert!(state.open_sessions().is_empty(), "it is committed");
    let rest = prune(&open(&store, None).unwrap(), &ALL).unwrap();
    assert!(rest.done.packs_emptied > 0, "{rest:?}");
    verify(&open(&store, None).unwrap(), &model, "in two parts");
}

/// Backups that are under way while packs go: they commit, or say that they must be run again; none loses anything.
#[test]
fn beside_backups_nothing_is_lost() {
    let mut committed = 0;
    for seed in 0..60u64 {
        let store = memory();
        init(&store, None);
        let mut model = Model::new();
        let mut dice = Dice(seed);
        let mut next = |below: u64| dice.below(below);
        for step in 0..12 {
            let context = format!("seed {seed}, step {step}");
            let plain: Plain = (0..3).flat_map(|_| chunks(next(6), 12)).collect();
            let writing = open(&store, None).unwrap();
            let writer = writing.writer(WriteOptions { threads: 1, ..WriteOptions::default() }).unwrap();
            let half = plain.len() / 2;
            let mut roots = put_all(&writer, &plain[..half]);
            let pruner = open(&store, None).unwrap();
            for _ in 0..next(3) {
                let ids: Vec<SnapshotId> = model.keys().copied().collect();
                if ids.len() > 1 && next(2) == 0 {
                    forget(&pruner, &[ids[next(ids.len() as u64) as usize]], &mut model);
                }
                let limits = Limits { unused: [0.0, 0.2, f64::INFINITY][next(3) as usize], moved: u64::MAX };
                prune(&pruner, &Options { grace_ms: 0, limits, dry_run: false }).unwrap();
                verify(&pruner, &model, &context);
            }
            let done = (|| {
                for (kind, bytes) in &plain[half..] {
                    roots.push((*kind, writer.put(*kind, bytes)?));
                }
                writer.commit(std::mem::take(&mut roots), Says { body: b"{}".to_vec(), ..Says::default() })
            })();
            match done {
                Ok((info, _)) => {
                    committed += 1;
                    model.insert(info.id, plain);
                }
                Err(e) => assert_eq!(e.kind(), Kind::Busy, "{context}: {e}"),
            }
            verify(&open(&store, None).unwrap(), &model, &context);
        }
        assert_eq!(problems(&open(&store, None).unwrap(), true), Vec::<String>::new(), "seed {seed}");
    }
    assert!(committed > 400, "{committed} of 720 were not disturbed");
}

/// A pruner whose marks are older than the last commit takes nothing away.
#[test]
fn a_backup_that_ended_meanwhile_is_not_overlooked() {
    let store = memory();
    let repo = init(&store, None);
    let mut model = Model::new();
    commit(&repo, &chunks(1, 40), &mut model);
    commit(&repo, &chunks(2, 40), &mut model);
    let first = repo.snapshots()[0].id;
    forget(&repo, &[first], &mut model);
    let marked = mark(&repo).unwrap();
    commit(&open(&store, None).unwrap(), &chunks(3, 40), &mut model);
    let refused = of_marked(&repo, &marked, &ALL, &Watch::new()).unwrap_err();
    assert_eq!(refused.kind(), Kind::Busy, "{refused}");
    // It ended after the survey: the log's rules notice.
    let marked = mark(&repo).unwrap();
    let survey = repo.survey(&marked).unwrap();
    commit(&open(&store, None).unwrap(), &chunks(4, 40), &mut model);
    let refused = repo.condemn(&survey, &marked, &mut Default::default()).unwrap_err();
    assert_eq!(refused.kind(), Kind::Busy, "{refused}");
    prune(&repo, &ALL).unwrap();
    verify(&repo, &model, "after all");
}

/// Where something is missing, what nobody names may be what is missed.
#[test]
fn what_nobody_names_stays_where_something_is_missing() {
    let store = memory();
    let repo = init(&store, None);
    let mut model = Model::new();
    commit(&repo, &chunks(1, 40), &mut model);
    commit(&repo, &chunks(2, 40), &mut model);
    let mut indexes = Vec::new();
    store
        .list("index", &mut |name, _| {
            indexes.push(name.to_owned());
            Ok(())
        })
        .unwrap();
    let before = packs(&*store);
    let held = store.read(&indexes[0]).unwrap();
    store.delete(&indexes[0]).unwrap();
    let watch = Watch::new();
    let pruned = of_marked(&repo, &mark(&repo).unwrap(), &ALL, &watch).unwrap();
    assert!(pruned.chunks_lost > 0 && pruned.done.packs_condemned == 0, "{pruned:?}");
    assert!(watch.problems().iter().any(|p| p.message.contains("chunks that snapshots need are not there")));
    assert_eq!(packs(&*store), before);
    store.create(&indexes[0], held.clone().into()).unwrap();
    verify(&open(&store, None).unwrap(), &model, "whole again");
}

/// Every request of a prune fails, or is done though reported failed: nothing needed is lost, and the next run ends the work.
#[test]
fn every_request_of_a_prune_fails_once() {
    let make = || {
        let store = Arc::new(Memory::new());
        let shared: Arc<dyn Store> = store;
        let repo = init(&shared, None);
        let mut model = nights(&repo, 5);
        let ids: Vec<SnapshotId> = repo.snapshots().iter().map(|info| info.id).collect();
        forget(&repo, &[ids[0], ids[2], ids[3]], &mut model);
        // One round of packs is condemned already, so that a run also deletes.
        prune(&repo, &Options { limits: Limits { unused: f64::INFINITY, ..ALL.limits }, ..ALL }).unwrap();
        (shared, model)
    };
    let states = each_request_fails(|fails, context| {
        let (store, model) = make();
        let faulty = fails(store.clone());
        // Whether it fails or is tried again with success: what counts is what is left.
        let _ = open(&faulty, None).and_then(|repo| prune(&repo, &ALL));
        let repo = open(&store, None).unwrap();
        verify(&repo, &model, context);
        prune(&repo, &ALL).unwrap_or_else(|e| panic!("{context}: {e}"));
        prune(&repo, &ALL).unwrap_or_else(|e| panic!("{context}: {e}"));
        verify(&repo, &model, context);
        assert_eq!(problems(&repo, false), Vec::<String>::new(), "{context}");
    });
    assert!(states > 100, "{states}");
}

#[test]
fn a_prune_survives_a_loss_of_power_at_any_operation() {
    let disk = Arc::new(Folder::new(SimDisk::new()));
    let store: Arc<dyn Store> = disk.clone();
    let repo = init(&store, None);
    let mut model = nights(&repo, 4);
    let ids: Vec<SnapshotId> = repo.snapshots().iter().map(|info| info.id).collect();
    forget(&repo, &[ids[0], ids[2]], &mut model);
    let begun = disk.disk().operations();
    prune(&repo, &ALL).unwrap();
    prune(&repo, &ALL).unwrap();
    let ended = disk.disk().operations();
    for k in begun..=ended {
        for loss in [Loss::Nothing, Loss::Everything, Loss::Torn(1)] {
            let context = format!("after operation {k} of {begun}..{ended}, {loss:?}");
            let store: Arc<dyn Store> = Arc::new(Folder::new(disk.disk().crash(k, loss)));
            let repo = open(&store, None).unwrap_or_else(|e| panic!("{context}: {e}"));
            verify(&repo, &model, &context);
            prune(&repo, &ALL).unwrap_or_else(|e| panic!("{context}: {e}"));
            verify(&repo, &model, &context);
            assert_eq!(problems(&repo, false), Vec::<String>::new(), "{context}");
        }
    }
}

/// A pack that is partly needed and damaged is told, left alone, and its sound frames stay.
#[test]
fn a_damaged_pack_is_not_emptied() {
    let store = memory();
    let repo = init(&store, None);
    let mut model = nights(&repo, 6);
    let ids: Vec<SnapshotId> = repo.snapshots().iter().map(|info| info.id).collect();
    // Of the first night's packs the third night needs a part.
    forget(&repo, &[ids[0], ids[1], ids[3], ids[4], ids[5]], &mut model);
    let tight = Options { limits: Limits { unused: 0.0, ..ALL.limits }, ..ALL };
    let survey = repo.survey(&mark(&repo).unwrap()).unwrap();
    let pack = survey.worth_emptying(tight.limits)[0].to_string();
    let mut bytes = store.read(&pack).unwrap();
    bytes[100] ^= 1;
    store.delete(&pack).unwrap();
    store.create(&pack, bytes.clone().into()).unwrap();
    let watch = Watch::new();
    of_marked(&repo, &mark(&repo).unwrap(), &tight, &watch).unwrap();
    assert!(watch.problems().iter().any(|p| p.subject.contains(&pack)), "{:?}", watch.problems());
    assert!(store.read(&pack).is_ok(), "it stays");
}

/// A reader in the middle of a snapshot, whose packs are emptied and deleted: the places are looked up anew.
#[test]
fn a_reader_follows_what_moves() {
    let store = memory();
    let repo = init(&store, None);
    let mut model = nights(&repo, 6);
    let ids: Vec<SnapshotId> = repo.snapshots().iter().map(|info| info.id).collect();
    let reading = open(&store, None).unwrap();
    let snapshot = reading.snapshot(&ids[2]).unwrap();
    let reader = reading.reader().unwrap();
    let plain = model[&ids[2]].clone();
    let (kind, id): (ChunkKind, ChunkId) = snapshot.roots[0];
    assert_eq!(reader.get(kind, &id).unwrap(), plain[0].1);
    forget(&repo, &[ids[0], ids[1], ids[3], ids[4], ids[5]], &mut model);
    let tight = Options { limits: Limits { unused: 0.0, ..ALL.limits }, ..ALL };
    let pruned = prune(&repo, &tight).unwrap();
    assert!(pruned.done.packs_emptied > 0 && pruned.done.bytes_moved > 0, "{pruned:?}");
    prune(&repo, &tight).unwrap();
    let read: Result<Vec<Vec<u8>>> = snapshot.roots.iter().map(|(kind, id)| reader.get(*kind, id)).collect();
    let read = read.unwrap_or_else(|e: Error| panic!("{e}"));
    assert!(read.iter().eq(plain.iter().map(|(_, bytes)| bytes)));
}

/// What each snapshot alone needs is what no other holds, and what forgetting it frees is what a prune then finds unneeded.
#[test]
fn what_forgetting_one_frees_is_said_before() {
    let store = memory();
    let repo = init(&store, None);
    let model = nights(&repo, 6);
    let ids: Vec<SnapshotId> = repo.snapshots().iter().map(|info| info.id).collect();
    let mut needs = Needs::new(&repo.scratch_dir());
    let mut roots: Vec<BTreeSet<ChunkId>> = Vec::new();
    for (number, id) in (0..).zip(&ids) {
        let all = repo.snapshot(id).unwrap().roots;
        all.iter().for_each(|(_, chunk)| needs.add(number, chunk).unwrap());
        roots.push(all.into_iter().map(|(_, chunk)| chunk).collect());
    }
    let (alone, problems) = repo.alone(needs, ids.len()).unwrap();
    assert!(problems.is_empty());
    let before = repo.survey(&mark(&repo).unwrap()).unwrap().needed_bytes();
    let mut freed = 0;
    for (at, id) in ids.iter().enumerate() {
        let others: BTreeSet<ChunkId> =
            roots.iter().enumerate().filter(|(n, _)| *n != at).flat_map(|(_, all)| all).copied().collect();
        let own: Vec<&ChunkId> = roots[at].iter().filter(|chunk| !others.contains(*chunk)).collect();
        let sizes = repo
            .snapshot(id)
            .unwrap()
            .roots
            .into_iter()
            .zip(&model[id])
            .map(|((_, id), (_, plain))| (id, plain.len() as u64));
        let sizes: BTreeMap<ChunkId, u64> = sizes.collect();
        assert_eq!(alone[at].chunks, own.len() as u64, "{at}");
        assert_eq!(alone[at].bytes, own.iter().map(|chunk| sizes[*chunk]).sum::<u64>(), "{at}");
        // In a repository that forgets this one alone.
        let other: Arc<dyn Store> = Arc::new(copy_of(&*store));
        let without = open(&other, None).unwrap();
        without.forget(&BTreeSet::from([*id])).unwrap();
        let after = without.survey(&mark(&without).unwrap()).unwrap().needed_bytes();
        assert_eq!(alone[at].frees, before - after, "{at}");
        freed += alone[at].frees;
    }
    assert!(freed > 0 && freed < before);
}

pub fn copy_of(store: &dyn Store) -> Memory {
    let copy = Memory::new();
    let visit = &mut |name: &str, _| copy.create(name, store.read(name).unwrap().into());
    store.list("", visit).unwrap();
    copy
}
