//! What a machine remembers of a repository: used, distrusted, made anew; several processes at once.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use onefold::Kind;
use onefold::repo::{Repo, WriteOptions};
use onefold::run::{ChunkKind, ChunkSource};
use onefold::store::Store;
use onefold::store::memory::Memory;
use repo_format::log::Body;
use repo_format::names::Name;

use crate::repo::{backup, chunks, init, memory, open, problems, put_all, restore};

#[test]
fn a_hidden_newest_entry_is_noticed() {
    let store: Arc<Memory> = Arc::new(Memory::new());
    let dynamic: Arc<dyn Store> = store.clone();
    let dir = tempfile::tempdir().unwrap();
    let repo = init(&dynamic, Some(dir.path()));
    backup(&repo, &chunks(1, 4));
    let newest = Name::Log(repo.state().n()).to_string();
    let bytes = store.read(&newest).unwrap();
    let both = |n| [Name::Log(n).to_string(), Name::Log(n).copy()];
    both(repo.state().n()).iter().for_each(|name| store.delete(name).unwrap());
    let warm = open(&dynamic, Some(dir.path())).unwrap();
    let error = warm.stopped().unwrap();
    assert_eq!((error.kind(), warm.snapshots().len()), (Kind::Damaged, 1));
    assert!(error.to_string().contains(&newest) && error.advice().is_some(), "{error}");
    let adds = |repo: &Repo| repo.administer(&mut |_| Ok(Body::Forget { snapshots: Vec::new() }));
    assert!(adds(&warm).is_err(), "nothing is added to what may go on");
    drop(warm);
    assert!(open(&dynamic, None).unwrap().snapshots().is_empty(), "who has not seen it cannot know");
    store.overwrite(&newest, &bytes);
    open(&dynamic, Some(dir.path())).unwrap();
    // An entry hidden in the middle is noticed by everybody, each time, and its place stays free for it.
    let other = tempfile::tempdir().unwrap();
    both(2).iter().for_each(|name| store.delete(name).unwrap());
    for cache in [None, Some(other.path()), Some(other.path())] {
        let repo = open(&dynamic, cache).unwrap();
        let error = repo.stopped().unwrap();
        assert!(error.to_string().contains(&Name::Log(2).to_string()), "{error}");
        assert!(adds(&repo).is_err() && both(2).iter().all(|name| store.read(name).is_err()));
    }
}

#[test]
fn a_warm_cache_opens_with_six_requests_and_finds_with_one_more() {
    let store = memory();
    let dir = tempfile::tempdir().unwrap();
    let data = chunks(1, 100);
    backup(&init(&store, Some(dir.path())), &data);
    restore(&open(&store, Some(dir.path())).unwrap(), &data);
    let repo = open(&store, Some(dir.path())).unwrap();
    let opened = repo.requests();
    assert_eq!((opened.reads, opened.range_reads, opened.lists, opened.creates), (5, 0, 1, 0), "{opened:?}");
    let latest = repo.snapshots()[0];
    let roots = repo.snapshot(&latest.id).unwrap().roots;
    let reader = repo.reader().unwrap();
    reader.get(roots[5].0, &roots[5].1).unwrap();
    let all = repo.requests();
    let indexes = if cfg!(feature = "rocksdb") { 0 } else { repo.state().indexes().len() as u64 };
    assert_eq!((all.reads - indexes, all.range_reads), (6, 1), "{all:?}");
    let before = repo.requests();
    for (kind, id) in roots.iter().filter(|(kind, _)| !matches!(kind, ChunkKind::Leaf | ChunkKind::Data)) {
        reader.get(*kind, id).unwrap();
    }
    assert_eq!(repo.requests(), before);
    // Not where it shall be known what the store gives.
    let reader = repo.reader().unwrap();
    reader.remember_opened();
    reader.get(roots[1].0, &roots[1].1).unwrap();
    assert_eq!(repo.requests().range_reads, before.range_reads + 1);
}

