//! The log is trimmed: what is read begins at a checkpoint, and nobody who slept takes a number anew.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use onefold::Result;
use onefold::repo::{Repo, WriteOptions};
use onefold::store::Store;
use onefold::store::folder::Folder;
use onefold::store::memory::Memory;
use repo_format::id::ObjectHash;
use repo_format::limits::{CHECKPOINT_EVERY, TRIM_EVERY};
use repo_format::log::{Body, Entry};
use repo_format::log_state::State;
use repo_format::names::Name;

use crate::repo::{backup, chunks, each_request_fails, init, open, problems, put_all, restore};
use crate::sim_disk::{Loss, SimDisk};

/// Entries that say nothing, by the writer, until the log has `n`: written as the log writes them, and checkpoints too.
pub fn fill(repo: &Repo, store: &dyn Store, n: u64) {
    let (id, key) = (repo.config().repo, repo.ring().writer.as_ref().unwrap());
    let mut state = State::clone(&repo.refresh().unwrap());
    while state.n() < n {
        let body = Body::Found { packs: Vec::new() };
        let entry = Entry { n: state.n() + 1, previous: state.head(), writer: key.id(), time_ms: 1, body };
        let (hash, bytes) = entry.encode(&id, key).unwrap();
        state.apply(hash, &entry).unwrap();
        let name = Name::Log(state.n());
        [name.to_string(), name.copy()].iter().for_each(|name| store.create(name, bytes.clone().into()).unwrap());
        if state.n().is_multiple_of(CHECKPOINT_EVERY) {
            let (name, bytes) = state.to_checkpoint(&id, key).unwrap();
            store.create(&name.to_string(), bytes.clone().into()).unwrap();
        }
    }
    repo.refresh().unwrap();
}

fn numbers(store: &dyn Store, folder: &str) -> Vec<u64> {
    let mut numbers = Vec::new();
    let visit = &mut |name: &str, _| {
        numbers.push(name.rsplit('/').next().unwrap().split('-').next().unwrap().parse().unwrap());
        Ok(())
    };
    store.list(folder, visit).unwrap();
    numbers.sort_unstable();
    numbers
}

/// A repository with a snapshot before and one after its first thousand entries.
fn long(store: &Arc<dyn Store>) -> Repo {
    let repo = init(store, None);
    backup(&repo, &chunks(1, 6));
    fill(&repo, &**store, TRIM_EVERY + 5);
    backup(&repo, &chunks(2, 6));
    repo
}

#[test]
fn what_is_old_goes_and_the_rest_reads_as_before() {
    let memory = Arc::new(Memory::new());
    let store: Arc<dyn Store> = memory.clone();
    let repo = long(&store);
    let (state, cached) = (repo.state(), tempfile::tempdir().unwrap());
    let old = memory.fork();
    let dry = repo.trim(0, true).unwrap();
    assert_eq!(numbers(&*store, "log").len() as u64, state.n(), "a dry run takes nothing");
    let trimmed = repo.trim(0, false).unwrap();
    assert_eq!(dry, trimmed);
    assert_eq!((trimmed.log_trimmed_to, trimmed.log_checkpoint), (TRIM_EVERY, Some(state.n())));
    for folder in ["log", "copy/log"] {
        assert_eq!(numbers(&*store, folder), (TRIM_EVERY..=state.n()).collect::<Vec<_>>(), "{folder}");
    }
    assert_eq!(numbers(&*store, "checkpoint"), [TRIM_EVERY, state.n()]);
    assert_eq!((numbers(&*store, "trim"), numbers(&*store, "copy/trim")), (vec![TRIM_EVERY], vec![TRIM_EVERY]));

    let reopened = open(&store, None).unwrap();
    assert_eq!(*reopened.state(), *state);
    assert_eq!(problems(&reopened, true), Vec::<String>::new());
    // A machine that has seen an entry which is gone since is not told of a rollback.
    let past: Arc<dyn Store> = Arc::new(old);
    let early = open(&past, Some(cached.path())).unwrap();
    drop(early);
    backup(&open(&store, Some(cached.path())).unwrap(), &chunks(3, 6));
    restore(&open(&store, Some(cached.path())).unwrap(), &chunks(3, 6));
    // Again it has nothing to do, and says so.
    let again = repo.trim(0, false).unwrap();
    assert_eq!((again.log_trimmed_to, again.log_checkpoint, again.log_objects_deleted), (TRIM_EVERY, None, 0));
    // Nothing younger than the grace goes.
    fill(&repo, &*store, 3 * TRIM_EVERY);
    let patient = repo.trim(3_600_000, false).unwrap();
    assert_eq!((patient.log_trimmed_to, patient.log_objects_deleted), (3 * TRIM_EVERY, 4 * TRIM_EVERY + 22));
    fill(&repo, &*store, 4 * TRIM_EVERY);
    repo.administer(&mut |_| Ok(Body::Forget { snapshots: Vec::new() })).unwrap();
    assert_eq!(repo.trim(u64::MAX, false).unwrap().log_trimmed_to, 3 * TRIM_EVERY);
}

