//! One contract suite, run over every store and every wrapper.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use onefold::Kind;
use onefold::repo::world;
use onefold::store::disk::{Disk, RealDisk};
use onefold::store::faulty::{Fault, Faulty, Operation};
use onefold::store::fetched::Fetched;
use onefold::store::folder::Folder;
use onefold::store::limited::{Limited, Limits};
use onefold::store::memory::Memory;
use onefold::store::probe::{Verdict, race};
use onefold::store::retry::{Retry, Time};
use onefold::store::watched::{Request, Watched};
use onefold::store::with_log::WithLog;
use onefold::store::{Store, create_or_same, read_if_exists};

use crate::sim_disk::SimDisk;

pub fn names(store: &dyn Store, folder: &str) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    store
        .list(folder, &mut |name, len| {
            found.push((name.to_string(), len));
            Ok(())
        })
        .unwrap();
    found.sort();
    found
}

/// Objects below a folder that the store gives a date, and whether each is of the last minutes.
fn dates(store: &dyn Store, folder: &str) -> Vec<(String, bool)> {
    let now = world::now_ms();
    let mut found = Vec::new();
    let visit = &mut |name: &str, date: u64| {
        found.push((name.to_string(), date.abs_diff(now) < 600_000));
        Ok(())
    };
    store.dates(folder, visit).unwrap();
    found.sort();
    found
}

fn kind<T: std::fmt::Debug>(result: onefold::Result<T>) -> Kind {
    result.unwrap_err().kind()
}

/// What every store owes.
pub fn contract(store: &dyn Store) {
    // Nothing there.
    assert_eq!(kind(store.read("config")), Kind::NotFound);
    assert_eq!(kind(store.read_range("packs/ab/abcd", 0..1)), Kind::NotFound);
    assert_eq!(kind(store.delete("config")), Kind::NotFound);
    assert!(names(store, "packs").is_empty());
    assert!(names(store, "").is_empty());
    assert_eq!(read_if_exists(store, "config").unwrap(), None);

    // Written once, read whole and in parts.
    let big: Vec<u8> = (0..3_000_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
    store.create("packs/ab/abcd", big.clone().into()).unwrap();
    store.create("packs/ab/abce", "".into()).unwrap();
    store.create("packs/cd/cdef", "x".into()).unwrap();
    store.create("packs2/x", "y".into()).unwrap();
    store.create("config", "hello".into()).unwrap();
    assert_eq!(store.read("packs/ab/abcd").unwrap(), big);
    assert_eq!(store.read("packs/ab/abce").unwrap(), b"");
    assert_eq!(store.read_range("config", 1..3).unwrap(), b"el");
    assert_eq!(store.read_range("config", 0..5).unwrap(), b"hello");
    assert_eq!(store.read_range("config", 5..5).unwrap(), b"");
    assert_eq!(kind(store.read_range("config", 3..6)), Kind::Damaged);
    assert_eq!(kind(store.read_range("config", 6..6)), Kind::Damaged);
    assert_eq!(store.read_range("packs/ab/abcd", 2_999_990..3_000_000).unwrap(), big[2_999_990..]);

    // Never overwritten.
    assert_eq!(kind(store.create("config", "other".into())), Kind::AlreadyExists);
    assert_eq!(kind(store.create("config", "hello".into())), Kind::AlreadyExists);
    assert_eq!(store.read("config").unwrap(), b"hello");
    create_or_same(store, "config", "hello").unwrap();
    assert_eq!(kind(create_or_same(store, "config", "other")), Kind::Damaged);

    // Listed by folder, whole names.
    let name = |n: &str, len: u64| (n.to_string(), len);
    assert_eq!(
        names(store, "packs"),
        [name("packs/ab/abcd", 3_000_000), name("packs/ab/abce", 0), name("packs/cd/cdef", 1)]
    );
    assert_eq!(names(store, "packs/cd"), [name("packs/cd/cdef", 1)]);
    assert_eq!(names(store, "").len(), 5);
    assert!(names(store, "pack").is_empty());
    for (after, shown) in [
        ("packs/ab/abcd", &["packs/ab/abce", "packs/cd/cdef"][..]),
        ("packs/zz", &[]),
        ("a", &["packs/ab/abcd", "packs/ab/abce", "packs/cd/cdef"]),
    ] {
        let mut found = Vec::new();
        let visit = &mut |name: &str, _| {
            found.push(name.to_string());
            Ok(())
        };
        store.list_after("packs", after, visit).unwrap();
        found.sort();
        assert_eq!(found, shown, "after {after}");
    }
    // Dates of all, or of none.
    let dated = dates(store, "packs");
    let all = ["packs/ab/abcd", "packs/ab/abce", "packs/cd/cdef"].map(|name| (name.to_string(), true));
    assert!(dated.is_empty() || dated == all, "{dated:?}");
    assert!(dates(store, "pack").is_empty());
    store.sweep().unwrap();
    assert_eq!(names(store, "").len(), 5);

    // Deleted, and free again.
    store.delete("packs/ab/abce").unwrap();
    assert_eq!(kind(store.read("packs/ab/abce")), Kind::NotFound);
    assert_eq!(names(store, "packs/ab"), [name("packs/ab/abcd", 3_000_000)]);
    store.create("packs/ab/abce", "again".into()).unwrap();
    // Several at once; one that is missing is fine.
    let several = ["packs/ab/abce", "packs/cd/cdef", "packs/cd/none"].map(str::to_string);
    store.delete_all(&several).unwrap();
    store.delete_all(&[]).unwrap();
    assert_eq!(names(store, "packs"), [name("packs/ab/abcd", 3_000_000)]);

    // Racing creators: one winner.
    assert_eq!(race(store, "probe/1234").unwrap(), Verdict::OneWinner);
    assert!(names(store, "probe").is_empty());
    assert!(store.concurrency() > 0);
    assert!(!store.place().is_empty());
}

#[test]
fn folder_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("deep/er/repository");
    let folder = Arc::new(Folder::new(RealDisk::new(&root)));
    contract(&folder);
    assert_eq!(dates(&Retry::new(Watched::new(folder)), "packs"), [("packs/ab/abcd".to_string(), true)]);
    assert_eq!(std::fs::read(root.join("config")).unwrap(), b"hello");
    assert_eq!(std::fs::read_dir(root.join("tmp")).unwrap().count(), 0, "no temporary file stays");
}

