//! A store far away: how often one request waits for another.

use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use onefold::Result;
use onefold::run::ChunkSource;
use onefold::store::Store;
use repo_format::log::{Body, Roles};

use crate::repo::{backup, chunks, init, memory, open, restore};

/// Each request takes its time.
struct Far(Arc<dyn Store>);

impl Far {
    fn wait(&self) -> &dyn Store {
        thread::sleep(Duration::from_millis(20));
        &*self.0
    }
}

impl Store for Far {
    fn create(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.wait().create(name, bytes)
    }
    fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.wait().read(name)
    }
    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.wait().read_range(name, range)
    }
    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.wait().list(folder, visit)
    }
    fn delete(&self, name: &str) -> Result<()> {
        self.wait().delete(name)
    }
    fn concurrency(&self) -> usize {
        16
    }
    fn place(&self) -> String {
        self.0.place()
    }
}

#[test]
fn a_warm_cache_waits_for_few_requests() {
    let store = memory();
    let far: Arc<dyn Store> = Arc::new(Far(store.clone()));
    let dir = tempfile::tempdir().unwrap();
    let data = chunks(1, 200);
    backup(&init(&store, Some(dir.path())), &data);
    restore(&open(&store, Some(dir.path())).unwrap(), &data);
    let repo = open(&far, Some(dir.path())).unwrap();
    // The credential, and then the log's end.
    assert_eq!(repo.requests().rounds, 2, "{:?}", repo.requests());
    let snapshot = repo.snapshot(&repo.snapshots()[0].id).unwrap();
    let reader = repo.reader().unwrap();
    // What is metadata is kept; index objects are read at once, where there is no index on disk.
    reader.get(snapshot.roots[1].0, &snapshot.roots[1].1).unwrap();
    assert!(repo.requests().rounds <= 4, "{:?}", repo.requests());
    let before = repo.requests();
    reader.prefetch(&snapshot.roots.iter().map(|(_, id)| *id).collect::<Vec<_>>());
    for ((kind, id), (_, plain)) in snapshot.roots.iter().zip(&data) {
        assert_eq!(reader.get(*kind, id).unwrap(), *plain);
    }
    let (rounds, reads) = (repo.requests().rounds - before.rounds, repo.requests().range_reads - before.range_reads);
    assert!(reads > 20 && rounds < reads / 4, "{rounds} rounds for {reads} reads");
}

/// Entries of others are read in growing windows, and not many in vain.
#[test]
fn a_long_log_is_read_side_by_side() {
    let store = memory();
    let dir = tempfile::tempdir().unwrap();
    drop(init(&store, Some(dir.path())));
    // On another machine.
    let repo = open(&store, None).unwrap();
    let entries = 60;
    for _ in 0..entries {
        let own = repo.ring().writer.as_ref().unwrap().id();
        repo.administer(&mut |_| {
            Ok(Body::Writers { writers: vec![(own, Roles::WRITE_VOUCH)], credentials: Vec::new() })
        })
        .unwrap();
    }
    let far: Arc<dyn Store> = Arc::new(Far(store));
    let repo = open(&far, Some(dir.path())).unwrap();
    let requests = repo.requests();
    assert_eq!(repo.state().n(), entries + 1);
    assert!(requests.rounds <= 13, "{requests:?}");
    assert!(requests.reads <= entries + 24, "{requests:?}");
}