/// What says when a pack was condemned stays as long as it is.
#[test]
fn an_entry_that_condemns_stays() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let repo = init(&store, None);
    backup(&repo, &chunks(1, 6));
    let state = repo.state();
    let pack = repo_format::names::PackName {
        session: state.snapshots().values().next().unwrap().session,
        class: repo_format::names::PackClass::Content,
        hash: ObjectHash([1; 32]),
    };
    repo.administer(&mut |s| Ok(Body::Condemn { computed: s.n(), packs: vec![pack] })).unwrap();
    fill(&repo, &*store, 2 * TRIM_EVERY + 1);
    assert_eq!(repo.trim(0, false).unwrap().log_trimmed_to, 0);
    repo.administer(&mut |_| Ok(Body::Retire { packs: vec![pack] })).unwrap();
    assert_eq!(repo.trim(0, false).unwrap().log_trimmed_to, 2 * TRIM_EVERY);
}

/// Without the checkpoint it is no trimming but a loss.
#[test]
fn a_checkpoint_with_one_object_serves_and_without_any_is_missed() {
    let memory = Arc::new(Memory::new());
    let store: Arc<dyn Store> = memory.clone();
    let repo = long(&store);
    let n = repo.trim(0, false).unwrap().log_checkpoint.unwrap();
    let of_admin = |name: &String| name.contains(&format!("{n:020}")) && name.contains("checkpoint/");
    let both: Vec<String> = memory.names().into_iter().filter(of_admin).collect();
    assert_eq!(both.len(), 2, "{both:?}");
    for lost in &both {
        let harmed = Arc::new(memory.fork());
        harmed.delete(lost).unwrap();
        let store: Arc<dyn Store> = harmed;
        let named = problems(&open(&store, None).unwrap(), true);
        assert!(
            named.len() <= 1 && named.iter().all(|said| said.starts_with(&format!("{lost}: is missing"))),
            "{named:?}"
        );
        assert_eq!(problems(&open(&store, None).unwrap(), true), Vec::<String>::new(), "{lost}");
        backup(&open(&store, None).unwrap(), &chunks(3, 6));
    }
    let harmed = Arc::new(memory.fork());
    both.iter().for_each(|lost| harmed.delete(lost).unwrap());
    // The writer's own checkpoint of the entry that the log begins with serves it, but nobody else.
    let own = harmed.names().into_iter().find(|name| name.starts_with("checkpoint/")).unwrap();
    harmed.delete(&own).unwrap();
    let store: Arc<dyn Store> = harmed;
    let repo = open(&store, None).unwrap();
    let stopped = repo.stopped().unwrap();
    assert!(stopped.message().contains("was trimmed"), "{stopped}");
    assert!(repo.writer(WriteOptions::default()).is_err(), "nothing is appended");
    assert!(!problems(&repo, true).is_empty());
}