#[test]
fn the_other_stores_keep_the_contract() {
    contract_wrapped("", |_| Memory::new());
    contract(&Folder::new(SimDisk::new()));
    let limits = Limits { upload: Some(1 << 30), download: Some(1 << 30), requests: Some(10_000), patience: None };
    contract(&Limited::new(Memory::new(), limits));
}

/// The contract of a store that `open` gives at a place below `root`, bare and under every wrapper.
pub fn contract_wrapped<S: Store>(root: &str, open: impl Fn(&str) -> S) {
    let at = |name: &str| open(&format!("{root}/{name}"));
    contract(&open(root));
    contract(&at("a/b"));
    contract(&Watched::new(at("watched")));
    contract(&Retry::new(at("retry")));
    contract(&Limited::new(at("limited"), Limits::default()));
    contract(&Faulty::new(at("faulty"), |_, _| None));
    contract(&Retry::new(Watched::new(Arc::new(at("all")))));
    contract(&Retry::new(lossy(at("lossy"))));
}

/// Creates objects of these names in a store far away, each of its own name, sixteen at a time.
#[cfg(any(feature = "azure", feature = "gcs", feature = "swift"))]
pub fn create_each(store: &dyn Store, all: &[String]) {
    std::thread::scope(|scope| {
        for part in all.chunks(all.len().div_ceil(16)) {
            scope.spawn(move || part.iter().for_each(|name| store.create(name, name.clone().into()).unwrap()));
        }
    });
}

/// A store of which every third request fails or loses its reply.
pub fn lossy<S: Store>(store: S) -> Faulty<S> {
    let mut n = 0;
    Faulty::new(store, move |_, name| {
        n += 1;
        // Racing creators with lost replies are told apart by their contents.
        match n % 6 {
            _ if name.is_empty() => None,
            0 => Some(Fault::Error(Kind::Io)),
            3 => Some(Fault::LostReply),
            _ => None,
        }
    })
}

/// The contract still holds behind retries.
#[test]
fn retries_hide_errors_and_lost_replies() {
    contract(&Retry::new(lossy(Memory::new())));
}

#[test]
fn a_lost_reply_is_no_conflict_but_another_writer_is() {
    let lost = Retry::new(Faulty::nth(Memory::new(), 0, Fault::LostReply));
    lost.create("log/1", "mine".into()).unwrap();
    assert_eq!(lost.read("log/1").unwrap(), b"mine");

    let store = Arc::new(Memory::new());
    let other = store.clone();
    let raced = Faulty::new(store, move |operation, _| {
        // Our request is lost on its way, and meanwhile somebody else writes.
        if operation == Operation::Create && other.create("log/1", "theirs".into()).is_ok() {
            return Some(Fault::Error(Kind::Io));
        }
        None
    });
    assert_eq!(kind(Retry::new(raced).create("log/1", "mine".into())), Kind::AlreadyExists);
}

