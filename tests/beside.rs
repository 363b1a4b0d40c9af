//! A check while others are at work: at any of its requests somebody backs up, forgets, or prunes without any grace. It says that all is
//! whole, or that it is to be run again, and never that something is damaged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use onefold::Kind;
use onefold::repo::check::Reads;
use onefold::store::Store;
use onefold::store::faulty::Faulty;
use onefold::watch::Watch;
use repo_format::id::SnapshotId;

use crate::prune::{copy_of, prune_at_once};
use crate::repo::{backup, chunks, init, memory, open};

fn backs_up(store: &Arc<dyn Store>) {
    backup(&open(store, None).unwrap(), &chunks(99, 80));
}

fn prunes(store: &Arc<dyn Store>) {
    (0..2).for_each(|_| prune_at_once(&open(store, None).unwrap()));
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
            let store: Arc<dyn Store> = Arc::new(copy_of(&*made));
            let seen = Arc::new(AtomicUsize::new(0));
            let (count, beside) = (seen.clone(), store.clone());
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