/// At the n-th request that a store is asked for (0: none), something happens first.
struct Meanwhile {
    inner: Arc<dyn Store>,
    at: AtomicU64,
    happens: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Meanwhile {
    fn pass(&self) -> &dyn Store {
        if self.at.load(Ordering::SeqCst) > 0 && self.at.fetch_sub(1, Ordering::SeqCst) == 1 {
            let happens = self.happens.lock().unwrap().take();
            happens.into_iter().for_each(|happens| happens());
        }
        &*self.inner
    }
}

impl Store for Meanwhile {
    fn create(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.pass().create(name, bytes)
    }
    fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.pass().read(name)
    }
    fn read_range(&self, name: &str, range: std::ops::Range<u64>) -> Result<Vec<u8>> {
        self.pass().read_range(name, range)
    }
    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.pass().list(folder, visit)
    }
    fn delete(&self, name: &str) -> Result<()> {
        self.pass().delete(name)
    }
    fn concurrency(&self) -> usize {
        1
    }
    fn place(&self) -> String {
        self.inner.place()
    }
}

/// A backup sleeps before each of its requests in turn, while the log goes on for a thousand entries and is trimmed: it commits, and its
/// snapshot is there.
#[test]
fn who_sleeps_while_the_log_is_trimmed_loses_nothing() {
    let mut woken = 0;
    for n in 1.. {
        let memory: Arc<dyn Store> = Arc::new(Memory::new());
        let repo = init(&memory, None);
        backup(&repo, &chunks(1, 6));
        let (other, store) = (open(&memory, None).unwrap(), memory.clone());
        let happens = move || {
            fill(&other, &*store, TRIM_EVERY + 7);
            assert_eq!(other.trim(0, false).unwrap().log_trimmed_to, TRIM_EVERY);
        };
        let sleeper =
            Meanwhile { inner: memory.clone(), at: AtomicU64::new(n), happens: Mutex::new(Some(Box::new(happens))) };
        let sleeper = Arc::new(sleeper);
        let context = format!("asleep before request {n}");
        let repo = open(&(sleeper.clone() as Arc<dyn Store>), None).unwrap_or_else(|e| panic!("{context}: {e}"));
        let writer = repo.writer(WriteOptions { threads: 1, ..WriteOptions::default() });
        let writer = writer.unwrap_or_else(|e| panic!("{context}: {e}"));
        let data = chunks(2, 6);
        let roots = put_all(&writer, &data);
        let done = writer.commit(roots, Default::default());
        done.unwrap_or_else(|e| panic!("{context}: {e}"));
        assert_eq!(repo.refresh().unwrap().snapshots().len(), 2, "{context}");
        let now = open(&memory, None).unwrap();
        restore(&now, &data);
        assert_eq!(now.snapshots().len(), 2, "{context}");
        // What it put under numbers that were gone is no part of the log, and goes.
        now.trim(0, false).unwrap();
        assert_eq!(problems(&now, true), Vec::<String>::new(), "{context}");
        let late = sleeper.at.load(Ordering::SeqCst) > 0;
        if late {
            break;
        }
        assert_eq!(numbers(&*memory, "log")[0], TRIM_EVERY, "{context}");
        woken += 1;
    }
    assert!(woken > 20, "{woken}");
}

/// A trimming whose every request fails, or is done though it is reported failed, is ended by the next one.
#[test]
fn every_request_of_a_trimming_fails_once() {
    let whole = Arc::new(Memory::new());
    let state = long(&(whole.clone() as Arc<dyn Store>)).state();
    let states = each_request_fails(|fails, context| {
        let memory: Arc<dyn Store> = Arc::new(whole.fork());
        let faulty = fails(memory.clone());
        let _ = open(&faulty, None).and_then(|repo| repo.trim(0, false));
        let repo = open(&memory, None).unwrap_or_else(|e| panic!("{context}: {e}"));
        assert!(*repo.state() == *state, "{context}");
        repo.trim(0, false).unwrap_or_else(|e| panic!("{context}: {e}"));
        assert_eq!(problems(&open(&memory, None).unwrap(), false), Vec::<String>::new(), "{context}");
        assert_eq!(numbers(&*memory, "log")[0], TRIM_EVERY, "{context}");
    });
    assert!(states > 40, "{states}");
}

