//! Every request of `forget`, `prune`, `repair` and `maintain` fails, or is done though reported failed, and at every operation of theirs on
//! a disk the power goes, and what was not synced is lost or torn: nothing that is needed is lost, the next run completes, and nothing is
//! left for ever. 5,000 states at least. What a repair leaves where packs are damaged is seen in `tests/repair.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use onefold::check::{self, check};
use onefold::forget::policy::{Period, Policy};
use onefold::forget::{self, By};
use onefold::maintain::{self, maintain};
use onefold::prune::{Options, prune};
use onefold::repo::check::{Reads, Share};
use onefold::repo::prune::Limits;
use onefold::repo::{Repo, world};
use onefold::snapshot::Filter;
use onefold::store::Store;
use onefold::store::folder::Folder;
use onefold::store::memory::Memory;
use onefold::watch::Watch;
use onefold::{Kind, Result};
use repo_format::id::SnapshotId;
use repo_format::names::Name;

use crate::nights::{change, many_rows, night, site, write};
use crate::repo::{each_request_fails, init, open};
use crate::sim_disk::{Loss, SimDisk};

const ROWS: i32 = 300;
const DAY_MS: i64 = 86_400_000;

/// So many states each work has at least. How many it has, how its packs fall and its threads take turns decides: no two runs see as many.
const FORGOTTEN: usize = 170;
const BY_POLICY: usize = 190;
const PRUNED: usize = 1000;
const MERGED: usize = 1350;
const INDEXED: usize = 380;
const MAINTAINED: usize = 1350;
const REPAIRED: usize = 720;
const _: () = assert!(FORGOTTEN + BY_POLICY + PRUNED + MERGED + INDEXED + MAINTAINED + REPAIRED >= 5_000);

const TIGHT: Options = Options { grace_ms: 0, limits: Limits { unused: 0.0, moved: u64::MAX }, dry_run: false };

/// A repository, and what of it must stay.
struct Scene {
    store: Memory,
    kept: BTreeSet<SnapshotId>,
    /// What may be there, and need not.
    going: BTreeSet<SnapshotId>,
}

/// Nights of a table that changes, which share much; all but `keep` are to go.
fn scene(nights: u64, keep: &[usize]) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let (node, of_table, table) = site(dir.path());
    let memory = Arc::new(Memory::new());
    let store: Arc<dyn Store> = memory.clone();
    let repo = init(&store, None);
    let mut rows = many_rows(ROWS);
    for at in 0..nights {
        change(&mut rows, at);
        write(&of_table, &table, &rows);
        night(&repo, dir.path(), &node, None, true);
    }
    let ids: Vec<SnapshotId> = repo.snapshots().iter().map(|info| info.id).collect();
    let kept: BTreeSet<SnapshotId> = keep.iter().map(|at| ids[*at]).collect();
    let going = ids.into_iter().filter(|id| !kept.contains(id)).collect();
    Scene { store: memory.fork(), kept, going }
}

impl Scene {
    /// The same, once those are forgotten that are to go, and packs of theirs condemned: a prune then condemns, moves and deletes.
    fn half_pruned(self) -> Scene {
        let memory = Arc::new(self.store.fork());
        let store: Arc<dyn Store> = memory.clone();
        let repo = open(&store, None).unwrap();
        repo.forget(&self.going).unwrap();
        let lazy = Options { limits: Limits { unused: f64::INFINITY, ..TIGHT.limits }, grace_ms: 3_600_000, ..TIGHT };
        let pruned = prune(&repo, &lazy, &Watch::new()).unwrap();
        assert!(pruned.done.packs_condemned > 0 && pruned.packs_waiting > 0, "{pruned:?}");
        Scene { store: memory.fork(), kept: self.kept, going: BTreeSet::new() }
    }

    /// The same, once all but the newest of what must stay is pinned.
    fn pinned(self) -> Scene {
        let memory = Arc::new(self.store.fork());
        let store: Arc<dyn Store> = memory.clone();
        let repo = open(&store, None).unwrap();
        let stays = repo.snapshots().into_iter().map(|info| info.id).filter(|id| self.kept.contains(id));
        let mut names: Vec<String> = stays.map(|id| id.to_string()).collect();
        names.pop();
        forget::remarks::pin(&repo, &names, Some("for the auditors")).unwrap();
        Scene { store: memory.fork(), ..self }
    }

