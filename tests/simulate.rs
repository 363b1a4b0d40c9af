//! Several writers, two administrators who forget and prune, a reader and a thief with a stolen *write* key, all with the
//! repository's own code on one store: requests fail, are done though reported failed, processes die and sleep at any of them, and
//! clocks are wrong by up to a year. Whatever happens, each snapshot of which a writer was told that it stands, and that nobody forgot, is read back
//! byte for byte; and in the end nothing is left that nobody needs. Up to two objects of a history vanish or are damaged by themselves:
//! repairs name again and carry what is left, and the next backup stores anew what is lost.
//!
//! (`repo-format/tests/simulate.rs` does the same to the protocol alone, and shows that each of its rules is needed.
//! `tools/planted` takes rules out of the code, one at a time, and this must find each.) `ONEFOLD_HISTORIES=n` runs more.

pub mod misfortune;
mod stage;
pub mod thief;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use onefold::prune::{Options, of_marked};
use onefold::repo::check::Reads;
use onefold::repo::prune::Limits;
use onefold::repo::{Repo, WriteOptions};
use onefold::run::{ChunkKind, ChunkSink, ChunkSource};
use onefold::watch::{Problem, Watch};
use onefold::{Error, Kind, Result};
use repo_format::credential::{NewLock, Sets, Unlock};
use repo_format::id::SnapshotId;
use repo_format::index::Index;
use repo_format::keyfile::KeyFile;
use repo_format::log::Body;
use repo_format::names::{Name, PackName};
use repo_format::snapshot::Says;

use crate::dice::{Dice, number};
use crate::prune::mark;
use crate::repo::{chunks, small};
use stage::{Process, Stage, dice};

pub type Plain = Vec<(ChunkKind, Vec<u8>)>;

/// Who acts, by the number of the key that opens the repository: the first holds everything, others as [`SETS`] say. Two processes of
/// one writer act at once.
const KEYS: [u8; 9] = [0, 0, 1, 1, 2, 3, 4, 0, 0];
const SETS: [(u8, Sets); 4] = [(1, Sets::WRITE), (2, Sets(3)), (3, Sets::WRITE), (4, Sets::READ)];
const STEPS: u64 = 5_000;
/// Parts of the data that there are.
const PARTS: u64 = 12;

/// What happens often enough to count.
const BUSY: [&str; 13] = [
    "committed",
    "reused",
    "taken over",
    "forgotten",
    "pruned",
    "read",
    "fenced",
    "void",
    "failed",
    "to be run again",
    "stolen",
    "struck",
    "mended",
];

/// Data of one part out of a few: what one writes another has perhaps written.
fn part(number: u64) -> Plain {
    chunks(number, 5)
}

/// One history; how often what happened in it. Threads of one process race, so that a seed does not say all of it.
fn history(stage: &Arc<Stage>) -> BTreeMap<&'static str, u64> {
    let key = |n: u8| KeyFile::from_bytes([n; 32]);
    let admin = Repo::init(stage.store.clone(), Unlock::KeyFile(&key(0)), None, small()).unwrap();
    for (n, sets) in SETS {
        admin.add_key(sets, NewLock::KeyFile(&key(n))).unwrap();
    }
    drop(admin);
    thread::scope(|scope| {
        for (actor, n) in KEYS.into_iter().enumerate() {
            scope.spawn(move || {
                let play: &mut dyn FnMut(&Process, &mut Dice) = match actor {
                    0 | 1 => &mut administer,
                    2..=4 => &mut write,
                    5 => &mut thief::act,
                    8 => &mut misfortune::act,
                    _ => &mut read,
                };
                stage.act(actor, n, play);
            });
        }
    });
    end(stage);
    let model = std::mem::take(&mut *stage.model.lock().unwrap());
    model.counts
}

/// A night of a writer.
fn write(process: &Process, dice: &mut Dice) {
    let night = |dice: &mut Dice| -> Result<()> {
        let repo = process.open()?;
        let take_over = dice.one_in(4);
        let index_packs = 1 + dice.below(3) as usize;
        let options = WriteOptions { threads: 1, take_over, index_packs, ..WriteOptions::default() };
        let writer = repo.writer(options)?;
        let plain: Plain = (0..1 + dice.below(4)).flat_map(|_| part(dice.below(PARTS))).collect();
        let mut roots = Vec::new();
        for (kind, bytes) in &plain {
            roots.push((*kind, writer.put(*kind, bytes)?));
        }
        let (info, stats) = writer.commit(roots, Says { body: b"{}".to_vec(), ..Says::default() })?;
        let mut model = process.stage.model.lock().unwrap();
        model.count("committed");
        if stats.chunks_new < stats.chunks {
            model.count("reused");
        }
        if stats.index_objects_adopted > 0 {
            model.count("taken over");
        }
        if !model.forgotten.contains(&info.id) {
            model.kept.insert(info.id, plain);
        }
        Ok(())
    };
    if let Err(e) = night(dice) {
        // A session that another took over, or the administrator ended, ends.
        if e.kind() == Kind::Denied && e.to_string().contains("void") {
            return process.count("void");
        }
        process.allow("a writer", &e);
    }
}

