//! What all else hangs on comes back from its second copies, whole folders at a time; what is lost under both names is named.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use onefold::repo::check::Unlisted;
use onefold::repo::{Repo, WriteOptions};
use onefold::store::Store;
use onefold::store::memory::Memory;
use onefold::store::rehearsed::Rehearsed;
use onefold::watch::Watch;
use onefold::{Kind, Result};
use repo_format::log::Body;
use repo_format::names::Name;

use crate::repo::{backup, chunks, each_request_fails, init, open, restore};
use crate::user::{User, capture, files_below, three};

fn store_of(backups: u64) -> Arc<Memory> {
    let memory = Arc::new(Memory::new());
    let store: Arc<dyn Store> = memory.clone();
    let repo = init(&store, None);
    for seed in 0..backups {
        backup(&repo, &chunks(seed, 6));
    }
    memory
}

fn objects(memory: &Memory) -> BTreeMap<String, Vec<u8>> {
    memory.names().into_iter().map(|name| (name.clone(), memory.read(&name).unwrap())).collect()
}

fn recover(store: &Arc<dyn Store>, cache: Option<&Path>) -> Result<(Vec<Unlisted>, Vec<String>)> {
    let watch = Watch::new();
    let unlisted = open(store, cache)?.recover(false, &watch)?;
    Ok((unlisted, watch.problems().into_iter().map(|p| format!("{}: {}", p.subject, p.message)).collect()))
}

/// Objects that a recovery wrote, and what it said.
fn watched(memory: &Arc<Memory>, rehearses: bool) -> (Vec<String>, (Vec<Unlisted>, Vec<String>)) {
    watched_with(memory, rehearses, None)
}

fn watched_with(
    memory: &Arc<Memory>,
    rehearses: bool,
    cache: Option<&Path>,
) -> (Vec<String>, (Vec<Unlisted>, Vec<String>)) {
    let rehearsed = Arc::new(Rehearsed::new(memory.clone(), rehearses));
    let store: Arc<dyn Store> = rehearsed.clone();
    let said = recover(&store, cache).unwrap();
    (rehearsed.created(), said)
}

#[test]
fn whole_folders_come_back_from_the_other_copies() {
    let whole = store_of(3);
    let all = objects(&whole);
    let first = ["log/", "snapshot/", "key/", "config"];
    let cases =
        first.iter().map(|one| vec![*one]).chain([first.to_vec(), vec!["copy/"], vec!["copy/log/", "snapshot/"]]);
    for lost in cases {
        let memory = Arc::new(whole.fork());
        let gone: Vec<&String> = all.keys().filter(|name| lost.iter().any(|folder| name.starts_with(folder))).collect();
        assert!(!gone.is_empty(), "{lost:?}");
        gone.iter().for_each(|name| memory.delete(name).unwrap());
        let before = objects(&memory);
        let dry = watched(&memory, true);
        assert_eq!(objects(&memory), before, "{lost:?}: a dry run changes nothing");
        let done = watched(&memory, false);
        assert_eq!(dry, done, "{lost:?}");
        assert!(done.0.iter().eq(gone.iter().copied()), "{lost:?}: {:?} were written, {gone:?} were gone", done.0);
        assert_eq!(done.1, (vec![], vec![]), "{lost:?}");
        assert!(objects(&memory) == all, "{lost:?}");
        assert_eq!(watched(&memory, false).0, Vec::<String>::new(), "{lost:?}: once is enough");
        restore(&open(&(memory as Arc<dyn Store>), None).unwrap(), &chunks(2, 6));
    }
}

/// Nothing that is there is written over: a damaged entry or configuration stays, and is named.
#[test]
fn what_is_there_is_not_written_over() {
    let whole = store_of(2);
    for name in ["config".to_owned(), Name::Log(2).to_string()] {
        let memory = Arc::new(whole.fork());
        memory.overwrite(&name, b"something else");
        let (written, (_, problems)) = watched(&memory, false);
        assert_eq!((written.len(), problems.len()), (0, 1), "{problems:?}");
        assert!(problems[0].starts_with(&name), "{problems:?}");
        assert_eq!(memory.read(&name).unwrap(), b"something else");
    }
}

