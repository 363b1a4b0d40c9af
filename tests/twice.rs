//! What all else hangs on is stored twice: configuration, credentials, log, snapshots. One object of any of them lost or
//! damaged stops nothing, and is mended where that is safe.

use std::path::Path;
use std::sync::Arc;

use onefold::Kind;
use onefold::repo::WriteOptions;
use onefold::store::Store;
use onefold::store::faulty::{Fault, Faulty, Operation};
use onefold::store::memory::Memory;
use repo_format::limits::CHECKPOINT_EVERY;
use repo_format::log::Body;
use repo_format::names::{COPIES, Name};

use crate::repo::{backup, chunks, init, open, problems, restore};

const BACKUPS: u64 = 3;

fn store_of(backups: u64) -> Memory {
    let store: Arc<Memory> = Arc::new(Memory::new());
    let dynamic: Arc<dyn Store> = store.clone();
    let repo = init(&dynamic, None);
    for seed in 0..backups {
        backup(&repo, &chunks(seed, 6));
    }
    store.fork()
}

/// The object deleted, emptied, cut, with one bit flipped, with another's bytes.
fn versions(bytes: &[u8]) -> Vec<(&'static str, Option<Vec<u8>>)> {
    let mut flipped = bytes.to_vec();
    flipped[bytes.len() / 2] ^= 4;
    vec![
        ("deleted", None),
        ("emptied", Some(Vec::new())),
        ("cut", Some(bytes[..bytes.len() / 3].to_vec())),
        ("flipped", Some(flipped)),
        ("swapped", Some(b"something else altogether".to_vec())),
    ]
}

fn harm(store: &Memory, name: &str, version: Option<&Vec<u8>>) {
    match version {
        Some(bytes) => store.overwrite(name, bytes),
        None => store.delete(name).unwrap(),
    }
}

/// Every snapshot is listed and opens, the newest is restored, and the next backup works.
fn all_works(store: &Arc<dyn Store>, cache: Option<&Path>, backups: u64, context: &str) {
    let repo = open(store, cache).unwrap_or_else(|e| panic!("{context}: {e}"));
    assert!(repo.stopped().is_none(), "{context}");
    assert_eq!(repo.snapshots().len() as u64, backups, "{context}");
    for info in repo.snapshots() {
        repo.snapshot(&info.id).unwrap_or_else(|e| panic!("{context}: {e}"));
    }
    restore(&repo, &chunks(backups - 1, 6));
    backup(&repo, &chunks(backups, 6));
    restore(&open(store, cache).unwrap(), &chunks(backups, 6));
}

#[test]
fn one_object_of_what_all_hangs_on_is_never_missed() {
    let whole = store_of(BACKUPS);
    let twice = |name: &&String| !name.starts_with("pack/") && !name.starts_with("index/");
    let names: Vec<String> = whole.names().iter().filter(twice).cloned().collect();
    assert!(names.iter().filter(|n| n.starts_with(COPIES)).count() * 2 == names.len(), "{names:?}");
    for name in &names {
        let original = whole.read(name).unwrap();
        for (what, version) in versions(&original) {
            for warm in [false, true] {
                let memory = Arc::new(whole.fork());
                let store: Arc<dyn Store> = memory.clone();
                let dir = tempfile::tempdir().unwrap();
                let cache = warm.then(|| dir.path());
                open(&store, cache).unwrap();
                harm(&memory, name, version.as_ref());
                let context = format!("{name} {what}, {}", if warm { "warm" } else { "cold" });
                all_works(&store, cache, BACKUPS, &context);
                // What nobody had to read is named by the first check, unless it was mended before.
                let told = problems(&open(&store, cache).unwrap(), true);
                assert!(told.iter().all(|p| p.contains(name.as_str())), "{context}: {told:?}");
                // A damaged configuration or entry never gives way, and is named for ever; all else is mended by now.
                let stays = what != "deleted" && (name == "config" || name.starts_with("log/"));
                let told = problems(&open(&store, cache).unwrap(), true);
                assert_eq!(!told.is_empty(), stays, "{context}: {told:?}");
                assert_eq!(memory.read(name).ok().as_ref() == Some(&original), !stays, "{context}");
            }
        }
    }
}