/// A time that passes when somebody sleeps, and what was slept.
#[derive(Clone, Default)]
struct Slept(Arc<Mutex<Vec<Duration>>>);
impl Time for Slept {
    fn now(&self) -> Duration {
        self.0.lock().unwrap().iter().sum()
    }
    fn sleep(&self, pause: Duration) {
        self.0.lock().unwrap().push(pause);
    }
}

/// A store of so much patience that answers `good` requests and then none.
struct Away {
    inner: Memory,
    good: AtomicUsize,
    wait: Option<Duration>,
}
impl Store for Away {
    fn create(&self, name: &str, bytes: Bytes) -> onefold::Result<()> {
        self.inner.create(name, bytes)
    }
    fn read(&self, name: &str) -> onefold::Result<Vec<u8>> {
        if self.good.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
            return self.inner.read(name);
        }
        let error = onefold::Error::new(Kind::Io, name, "away");
        Err(self.wait.map_or(error.again(), |wait| error.after(wait)))
    }
    fn read_range(&self, name: &str, range: std::ops::Range<u64>) -> onefold::Result<Vec<u8>> {
        self.inner.read_range(name, range)
    }
    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> onefold::Result<()>) -> onefold::Result<()> {
        self.inner.list(folder, visit)
    }
    fn delete(&self, name: &str) -> onefold::Result<()> {
        self.inner.delete(name)
    }
    fn concurrency(&self) -> usize {
        1
    }
    fn place(&self) -> String {
        "away".to_string()
    }
    fn patience(&self) -> Duration {
        Duration::from_secs(300)
    }
}

/// What was slept in one read that fails, after `good` reads that did not.
fn slept(good: usize, wait: Option<Duration>, seed: u64) -> Vec<Duration> {
    let time = Slept::default();
    let away = Away { inner: Memory::new(), good: good.into(), wait };
    let store = Retry::with(Watched::new(away), Box::new(time.clone()), seed);
    for _ in 0..good {
        assert_eq!(kind(store.read("a")), Kind::NotFound);
    }
    assert_eq!(kind(store.read("a")), Kind::Io);
    time.0.lock().unwrap().clone()
}

#[test]
fn pauses_grow_differ_and_end() {
    let second = Duration::from_secs(1);
    for seed in 0..100 {
        let pauses = slept(1, None, seed);
        let total: Duration = pauses.iter().sum();
        assert!(total <= 300 * second && total >= 270 * second, "for minutes: {total:?}");
        for (i, pause) in pauses.iter().enumerate() {
            let whole = (Duration::from_millis(20) * 2u32.pow(i.min(20) as u32)).min(30 * second);
            assert!((whole / 2..=whole).contains(pause), "{i}: {pause:?}");
        }
        assert_ne!(pauses, slept(1, None, seed + 1), "machines that failed together come back apart");
        assert_eq!(pauses, slept(1, None, seed));
        // Who never answered is not waited for.
        assert!(slept(0, None, seed).iter().sum::<Duration>() <= second);
    }
    // Who says when is left alone until then, and longer than we have time for is not waited.
    assert_eq!(slept(1, Some(100 * second), 7), [100 * second; 3]);
    assert!(slept(1, Some(301 * second), 7).is_empty());
}

/// Every try gets the very bytes that were given, through every wrapper.
#[test]
fn no_try_copies_the_bytes() {
    // What comes is told apart by where it lies.
    let create = |memory: &Memory, name: &str, bytes: Bytes| {
        let _ = memory.create(&format!("{:p}", bytes.as_ptr()), Bytes::new());
        Err(onefold::Error::new(Kind::Io, name, "lost"))
    };
    let odd = Arc::new(Watched::new(Odd { inner: Memory::new(), place: "odd", create }));
    let log = WithLog::new(odd.clone(), Arc::new(Memory::new())).unwrap();
    let store = Retry::with(Limited::new(log, Limits::default()), Box::new(Slept::default()), 7);
    let bytes = Bytes::from(vec![7; 1 << 20]);
    assert_eq!(kind(store.create("packs/ab/abcd", bytes.clone())), Kind::Io);
    assert!(odd.requests().creates > 3, "it is tried again");
    assert_eq!(names(&odd, ""), [(format!("{:p}", bytes.as_ptr()), 0)]);
    assert!(bytes.is_unique(), "and nobody keeps them");
}