/// The configuration is lost under both names, and no machine remembers it.
#[test]
fn the_configuration_is_made_anew_and_proven_by_the_log() {
    let memory = Arc::new(Memory::new());
    let store: Arc<dyn Store> = memory.clone();
    // Sizes that stand nowhere else do not come back.
    let own_sizes = store_of(1);
    // These are the defaults.
    let repo = crate::flow::new_repo(&store);
    backup(&repo, &chunks(1, 6));
    let all = objects(&memory);
    for (memory, comes_back) in [(memory.clone(), true), (own_sizes, false)] {
        ["config", "copy/config"].iter().for_each(|name| memory.delete(name).unwrap());
        let store: Arc<dyn Store> = memory.clone();
        match recover(&store, None) {
            Ok(said) => {
                assert!(comes_back && said == (vec![], vec![]), "{said:?}");
                assert!(objects(&memory) == all);
                restore(&open(&store, None).unwrap(), &chunks(1, 6));
            }
            Err(e) => assert!(!comes_back && e.kind() == Kind::Damaged && e.advice().is_some(), "{e}"),
        }
    }
    // Without the entry that proves it, it is not believed.
    ["config", "copy/config"].iter().for_each(|name| memory.delete(name).unwrap());
    let first = Name::Log(1);
    [first.to_string(), first.copy()].iter().for_each(|name| memory.delete(name).unwrap());
    assert_eq!(recover(&store, None).unwrap_err().kind(), Kind::Damaged);
}

/// An entry is lost under both names. A machine that knows more gives its state to all; without one, snapshots that are on no list any
/// more are named, and what stands before can be restored.
#[test]
fn a_log_with_a_hole_is_read_on_where_a_machine_knows_it() {
    let whole = store_of(3);
    let dir = tempfile::tempdir().unwrap();
    open(&(whole.clone() as Arc<dyn Store>), Some(dir.path())).unwrap();
    let memory = Arc::new(whole.fork());
    let store: Arc<dyn Store> = memory.clone();
    [Name::Log(4).to_string(), Name::Log(4).copy()].iter().for_each(|name| memory.delete(name).unwrap());
    let fresh: Repo = open(&store, None).unwrap();
    assert_eq!(fresh.snapshots().len(), 1);
    let before = objects(&memory);
    let (unlisted, problems) = recover(&store, None).unwrap();
    assert_eq!(unlisted.len(), 2, "{unlisted:?}");
    assert!(unlisted.iter().all(|one| one.opened >= 4), "{unlisted:?}");
    assert!(problems.iter().any(|p| p.starts_with(&Name::Log(4).to_string())), "{problems:?}");
    assert!(objects(&memory) == before);
    let (unlisted, _) = recover(&store, Some(dir.path())).unwrap();
    assert!(unlisted.is_empty(), "{unlisted:?}");
    assert!(
        before.iter().all(|(name, bytes)| memory.read(name).unwrap() == *bytes),
        "nothing that was there has changed"
    );
    // Whoever opens it now reads all.
    let fresh = open(&store, None).unwrap();
    assert!(fresh.stopped().is_none() && fresh.snapshots().len() == 3);
    restore(&fresh, &chunks(2, 6));
    backup(&fresh, &chunks(3, 6));
    restore(&open(&store, None).unwrap(), &chunks(3, 6));
}

fn lose_the_log(memory: &Memory) {
    let of_log = |name: &String| {
        ["log/", "copy/log/", "checkpoint/", "copy/checkpoint/"].iter().any(|folder| name.starts_with(folder))
    };
    memory.names().into_iter().filter(of_log).for_each(|name| memory.delete(&name).unwrap());
}

