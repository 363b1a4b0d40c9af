//! A repository whose log lies in another store, because its own lets several creators win.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use onefold::repo::Repo;
use onefold::store::Store;
use onefold::store::faulty::{Fault, Faulty, Operation};
use onefold::store::folder::Folder;
use onefold::store::limited::{Limited, Limits};
use onefold::store::memory::Memory;
use onefold::store::retry::Retry;
use onefold::store::watched::Watched;
use onefold::store::with_log::{WithLog, refill};
use onefold::{Kind, store};
use repo_format::credential::Unlock;
use repo_format::names::Name;

use crate::repo::{backup, chunks, init, key_file, open, problems, restore, small};
use crate::sim_disk::SimDisk;
use crate::stores::{Odd, contract, last_wins, lossy, names};
use crate::user::{User, capture, ran, three};

/// A main store that lets several win, with this log store.
fn with(main: &Arc<Odd>, log: &Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(WithLog::new(main.clone(), log.clone()).unwrap())
}

fn log_store() -> Arc<dyn Store> {
    Arc::new(Memory::new())
}

fn several_win() -> Arc<Odd> {
    Arc::new(last_wins("last wins"))
}

/// A repository with two backups, its main store and its log store.
fn made() -> (Arc<Odd>, Arc<dyn Store>) {
    let (main, log) = (several_win(), log_store());
    let repo = init(&with(&main, &log), None);
    assert!(repo.config().create_atomic && repo.config().log_store);
    for seed in 0..2 {
        backup(&repo, &chunks(seed, 6));
    }
    (main, log)
}

/// Everything in a store.
fn all(store: &dyn Store) -> Vec<(String, u64)> {
    names(store, "")
}

#[test]
fn with_a_log_store_every_store_keeps_the_contract() {
    // As Swift: what exists is refused, but of those who race several win.
    let create = |memory: &Memory, name: &str, bytes: Bytes| match memory.create(name, bytes.clone()) {
        Err(e) if e.kind() == Kind::AlreadyExists && name.starts_with("probe/") => {
            memory.overwrite(name, &bytes);
            Ok(())
        }
        other => other,
    };
    let new = || {
        let log: Arc<dyn Store> = Arc::new(Folder::new(SimDisk::new()));
        WithLog::new(Arc::new(Odd { inner: Memory::new(), place: "overwrites", create }), log).unwrap()
    };
    contract(&new());
    contract(&Watched::new(new()));
    contract(&Retry::new(new()));
    contract(&Limited::new(new(), Limits::default()));
    contract(&Faulty::new(new(), |_, _| None));
    contract(&Retry::new(lossy(new())));
    let store: Arc<dyn Store> = Arc::new(Retry::new(Watched::new(Arc::new(Limited::new(new(), Limits::default())))));
    assert!(store.log_place().is_some(), "every wrapper passes it on");
    assert!(Faulty::new(store, |_, _| None).log_place().is_some());
    let one: Arc<dyn Store> = Arc::new(Memory::new());
    assert_eq!(WithLog::new(one.clone(), one).err().unwrap().kind(), Kind::Usage);
}

#[test]
fn a_store_with_several_winners_holds_no_log_alone() {
    let main = several_win();
    let store: Arc<dyn Store> = main.clone();
    let refused = Repo::init(store, Unlock::KeyFile(&key_file()), None, small()).err().unwrap();
    assert!(refused.kind() == Kind::Unsupported && refused.advice().unwrap().contains("--log-store"), "{refused}");
    assert!(all(&*main).is_empty(), "nothing was made");
    // Nor does another of its kind.
    let refused = Repo::init(
        Arc::new(WithLog::new(main.clone(), Arc::new(last_wins("log"))).unwrap()),
        Unlock::KeyFile(&key_file()),
        None,
        small(),
    );
    assert!(refused.err().unwrap().subject().contains("log"));
}