/// The power goes at any of its operations; of the 4,000 that only delete, at one in 97.
#[test]
fn a_trimming_survives_a_loss_of_power() {
    let disk = Arc::new(Folder::new(SimDisk::new()));
    let store: Arc<dyn Store> = disk.clone();
    let repo = long(&store);
    let (state, begun) = (repo.state(), disk.disk().operations());
    repo.trim(0, false).unwrap();
    let ended = disk.disk().operations();
    let first = (begun + 40).min(ended);
    for k in (begun..first).chain((first..ended).step_by(97)).chain([ended]) {
        for loss in [Loss::Nothing, Loss::Everything, Loss::Torn(1)] {
            let context = format!("after operation {k} of {begun}..{ended}, {loss:?}");
            let store: Arc<dyn Store> = Arc::new(Folder::new(disk.disk().crash(k, loss)));
            let repo = open(&store, None).unwrap_or_else(|e| panic!("{context}: {e}"));
            assert!(*repo.state() == *state, "{context}");
            backup(&repo, &chunks(3, 6));
            repo.trim(0, false).unwrap_or_else(|e| panic!("{context}: {e}"));
            assert_eq!(numbers(&*store, "log")[0], TRIM_EVERY, "{context}");
            restore(&open(&store, None).unwrap(), &chunks(3, 6));
        }
    }
}

/// A page of a listing is a request, and has a thousand names.
struct Pages(Arc<dyn Store>, AtomicU64);

/// Each request takes its time, so that those side by side are told from those one after another.
const FAR: std::time::Duration = std::time::Duration::from_millis(10);

/// Sees each object of a listing.
type Visit<'a> = &'a mut dyn FnMut(&str, u64) -> Result<()>;

impl Pages {
    fn list(
        &self,
        list: &mut dyn FnMut(Visit<'_>) -> Result<()>,
        visit: &mut dyn FnMut(&str, u64) -> Result<()>,
    ) -> Result<()> {
        std::thread::sleep(FAR);
        let mut names = 0u64;
        let listed = list(&mut |name, size| {
            names += 1;
            visit(name, size)
        });
        // The first page is counted as a request already.
        self.1.fetch_add(names.saturating_sub(1) / 1000, Ordering::Relaxed);
        listed
    }
}

impl Store for Pages {
    fn create(&self, name: &str, bytes: Bytes) -> Result<()> {
        std::thread::sleep(FAR);
        self.0.create(name, bytes)
    }
    fn read(&self, name: &str) -> Result<Vec<u8>> {
        std::thread::sleep(FAR);
        self.0.read(name)
    }
    fn read_range(&self, name: &str, range: std::ops::Range<u64>) -> Result<Vec<u8>> {
        std::thread::sleep(FAR);
        self.0.read_range(name, range)
    }
    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.list(&mut |each| self.0.list(folder, each), visit)
    }
    fn list_after(&self, folder: &str, after: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.list(&mut |each| self.0.list_after(folder, after, each), visit)
    }
    fn delete(&self, name: &str) -> Result<()> {
        self.0.delete(name)
    }
    fn concurrency(&self) -> usize {
        16
    }
    fn place(&self) -> String {
        self.0.place()
    }
}

/// Requests that wait for one another when a machine opens a repository for the first time.
fn rounds(store: &Arc<dyn Store>) -> u64 {
    let pages = Arc::new(Pages(store.clone(), AtomicU64::new(0)));
    let repo = open(&(pages.clone() as Arc<dyn Store>), None).unwrap();
    repo.requests().rounds + pages.1.load(Ordering::Relaxed)
}

#[test]
#[allow(clippy::print_stdout)]
fn a_log_of_a_hundred_thousand_entries_is_opened_by_few_requests() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let repo = init(&store, None);
    backup(&repo, &chunks(1, 6));
    fill(&repo, &*store, 100_099);
    let before = rounds(&store);
    repo.trim(0, false).unwrap();
    let after = rounds(&store);
    fill(&repo, &*store, 100_199);
    let later = rounds(&store);
    println!("requests one after another: {before} untrimmed, {after} trimmed, {later} a hundred entries later");
    assert!(before <= 30 && after <= 30 && later <= 30, "{before}, {after}, {later}");
    restore(&open(&store, None).unwrap(), &chunks(1, 6));
}