/// Where both objects of an entry are gone or garbage, what stands before it is read and nothing is added: not by a
/// guess of the head, not over a gap.
#[test]
fn a_log_that_cannot_be_read_on_stops_appending_and_no_reading() {
    let whole = store_of(BACKUPS);
    let head = open(&(Arc::new(whole.fork()) as Arc<dyn Store>), None).unwrap().state().n();
    let garbage = b"onefold".to_vec();
    for n in [head, head + 1] {
        for version in [None, Some(&garbage)] {
            for copy in [None, Some(&garbage)] {
                if n == head + 1 && version.is_none() && copy.is_none()
                    || n == head && version.is_none() && copy.is_none()
                {
                    continue;
                }
                let memory = Arc::new(whole.fork());
                for (name, version) in [(Name::Log(n).to_string(), version), (Name::Log(n).copy(), copy)] {
                    let _ = memory.delete(&name);
                    if let Some(bytes) = version {
                        memory.overwrite(&name, bytes);
                    }
                }
                let store: Arc<dyn Store> = memory.clone();
                let repo = open(&store, None).unwrap();
                let stopped = repo.stopped().unwrap();
                assert_eq!(stopped.kind(), Kind::Damaged);
                assert!(stopped.subject().contains(&Name::Log(n).to_string()) && stopped.advice().is_some());
                let left = BACKUPS - (head + 1 - n);
                assert_eq!(repo.snapshots().len() as u64, left);
                restore(&repo, &chunks(left - 1, 6));
                let refused = repo.writer(WriteOptions::default()).err().unwrap();
                assert!(refused.to_string().contains(&Name::Log(n).to_string()), "{refused}");
                assert!(problems(&repo, false).iter().any(|p| p.contains(&Name::Log(n).to_string())));
                let before: Vec<_> = whole.names().into_iter().filter(|name| !name.contains("log/")).collect();
                assert!(before.iter().all(|name| memory.read(name).ok() == whole.read(name).ok()));
                let next = Name::Log(n + 1).to_string();
                assert!(memory.read(&next).is_err(), "nothing was added");
            }
        }
    }
}

/// With the configuration gone under both names, a machine that knows it opens the repository and writes it again.
#[test]
fn a_machine_that_knows_the_configuration_gives_it_back() {
    let memory = Arc::new(store_of(2));
    let store: Arc<dyn Store> = memory.clone();
    let dir = tempfile::tempdir().unwrap();
    open(&store, Some(dir.path())).unwrap();
    let config = memory.read("config").unwrap();
    [Name::Config.to_string(), Name::Config.copy()].iter().for_each(|name| memory.delete(name).unwrap());
    let lost = open(&store, None).err().unwrap();
    assert!(lost.kind() == Kind::Damaged && lost.advice().is_some(), "{lost}");
    // What the machine remembers of the place would pass by the configuration.
    std::fs::remove_dir_all(dir.path().join("places")).unwrap();
    restore(&open(&store, Some(dir.path())).unwrap(), &chunks(1, 6));
    assert_eq!(memory.read("config").unwrap(), config);
    restore(&open(&store, None).unwrap(), &chunks(1, 6));
    assert_eq!(problems(&open(&store, None).unwrap(), true), Vec::<String>::new());
}

/// A writer that died between the two objects of its entry: the next one writes the second before it adds another.
#[test]
fn an_entry_is_stored_twice_before_another_stands_on_it() {
    let memory = Arc::new(store_of(1));
    let store: Arc<dyn Store> = memory.clone();
    let head = open(&store, None).unwrap().state().n();
    memory.delete(&Name::Log(head).copy()).unwrap();
    let repo = open(&store, None).unwrap();
    let writer = repo.writer(WriteOptions::default()).unwrap();
    assert_eq!(memory.read(&Name::Log(head).copy()).unwrap(), memory.read(&Name::Log(head).to_string()).unwrap());
    drop(writer);
    assert_eq!(problems(&repo, true), Vec::<String>::new());
}

/// Whatever fails after the entry stands, the commit stands, and is reported as one.
#[test]
fn a_commit_that_stands_is_not_reported_as_failed() {
    // The number of the commit is that of the first checkpoint: entry 1 lists the writer, each backup makes two.
    let before = (CHECKPOINT_EVERY - 4) / 2;
    for failing in ["checkpoint/", "copy/log/"] {
        let memory = Arc::new(store_of(before));
        let at = format!("{:020}", CHECKPOINT_EVERY);
        let (failing, number) = (failing.to_string(), at.clone());
        let faulty = Faulty::new(memory.clone(), move |operation, name| {
            let hit = operation == Operation::Create && name.starts_with(&failing) && name.contains(&number);
            hit.then_some(Fault::Error(Kind::Full))
        });
        let store: Arc<dyn Store> = Arc::new(faulty);
        let repo = open(&store, None).unwrap();
        // One entry more, so that the commit has the number.
        repo.administer(&mut |_| Ok(Body::Lost { lost: vec![] })).unwrap();
        assert!(repo.take_notes().is_empty());
        backup(&repo, &chunks(before, 6));
        assert_eq!(repo.state().n(), CHECKPOINT_EVERY);
        let notes = repo.take_notes();
        assert_eq!(notes.len(), 1, "{notes:?}");
        // And the next, who can write, puts it right.
        let store: Arc<dyn Store> = memory.clone();
        backup(&open(&store, None).unwrap(), &chunks(before + 1, 6));
        assert!(memory.read(&Name::Log(CHECKPOINT_EVERY).copy()).is_ok());
    }
}

/// The reply to every create of the log is lost, and reading back fails the first time too.
#[test]
fn a_lost_reply_is_read_back() {
    let memory = Arc::new(store_of(1));
    let faulty = Faulty::new(memory.clone(), |operation, name| {
        (operation == Operation::Create && name.starts_with("log/")).then_some(Fault::LostReply)
    });
    let store: Arc<dyn Store> = Arc::new(faulty);
    backup(&open(&store, None).unwrap(), &chunks(1, 6));
    restore(&open(&(memory as Arc<dyn Store>), None).unwrap(), &chunks(1, 6));
}