/// The log store holds what one must win and nothing else; the main store holds its second copies and all else.
#[test]
fn the_log_store_holds_the_log_and_the_repository_its_mirror() {
    let (main, log) = made();
    let repo = open(&with(&main, &log), None).unwrap();
    restore(&repo, &chunks(1, 6));
    assert!(problems(&repo, true).is_empty(), "{:?}", problems(&repo, true));
    for (name, len) in all(&*log) {
        assert!(name == "config" || name.starts_with("log/"), "{name}");
        let copy = Name::parse(&name).unwrap().copy();
        assert!(all(&*main).contains(&(copy, len)), "{name} is mirrored");
    }
    assert!(all(&*main).iter().all(|(name, _)| name != "config" && !name.starts_with("log/")));
    assert_eq!(all(&*log).len() as u64, repo.state().n() + 1);
}

/// Nothing is read from, nor written to, a wrong place: whoever forgets the option, mistypes it or means another repository is
/// told so, with and without a cache that knows this one.
#[test]
fn a_log_is_not_looked_for_where_it_is_not() {
    let (main, log) = made();
    let (_, others) = made();
    let plain: Arc<dyn Store> = Arc::new(Memory::new());
    init(&plain, None);
    let cache = tempfile::tempdir().unwrap();
    open(&with(&main, &log), Some(cache.path())).unwrap();
    let alone: Arc<dyn Store> = main.clone();
    let empty = log_store();
    let before = [all(&*main), all(&*others), all(&*plain)];
    for cache in [None, Some(cache.path())] {
        let refused = |store: &Arc<dyn Store>, cache: Option<&Path>, word: &str| {
            let e = open(store, cache).err().unwrap_or_else(|| panic!("not refused: {word}"));
            assert!(e.kind() == Kind::Usage && e.to_string().contains(word), "{word}: {e}");
        };
        refused(&alone, cache, "--log-store PLACE");
        refused(&with(&main, &empty), cache, "refill-log");
        refused(&with(&main, &others), cache, "another repository");
        let beside: Arc<dyn Store> = Arc::new(
            WithLog::new(plain.clone(), Arc::new(Odd { inner: Memory::new(), place: "log", create: Memory::create }))
                .unwrap(),
        );
        refused(&beside, None, "leave --log-store out");
    }
    // Where there is a repository no other is made, whatever is given for its log.
    for store in [alone, with(&main, &empty), with(&main, &log)] {
        let made = Repo::init(store, Unlock::KeyFile(&key_file()), None, small());
        assert_eq!(made.err().unwrap().kind(), Kind::AlreadyExists);
    }
    assert!(all(&*empty).is_empty());
    assert!([all(&*main), all(&*others), all(&*plain)] == before, "nothing was written");
    restore(&open(&with(&main, &log), Some(cache.path())).unwrap(), &chunks(1, 6));
}

/// A log store that is lost comes back from the mirror, also where the filling was interrupted; one that is not lost is left alone.
#[test]
fn a_lost_log_store_is_filled_from_the_mirror() {
    let (main, log) = made();
    let held = all(&*log);
    let again = log_store();
    let n = held.len() as u64 - 1;
    for fails in 0..2 * n {
        let broken = Faulty::nth(again.clone(), fails as usize, Fault::Error(Kind::Io));
        let log: Arc<dyn Store> = Arc::new(broken);
        if refill(&WithLog::new(main.clone(), log).unwrap()).is_ok() {
            break;
        }
        assert!(open(&with(&main, &again), None).is_err(), "a half of it is no log");
    }
    if names(&*again, "").len() < held.len() {
        assert_eq!(refill(&*with(&main, &again)).unwrap(), n);
    }
    assert_eq!(all(&*again), held);
    let repo = open(&with(&main, &again), None).unwrap();
    restore(&repo, &chunks(1, 6));
    backup(&repo, &chunks(2, 6));
    assert!(problems(&repo, true).is_empty());
    let refused = |store: &dyn Store| refill(store).unwrap_err().kind();
    assert_eq!(refused(&*with(&main, &again)), Kind::AlreadyExists);
    assert_eq!(refused(&*main), Kind::Usage);
    assert_eq!(refused(&*with(&several_win(), &log_store())), Kind::NoRepository);
}