/// What is kept is what the store gave, or is read anew; and a folder that takes nothing is named, and stops nothing.
#[test]
fn what_is_kept_is_believed_in_nothing() {
    let store = memory();
    let dir = tempfile::tempdir().unwrap();
    let data = chunks(1, 100);
    backup(&init(&store, Some(dir.path())), &data);
    restore(&open(&store, Some(dir.path())).unwrap(), &data);
    let kept = || -> Vec<_> {
        files_below(dir.path()).into_iter().filter(|f| f.to_string_lossy().contains("/kept/")).collect()
    };
    let files = kept();
    assert!(files.len() > 3, "{files:?}");
    // Each in the other's place, and cut, and with a bit flipped.
    let bytes: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    for (i, file) in files.iter().enumerate() {
        let mut other = bytes[(i + 1) % bytes.len()].clone();
        match i % 3 {
            0 => other.truncate(other.len() / 2),
            1 => {
                other.clone_from(&bytes[i]);
                let middle = other.len() / 2;
                other[middle] ^= 1;
            }
            _ => {}
        }
        std::fs::write(file, other).unwrap();
    }
    let repo = open(&store, Some(dir.path())).unwrap();
    restore(&repo, &data);
    assert!(repo.take_notes().is_empty());
    files.iter().zip(&bytes).for_each(|(file, bytes)| assert!(std::fs::read(file).unwrap() == *bytes));

    let place = files[0].parent().and_then(Path::parent).unwrap();
    std::fs::remove_dir_all(place).unwrap();
    std::fs::write(place, b"").unwrap();
    let repo = open(&store, Some(dir.path())).unwrap();
    restore(&repo, &data);
    let notes: Vec<String> = repo.take_notes().iter().map(ToString::to_string).collect();
    assert!(notes.len() == 1 && notes[0].contains("goes on without"), "{notes:?}");
}

#[test]
fn a_cache_that_is_deleted_damaged_or_stale_is_made_anew() {
    let store = memory();
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = chunks(1, 60);
    backup(&init(&store, Some(dir.path())), &first);
    restore(&open(&store, Some(dir.path())).unwrap(), &first);
    for round in 0..4u64 {
        // Another machine writes meanwhile.
        let data = chunks(10 + round, 60);
        backup(&open(&store, Some(other.path())).unwrap(), &data);
        restore(&open(&store, Some(dir.path())).unwrap(), &data);
        let files = files_below(dir.path());
        assert!(!files.is_empty());
        for file in files {
            // An earlier rebuild may have replaced it.
            let Ok(bytes) = std::fs::read(&file) else { continue };
            match round {
                0 => std::fs::remove_file(&file).unwrap(),
                1 => std::fs::write(&file, b"rubbish").unwrap(),
                2 => std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap(),
                _ => std::fs::write(&file, bytes.iter().map(|b| b ^ 0x55).collect::<Vec<u8>>()).unwrap(),
            }
            restore(&open(&store, Some(dir.path())).unwrap(), &data);
            assert_eq!(backup(&open(&store, Some(dir.path())).unwrap(), &data).chunks_new, 0, "{}", file.display());
        }
    }
}

fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(files_below(&path)),
            false => files.push(path),
        }
    }
    files
}

#[test]
fn two_writers_and_a_reader_at_once() {
    let store = memory();
    let dir = tempfile::tempdir().unwrap();
    let old = chunks(0, 60);
    backup(&init(&store, Some(dir.path())), &old);
    let handle = || open(&store, Some(dir.path())).unwrap();
    let (one, two) = (handle(), handle());
    let (first, second) = (chunks(1, 120), [chunks(2, 120), chunks(0, 60)].concat());
    let writer_one = one.writer(WriteOptions::default()).unwrap();
    let roots_one = put_all(&writer_one, &first[..60]);
    // The index cache is locked by the first; the second works without, and takes nothing over.
    let writer_two = two.writer(WriteOptions::default()).unwrap();
    assert_eq!(handle().state().open_sessions().len(), 2);
    restore(&handle(), &old);
    let roots_two = put_all(&writer_two, &second);
    assert_eq!(writer_two.commit(roots_two, Default::default()).unwrap().1.chunks_new, 120);
    let rest = put_all(&writer_one, &first[60..]);
    writer_one.commit([roots_one, rest].concat(), Default::default()).unwrap();
    restore(&handle(), &first);
    drop((one, two));
    assert_eq!(backup(&handle(), &second).chunks_new, 0);
    restore(&handle(), &second);
}

