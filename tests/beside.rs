//! A check while others are at work: at any of its requests somebody backs up, forgets, or prunes without any grace. It says that all is
//! whole, or that it is to be run again, and never that something is damaged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use onefold::Kind;
use onefold::prune::{Options, of_marked};
use onefold::repo::check::Reads;
use onefold::repo::prune::Limits;
use onefold::store::Store;
use onefold::store::faulty::Faulty;
use onefold::store::memory::Memory;
use onefold::watch::Watch;
use repo_format::id::SnapshotId;

use crate::prune::{copy_of, mark};
use crate::repo::{backup, chunks, init, memory, open};

fn store_of(store: &Arc<Memory>) -> Arc<dyn Store> {
    store.clone()
}

fn backs_up(store: &Arc<dyn Store>) {
    backup(&open(store, None).unwrap(), &chunks(99, 80));
}

fn prunes(store: &Arc<dyn Store>) {
    let limits = Limits { unused: 0.0, moved: u64::MAX };
    for _ in 0..2 {
        let repo = open(store, None).unwrap();
        let options = Options { grace_ms: 0, limits, dry_run: false };
        of_marked(&repo, &mark(&repo).unwrap(), &options, &Watch::new()).unwrap();
    }
}

/// All snapshots but the newest.
fn forgets_and_prunes(store: &Arc<dyn Store>) {
    let repo = open(store, None).unwrap();
    let ids: Vec<SnapshotId> = repo.snapshots().iter().map(|info| info.id).collect();
    repo.forget(&ids[..ids.len() - 1].iter().copied().collect()).unwrap();
    prunes(store);
}

#[test]
fn a_check_beside_others_tells_of_no_damage() {
    let made = memory();
    let repo = init(&made, None);
    for night in 0..5 {
        backup(&repo, &[chunks(1, 60), chunks(100 + night, 60)].concat());
    }
    let first = repo.find_snapshot("latest").unwrap().id;
    repo.forget(&repo.snapshots().iter().map(|info| info.id).filter(|id| *id != first).take(2).collect()).unwrap();
    prunes(&made);
    let mut busy = 0;
    for meanwhile in [backs_up, prunes, forgets_and_prunes] {
        for n in 0.. {
            let store = Arc::new(copy_of(&*made));
            let (seen, beside) = (Arc::new(AtomicUsize::new(0)), store_of(&store));
            let count = seen.clone();
            let hooked = Faulty::new(store, move |_, _| {
                if count.fetch_add(1, Ordering::Relaxed) == n {
                    meanwhile(&beside);
                }
                None
            });
            let (hooked, watch): (Arc<dyn Store>, _) = (Arc::new(hooked), Watch::new());
            let checked = open(&hooked, None).and_then(|repo| repo.check(Reads::All, &watch));
            let damage: Vec<_> = watch.problems().into_iter().filter(|problem| problem.damage).collect();
            assert!(damage.is_empty(), "at request {n}: {damage:?}");
            if let Err(e) = checked {
                assert_eq!(e.kind(), Kind::Busy, "at request {n}: {e}");
                busy += 1;
            }
            if seen.load(Ordering::Relaxed) <= n {
                assert!(n > 20, "{n} requests");
                break;
            }
        }
    }
    assert!(busy > 0, "it is told to be run again where what it reads is replaced");
}