/// An entry that stands in the log store stands, whatever becomes of its mirror; what differs is named.
#[test]
fn the_log_store_is_the_truth() {
    let (main, log) = made();
    let store = with(&main, &log);
    let n = open(&store, None).unwrap().state().n();
    let (mirror, last) = (Name::Log(n).copy(), Name::Log(n).to_string());
    main.delete(&mirror).unwrap();
    let repo = open(&store, None).unwrap();
    assert_eq!(repo.state().n(), n);
    backup(&repo, &chunks(5, 6));
    assert_eq!(main.read(&mirror).unwrap(), log.read(&last).unwrap(), "made up for before the next");
    main.inner.overwrite(&mirror, b"another entry");
    let repo = open(&store, None).unwrap();
    restore(&repo, &chunks(5, 6));
    let found = problems(&repo, false);
    assert!(found.len() == 1 && found[0].contains(&mirror), "{found:?}");
    // The other way round: the mirror serves, as long as the log store is this repository's.
    log.delete(&last).unwrap();
    main.inner.overwrite(&mirror, b"");
    assert!(open(&store, None).unwrap().stopped().is_some(), "what is lost in both is said");
}

/// While the mirror cannot be written to, nothing is lost but time.
#[test]
fn an_entry_without_a_mirror_is_a_remark() {
    let (main, log) = made();
    let no_copies = |operation: Operation, name: &str| {
        let copy = operation == Operation::Create && name.starts_with("copy/log/");
        copy.then_some(Fault::Error(Kind::Full))
    };
    let broken: Arc<dyn Store> = Arc::new(Faulty::new(main.clone(), no_copies));
    let repo = open(&(Arc::new(WithLog::new(broken, log.clone()).unwrap()) as Arc<dyn Store>), None).unwrap();
    let n = repo.state().n();
    assert!(repo.writer(Default::default()).is_ok(), "an entry stands once it stands in the log store");
    assert!(repo.take_notes().iter().any(|note| note.to_string().contains("no second copy")));
    assert_eq!(open(&with(&main, &log), None).unwrap().state().n(), n + 1);
}

#[test]
fn commands_take_the_log_store_from_option_environment_and_profile() {
    let user = User { dir: tempfile::tempdir().unwrap() };
    let (key, log) = (user.path("key"), user.path("log"));
    let [key, log] = [&key, &log].map(|path| path.to_str().unwrap());
    let said =
        ran(user.command().env_remove("ONEFOLD_KEY_FILE").args(["init", "--new-key-file", key, "--log-store", log]));
    said.fine();
    assert!(user.path("log/config").exists() && !user.path("repo/config").exists());
    user.backup(&three(&capture("cassandra-5.0")), &[]).failed(1, &["--log-store PLACE"]);
    user.backup(&three(&capture("cassandra-5.0")), &["--log-store", log]).fine();
    let listed = ran(user.command().env("ONEFOLD_LOG_STORE", log).arg("snapshots")).fine();
    assert_eq!(listed.lines().count(), 1, "{listed}");
    let profile = user.path("p.toml");
    std::fs::write(&profile, format!("log-store = {log:?}\n")).unwrap();
    let profile = ["--profile", profile.to_str().unwrap()];
    assert_eq!(user.run(&[&profile[..], &["snapshots"]].concat()).fine(), listed);
    let shown = user.run(&[&profile[..], &["show-config"]].concat()).fine();
    assert!(shown.contains(&format!("log-store  {log}  (profile)")), "{shown}");
    // Lost, and filled again.
    std::fs::rename(user.path("log"), user.path("lost")).unwrap();
    user.run(&["snapshots", "--log-store", log]).failed(1, &["refill-log"]);
    let filled = user.run(&["refill-log", "--log-store", log]).fine();
    assert!(filled.contains("entries of the log"), "{filled}");
    assert_eq!(user.run(&["snapshots", "--log-store", log]).fine(), listed);
    user.run(&["refill-log", "--log-store", log]).failed(1, &["holds a log already"]);
    let checked = user.run(&["check", "--read-data", "--log-store", log]).fine();
    assert!(checked.contains("no damage found"), "{checked}");
    let repo = user.path("repo");
    user.run(&["snapshots", "--log-store", repo.to_str().unwrap()]).failed(1, &["no other store"]);
    assert!(store::open(log).is_ok());
}