/// A second process restores and backs up while this one has a session open.
#[test]
fn another_process_reads_and_writes_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let store = folder(dir.path());
    let (old, new) = (chunks(0, 60), chunks(1, 120));
    let repo = init(&store, Some(&dir.path().join("cache")));
    backup(&repo, &old);
    let writer = repo.writer(WriteOptions::default()).unwrap();
    let roots = put_all(&writer, &new[..60]);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "caches::the_other_process", "--ignored"])
        .env("ONEFOLD_TEST_DIR", dir.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    let rest = put_all(&writer, &new[60..]);
    writer.commit([roots, rest].concat(), Default::default()).unwrap();
    assert_eq!(open(&store, None).unwrap().snapshots().len(), 3);
    restore(&open(&store, Some(&dir.path().join("cache"))).unwrap(), &new);
}

#[test]
#[ignore = "run by another_process_reads_and_writes_meanwhile"]
fn the_other_process() {
    let Ok(dir) = std::env::var("ONEFOLD_TEST_DIR") else { return };
    let dir = Path::new(&dir);
    let repo = open(&folder(dir), Some(&dir.join("cache"))).unwrap();
    restore(&repo, &chunks(0, 60));
    assert_eq!(backup(&repo, &[chunks(0, 60), chunks(2, 20)].concat()).chunks_new, 20);
}

fn folder(dir: &Path) -> Arc<dyn Store> {
    onefold::store::open(dir.join("repo").to_str().unwrap()).unwrap()
}

/// An older copy of the repository elsewhere is no rollback.
#[test]
fn a_copy_elsewhere_may_be_older() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let store = folder(dir.path());
    let data = chunks(1, 20);
    backup(&init(&store, Some(&cache)), &data);
    let copy = dir.path().join("copy");
    let copied = Command::new("cp").arg("-r").arg(dir.path().join("repo")).arg(&copy).status().unwrap();
    assert!(copied.success());
    backup(&open(&store, Some(&cache)).unwrap(), &chunks(2, 20));
    let copy = onefold::store::open(copy.to_str().unwrap()).unwrap();
    restore(&open(&copy, Some(&cache)).unwrap(), &data);
    assert_eq!(backup(&open(&copy, Some(&cache)).unwrap(), &chunks(2, 20)).chunks_new, 20);
    restore(&open(&copy, Some(&cache)).unwrap(), &chunks(2, 20));
}

/// The cache of a machine that died may remember index objects that a loss of power took from the store.
#[test]
fn what_only_the_cache_remembers_of_a_dead_session_does_not_count() {
    let store: Arc<Memory> = Arc::new(Memory::new());
    let dynamic: Arc<dyn Store> = store.clone();
    let dir = tempfile::tempdir().unwrap();
    let data = chunks(1, 300);
    let repo = init(&dynamic, Some(dir.path()));
    let writer = repo.writer(WriteOptions { index_packs: 1, ..WriteOptions::default() }).unwrap();
    put_all(&writer, &data);
    drop((writer, repo));
    let lost = store.names().into_iter().find(|n| n.starts_with("index/")).unwrap();
    store.delete(&lost).unwrap();
    let lost = store.names().into_iter().find(|n| n.starts_with("pack/")).unwrap();
    store.delete(&lost).unwrap();
    backup(&open(&dynamic, Some(dir.path())).unwrap(), &data);
    restore(&open(&dynamic, None).unwrap(), &data);
    assert_eq!(problems(&open(&dynamic, Some(dir.path())).unwrap(), true), Vec::<String>::new());
}

/// A reader from before a session of the same process finds what that session stored.
#[test]
fn an_old_reader_finds_new_chunks() {
    let store = memory();
    let dir = tempfile::tempdir().unwrap();
    let repo = init(&store, Some(dir.path()));
    backup(&repo, &chunks(1, 20));
    let reader = repo.reader().unwrap();
    backup(&repo, &chunks(2, 20));
    let latest = repo.find_snapshot("latest").unwrap();
    for ((kind, id), (_, plain)) in repo.snapshot(&latest.id).unwrap().roots.iter().zip(chunks(2, 20)) {
        assert_eq!(reader.get(*kind, id).unwrap(), plain);
    }
}