    /// What is on the list is what must be there, and of what is to go some.
    fn is_listed(&self, repo: &Repo, context: &str) {
        let listed: BTreeSet<SnapshotId> = repo.snapshots().iter().map(|info| info.id).collect();
        assert!(listed.is_superset(&self.kept), "{context}: a snapshot is gone");
        assert!(listed.iter().all(|id| self.kept.contains(id) || self.going.contains(id)), "{context}");
    }

    /// All that is left is read as it was backed up: every frame, every table by its digest. What was taken away too early does not come back.
    fn is_whole(&self, repo: &Repo, context: &str) {
        self.is_listed(repo, context);
        let watch = Watch::new();
        let options = check::Options { reads: Reads::All, declare_lost: false };
        let checked = check(repo, onefold::engine::ALL, options, &watch).unwrap_or_else(|e| panic!("{context}: {e}"));
        assert!(watch.problems().is_empty(), "{context}: {:?}", watch.problems());
        assert_eq!(checked.whole, self.kept.len() as u64, "{context}");
    }

    /// The next run completes; and once a month has gone by, in which sessions of the dead become silent, nothing is left that nobody needs.
    fn is_ended_by(&self, store: &Arc<dyn Store>, work: Work<'_>, context: &str) {
        let repo = open(store, None).unwrap_or_else(|e| panic!("{context}: {e}"));
        self.is_listed(&repo, context);
        work(&repo).unwrap_or_else(|e| panic!("{context}: the next run: {e}"));
        world::shift(31 * DAY_MS);
        let repo = open(store, None).unwrap();
        repo.forget(&self.going).unwrap();
        // Index objects that the first replaces are for the second to delete.
        for _ in 0..2 {
            prune(&repo, &TIGHT, &Watch::new()).unwrap_or_else(|e| panic!("{context}: a month later: {e}"));
        }
        nothing_is_left(&repo, context);
        self.is_whole(&repo, context);
        world::shift(0);
    }

    /// Each state that `work` can leave when something happens to one of its requests, or the power goes. How many these are.
    fn states(&self, work: Work<'_>) -> usize {
        let asked = each_request_fails(|fails, context| {
            let store: Arc<dyn Store> = Arc::new(self.store.fork());
            // Whether it fails or is tried again with success: what counts is what is left.
            let _ = open(&fails(store.clone()), None).and_then(|repo| work(&repo));
            self.is_ended_by(&store, work, context);
        });
        asked + self.losses_of_power(work)
    }

    fn losses_of_power(&self, work: Work<'_>) -> usize {
        let disk = Arc::new(Folder::new(SimDisk::new()));
        let store: Arc<dyn Store> = disk.clone();
        self.store.names().iter().for_each(|name| store.create(name, self.store.read(name).unwrap().into()).unwrap());
        let begun = disk.disk().operations();
        work(&open(&store, None).unwrap()).unwrap();
        let ended = disk.disk().operations();
        let mut states = 0;
        for k in begun..=ended {
            for loss in [Loss::Nothing, Loss::Everything, Loss::Torn(1), Loss::Torn(2)] {
                let context = format!("after operation {k} of {begun}..{ended}, {loss:?}");
                let store: Arc<dyn Store> = Arc::new(Folder::new(disk.disk().crash(k, loss)));
                self.is_ended_by(&store, work, &context);
                states += 1;
            }
        }
        states
    }
}

type Work<'w> = &'w dyn Fn(&Repo) -> Result<()>;