#[test]
fn errors_that_will_not_pass_are_not_tried_again() {
    let store = Watched::new(Faulty::new(Memory::new(), |_, _| Some(Fault::Error(Kind::Full))));
    let store = Retry::new(Arc::new(store));
    assert_eq!(kind(store.create("x", "y".into())), Kind::Full);
}

#[test]
fn requests_are_counted_and_recorded() {
    let store = Watched::new(Memory::new());
    store.record();
    store.create("a", "12345".into()).unwrap();
    store.read("a").unwrap();
    store.read_range("a", 1..3).unwrap();
    store.list("", &mut |_, _| Ok(())).unwrap();
    store.delete("a").unwrap();
    let requests = store.requests();
    assert_eq!((requests.creates, requests.bytes_created, requests.reads), (1, 5, 1));
    assert_eq!((requests.range_reads, requests.bytes_read, requests.lists, requests.deletes), (1, 7, 1, 1));
    let a = || "a".to_string();
    assert_eq!(
        store.take_record(),
        [
            Request::Create(a(), 5),
            Request::Read(a()),
            Request::ReadRange(a(), 1..3),
            Request::List(String::new()),
            Request::Delete(a())
        ]
    );
}

/// Reads that begin together are one round; each that waits for another is one more.
#[test]
fn rounds_count_requests_that_wait_for_one_another() {
    let store = Watched::new(Memory::new());
    (0..8).for_each(|i| store.create(&format!("a{i}"), vec![i; 9].into()).unwrap());
    assert_eq!(store.requests().rounds, 8);
    let slow = Watched::new(Meeting(Memory::new(), std::sync::Barrier::new(4)));
    slow.create("a", "x".into()).unwrap();
    std::thread::scope(|scope| {
        (0..8).for_each(|_| drop(scope.spawn(|| slow.read("a").unwrap())));
    });
    // Four at a time, though some may begin while others of theirs have not ended.
    assert!((2..=3).contains(&slow.requests().rounds), "{:?}", slow.requests());
    // What is fetched is read once, each.
    let names = (0..9).map(|i| format!("a{i}"));
    let mut fetched = Fetched::of(&store, names);
    for i in 0..8 {
        assert_eq!(fetched.read(&store, &format!("a{i}")).unwrap(), [i; 9]);
    }
    assert_eq!(kind(fetched.read(&store, "a8")), Kind::NotFound);
    assert_eq!(store.requests().reads, 9);
    assert!(!fetched.has("a0"));
    fetched.read(&store, "a0").unwrap();
    assert_eq!(store.requests().reads, 10);
}

#[test]
fn limits_hold_over_any_time_but_for_one_object() {
    let second = Duration::from_secs(1);
    let limits = Limits { upload: Some(1000), download: Some(500), requests: Some(4), patience: None };
    let took = |limits: Limits, work: &dyn Fn(&Limited<Memory>)| {
        let time = Slept::default();
        let store = Limited::with(Memory::new(), limits, Box::new(time.clone()));
        work(&store);
        time.now()
    };
    let write = |store: &Limited<Memory>, n: usize| {
        (0..n).for_each(|i| store.create(&format!("a{i}"), vec![0; 1000].into()).unwrap());
    };
    // The last of eleven objects goes once the ten before it are paid.
    assert_eq!(took(Limits { requests: None, ..limits }, &|store| write(store, 11)), 10 * second);
    let all = took(Limits { upload: None, ..limits }, &|store| {
        write(store, 5);
        (0..5).for_each(|i| drop(store.read(&format!("a{i}")).unwrap()));
        store.read_range("a0", 0..250).unwrap();
    });
    // Five writes, a quarter of a second each; five reads, two seconds each; the range waits for the last of them.
    assert!(all >= 10 * second && all <= 12 * second, "{all:?}");
    let asked = took(Limits { requests: Some(4), ..Limits::default() }, &|store| {
        (0..41).for_each(|_| store.list("", &mut |_, _| Ok(())).unwrap());
    });
    assert_eq!(asked, 10 * second);
    assert_eq!(took(Limits::default(), &|store| write(store, 100)), Duration::ZERO);
    // An idle time saves up a quarter of a second, and no more.
    let time = Slept::default();
    let store = Limited::with(Memory::new(), Limits { requests: Some(4), ..Limits::default() }, Box::new(time.clone()));
    time.sleep(1000 * second);
    (0..41).for_each(|_| store.list("", &mut |_, _| Ok(())).unwrap());
    assert_eq!(time.now(), 1000 * second + 10 * second - Duration::from_millis(250));
}