/// The log is lost whole, under both names. Nobody begins another beside what it told of; whoever knows it gives it back.
#[test]
fn a_log_that_is_lost_whole_is_given_back_and_never_begun_anew() {
    let whole = store_of(3);
    let (known, cold) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    open(&(whole.clone() as Arc<dyn Store>), Some(known.path())).unwrap();
    let memory = Arc::new(whole.fork());
    let store: Arc<dyn Store> = memory.clone();
    lose_the_log(&memory);
    let before = objects(&memory);
    for cache in [None, Some(cold.path()), Some(cold.path())] {
        let repo = open(&store, cache).unwrap();
        let stopped = repo.stopped().unwrap();
        assert!(
            stopped.kind() == Kind::Damaged && stopped.advice().is_some_and(|hint| hint.contains("recover")),
            "{stopped}"
        );
        assert!(repo.snapshots().is_empty() && repo.writer(WriteOptions::default()).is_err());
        let (unlisted, problems) = recover(&store, cache).unwrap();
        assert_eq!((unlisted.len(), problems.len()), (3, 1), "{problems:?}");
    }
    assert!(objects(&memory) == before, "nothing was written");
    // What only rehearses leaves nothing on the machine: once the log is put back, all is as before.
    watched_with(&memory, true, Some(cold.path()));
    let back = Arc::new(whole.fork());
    assert_eq!(open(&(back as Arc<dyn Store>), Some(cold.path())).unwrap().snapshots().len(), 3);
    // A machine that knows it reads all, and gives it to all.
    let warm = open(&store, Some(known.path())).unwrap();
    assert!(warm.stopped().is_some() && warm.snapshots().len() == 3);
    restore(&warm, &chunks(2, 6));
    drop(warm);
    assert_eq!(recover(&store, Some(known.path())).unwrap(), (vec![], vec![]));
    for cache in [None, Some(cold.path()), Some(known.path())] {
        let repo = open(&store, cache).unwrap();
        assert!(repo.stopped().is_none() && repo.snapshots().len() == 3, "{:?}", repo.stopped());
    }
    let fresh = open(&store, None).unwrap();
    backup(&fresh, &chunks(3, 6));
    assert_eq!(crate::repo::problems(&fresh, true), Vec::<String>::new());
    restore(&open(&store, None).unwrap(), &chunks(3, 6));
}

/// All of the log but a checkpoint is lost. Whether it went on is not known: nobody adds to it, until somebody says that it ends there.
#[test]
fn a_log_of_which_a_checkpoint_is_left_ends_there_where_that_is_said() {
    let whole = store_of(1);
    let repo = open(&(whole.clone() as Arc<dyn Store>), None).unwrap();
    while repo.state().n() < 105 {
        repo.administer(&mut |_| Ok(Body::Forget { snapshots: Vec::new() })).unwrap();
    }
    backup(&repo, &chunks(1, 6));
    let memory = Arc::new(whole.fork());
    let store: Arc<dyn Store> = memory.clone();
    let of_log = |name: &String| ["log/", "copy/log/"].iter().any(|folder| name.starts_with(folder));
    memory.names().into_iter().filter(of_log).for_each(|name| memory.delete(&name).unwrap());
    let before = objects(&memory);
    let dir = tempfile::tempdir().unwrap();
    for cache in [None, Some(dir.path()), Some(dir.path())] {
        let repo = open(&store, cache).unwrap();
        assert!(repo.stopped().is_some() && repo.snapshots().len() == 1);
        assert!(repo.administer(&mut |_| Ok(Body::Forget { snapshots: Vec::new() })).is_err());
        let (unlisted, problems) = recover(&store, cache).unwrap();
        assert!(unlisted.len() == 1 && !problems.is_empty(), "{unlisted:?} {problems:?}");
    }
    assert!(objects(&memory) == before, "nothing was written");
    let given_up = open(&store, Some(dir.path())).unwrap().recover(true, &Watch::new()).unwrap();
    assert_eq!(given_up.len(), 1, "what only lost entries listed is named");
    for cache in [None, Some(dir.path())] {
        let repo = open(&store, cache).unwrap();
        assert!(repo.stopped().is_none() && repo.snapshots().len() == 1, "{:?}", repo.stopped());
    }
    backup(&open(&store, None).unwrap(), &chunks(2, 6));
    restore(&open(&store, Some(dir.path())).unwrap(), &chunks(2, 6));
}