/// Every object of the store is one that the log names, and the log remembers nothing that is over.
pub fn nothing_is_left(repo: &Repo, context: &str) {
    let state = repo.refresh().unwrap();
    assert!(state.open_sessions().is_empty(), "{context}: sessions are left: {:?}", state.open_sessions());
    assert!(state.condemned().is_empty(), "{context}: condemned packs are left: {:?}", state.condemned());
    let dry = prune(repo, &Options { dry_run: true, ..TIGHT }, &Watch::new()).unwrap();
    let due = (dry.done.packs_condemned, dry.done.packs_deleted, dry.done.others_deleted, dry.done.packs_emptied);
    assert_eq!(due, (0, 0, 0, 0), "{context}: {dry:?}");
    assert_eq!(dry.packs_waiting + dry.bytes_beside, 0, "{context}: {dry:?}");
    let visit = &mut |name: &str, _| {
        let is_named = match Name::parse(name).or_else(|_| Name::parse_copy(name)) {
            Ok(Name::Index(index)) => state.indexes().contains_key(&index),
            Ok(Name::Snapshot(id)) => state.snapshots().contains_key(&id),
            Ok(_) => true,
            Err(_) => false,
        };
        assert!(is_named, "{context}: {name} is left");
        Ok(())
    };
    repo.store().list("", visit).unwrap();
}

#[test]
fn every_state_of_a_forget() {
    let scene = scene(5, &[1, 4]);
    let states = scene.states(&|repo| {
        repo.refresh()?;
        let listed = scene.going.iter().copied().filter(|id| repo.snapshots().iter().any(|info| info.id == *id));
        repo.forget(&listed.collect())
    });
    assert!(states >= FORGOTTEN, "{states}");
}

/// What is pinned stays, though the policy alone would let it go.
#[test]
fn every_state_of_a_forget_by_a_policy() {
    let scene = scene(5, &[1, 4]).pinned();
    let policy = Policy { counts: [(Period::Last, 1)].into(), ..Policy::default() };
    let by = forget::Options { policy, by: [By::Cluster].into(), filter: Filter::default(), allow_nothing: false };
    let states = scene.states(&|repo| {
        let goes = forget::judge(repo, &by)?.forgotten();
        repo.forget(&goes)
    });
    assert!(states >= BY_POLICY, "{states}");
}

fn pruned(scene: &Scene) -> usize {
    scene.states(&|repo| {
        let pruned = prune(repo, &TIGHT, &Watch::new())?;
        assert!(pruned.chunks_lost == 0, "{pruned:?}");
        Ok(())
    })
}

/// One that condemns, moves and deletes.
#[test]
fn every_state_of_a_prune() {
    let states = pruned(&scene(9, &[1, 4, 7]).half_pruned());
    assert!(states >= PRUNED, "{states}");
}

/// One that finds so many index objects and packs that it merges them.
#[test]
fn every_state_of_a_prune_that_merges() {
    let states = pruned(&scene(20, &[2, 5, 6, 9, 12, 14, 15, 16, 17, 19]).half_pruned());
    assert!(states >= MERGED, "{states}");
}

/// With what a prune does not do: verifying. What is left to be done is no failure.
#[test]
fn every_state_of_a_maintenance() {
    let scene = scene(9, &[2, 5, 8]).half_pruned();
    let options = maintain::Options { forget: None, prune: TIGHT, share: Share::Part(1.0) };
    let states = scene.states(&|repo| {
        let watch = Watch::new();
        let done = maintain(repo, &options, &watch)?;
        match done.left.first() {
            None => Ok(()),
            Some(left) => Err(onefold::Error::new(Kind::Busy, left.step, &left.why)),
        }
    });
    assert!(states >= MAINTAINED, "{states}");
}

/// One without a prune, which has small index objects to merge, of snapshots that stay and of some that go.
#[test]
fn every_state_of_a_merge_of_index_objects() {
    let scene = scene(16, &[3, 15]);
    let states = scene.states(&|repo| repo.merge_indexes(&Watch::new(), false).map(drop));
    assert!(states >= INDEXED, "{states}");
}

/// One that finds no index object for half of the packs.
#[test]
fn every_state_of_a_repair() {
    let scene = scene(9, &[2, 5, 8]);
    let names: Vec<String> =
        scene.store.names().into_iter().filter(|name| matches!(Name::parse(name), Ok(Name::Index(_)))).collect();
    names.iter().step_by(2).for_each(|name| scene.store.delete(name).unwrap());
    let states = scene.states(&|repo| {
        let watch = Watch::new();
        let examined = repo.check(Reads::All, &watch)?;
        repo.mend(&examined, false, &watch)?;
        repo.declare(&examined, false).map(drop)
    });
    assert!(states >= REPAIRED, "{states}");
}