fn prune(repo: &Repo, grace_ms: u64, dice: &mut Dice, watch: &Watch) -> Result<()> {
    let limits = Limits { unused: [0.0, 0.2, f64::INFINITY][dice.below(3) as usize], moved: u64::MAX };
    of_marked(repo, &mark(repo)?, &Options { grace_ms, limits, dry_run: false }, watch).map(drop)
}

fn administer(process: &Process, dice: &mut Dice) {
    let work = |dice: &mut Dice| -> Result<()> {
        let repo = process.open()?;
        for _ in 0..=dice.below(2) {
            let listed: Vec<SnapshotId> = repo.snapshots().iter().map(|info| info.id).collect();
            // A few snapshots stay, so that there is something to lose; every fourth for good, so that what it needs is moved again
            // and again.
            let may_go = |id: &SnapshotId| listed.len() > 2 && !id.0[0].is_multiple_of(4);
            let goes: Vec<SnapshotId> = listed.iter().copied().filter(|id| may_go(id) && dice.one_in(3)).collect();
            {
                let mut model = process.stage.model.lock().unwrap();
                for id in &goes {
                    model.kept.remove(id);
                    model.forgotten.insert(*id);
                    model.count("forgotten");
                }
            }
            if !goes.is_empty() {
                repo.forget(&goes.into_iter().collect())?;
            }
            if dice.one_in(12) {
                // A machine that is thought to be gone for good.
                let open: Vec<_> = repo.refresh()?.open_sessions().keys().copied().collect();
                if let Some(session) = open.get(dice.below(open.len() as u64) as usize).copied() {
                    process.count("fenced");
                    repo.administer(&mut |_| Ok(Body::Fence { session }))?;
                }
            }
            if dice.one_in(4) {
                let watch = Watch::new();
                let mended = misfortune::mend(&repo, &watch);
                process.hears(&watch);
                mended?;
                process.count("mended");
            }
            let watch = Watch::new();
            let pruned = prune(&repo, [0, 0, 3_600_000][dice.below(3) as usize], dice, &watch);
            process.hears(&watch);
            pruned?;
            process.count("pruned");
        }
        Ok(())
    };
    if let Err(e) = work(dice) {
        if e.kind() == Kind::Denied && e.to_string().contains("void") {
            return process.count("void");
        }
        process.allow("an administrator", &e);
    }
}

/// Reads snapshots: each, unless it is forgotten meanwhile, to its end.
fn read(process: &Process, dice: &mut Dice) {
    let kept: Vec<(SnapshotId, Plain)> = {
        let model = process.stage.model.lock().unwrap();
        model.kept.iter().filter(|_| dice.one_in(3)).map(|(id, plain)| (*id, plain.clone())).collect()
    };
    let one = |repo: &Repo, reader: &dyn ChunkSource, id: &SnapshotId, plain: &Plain| -> Result<()> {
        let snapshot = repo.snapshot(id)?;
        for ((kind, chunk), (_, bytes)) in snapshot.roots.iter().zip(plain) {
            assert_eq!(&reader.get(*kind, chunk)?, bytes);
        }
        process.count("read");
        Ok(())
    };
    let all = |dice: &mut Dice| -> Result<()> {
        let repo = process.open()?;
        let reader = repo.reader()?;
        for (id, plain) in &kept {
            // Meanwhile what its index names is moved: once in a while long enough that it is gone where it was.
            let long = dice.one_in(4);
            process.sleep_for(dice.below(if long { 1_500 } else { 100 }));
            match one(&repo, &reader, id, plain) {
                Err(e) if e.kind() != Kind::Io => {
                    let model = process.stage.model.lock().unwrap();
                    assert!(model.forgotten.contains(id) || model.explains(&e), "a reader: {e}");
                }
                read => read?,
            }
        }
        Ok(())
    };
    if let Err(e) = all(dice) {
        let model = process.stage.model.lock().unwrap();
        assert!(e.kind() == Kind::Io || model.explains(&e), "a reader: {e}");
        drop(model);
        process.count("failed");
    }
}

