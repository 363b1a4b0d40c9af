//! What a check says of objects that are each as they should be, and do not fit one another.

use std::collections::BTreeSet;
use std::sync::Arc;

use onefold::backup::{Options, Target, backup};
use onefold::check::{self, check};
use onefold::engine::cassandra::Cassandra;
use onefold::repo::WriteOptions;
use onefold::run::{ChunkId, Reached};
use onefold::snapshot::Snapshot;
use onefold::stats;
use onefold::store::Store;
use onefold::store::memory::Memory;
use onefold::watch::Watch;
use repo_format::names::Name;

use crate::flow;
use crate::repo::{backup as simple, chunks, init, open};
use crate::user::capture;

fn problems(store: &Arc<dyn Store>) -> Vec<(bool, String)> {
    let watch = Watch::new();
    check(&open(store, None).unwrap(), onefold::engine::ALL, check::Options::default(), &watch).unwrap();
    watch.problems().into_iter().map(|p| (p.damage, format!("{}: {}", p.subject, p.message))).collect()
}

#[test]
fn a_snapshot_names_the_roots_of_its_documents() {
    let source = flow::source(&flow::nodes(&capture("cassandra-5.0"), [0, 1, 2]));
    for less in [0, 1] {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let repo = init(&store, None);
        let writer = repo.writer(WriteOptions { threads: 1, ..WriteOptions::default() }).unwrap();
        let target = Target::of(&repo, None, &writer).unwrap();
        let options = Options { cluster: "lab".into(), ..Options::default() };
        let snapshot = backup(&Cassandra, &source, &target, &options, &Watch::new()).unwrap();
        let roots = snapshot.roots().unwrap().split_off(less);
        writer.commit(roots, snapshot.encode().unwrap()).unwrap();
        let said = problems(&store);
        assert_eq!(said.len(), less, "{said:?}");
        assert!(said.iter().all(|(damage, said)| *damage && said.contains("name other chunks")), "{said:?}");
    }
}

#[test]
fn a_credential_on_the_list_is_there() {
    let memory = Arc::new(Memory::new());
    let store: Arc<dyn Store> = memory.clone();
    let repo = init(&store, None);
    simple(&repo, &chunks(1, 3));
    let name = Name::Key(repo.credential());
    [name.to_string(), name.copy()].iter().for_each(|name| memory.delete(name).unwrap());
    let watch = Watch::new();
    repo.check(Default::default(), &watch).unwrap();
    let said = watch.problems();
    assert!(said.len() == 1 && !said[0].damage && said[0].subject == name.to_string(), "{said:?}");
}

/// What each snapshot alone needs, by its trees: as it comes out when every chunk of every snapshot is counted.
#[test]
fn what_a_snapshot_alone_needs_follows_from_all_trees() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let repo = init(&store, None);
    let all = flow::nodes(&capture("cassandra-5.0"), [0, 1, 2]);
    // Of one node, of all, of all again, of two.
    for nodes in [&all[..1], &all[..], &all[..], &all[..2]] {
        flow::store(&repo, &flow::source(nodes), false).unwrap();
    }
    let reader = repo.reader().unwrap();
    let mut needs: Vec<BTreeSet<ChunkId>> = Vec::new();
    for info in repo.snapshots() {
        let snapshot = Snapshot::decode(&repo.snapshot(&info.id).unwrap().says).unwrap();
        let mut chunks = BTreeSet::new();
        let mut visit = |_: &str, reached| match reached {
            Reached::Chunk { id, .. } => {
                chunks.insert(id);
                Ok(true)
            }
            Reached::Broken(e) => Err(e),
        };
        snapshot.reach(&reader, &mut visit).unwrap();
        needs.push(chunks);
    }
    let alone = stats::alone(&repo, &Watch::new()).unwrap();
    assert_eq!(alone.len(), 4);
    let counted = (0..4).map(|at| {
        let others: BTreeSet<&ChunkId> =
            needs.iter().enumerate().filter(|(n, _)| *n != at).flat_map(|(_, all)| all).collect();
        needs[at].iter().filter(|chunk| !others.contains(chunk)).count() as u64
    });
    assert!(alone.iter().map(|(_, alone)| alone.chunks).eq(counted));
    // The second and the third are alike: each frees its own objects.
    let own = |at: usize| {
        let name = Name::Snapshot(alone[at].0.id);
        [name.to_string(), name.copy()].iter().map(|name| repo.store().read(name).unwrap().len() as u64).sum::<u64>()
    };
    assert_eq!((alone[1].1.frees, alone[2].1.frees), (own(1), own(2)));
    assert!(alone[0].1.chunks > 0 && alone[0].1.bytes > alone[0].1.chunks);
}