/// The store was put back as it was some nights ago, and another machine has backed up since. Whoever knows more does not take that off
/// the list unasked.
#[test]
fn what_others_wrote_after_a_rollback_is_not_given_up_unasked() {
    let memory = store_of(1);
    let rolled_back = Arc::new(memory.fork());
    let dir = tempfile::tempdir().unwrap();
    let repo = open(&(memory as Arc<dyn Store>), Some(dir.path())).unwrap();
    for seed in 1..4 {
        backup(&repo, &chunks(seed, 6));
    }
    drop(repo);
    let store: Arc<dyn Store> = rolled_back.clone();
    backup(&open(&store, None).unwrap(), &chunks(9, 6));
    let theirs = open(&store, None).unwrap().find_snapshot("latest").unwrap().id.to_string();
    let before = objects(&rolled_back);
    let e = recover(&store, Some(dir.path())).unwrap_err();
    assert!(e.kind() == Kind::Damaged && e.message().contains(&theirs[..10]), "{e}");
    assert!(objects(&rolled_back) == before);
    restore(&open(&store, None).unwrap(), &chunks(9, 6));
}

/// Both objects of the last entry are empty: who has seen it reads on, and gives it to all; who has not is told.
#[test]
fn a_last_entry_that_is_damaged_is_given_back_by_who_has_seen_it() {
    let whole = store_of(2);
    let dir = tempfile::tempdir().unwrap();
    let n = open(&(whole.clone() as Arc<dyn Store>), Some(dir.path())).unwrap().state().n();
    for harm in [&b""[..], b"something else"] {
        let (memory, name) = (Arc::new(whole.fork()), Name::Log(n));
        let store: Arc<dyn Store> = memory.clone();
        [name.to_string(), name.copy()].iter().for_each(|name| memory.overwrite(name, harm));
        assert!(open(&store, None).unwrap().stopped().is_some());
        let cache = tempfile::tempdir().unwrap();
        copy_folder(dir.path(), cache.path());
        let warm = open(&store, Some(cache.path())).unwrap();
        assert!(warm.stopped().is_some() && warm.snapshots().len() == 2);
        drop(warm);
        recover(&store, Some(cache.path())).unwrap();
        for cache in [None, Some(cache.path())] {
            let repo = open(&store, cache).unwrap();
            assert!(repo.stopped().is_none() && repo.snapshots().len() == 2, "{:?}", repo.stopped());
        }
        backup(&open(&store, None).unwrap(), &chunks(3, 6));
    }
}

/// An entry is lost that one machine has seen, and the log goes on behind it: that machine reads all, and adds nothing that others could not
/// read.
#[test]
fn who_reads_over_a_hole_adds_nothing() {
    let memory = store_of(1);
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = memory.clone();
    let n = open(&store, Some(dir.path())).unwrap().state().n();
    for seed in 1..3 {
        backup(&open(&store, None).unwrap(), &chunks(seed, 6));
    }
    [Name::Log(n).to_string(), Name::Log(n).copy()].iter().for_each(|name| memory.delete(name).unwrap());
    let warm = open(&store, Some(dir.path())).unwrap();
    let stopped = warm.stopped().unwrap();
    assert!(stopped.message().contains("goes on behind it") && warm.snapshots().len() == 3, "{stopped}");
    assert!(warm.writer(WriteOptions::default()).is_err() && warm.refresh().is_ok() && warm.stopped().is_some());
    drop(warm);
    recover(&store, Some(dir.path())).unwrap();
    let fresh = open(&store, None).unwrap();
    assert!(fresh.stopped().is_none() && fresh.snapshots().len() == 3, "{:?}", fresh.stopped());
    backup(&fresh, &chunks(3, 6));
}