/// Everybody is gone: what must be there is, and what nobody needs goes.
fn end(stage: &Arc<Stage>) {
    let open = || Repo::open(stage.store.clone(), Unlock::KeyFile(&KeyFile::from_bytes([0; 32])), None).unwrap();
    // What happened to index objects alone costs nothing, and what happened to packs only what lay in them.
    misfortune::again(&|| misfortune::mend(&open(), &Watch::new()));
    verify(stage, &open(), "at the end");
    if !std::mem::take(&mut stage.model.lock().unwrap().harmed).is_empty() {
        misfortune::again(&|| misfortune::back_up_all(&open()));
        verify(stage, &open(), "after the next backup");
    }
    let repo = open();
    // The thief's snapshots name what is not there: the administrator sees that, and forgets them.
    let unsound: Vec<SnapshotId> =
        repo.snapshots().iter().map(|info| info.id).filter(|id| !is_sound(&repo, id)).collect();
    let model = stage.model.lock().unwrap();
    assert!(unsound.iter().all(|id| !model.kept.contains_key(id)));
    drop(model);
    repo.forget(&unsound.into_iter().collect()).unwrap();
    for session in repo.refresh().unwrap().open_sessions().keys().copied() {
        repo.administer(&mut |_| Ok(Body::Fence { session })).unwrap();
    }
    for _ in 0..3 {
        misfortune::again(&|| prune(&open(), 0, &mut dice(0), &Watch::new()));
    }
    let repo = open();
    verify(stage, &repo, "after the last prune");
    let watch = Watch::new();
    repo.check(Reads::all_if(true), &watch).unwrap();
    // What the thief said of packs is seen through, and told. Of packs that are gone since, index objects of writers for whom nobody
    // vouches may still tell.
    let vouched = named_by_vouched(&repo);
    let is_told = |problem: &Problem| {
        !problem.damage
            || problem.message.contains("is not what the index says")
            || !vouched.iter().any(|pack| problem.subject.contains(&pack.to_string()))
    };
    let problems = watch.problems().into_iter().filter(|problem| !is_told(problem));
    let problems: Vec<String> = problems.map(|p| format!("{}: {}", p.subject, p.message)).collect();
    assert_eq!(problems, Vec::<String>::new());
}

/// Packs that index objects name for which a holder of *read* stands.
fn named_by_vouched(repo: &Repo) -> BTreeSet<PackName> {
    let mut packs = BTreeSet::new();
    let state = repo.refresh().unwrap();
    for (name, _) in state.indexes().iter().filter(|(_, index)| index.vouched) {
        let bytes = repo.store().read(&Name::Index(*name).to_string()).unwrap();
        let object = Index::open(name, &bytes, &repo.ring().repo_id, &repo.ring().repo.index).unwrap();
        packs.extend(object.head().packs.iter().map(|(pack, _)| *pack));
    }
    packs
}

fn is_sound(repo: &Repo, id: &SnapshotId) -> bool {
    let all = || -> Result<()> {
        let snapshot = repo.snapshot(id)?;
        let reader = repo.reader()?;
        snapshot.roots.iter().try_for_each(|(kind, chunk)| reader.get(*kind, chunk).map(drop))
    };
    all().is_ok()
}

fn verify(stage: &Stage, repo: &Repo, when: &str) {
    let lost = |id: &SnapshotId, e: Error| -> ! { panic!("lost {when}: snapshot {id}: {e}") };
    let reader = repo.reader().unwrap();
    let model = stage.model.lock().unwrap();
    for (id, plain) in &model.kept {
        let snapshot = repo.snapshot(id).unwrap_or_else(|e| lost(id, e));
        assert_eq!(snapshot.roots.len(), plain.len());
        for ((kind, chunk), (_, bytes)) in snapshot.roots.iter().zip(plain) {
            match reader.get(*kind, chunk) {
                Err(_) if model.harmed.contains(chunk) => {}
                read => assert_eq!(&read.unwrap_or_else(|e| lost(id, e)), bytes, "{when}"),
            }
        }
    }
}

#[test]
fn nothing_needed_is_lost_and_nothing_else_is_left() {
    let (first, histories) = (number("ONEFOLD_FIRST", 0), number("ONEFOLD_HISTORIES", 500));
    let total: Mutex<BTreeMap<&'static str, u64>> = Mutex::default();
    let next = AtomicU64::new(first);
    thread::scope(|scope| {
        // Actors mostly wait for one another.
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + histories {
                        return;
                    }
                    let stage = Stage::new(seed, KEYS.len(), STEPS);
                    let counts = catch_unwind(AssertUnwindSafe(|| history(&stage))).unwrap_or_else(|_| {
                        next.store(u64::MAX - 4, Ordering::Relaxed);
                        let story = std::env::temp_dir().join(format!("onefold-history-{seed}"));
                        std::fs::write(&story, stage.story()).unwrap();
                        panic!("in history {seed}: what happened stands in {}", story.display())
                    });
                    let mut total = total.lock().unwrap();
                    counts.into_iter().for_each(|(what, n)| *total.entry(what).or_default() += n);
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    // Histories in which nothing happens prove nothing.
    for what in BUSY {
        let n = total.get(what).copied().unwrap_or(0);
        assert!(n >= histories / 20, "{what}: only {n} in {histories} histories; {total:?}");
    }
}