/// Answers reads four at a time.
struct Meeting(Memory, std::sync::Barrier);
impl Store for Meeting {
    fn create(&self, name: &str, bytes: Bytes) -> onefold::Result<()> {
        self.0.create(name, bytes)
    }
    fn read(&self, name: &str) -> onefold::Result<Vec<u8>> {
        self.1.wait();
        self.0.read(name)
    }
    fn read_range(&self, name: &str, range: std::ops::Range<u64>) -> onefold::Result<Vec<u8>> {
        self.0.read_range(name, range)
    }
    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> onefold::Result<()>) -> onefold::Result<()> {
        self.0.list(folder, visit)
    }
    fn delete(&self, name: &str) -> onefold::Result<()> {
        self.0.delete(name)
    }
    fn concurrency(&self) -> usize {
        4
    }
    fn place(&self) -> String {
        "meeting".to_string()
    }
}

/// In memory, but for what it says of its place, and of a create.
pub struct Odd {
    pub inner: Memory,
    pub place: &'static str,
    pub create: fn(&Memory, &str, Bytes) -> onefold::Result<()>,
}

impl Store for Odd {
    fn create(&self, name: &str, bytes: Bytes) -> onefold::Result<()> {
        (self.create)(&self.inner, name, bytes)
    }
    fn read(&self, name: &str) -> onefold::Result<Vec<u8>> {
        self.inner.read(name)
    }
    fn read_range(&self, name: &str, range: std::ops::Range<u64>) -> onefold::Result<Vec<u8>> {
        self.inner.read_range(name, range)
    }
    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> onefold::Result<()>) -> onefold::Result<()> {
        self.inner.list(folder, visit)
    }
    fn delete(&self, name: &str) -> onefold::Result<()> {
        self.inner.delete(name)
    }
    fn concurrency(&self) -> usize {
        1
    }
    fn place(&self) -> String {
        self.place.to_string()
    }
}

/// Lets every creator win.
pub fn last_wins(place: &'static str) -> Odd {
    let create = |memory: &Memory, name: &str, bytes: Bytes| {
        memory.overwrite(name, &bytes);
        Ok(())
    };
    Odd { inner: Memory::new(), place, create }
}

/// A store that lets every creator win is found out.
#[test]
fn the_race_finds_a_store_with_several_winners() {
    assert_eq!(race(&last_wins("last wins"), "probe/1").unwrap(), Verdict::SeveralWinners);
}

/// What a crash leaves in `tmp/` is never seen, and removed by the next sweep; what a live writer holds is not.
#[test]
fn leftovers_are_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(dir.path());
    disk.make_dir("tmp").unwrap();
    disk.write_new("tmp/dead", b"torn").unwrap();
    disk.write_new("tmp/alive", b"being written").unwrap();
    let alive = std::fs::File::open(dir.path().join("tmp/alive")).unwrap();
    rustix::fs::flock(&alive, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let store = Folder::new(disk);
    assert!(names(&store, "").is_empty());
    store.sweep().unwrap();
    assert!(!dir.path().join("tmp/dead").exists());
    assert!(dir.path().join("tmp/alive").exists());
}

/// Large files go past the page cache, piece by piece; what does not fit the pieces does not.
#[test]
fn files_of_every_length_are_written_whole() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(dir.path());
    let mib = 1 << 20;
    for length in [mib - 1, mib, mib + 1, mib + 4095, mib + 4096, 2 * mib, 2 * mib + 5, 4 * mib + 4097, 5 * mib + 123] {
        let bytes: Vec<u8> = (0..length).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect();
        disk.write_new(&length.to_string(), &bytes).unwrap();
        assert!(disk.read(&length.to_string(), None).unwrap() == bytes, "{length} bytes");
    }
}

/// A full disk has its own kind, and frees what it had written.
#[test]
fn a_full_disk_is_said_to_be_full() {
    let disk = SimDisk::new();
    disk.set_space(1000);
    let store = Folder::new(disk);
    store.create("a/b", vec![1; 600].into()).unwrap();
    let error = store.create("a/c", vec![1; 600].into()).unwrap_err();
    assert_eq!(error.kind(), Kind::Full);
    assert!(error.advice().is_some());
    store.create("a/d", vec![1; 300].into()).unwrap();
    assert_eq!(names(&store, "").len(), 2);
}