fn copy_folder(from: &Path, to: &Path) {
    for file in files_below(from) {
        let to = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(file, to).unwrap();
    }
}

/// Every request of a recovery fails, or is done though reported failed: the next run completes.
#[test]
fn every_request_of_a_recovery_fails_once() {
    let whole = store_of(2);
    let all = objects(&whole);
    let lost = whole.fork();
    all.keys().filter(|name| ["log/", "snapshot/", "config"].iter().any(|f| name.starts_with(f))).for_each(|name| {
        lost.delete(name).unwrap();
    });
    let states = each_request_fails(|fails, context| {
        let memory = Arc::new(lost.fork());
        let faulty = fails(memory.clone());
        let _ = recover(&faulty, None);
        assert!(objects(&memory).iter().all(|(name, bytes)| all[name] == *bytes), "{context}");
        recover(&(memory.clone() as Arc<dyn Store>), None).unwrap();
        assert!(objects(&memory) == all, "{context}");
    });
    assert!(states > 60, "{states}");
}

/// As a user does it at three in the morning: check, recover, repair, back up, check.
#[test]
fn a_user_mends_a_damaged_repository() {
    let user = User::new();
    let dirs = three(&capture("cassandra-5.0"));
    user.backup(&dirs, &[]).fine();
    user.backup(&dirs, &[]).fine();
    let held = user.rows("latest", "lab.users");
    let repo = user.path("repo");
    fs::remove_dir_all(repo.join("log")).unwrap();
    fs::remove_file(repo.join("config")).unwrap();
    fs::remove_file(files_below(&repo.join("index")).remove(0)).unwrap();
    let pack = files_below(&repo.join("pack/content")).remove(0);
    let mut bytes = fs::read(&pack).unwrap();
    // The end is gone, and with it the list of what it holds.
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, bytes).unwrap();

    let dry = user.run(&["recover", "--dry-run", "--no-cache"]).fine();
    assert!(dry.contains("log: ") && dry.contains("would be written again"), "{dry}");
    assert!(!repo.join("log").exists());
    let said = user.run(&["recover", "--no-cache"]).fine();
    assert!(said.contains("config: 1 written again") && said.contains("all is there twice"), "{said}");
    assert!(repo.join("log").exists() && repo.join("config").exists());

    let dry = user.run(&["repair", "--dry-run", "--read-data"]);
    assert!(dry.out.contains("would be named again"), "{}", dry.out);
    let said = user.run(&["repair", "--read-data"]);
    assert!(said.out.contains("packs named again, 1 index objects replaced"), "{}", said.out);
    assert!(said.out.contains("saved out of 1 damaged packs"), "{}", said.out);
    assert!(said.out.contains("all 2 snapshots can be restored whole"), "{}", said.out);
    assert_eq!(said.code, Some(0), "{}", said.out);
    user.backup(&dirs, &[]).fine();
    let said = user.run(&["check", "--read-data"]).fine();
    assert!(said.contains("no damage found"), "{said}");
    assert_eq!(user.rows("latest", "lab.users"), held);
    let said = user.run(&["repair", "--json"]).objects();
    assert!(said.iter().any(|o| o["message_type"] == "summary" && o["repaired"]["frames_saved"] == 0), "{said:?}");

    // What each snapshot alone needs, and since when all was read.
    let said = user.run(&["stats", "--by-snapshot"]).fine();
    assert_eq!(said.matches("forgetting it frees").count(), 3, "{said}");
    assert!(said.contains("verified    "), "{said}");
}
